//! Columns for people, on standard output.

use crate::console::{self, clean};

/// The fewest characters that a column is cut to.
const LEAST: usize = 8;

/// A header and lines, each column as wide as its widest cell, and no line wider than the terminal; nothing at
/// all where there are no lines.
pub fn table<const N: usize>(header: [&str; N], lines: impl IntoIterator<Item = [String; N]>) -> String {
    fitted(header, lines, console::width())
}

fn fitted<const N: usize>(
    header: [&str; N],
    lines: impl IntoIterator<Item = [String; N]>,
    width: Option<usize>,
) -> String {
    // A cell that breaks its line would look like another one.
    let cells = lines.into_iter().map(|line| line.map(|cell| clean(&cell).replace('\n', " ")));
    let lines: Vec<[String; N]> = std::iter::once(header.map(String::from)).chain(cells).collect();
    if lines.len() == 1 {
        return String::new();
    }
    let widest =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let mut widths: [usize; N] = std::array::from_fn(widest);
    let gap = "   ";
    let (gap, widths) = match width {
        Some(width) if widths.iter().sum::<usize>() + gap.len() * (N - 1) > width => {
            let gap = "  ";
            cut(&mut widths, width.saturating_sub(gap.len() * (N - 1)));
            (gap, widths)
        }
        _ => (gap, widths),
    };
    let padded = |line: &[String; N]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{:width$}", short(cell, width)));
        cells.collect::<Vec<_>>().join(gap)
    };
    lines.iter().map(|line| padded(line).trim_end().to_owned() + "\n").collect()
}

/// Takes from the widest columns what is more than there is room for.
fn cut(widths: &mut [usize], room: usize) {
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > LEAST => *widest -= 1,
            _ => return,
        }
    }
}

fn short(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [["a".to_owned(), "long".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], lines), "X        Y\na        long\nlonger\n");
        assert_eq!(table(["X"], [["a\n\u{1b}[2Jb".to_owned()]]), "X\na b\n");
        assert_eq!(table(["X"], []), "");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let line = [["12345678".to_owned(), "abcdefghijklmnop".to_owned(), "x".to_owned()]];
        let at = |width| fitted(["A", "B", "C"], line.clone(), Some(width));
        assert_eq!(at(31), "A          B                  C\n12345678   abcdefghijklmnop   x\n");
        assert_eq!(at(30), "A         B                 C\n12345678  abcdefghijklmnop  x\n");
        assert_eq!(at(24), "A         B            C\n12345678  abcdefghij…  x\n");
        assert_eq!(at(1), "A         B         C\n12345678  abcdefg…  x\n", "not below what can be read");
    }
}

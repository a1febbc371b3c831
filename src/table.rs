//! Columns for people, on standard output.

use crate::console::clean;

/// A header and lines, each column as wide as its widest cell; nothing at all where there are no lines.
pub fn table<const N: usize>(header: [&str; N], lines: impl IntoIterator<Item = [String; N]>) -> String {
    // A cell that breaks its line would look like another one.
    let cells = lines.into_iter().map(|line| line.map(|cell| clean(&cell).replace('\n', " ")));
    let lines: Vec<[String; N]> = std::iter::once(header.map(String::from)).chain(cells).collect();
    if lines.len() == 1 {
        return String::new();
    }
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let padded = |line: &[String; N]| {
        line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>().join("   ")
    };
    lines.iter().map(|line| padded(line).trim_end().to_owned() + "\n").collect()
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
}

//! Kubernetes' quantities, such as `64Mi`, `100m` or `1.5`, as numbers that can be compared.

/// A quantity, in billionths: the finest step that Kubernetes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    /// Reads a quantity that is not negative; finer steps than Kubernetes knows are rounded up, as it does. `None` for what is no quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (up, down) = factor(unit)?;
        let above = digits.checked_mul(up)?.checked_mul(BILLION)?;
        let below = power_of_ten(u32::try_from(fraction.len()).ok()?)?.checked_mul(down)?;
        Some(Self(above / below + i128::from(above % below != 0)))
    }
}

/// What a unit multiplies and divides by.
fn factor(unit: &str) -> Option<(i128, i128)> {
    if let Some(power) = ["", "k", "M", "G", "T", "P", "E"].iter().position(|known| *known == unit) {
        return Some((1000i128.pow(u32::try_from(power).ok()?), 1));
    }
    if let Some(power) = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == unit) {
        return Some((1024i128.pow(u32::try_from(power).ok()?), 1));
    }
    if let Some(power) = ["", "m", "u", "n"].iter().position(|known| *known == unit) {
        return Some((1, 1000i128.pow(u32::try_from(power).ok()?)));
    }
    let power: i32 = unit.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = power_of_ten(power.unsigned_abs())?;
    Some(if power < 0 { (1, factor) } else { (factor, 1) })
}

fn power_of_ten(power: u32) -> Option<i128> {
    10i128.checked_pow(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_in_all_spellings() {
        for (texts, billionths) in [
            (&["0.1", "100m", ".1", "100000u", "1e-1"][..], 100_000_000),
            (&["64Mi", "65536Ki", "67108864", "0.0625Gi"], 67_108_864 * BILLION),
            (&["1k", "1e3", "1E3", "1000", "1000."], 1000 * BILLION),
            (&["1n", "0.1n"], 1),
            (&["0"], 0),
        ] {
            for text in texts {
                assert_eq!(Quantity::parse(text), Some(Quantity(billionths)), "{text}");
            }
        }
        for text in ["", ".", "x", "1x", "1mi", "1GB", "1 Mi", "Mi", "1e", "-1", "1.2.3", "9e99"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }
}

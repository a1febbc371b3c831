//! Kubernetes' quantities, such as `64Mi`, `100m`, `1.5` or `1e3`, as exact numbers: sums of them are
//! compared with limits.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

/// A quantity in billionths, the smallest step that Kubernetes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Quantity(i128);

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    /// A whole number.
    pub fn whole(number: u64) -> Self {
        Self(i128::from(number) * BILLION)
    }

    /// Reads a quantity; finer steps than Kubernetes knows are rounded up, as it does. `None` for what is no
    /// quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, text) =
            text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(text)), |rest| (-1, rest));
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() {
            return None;
        }
        let digits: i128 = digits.parse().ok()?;
        let (numerator, denominator) = factor(unit)?;
        let numerator = digits.checked_mul(numerator)?.checked_mul(BILLION)?;
        let denominator = denominator.checked_mul(power_of_ten(u32::try_from(fraction.len()).ok()?)?)?;
        Some(Self(sign * (numerator / denominator + i128::from(numerator % denominator != 0))))
    }

    /// So many times as much.
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(count)))
    }

    /// So many whole ones; `None` for less than nothing and for more than a machine counts.
    pub fn count(self) -> Option<u64> {
        u64::try_from(self.0 / BILLION).ok().filter(|_| self.0 >= 0)
    }

    /// Whether it is nothing at all.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// As people write it for this resource of a quota: bytes in powers of two, the rest in decimal.
    pub fn of(self, resource: &str) -> String {
        if ["memory", "storage", "hugepages"].iter().any(|bytes| resource.contains(bytes)) {
            for (unit, size) in [("Gi", 1i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
                if self.0 != 0 && self.0 % (size * BILLION) == 0 {
                    return format!("{}{unit}", self.0 / (size * BILLION));
                }
            }
        }
        self.to_string()
    }
}

/// What a unit multiplies by, as numerator and denominator.
fn factor(unit: &str) -> Option<(i128, i128)> {
    let decimal = |power| power_of_ten(power).map(|factor| (factor, 1));
    Some(match unit {
        "n" => (1, BILLION),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => return decimal(3),
        "M" => return decimal(6),
        "G" => return decimal(9),
        "T" => return decimal(12),
        "P" => return decimal(15),
        "E" => return decimal(18),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let power: i32 = unit.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = power_of_ten(power.unsigned_abs())?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        }
    })
}

fn power_of_ten(power: u32) -> Option<i128> {
    10i128.checked_pow(power)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("", BILLION), ("m", 1_000_000), ("u", 1000)] {
            if self.0 % size == 0 {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}n", self.0)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_in_all_spellings() {
        for (texts, billionths) in [
            (&["0.1", "100m", ".1", "100000u", "1e-1", "1E-1"][..], 100_000_000),
            (&["64Mi", "65536Ki", "67108864", "0.0625Gi"], 67_108_864 * BILLION),
            (&["1k", "1e3", "1000", "+1000"], 1000 * BILLION),
            (&["1M", "1000k"], 1_000_000 * BILLION),
            (&["1n", "0.1n"], 1),
            (&["-1"], -BILLION),
        ] {
            for text in texts {
                assert_eq!(Quantity::parse(text), Some(Quantity(billionths)), "{text}");
            }
        }
        for text in ["", "x", "1x", "1mi", "1 Mi", "Mi", "1e", "1.2.3", "9e99"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ten_tenths_are_one() {
        let tenths: Quantity = std::iter::repeat_n(Quantity::parse("100m").unwrap(), 10).sum();
        assert_eq!(tenths, Quantity::whole(1));
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        for (text, resource, shown) in [
            ("268435456", "limits.memory", "256Mi"),
            ("1.5Gi", "requests.storage", "1536Mi"),
            ("1000", "requests.memory", "1000"),
            ("0.25", "requests.cpu", "250m"),
            ("4", "pods", "4"),
            ("1024", "pods", "1024"),
            ("0", "memory", "0"),
            ("-1Gi", "memory", "-1Gi"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().of(resource), shown);
        }
    }
}

//! What a scalar without quotes means to kubectl and to every other tool that reads Kubernetes objects: they
//! go by YAML 1.1, so that `yes` and `on` are booleans and `0644` is an octal number (`sigs.k8s.io/yaml`,
//! which has the rules of go-yaml 2).

use serde_json::{Number, Value};

/// Whether the text stands for nothing.
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The boolean, number or text.
pub fn typed(text: String) -> Value {
    match text.as_str() {
        text if is_null(text) => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        text => number(text).map_or_else(|| text.into(), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || ['+', '-', '.'].contains(&c)) {
        return None;
    }
    // Underlines may group digits.
    let text = text.replace('_', "");
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    // Neither a second sign nor a word such as `infinity`.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    whole(is_negative, digits).or_else(|| fraction(text.parse().ok()?))
}

/// `1e3` is written as `1000`, which a field for whole numbers takes.
fn fraction(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < 2_f64.powi(53) {
        Some((number as i64).into())
    } else {
        Number::from_f64(number)
    }
}

fn whole(is_negative: bool, digits: &str) -> Option<Number> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // Rust's own reading takes another sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if is_negative { Some(0_i64.checked_sub_unsigned(size)?.into()) } else { Some(size.into()) }
}

/// A key without quotes, which is a text in any case: `yes` becomes `true`, and `1.10` becomes `1.1`.
pub fn key(text: String) -> String {
    match typed(text) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `tests/kubernetes/yaml.rs` asks kubectl about more of them.
    #[test]
    fn words_and_numbers_are_those_of_yaml_1_1() {
        for (text, expected) in [
            ("yes", json!(true)),
            ("on", json!(true)),
            ("n", json!(false)),
            ("Off", json!(false)),
            ("oN", json!("oN")),
            ("True", json!(true)),
            ("FALSE", json!(false)),
            ("Null", json!(null)),
            ("42", json!(42)),
            ("-42", json!(-42)),
            ("+1", json!(1)),
            ("0x1f", json!(31)),
            ("-0o17", json!(-15)),
            ("0b11", json!(3)),
            ("007", json!(7)),
            ("0600", json!(384)),
            ("-0744", json!(-484)),
            ("089", json!(89)),
            ("1.10", json!(1.1)),
            ("1e5", json!(100_000)),
            (".5", json!(0.5)),
            (".1_0", json!(0.1)),
            ("--1", json!("--1")),
            ("0x-1", json!("0x-1")),
            ("1_000", json!(1000)),
            ("_1", json!("_1")),
            ("12:30", json!("12:30")),
            ("2026-11-29", json!("2026-11-29")),
            ("infinity", json!("infinity")),
            (".inf", json!(".inf")),
            ("1e999", json!("1e999")),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18446744073709551616.0)),
            ("é", json!("é")),
        ] {
            assert_eq!(typed(text.into()), expected, "{text}");
        }
    }
}

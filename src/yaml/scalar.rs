//! What a scalar without quotes means, as Kubernetes' tools and YAML 1.2 have it: `yes`, `on` and `0600` are texts.

use serde_json::{Number, Value};

/// Whether the text stands for nothing.
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The boolean, number or text.
pub fn typed(text: String) -> Value {
    match text.as_str() {
        text if is_null(text) => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => number(text).map_or_else(|| text.into(), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    // Neither a second sign nor a word such as `infinity`.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || is_octal_of_old(digits) {
        return None;
    }
    whole(is_negative, digits).or_else(|| Number::from_f64(text.parse().ok()?))
}

/// `007`: a number for YAML 1.1 and none for YAML 1.2. It stays as it was typed.
fn is_octal_of_old(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole(is_negative: bool, digits: &str) -> Option<Number> {
    let radixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (digits, radix) = radixes.iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix))).unwrap_or((digits, 10));
    // Rust's own reading takes another sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if is_negative { Some(0_i64.checked_sub_unsigned(size)?.into()) } else { Some(size.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_and_numbers_are_those_of_yaml_1_2() {
        for (text, expected) in [
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("True", json!(true)),
            ("FALSE", json!(false)),
            ("Null", json!(null)),
            ("42", json!(42)),
            ("-42", json!(-42)),
            ("+1", json!(1)),
            ("0x1f", json!(31)),
            ("-0o17", json!(-15)),
            ("0b11", json!(3)),
            ("007", json!("007")),
            ("0600", json!("0600")),
            ("1.10", json!(1.1)),
            ("1e5", json!(1e5)),
            (".5", json!(0.5)),
            ("--1", json!("--1")),
            ("0x-1", json!("0x-1")),
            ("1_000", json!("1_000")),
            ("12:30", json!("12:30")),
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

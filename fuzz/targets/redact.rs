//! Secrets are taken out of any text, in any form that programs write them in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use testbed::redact::{MASK, Redactor};

/// Shorter ones are found as whole words only.
const SHORT: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let Some(text) = testbed_fuzz::text(data) else { return };
    let mut redactor = Redactor::new("run-1");
    if let Ok(mut object) = serde_json::from_str::<Value>(text) {
        object.as_object().into_iter().for_each(|object| redactor.add_object(object));
        redactor.redact_object(&mut object);
    }
    redactor.add_text(text);
    redactor.redact_text(text);
    // The first line is a secret; it stands between the rest's lines.
    let Some((secret, rest)) = text.split_once('\n') else { return };
    // A mask is no secret, and neither is the run's id. Of the others each line is one, without the space
    // around it.
    if secret.len() < SHORT
        || secret != secret.trim()
        || MASK.contains(secret)
        || secret.contains('*')
        || secret == "run-1"
    {
        return;
    }
    let (before, after) = rest.split_at(rest.floor_char_boundary(rest.len() / 2));
    let form = form(secret, *how);
    let mut redactor = Redactor::new("run-1");
    redactor.add(secret);
    let shown = redactor.redact_text(&format!("{before}{form}{after}"));
    assert!(!shown.contains(secret), "{secret:?} is left: {shown}");
    assert!(!shown.contains(&form), "{secret:?} is left as {form:?}: {shown}");
    let known = Redactor::with_texts("run-1", redactor.texts());
    assert_eq!(known.redact_text(&format!("{before}{form}{after}")), shown);
});

/// How programs write a text.
fn form(secret: &str, how: u8) -> String {
    match how % 7 {
        0 => secret.to_owned(),
        1 => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        2 => inner(&Value::from(secret).to_string()),
        3 => secret.replace('\'', "''"),
        4 => ascii(secret),
        5 => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().replace("%20", "+"),
        _ => secret.bytes().map(|byte| format!("%{byte:02x}")).collect(),
    }
}

fn inner(quoted: &str) -> String {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted).to_owned()
}

/// JSON in ASCII, as Python and PHP write it.
fn ascii(secret: &str) -> String {
    let mut units = [0; 2];
    let escape = |c: char| match c {
        ' '..='~' => inner(&Value::from(c.to_string()).to_string()),
        _ => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    secret.chars().map(escape).collect()
}

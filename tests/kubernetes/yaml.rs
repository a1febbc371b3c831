//! What a manifest without quotes means: kubectl is asked, and testbed has to read and write the same.

use serde_json::Value;

use crate::harness::kubectl_output;
use crate::support::Folder;

/// Everything that a reader of YAML 1.1 may take for something else than a text, and what looks like it.
const SCALARS: &str = "y Y n N yes Yes YES yEs no No NO on On ON oN off Off OFF true True TRUE false False FALSE null Null NULL ~ 0 00 0744 -0744 +0744 0777_7 \
    089 0_7 08.5 1_000 1__0 _1 1_ 0x1F 0X1f 0x_1f 0x -0x1f 0x-1 0b11 0B11 -0b11 0b2 0o17 0O17 -0o17 0o8 1e5 1E5 1e-3 1.e3 .e3 1e 1e400 1.10 1. 0. .5 +.5 \
    -.5 .1_0 1_0.5 .. 1.2.3 1:30 12:30:45 2026-11-29 2026-11-29T12:00:00Z -9223372036854775808 9223372036854775807 18446744073709551615 = -- --1 +1 + 1,5 \
    infinity nan 1f a";

/// As keys, which are texts in any case.
const KEYS: &str = "y on No 0744 1_000 1.10 .5 1e3 0x1F true 2026-11-29 1:30";

fn manifest(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words-run-1}}\nother: {value}\n")
}

/// The part of the object that the manifest gives and testbed does not touch, as kubectl sends it.
fn by_kubectl(manifest: &str) -> Value {
    let output = kubectl_output(
        &["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"],
        Some(manifest.as_bytes()),
    );
    assert!(output.status.success(), "{}\n{manifest}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["other"].take()
}

/// The same as testbed would send it.
fn by_testbed(folder: &Folder, manifest: &str, format: &str) -> String {
    folder.file("m.yaml", manifest);
    folder.call(&["render", "m.yaml", "--run-id", "run-1", "-o", format]).ok().stdout
}

#[test]
fn a_manifest_is_read_as_kubectl_reads_it() {
    let folder = Folder::new();
    let words = manifest(&SCALARS.split_whitespace().map(|word| format!("\n- {word}")).collect::<String>());
    let list: Value = serde_json::from_str(&by_testbed(&folder, &words, "json")).expect("JSON");
    let (read, expected) = (list["items"][0]["other"].as_array().expect("a list"), by_kubectl(&words));
    for ((word, read), expected) in
        SCALARS.split_whitespace().zip(read).zip(expected.as_array().expect("a list"))
    {
        assert!(is_same(read, expected), "{word}: {read} instead of {expected}");
    }
    let keys = manifest(&format!(
        "{{{}}}",
        KEYS.split_whitespace().map(|key| format!("{key}: x, ")).collect::<String>()
    ));
    let list: Value = serde_json::from_str(&by_testbed(&folder, &keys, "json")).expect("JSON");
    assert_eq!(list["items"][0]["other"], by_kubectl(&keys));
}

#[test]
fn kubectl_reads_what_render_writes() {
    let folder = Folder::new();
    let words = SCALARS.split_whitespace().chain(KEYS.split_whitespace());
    let texts: Vec<&str> = words
        .chain([
            "", " ", "a: b", "a #b", "- a", "a\nb\n", "\n", "\ta", "a\r\nb", "{a}", "'", "\"", "\u{85}",
            "\u{feff}", "é",
        ])
        .collect();
    let map: serde_json::Map<_, _> = texts.iter().map(|text| ((*text).to_owned(), (*text).into())).collect();
    let value = serde_json::json!({"list": texts, "map": map, "numbers": [1, -1.5, true, null, 1e300]});
    let rendered = by_testbed(&folder, &manifest(&value.to_string()), "yaml");
    assert_eq!(by_kubectl(&rendered), value, "{rendered}");
}

/// A number is the same however it is written.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || one.is_number() && one.as_f64() == other.as_f64()
}

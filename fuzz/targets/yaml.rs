//! YAML, which all files of a project are: what is read and printed reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testbed::yaml::{self, Node};

fuzz_target!(|data: &[u8]| {
    let Some(text) = testbed_fuzz::text(data) else { return };
    let Ok(root) = Node::parse("a.yaml", text) else { return };
    let _ = root.json();
    let value = root.merged().typed();
    let printed = yaml::write(&value).expect("any value can be printed");
    let again = Node::parse("b.yaml", &printed).expect("what is printed is YAML").typed();
    assert_eq!(again, value, "{printed}");
});

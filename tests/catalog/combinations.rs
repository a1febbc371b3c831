//! The list of what the Tasks and StepActions are run with has every param of theirs, given and left away.

use crate::published;
use crate::tekton::combinations::{Call, IMAGE, SCENES, SOURCE};
use crate::tekton::documents::Catalog;
use crate::tekton::model::ParamValue;

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    let calls = || SCENES.iter().flat_map(|scene| scene.calls);
    for one in published(catalog) {
        let mut say = |text: String| problems.push(format!("{}: {text}", one.document.file));
        let calls: Vec<&Call> = calls().filter(|call| call.of == one.metadata.name).collect();
        for param in one.params.iter().filter(|param| param.name != IMAGE) {
            let value = |call: &Call| {
                call.params.iter().find(|(name, _)| *name == param.name).map(|(_, value)| (*value).to_owned())
            };
            let is_other = |value: String| param.default != Some(ParamValue::Text(value));
            if !calls.iter().any(|call| value(call).is_some_and(is_other)) {
                say(format!("no combination gives the param {}", param.name));
            }
            if !calls.iter().any(|call| value(call).is_none()) {
                say(format!("no combination leaves the param {} away", param.name));
            }
        }
        let passed = calls.iter().flat_map(|call| call.params).map(|(name, _)| *name);
        let is_known = |name: &str| name == SOURCE || one.params.iter().any(|param| param.name == name);
        for name in passed.filter(|name| !is_known(name)) {
            say(format!("a combination gives the param {name}, which there is not"));
        }
    }
    problems
}

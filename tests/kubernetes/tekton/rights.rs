//! The Role of the catalog against the API server's own account: nothing that is used is missing, and nothing
//! that is there is unused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::run::PipelineRun;
use super::site::Site;
use crate::audit;
use crate::tekton_catalog::documents::Catalog;
use crate::tekton_catalog::model::{Param, ParamValue};

const ACCOUNT: &str = "testbed";

/// `verb resource` of all rules of the Role in a file of the catalog.
pub fn granted(catalog: &Catalog, file: &str) -> BTreeSet<String> {
    let role = catalog.in_file(file).find(|document| document.value["kind"] == "Role").expect("a Role");
    let list = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    };
    let rules = role.value["rules"].as_array().expect("rules");
    let pairs = rules.iter().flat_map(|rule| {
        let verbs = list(&rule["verbs"]);
        list(&rule["resources"])
            .into_iter()
            .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| format!("{verb} {resource}")))
    });
    pairs.collect()
}

#[test]
fn the_role_has_every_verb_that_is_used_and_no_other() {
    let Some(site) = Site::new("rights") else { return };
    if audit::requests_of(&site.namespace, ACCOUNT).is_none() {
        return;
    }
    let create = || PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    let text = |name: &str, value: &str| Param { name: name.into(), value: ParamValue::Text(value.into()) };

    // Databases that come up, once more for a second attempt, and gone, twice.
    let run = create();
    run.single("up").run().ok("up");
    let mut again = run.single("up");
    again.name += "-again";
    again.run().ok("up again");
    run.single("down").run().ok("down");
    let mut again = run.single("down");
    again.name += "-again";
    again.run().ok("down again");

    // One whose server ends at once: its log and its events are told, and what was made is removed.
    let run = create();
    let mut up = run.single("up");
    up.params.retain(|param| param.name != "with");
    up.params.extend([text("with", "postgres:17=broken"), text("params", "args=--no-such-setting")]);
    let up = up.run();
    assert_eq!(up.exit_code("up"), Some(4), "{}", up.log());
    assert!(up.log().contains("no-such-setting") && up.log().contains("was removed again"), "{}", up.log());
    assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new());

    let requests = audit::requests_of(&site.namespace, ACCOUNT).expect("the audit log");
    let denied: Vec<&Value> =
        audit::denied(&requests).into_iter().map(|request| &request["requestURI"]).collect();
    assert!(denied.is_empty(), "{denied:#?}");
    // Everyone may ask what they may do.
    let used: BTreeSet<String> =
        audit::verbs(&requests).into_iter().filter(|verb| !verb.contains("selfsubject")).collect();
    assert_eq!(used, granted(&site.catalog, "samples/rbac.yaml"));
}

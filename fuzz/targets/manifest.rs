//! A stranger's manifest on the way of `testbed render`: rendered, parsed, checked, stamped, looked through
//! for databases, and printed. What is printed reads the same.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, json};
use testbed::database::{self, Data};
use testbed::manifest::images::Mirror;
use testbed::manifest::policy::Refused;
use testbed::manifest::render::{self, Params, Template, Variables};
use testbed::manifest::stamp::{self, Stamp};
use testbed::manifest::{Object, check, images, mesh, ours, parse};
use testbed::redact::Redactor;
use testbed::template::apart::is_simple;
use testbed::yaml;
use testbed_fuzz::{RUN, SECRET};

static PARAMS: LazyLock<Params> = LazyLock::new(|| {
    let pairs = [("size", "1"), ("mysql.memory", "1Gi"), ("text", "a: 'b' # {{ c }}")];
    BTreeMap::from(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
});

/// Words without which a template's time and text grow no faster than the template. The others need the
/// process apart, whose bounds end them: what such a template makes of this process would be no finding.
const GROWS: &str =
    "for set replace ~ range include extends component block indent * < repeat pad concat join";

fuzz_target!(init: testbed_fuzz::init(), |data: &[u8]| {
    let Some(text) = testbed_fuzz::text(data) else { return };
    let _ = ours::template(text, |_| false);
    let Some(rendered) = rendered(text) else { return };
    if let Ok(objects) = parse::parse("m.yaml", &rendered) {
        let _ = planned(objects);
    }
});

fn rendered(text: &str) -> Option<String> {
    let template = Template { name: "m.yaml", text, parts: &[] };
    let extra = Map::from_iter([("generated_password".to_owned(), SECRET.into())]);
    let rendered = if is_simple(text) {
        render::render(&template, &Variables { run_id: &RUN, params: &PARAMS, extra })
    } else if GROWS.split(' ').any(|word| text.contains(word)) {
        template.parse(text).map(|_| String::new())
    } else {
        let globals = json!({"context": {"pipelineRun": {"uid": "run-1"}}, "params": {"size": "1"}, "generated_password": SECRET});
        template.render_here(text, &globals)
    };
    match rendered {
        Ok(rendered) => Some(rendered),
        Err(error) => {
            assert!(!format!("{error:#}").contains(SECRET), "{error:#}");
            None
        }
    }
}

/// As the plan of a run is made.
fn planned(mut objects: Vec<Object>) -> anyhow::Result<()> {
    check::check(&objects, &RUN)?;
    let mirrors: Vec<Mirror> = ["mirror.example/cache", "docker.io=mirror.example/hub"]
        .into_iter()
        .flat_map(Mirror::parse)
        .collect();
    images::rewrite(&mut objects, &mirrors)?;
    let _ = Refused::find(&objects, &RUN, &[]).check();
    stamp::stamp(&mut objects, &Stamp { run_id: &RUN, generated: &[SECRET], limit: None })?;
    let mut data = Data::default();
    data.add_objects(&objects)?;
    let discovery = database::discover(&objects, &RUN, &data)?;
    mesh::keep_out(&mut objects, discovery.databases.iter().map(|database| database.workload.as_str()))?;
    stamp::note_record(&mut objects, "0198c0de-0000-7000-8000-000000000000")?;
    let mut redactor = Redactor::new(RUN.as_str());
    objects.iter().for_each(|object| redactor.add_object(&object.body));
    let printed: Vec<String> =
        objects.iter().map(|object| yaml::write(&object.body)).collect::<anyhow::Result<_>>()?;
    let again = parse::parse("printed.yaml", &printed.join("---\n")).expect("what is printed is a manifest");
    assert_eq!(again.len(), objects.len());
    for (again, object) in again.iter().zip(&objects) {
        assert_eq!(again.body, object.body);
    }
    Ok(())
}

//! The pages of the history in a real browser: what it says about them, what is drawn where, and what a
//! person without a mouse, or without eyes, gets of them.
//!
//! Rust writes the pages and says where bars belong; `look.py` drives Chromium, once for all pages, and
//! reports what is wrong. Its pictures are in `target/pages`.

mod browser;
mod stories;
mod weeks;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::history::page;
use testbed::history::record::What;

use browser::Browser;
use stories::Story;

/// The pages that are also left as pictures.
const PICTURED: [&str; 5] = ["succeeded", "failed", "local", "twelve", "report"];

/// Where pages and their pictures are left for a person to look at.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").join("pages")
}

/// Where the bars of a database belong, in percent: its moments on an axis from the beginning to the end of
/// the run.
fn expected(story: &Story) -> Vec<Value> {
    let record = &story.record;
    let length = record.ended.expect("a run that is over").since(record.began).as_secs_f64();
    let mut bars = Vec::new();
    for database in &record.databases {
        // A process that is started is the beginning of nothing new: its server starts since its folder was
        // there.
        let is_local = database.first(What::Prepared).is_some();
        let moments: Vec<_> =
            database.timeline.iter().filter(|moment| !is_local || moment.what != What::Started).collect();
        for pair in moments.windows(2) {
            let left = pair[0].at.since(record.began).as_secs_f64() / length;
            let right = pair[1].at.since(record.began).as_secs_f64() / length;
            bars.push(json!({"track": database.name, "left": left * 100.0, "right": right * 100.0}));
        }
    }
    bars
}

#[test]
fn pages_look_right_in_a_browser() {
    let folder = folder();
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder below target");
    let mut plan = serde_json::Map::new();
    for story in stories::all() {
        let html = page::run(&story.record, &story.logs).expect("a page");
        assert!(html.len() < 300 * 1024, "{} has {} bytes", story.name, html.len());
        write(&folder, story.name, &html);
        let bars = if ["local", "twelve"].contains(&story.name) { expected(&story) } else { Vec::new() };
        plan.insert(story.name.into(), json!({"bars": bars, "pictures": PICTURED.contains(&story.name)}));
    }
    for (name, report) in weeks::all() {
        let html = page::report::html(&report).expect("a page");
        assert!(html.len() < 300 * 1024, "{name} has {} bytes", html.len());
        write(&folder, name, &html);
        plan.insert(name.into(), json!({"bars": [], "pictures": PICTURED.contains(&name)}));
    }
    // What finds nothing on a page that is all wrong could find nothing on any.
    write(&folder, "wrong", include_str!("wrong.html"));
    plan.insert(
        "wrong".into(),
        json!({"bars": [{"track": "mysql", "left": 10.0, "right": 50.0}], "pictures": false}),
    );
    let found = Browser::new(&folder).look(&Value::Object(plan));
    let found = found.as_object().expect("findings by page");
    let faulty = found.iter().filter(|(name, findings)| *name != "wrong" && **findings != json!([]));
    let faulty = faulty.map(|(name, findings)| format!("{name}: {findings:#}\n")).collect::<String>();
    assert!(faulty.is_empty(), "{faulty}");
    let wrong = found["wrong"].to_string();
    let kinds = [
        "console", "network", "overflow", "contrast", "focus", "order", "heading", "landmark", "bar",
        "hidden", "title", "language", "print", "overlap",
    ];
    for kind in kinds {
        assert!(
            wrong.contains(&format!("\"{kind}: ")),
            "{kind} was not found on a page that is all wrong: {wrong}"
        );
    }
    for name in PICTURED {
        for picture in
            ["-desktop-light.png", "-desktop-dark.png", "-phone-light.png", "-phone-dark.png", ".pdf"]
        {
            assert!(folder.join(format!("{name}{picture}")).exists(), "{name}{picture}");
        }
    }
}

fn write(folder: &Path, name: &str, html: &str) {
    std::fs::write(folder.join(format!("{name}.html")), html).expect("a page below target");
}

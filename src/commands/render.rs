//! `testbed render`: prints the objects that `up` would create.

use serde_json::json;

use super::plan::Plan;
use super::{choice, print, progress};
use crate::cli::{Format, Global, Render};
use crate::manifest::Object;

pub fn render(args: Render, global: &Global) -> anyhow::Result<()> {
    let plan = Plan::make(&args.source, choice(global).namespace.as_deref())?;
    let progress = progress(global);
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    print(&match args.output {
        Format::Yaml => yaml(&plan.objects)?,
        Format::Json => json(&plan.objects)?,
    })
}

fn yaml(objects: &[Object]) -> anyhow::Result<String> {
    let documents: Vec<String> = objects.iter().map(|object| serde_yaml::to_string(&object.body)).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn json(objects: &[Object]) -> anyhow::Result<String> {
    let items: Vec<_> = objects.iter().map(|object| &object.body).collect();
    Ok(serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": items}))? + "\n")
}

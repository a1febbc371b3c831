//! `testbed render`: prints the objects that `up` would create.

use serde_json::json;

use crate::cli::{Format, Global, Render, Source};
use crate::console;
use crate::failure::{Advise, usage};
use crate::manifest::Object;
use crate::manifest::builtin::{self, With};
use crate::manifest::check::check_namespace;
use crate::manifest::setup::Setup;
use crate::run_id::RunId;
use crate::session::plan::{self, Plan};
use crate::yaml;

pub(super) fn render(args: Render, global: &Global) -> anyhow::Result<()> {
    if args.template {
        if !args.source.image_prefix.is_empty() {
            global
                .progress()
                .say("the images keep their names: --image-prefix counts when the manifest is used");
        }
        return console::print(&template(&args.source)?);
    }
    let plan = Plan::make(&args.source, true)?;
    plan.refused.check()?;
    if let Some(namespace) = global.choice().namespace {
        check_namespace(&plan.objects, &namespace, &plan.allowed)?;
    }
    let progress = global.progress();
    plan.warnings.iter().chain(&plan.warnings_in_cluster).for_each(|warning| progress.warn(warning));
    for (name, asked) in &plan.asked {
        if let Some(command) = asked.seed.iter().find_map(|seed| seed.commands().next()) {
            progress.warn(&format!(
                "{name}: the seed's command `{command}` is in no object: testbed up and run call it once the databases are ready"
            ));
        }
    }
    console::print(&match args.output {
        Format::Yaml => documents(&plan.objects)?,
        Format::Json => json(&plan.objects)?,
    })
}

/// The built-in databases as text with variables in it, comments included.
fn template(source: &Source) -> anyhow::Result<String> {
    if source.with.is_empty() || !source.manifests.is_empty() || !source.filenames.is_empty() {
        return Err(usage("--template prints built-in databases: name them with --with, and no manifest"));
    }
    let params = plan::params(&source.param)?;
    // Stand-ins that occur nowhere else in the text.
    let (run_id, password) = (RunId::generate(), plan::password());
    let withs = plan::withs(source)?;
    let text = |with: &With| {
        let setup = Setup::read(with, &params, &source.places)?.in_cluster(with, &source.places)?;
        if !setup.objects(with, &run_id).is_empty() {
            return Err(usage(format!("--template: {} has set-up scripts, which may look like templates themselves", with.name)))
                .hint("leave out init and seed, and put a ConfigMap of your own into the manifest; or print the manifest without --template");
        }
        if builtin::wants_tls(with, &params)? {
            return Err(usage(format!(
                "--template: each run makes {}'s certificates, which no template can hold; leave out tls",
                with.name
            )));
        }
        builtin::render(with, &run_id, &params, &setup, &password, None)
    };
    let texts = withs.iter().map(text);
    let text = texts.collect::<anyhow::Result<Vec<_>>>()?.join("---\n");
    Ok(text
        .replace(run_id.as_str(), "$(context.pipelineRun.uid)")
        .replace(&password, "{{ generated_password }}"))
}

fn documents(objects: &[Object]) -> anyhow::Result<String> {
    let documents: Vec<String> =
        objects.iter().map(|object| yaml::write(&object.body)).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn json(objects: &[Object]) -> anyhow::Result<String> {
    let items: Vec<_> = objects.iter().map(|object| &object.body).collect();
    Ok(serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": items}))? + "\n")
}

//! `testbed doctor`: tells before a first run what would fail. Creates nothing.

mod local;
mod report;

use crate::cli::{Doctor, DoctorFormat, Global};
use crate::console;
use crate::doctor::{Status, Verdict};
use crate::manifest::check::check_namespace;
use crate::runtime::kubernetes::doctor::{self, Planned};
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::session::chosen::Chosen;
use crate::session::plan::Plan;
use crate::session::which;

/// What stands for all where nothing is named: here each has its server, in a cluster all are alike.
const IN_CLUSTER: [&str; 1] = ["postgres"];
const HERE: [&str; 3] = ["postgres", "mariadb", "mysql"];

/// Returns the exit code: 1 if something would fail. Nothing is printed where `up` would have a usage error.
pub(super) async fn doctor(mut args: Doctor, global: &Global) -> anyhow::Result<u8> {
    let progress = global.progress();
    let chosen = Chosen::of(global)?;
    let source = &mut args.source;
    let is_named = !(source.with.is_empty() && source.manifests.is_empty() && source.filenames.is_empty());
    if !is_named {
        let stand_ins: &[&str] = if matches!(chosen, Chosen::Local(_)) { &HERE } else { &IN_CLUSTER };
        source.with = stand_ins.iter().map(ToString::to_string).collect();
        progress.say(&format!(
            "no database and no manifest is named: looking for what --with {} needs",
            source.with.join(",")
        ));
    }
    let plan = Plan::make(source, chosen.is_cluster())?;
    let mut verdicts: Vec<Verdict> =
        plan.warnings.iter().map(|warning| Verdict::warning("manifest", warning)).collect();
    if let Err(error) = plan.refuse_nothing(false) {
        verdicts.push(Verdict::from_error("databases", &error).as_warning());
    }
    verdicts.extend(match chosen {
        Chosen::Local(why) => local::examine(&plan, &which::project(global)?, is_named, why).await,
        Chosen::Cluster(choice) => in_cluster(&plan, &choice).await?,
    });
    match args.output {
        DoctorFormat::Json => console::print(&console::json(&verdicts)?)?,
        DoctorFormat::Text => {
            console::show_coloured(&report::text(&verdicts, console::is_colourful()))?;
        }
    }
    Ok(u8::from(verdicts.iter().any(|verdict| verdict.status == Status::Problem)))
}

/// What `up` would refuse of the manifest, and what the cluster would.
async fn in_cluster(plan: &Plan, choice: &Choice) -> anyhow::Result<Vec<Verdict>> {
    let cluster = Cluster::connect(choice).await?;
    check_namespace(&plan.objects, &cluster.namespace, &plan.allowed)?;
    let Plan { run_id, objects, allowed, discovery, refused, .. } = plan;
    let refused = refused.check().err().map(|error| Verdict::from_error("policy", &error));
    let redactor = plan.redactor();
    let namespace = cluster.namespace.as_str();
    let verdicts = doctor::examine(
        &cluster,
        &Planned { namespace, run_id, objects, allowed, discovery, redactor: &redactor },
    )
    .await;
    let warnings = plan.warnings_in_cluster.iter().map(|warning| Verdict::warning("manifest", warning));
    Ok(warnings.chain(refused).chain(verdicts).collect())
}

//! `testbed gc`: removes what runs have left behind, those of this machine and, where a cluster is named,
//! those in the cluster.

use serde::Serialize;

use super::chosen::Chosen;
use super::{archiving, cluster, hand_over, local};
use crate::cli::{Gc, GcFormat, Global};
use crate::console;
use crate::deadline;
use crate::failure::{Advise, usage};
use crate::progress::Progress;
use crate::words::count;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leftover {
    pub run_id: String,
    pub runtime: &'static str,
    pub namespace: Option<String>,
    /// How many objects of the cluster were removed, or would be.
    pub objects: Option<usize>,
    /// Why it counts as left behind: a word for programs.
    pub reason: &'static str,
    /// The same for people.
    pub because: String,
    pub removed: bool,
    pub error: Option<String>,
}

impl Leftover {
    /// Says that the run was removed, or would be, and keeps it for the report.
    pub(crate) fn tell(self, found: &mut Vec<Self>, progress: &Progress) {
        let verb = if self.removed { "removed" } else { "would remove" };
        let place = match (&self.namespace, self.objects) {
            (Some(namespace), Some(objects)) => {
                format!(" in namespace {namespace} ({})", count(objects, "object"))
            }
            _ => String::new(),
        };
        progress.say(&format!("{verb} run {}{place}: {}", self.run_id, self.because));
        found.push(self);
    }
}

/// Removes it, or tells what would be removed.
///
/// # Errors
/// What could not be removed; exit code 5.
pub(crate) async fn gc(args: Gc, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let deadline = deadline::after(args.timeout);
    let chosen = Chosen::of(global)?;
    if let Chosen::Local(why) = chosen
        && (args.all_namespaces || args.pipeline_runs)
    {
        return Err(usage(format!("--all-namespaces and --pipeline-runs are for a cluster ({why})")))
            .hint("pass --context, --kubeconfig or --runtime kubernetes");
    }
    let recorder = archiving::of_removal(&args.archiving, progress);
    let mut found = Vec::new();
    // Neither part keeps the other from its work.
    let here = local::gc::gc(&args, &recorder, &mut found, progress).await;
    let there = match chosen {
        Chosen::Cluster(choice) => {
            cluster::gc::gc(&args, &choice, &recorder, deadline, &mut found, progress).await
        }
        Chosen::Local(_) => {
            if found.is_empty() && matches!(here, Ok(0)) {
                progress.say("nothing to remove on this machine");
            }
            Ok(())
        }
    };
    recorder.finish(progress).await;
    if args.output == GcFormat::Json {
        hand_over(console::json(&found)?).await?;
    }
    if let (Err(error), Err(_)) = (&here, &there) {
        progress.warn_of(error);
    }
    there.and(here.map(drop))
}

//! `testbed gc`: removes what runs have left behind, those of this machine and, where a cluster is named, those in the cluster.

use serde_json::{Value, json};

use super::chosen::Chosen;
use super::{archiving, cluster, hand_over, local};
use crate::cli::{Gc, GcFormat, Global};
use crate::deadline;
use crate::failure::{Advise, usage};
use crate::progress::Progress;

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
            .hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod");
    }
    let recorder = archiving::of_removal(&args.archiving, progress);
    let mut found = Vec::new();
    // Neither part keeps the other from its work.
    let here = local::gc::gc(&args, &recorder, &mut found, progress).await;
    let there = match chosen {
        Chosen::Cluster(choice) => cluster::gc::gc(&args, &choice, &recorder, deadline, &mut found, progress).await,
        Chosen::Local(_) => Ok(()),
    };
    recorder.finish(progress).await;
    if args.output == GcFormat::Json {
        hand_over(json(&found)?).await?;
    }
    if let (Err(error), Err(_)) = (&here, &there) {
        progress.warn_of(error);
    }
    there.and(here)
}

fn json(found: &[Leftover]) -> anyhow::Result<String> {
    let items: Vec<Value> = found
        .iter()
        .map(|Leftover { run_id, runtime, namespace, objects, reason, because, removed, error }| {
            json!({
                "runId": run_id, "runtime": runtime, "namespace": namespace, "objects": objects, "reason": reason, "because": because,
                "removed": removed, "error": error,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&items)? + "\n")
}

//! The PipelineRun with which a holder ends.

use kube::ResourceExt;

use crate::cli;
use crate::cli::said;
use crate::failure::usage;
use crate::lock::state::PipelineRun;
use crate::progress::Progress;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::pipeline_run::{Found, find};

/// Who was named.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    pipeline_run: PipelineRun,
    /// By `--holder`, and not just by the pod's labels.
    by_hand: bool,
}

/// The PipelineRun from `--holder`, else the pod's labels. It is looked up, as whoever waits will do: one
/// that does not exist there counts as gone, and would be a holder for no time at all.
pub(super) async fn pipeline_run(
    holder: Option<&str>,
    told: &cli::PipelineRun,
    cluster: &Cluster,
    progress: &Progress,
) -> anyhow::Result<Option<PipelineRun>> {
    let Some(Named { pipeline_run, by_hand }) = named(holder, told)? else { return Ok(None) };
    let (name, namespace) = (&pipeline_run.name, &cluster.namespace);
    let why = match find(cluster, name).await? {
        Found::There(found) if pipeline_run.uid.is_none() || pipeline_run.uid == found.uid() => {
            return Ok(Some(PipelineRun { uid: found.uid(), ..pipeline_run }));
        }
        // The pod's own labels are right about its own namespace.
        Found::Forbidden if by_hand || cluster.home.as_ref() == Some(namespace) => {
            let by = if pipeline_run.uid.is_some() { "uid" } else { "name" };
            progress.warn(&format!(
                "PipelineRun {name} may not be read here (get on pipelineruns): whoever waits goes by its {by}, or by the ttl"
            ));
            return Ok(Some(pipeline_run));
        }
        Found::There(_) => {
            format!("PipelineRun {name} of namespace {namespace} is another one, with another uid")
        }
        Found::Nowhere => format!("namespace {namespace} has no PipelineRun {name}"),
        Found::NoKind => "the cluster has no PipelineRuns".to_owned(),
        Found::Forbidden => {
            format!("PipelineRun {name} may not be read in namespace {namespace} (get on pipelineruns)")
        }
    };
    if by_hand {
        return Err(usage(format!("--holder pipelinerun/{name}: {why}")));
    }
    progress.warn(&format!("{why}: only the ttl tells when this lock is abandoned"));
    Ok(None)
}

fn named(holder: Option<&str>, told: &cli::PipelineRun) -> anyhow::Result<Option<Named>> {
    let told = said(&told.name).map(|name| PipelineRun { name, uid: said(&told.uid) });
    let Some(holder) = holder else {
        return Ok(told.map(|pipeline_run| Named { pipeline_run, by_hand: false }));
    };
    let name = match holder.split_once('/') {
        None if holder == "none" => return Ok(None),
        Some(("pipelinerun" | "pipelineruns" | "pr", name)) if !name.is_empty() => name,
        _ => return Err(usage(format!("--holder {holder}: write pipelinerun/NAME, or none"))),
    };
    let uid = told.filter(|told| told.name == name).and_then(|told| told.uid);
    Ok(Some(Named { pipeline_run: PipelineRun { name: name.to_owned(), uid }, by_hand: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_by_hand_or_by_the_pods_labels() {
        let told = cli::PipelineRun { name: Some("build-7".into()), uid: Some("u".into()) };
        let read = |holder: Option<&str>| {
            let named = named(holder, &told).map_err(|error| error.to_string());
            named.map(|named| {
                named.map(|named| (named.pipeline_run.name, named.pipeline_run.uid, named.by_hand))
            })
        };
        let one = |name: &str, uid: Option<&str>, by_hand| {
            Ok(Some((name.to_owned(), uid.map(str::to_owned), by_hand)))
        };
        assert_eq!(read(None), one("build-7", Some("u"), false));
        assert_eq!(read(Some("pipelinerun/build-7")), one("build-7", Some("u"), true));
        assert_eq!(read(Some("pr/other")), one("other", None, true));
        assert_eq!(read(Some("none")), Ok(None));
        for wrong in ["build-7", "pipelinerun/", "taskrun/build-7", ""] {
            assert!(
                read(Some(wrong)).is_err_and(|error| error.contains("write pipelinerun/NAME")),
                "{wrong}"
            );
        }
    }
}

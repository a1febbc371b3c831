//! `testbed lock show`: who holds locks, who waits for them, and who has abandoned one.

use std::time::Duration;

use serde_json::{Value, json};

use super::{which, words};
use crate::cli::{Global, LockShow, StatusFormat};
use crate::console;
use crate::deadline;
use crate::lock::abandonment::Abandonment;
use crate::lock::object::{Target, Version, list};
use crate::lock::pipeline_run_watch;
use crate::lock::replicas::{replicas, scaled_by_hand};
use crate::lock::state::{Holder, Waiter};
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::pipeline_run::Life;
use crate::table::table;

/// How long the API server may take to tell.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a lock was abandoned, and why; `None` where only watching for the ttl shows that.
type Abandoned = (Option<bool>, String);

struct Shown {
    target: Target,
    version: Version,
    /// For each holder.
    abandoned: Vec<Abandoned>,
}

pub(super) async fn show(args: LockShow, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    let cluster = which::connect(global).await?;
    let shown = cluster.by(deadline::after(TIMEOUT), TIMEOUT, look(&args, &cluster)).await?;
    for Shown { target, version, .. } in &shown {
        if let Some(what) = scaled_by_hand(version) {
            progress.warn(&format!("{target}: {what}"));
        }
    }
    if shown.is_empty() {
        progress.say(&format!("no locks in namespace {}", cluster.namespace));
    }
    match args.output {
        StatusFormat::Table => console::show(&columns(&shown)),
        StatusFormat::Json => console::print(&console::json(&shown.iter().map(json).collect::<Vec<_>>())?),
    }
}

async fn look(args: &LockShow, cluster: &Cluster) -> anyhow::Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for (target, version) in find(args, cluster).await? {
        let mut abandoned = Vec::new();
        for holder in &version.lock.holders {
            let status = pipeline_run_watch::look(cluster, &holder.terms).await;
            abandoned.push(is_abandoned(holder, status));
        }
        shown.push(Shown { target, version, abandoned });
    }
    Ok(shown)
}

async fn find(args: &LockShow, cluster: &Cluster) -> anyhow::Result<Vec<(Target, Version)>> {
    let targets = match &args.on {
        Some(on) => vec![which::workload(cluster, on)?],
        None if args.names.is_empty() => return list(cluster, args.selector.as_deref()).await,
        None => args.names.iter().map(|name| which::lease(cluster, name)).collect::<Result<_, _>>()?,
    };
    let mut found = Vec::new();
    for target in targets {
        if let Some(version) = target.read().await? {
            found.push((target, version));
        }
    }
    Ok(found)
}

fn is_abandoned(holder: &Holder, status: Life) -> Abandoned {
    let idle = Duration::from_millis(holder.idle_millis);
    let abandonment = Abandonment::of(holder, status, idle);
    let name = holder.terms.pipeline_run_name();
    let why = match abandonment {
        Abandonment::Over => format!("PipelineRun {name} is over"),
        Abandonment::Running => format!("PipelineRun {name} goes on"),
        Abandonment::Never => "held until it is released".into(),
        Abandonment::Expired => format!("not renewed for {}", humantime::format_duration(idle)),
        Abandonment::In(_) => String::new(),
    };
    (abandonment.rest().map_or(Some(false), |rest| rest.is_zero().then_some(true)), why)
}

fn columns(shown: &[Shown]) -> String {
    let lines = shown.iter().flat_map(|one| {
        let (name, lock) = (&one.target.name, &one.version.lock);
        let mut lines: Vec<_> = lock
            .holders
            .iter()
            .zip(&one.abandoned)
            .map(|(holder, abandoned)| held(name, holder, abandoned))
            .collect();
        if lines.is_empty() {
            lines.push([name, "-", "free", "-", "-", "-", "-"].map(str::to_owned));
        }
        lines.extend(lock.queue.iter().enumerate().map(|(place, waiter)| waits(name, place, waiter)));
        lines
    });
    table(["LOCK", "RUN", "STATE", "SINCE", "RENEWALS", "TTL", "PIPELINERUN"], lines)
}

fn held(name: &str, holder: &Holder, (abandoned, why): &Abandoned) -> [String; 7] {
    let state = if *abandoned == Some(true) { format!("abandoned ({why})") } else { "held".to_owned() };
    let ttl =
        holder.terms.ttl().map_or_else(|| "-".to_owned(), |ttl| humantime::format_duration(ttl).to_string());
    let run = holder.terms.pipeline_run.as_ref().map_or("-", |run| &run.name);
    let id = holder.identity.id.clone();
    [name.into(), id, state, words::since(holder.since), holder.renewals.to_string(), ttl, run.into()]
}

fn waits(name: &str, place: usize, waiter: &Waiter) -> [String; 7] {
    let state = format!("{} in the queue", words::ordinal(place + 1));
    let dash = || "-".to_owned();
    let (id, since) = (waiter.identity.id.clone(), words::since(waiter.since));
    [name.into(), id, state, since, waiter.beats.to_string(), dash(), dash()]
}

fn json(one: &Shown) -> Value {
    let lock = &one.version.lock;
    let holders = lock.holders.iter().zip(&one.abandoned).map(|(holder, (abandoned, why))| {
        let terms = &holder.terms;
        json!({
            "id": holder.identity.id,
            "session": holder.identity.session,
            "since": holder.since.to_string(),
            "fence": holder.fence,
            "renewals": holder.renewals,
            "ttlSeconds": terms.ttl().map(|ttl| ttl.as_secs_f64()),
            "pipelineRun": terms.pipeline_run.as_ref().map(|run| &run.name),
            "notRenewedForSeconds": Duration::from_millis(holder.idle_millis).as_secs_f64(),
            "abandoned": abandoned,
            "why": (!why.is_empty()).then_some(why),
        })
    });
    let queue = lock.queue.iter().enumerate().map(|(place, waiter)| {
        json!({
            "id": waiter.identity.id, "session": waiter.identity.session, "place": place + 1, "since": waiter.since.to_string(), "beats": waiter.beats,
        })
    });
    json!({
        "name": one.target.name,
        "object": one.target.object_name(),
        "permits": lock.permits,
        "fence": lock.fence,
        "holders": holders.collect::<Vec<_>>(),
        "queue": queue.collect::<Vec<_>>(),
        "replicas": replicas(&one.version),
        "scaledByHand": scaled_by_hand(&one.version).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(text: &str) -> Holder {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn who_is_gone_and_who_may_be() {
        let text = r#"{"id": "r", "since": "2026-01-01T00:00:00Z", "fence": 1, "ttlMillis": 1000, "pipelineRun": {"name": "p"}, "idleMillis": 1500}"#;
        let run = holder(text);
        assert_eq!(is_abandoned(&run, Life::Gone).0, Some(true));
        assert_eq!(is_abandoned(&run, Life::Running).0, Some(false));
        assert_eq!(is_abandoned(&run, Life::Unreadable), (Some(true), "not renewed for 1s 500ms".into()));
        let asked = holder(&text.replace("\"ttlMillis\"", "\"ttlIsAskedFor\": true, \"ttlMillis\""));
        assert_eq!(is_abandoned(&asked, Life::Running).0, Some(true));
        let fresh = holder(&text.replace("1500", "10"));
        assert_eq!(is_abandoned(&fresh, Life::Unreadable).0, None);
        let lasting = holder(r#"{"id": "r", "since": "2026-01-01T00:00:00Z", "fence": 1}"#);
        assert_eq!(is_abandoned(&lasting, Life::Unreadable).0, Some(false));
    }
}

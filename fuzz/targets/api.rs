//! The Kubernetes API's answers, wherever testbed reads them: gc's survey and verdict, locks, pods and events
//! with their diagnosis, what is collected of a run, what a teardown finds, and what a look ahead asks.
#![no_main]

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use libfuzzer_sys::fuzz_target;
use testbed::database::Discovery;
use testbed::lock::object::{self, Kind, Target};
use testbed::lock::replicas;
use testbed::lock::watchlist::Watchlist;
use testbed::redact::Redactor;
use testbed::runtime::kubernetes::diagnose::run::Run;
use testbed::runtime::kubernetes::diagnose::{Budgets, Subject};
use testbed::runtime::kubernetes::events::{EventWatch, Past};
use testbed::runtime::kubernetes::gc::verdict::Measure;
use testbed::runtime::kubernetes::gc::{pipeline_runs, survey};
use testbed::runtime::kubernetes::maker::Maker;
use testbed::runtime::kubernetes::pods::{PodWatch, Whose};
use testbed::runtime::kubernetes::{Cluster, clock, collect, doctor, teardown, timeline};
use testbed_fuzz::{RUN, cluster, with_a_clock, without_waiting};
use tokio::time::timeout;

/// How long a watch is followed, by a clock that stands still until nothing is left to do.
const WATCHED: Duration = Duration::from_secs(30);

fuzz_target!(|data: &[u8]| {
    let Some((what, data)) = data.split_first() else { return };
    let runtime = if *what == b'c' { with_a_clock() } else { without_waiting() };
    runtime.block_on(async {
        let cluster = cluster::saying(data).await;
        match what {
            b'g' => gc(&cluster).await,
            b'l' => locks(&cluster).await,
            b'p' => pods(&cluster).await,
            b'c' => collected(&cluster).await,
            b't' => drop(timeout(WATCHED, teardown::find(&cluster, &RUN)).await),
            _ => ahead(&cluster).await,
        }
    });
});

async fn gc(cluster: &Cluster) {
    let Ok(now) = clock::now(cluster).await else { return };
    let Ok(mut found) = survey::survey(cluster, true).await else { return };
    let Ok(looked) = pipeline_runs::look(cluster, &mut found.kinds, &found.runs).await else { return };
    let measure = Measure { now, grace: Duration::from_secs(60), lives: looked.lives };
    for run in &found.runs {
        match run.statements.judge(&measure) {
            Ok(verdict) => drop(verdict.reason.told(now)),
            Err(stay) => drop(stay.told(now)),
        }
    }
}

async fn locks(cluster: &Cluster) {
    let _ = object::list(cluster, None).await;
    let target = Target::new(cluster, Kind::Deployment, "db");
    let mut watchlist = Watchlist::default();
    if let Ok(Some(version)) = target.read().await {
        watchlist.look(&version.uid, &version.lock, Duration::ZERO);
        version.lock.holders.iter().map(|holder| watchlist.idle(holder, WATCHED)).for_each(|_| {});
        let _ = (
            replicas::replicas(&version),
            replicas::scaled_by_hand(&version),
            replicas::is_seen(&version, 1, Some(1)),
        );
    }
    let mut changes = target.watch();
    let _ = timeout(WATCHED, async { while changes.next().await.is_some() {} }).await;
}

async fn pods(cluster: &Cluster) {
    let (run, _failure) = PodWatch::start(cluster, Whose::Run(RUN.clone()), |_| {});
    let events = EventWatch::start(cluster, vec!["db".into()], Past::Counts);
    let budgets = Budgets { pull: Duration::from_secs(60), capacity: Duration::from_secs(60) };
    let subject = |workload: &str, ends| Subject {
        workload: workload.into(),
        databases: vec!["db".into()],
        ends,
        kubectl: "kubectl -n test".into(),
        replicas: 1,
        stays: false,
    };
    let mut diagnosis = Run::new(
        vec![subject("Pod/db", false), subject("Deployment/app", false), subject("Job/job", true)],
        budgets,
    );
    let (mut seen, events) = (run.pods(), events.events());
    let _ = timeout(WATCHED, async {
        while seen.changed().await.is_ok() {
            let (pods, events) = (seen.borrow_and_update().clone(), events.borrow().clone());
            for pod in pods.values() {
                timeline::signs(pod, "db", &events.about("Pod", "db", None));
            }
            diagnosis.examine(&pods, &events, Instant::now());
            diagnosis.examine(&pods, &events, Instant::now() + Duration::from_secs(3600));
        }
    })
    .await;
    let makers: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), "test", &ApiResource::erase::<Deployment>(&()));
    if let Ok(object) = makers.get("app").await
        && let Ok(maker) = Maker::read("Deployment", &object)
    {
        seen.borrow().values().map(|pod| maker.has_made(pod)).for_each(|_| {});
    }
}

async fn collected(cluster: &Cluster) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
    collect::collect(cluster, &RUN, collect::Known::nothing(&RUN), deadline).await;
}

async fn ahead(cluster: &Cluster) {
    let discovery = Discovery::default();
    let redactor = Redactor::new(RUN.as_str());
    let planned = doctor::Planned {
        namespace: "test",
        run_id: &RUN,
        objects: &[],
        allowed: &[],
        discovery: &discovery,
        redactor: &redactor,
    };
    doctor::examine(cluster, &planned).await;
}

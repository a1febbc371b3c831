//! From a plan to databases in a cluster that are ready, as the addresses that somebody asks for.

use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::failure_watcher::{FailureWatcher, Scope};
use super::ready::{self, Records};
use super::seed::{self, Filling};
use super::{NOTHING, Pods};
use super::{reach, wait};
use crate::bug;
use crate::cli::OnFailure;
use crate::failure::{Advise, Exit, hints_of};
use crate::history::record::{Database, Moment, What};
use crate::manifest::check::check_namespace;
use crate::manifest::owner::Owner;
use crate::manifest::stamp;
use crate::output::Model;
use crate::probe::{Container, Found};
use crate::progress::Progress;
use crate::recorder::{Event, Recording, origin};
use crate::runtime::kubernetes::collect::{self, describe};
use crate::runtime::kubernetes::create::{self, Created};
use crate::runtime::kubernetes::diagnose::Budgets;
use crate::runtime::kubernetes::events::Past;
use crate::runtime::kubernetes::forward::Forward;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::Whose;
use crate::runtime::kubernetes::teardown::Timeout;
use crate::runtime::kubernetes::timeline::Follower;
use crate::runtime::kubernetes::{Cluster, list, references};
use crate::session::config::Config;
use crate::session::plan::Plan;
use crate::session::waits::Waits;
use crate::session::{Call, Failed, Maker, Session, Stop, archiving};
use crate::time::Time;
use crate::words::count;

/// How long objects that are on their way to the API server get once nobody wants them any more: they cannot
/// be called back, and would come to be after a teardown. Whoever cancels an `up` does not wait long.
const CREATION: Duration = Duration::from_secs(1);
/// The same for `run`, which removes everything in any case.
const CREATION_OF_RUN: Duration = Duration::from_secs(30);

pub(crate) struct Up {
    /// What the tests get to know.
    pub model: Model,
    pub ready: Records,
    /// The ports of this machine that lead to them, if there are any.
    pub forwards: Vec<Forward>,
    /// The watch on the run's pods, which the ports need to find them.
    pub observer: Observer,
    /// The databases' containers when they were ready.
    pub before: Vec<Container>,
}

/// The databases' containers as they are now.
pub(super) fn containers(observer: &Observer) -> Vec<Container> {
    observer.outsides().iter().map(|outside| outside.borrow().container.clone()).collect()
}

/// All databases are ready, and this is what proved it.
fn is_up(plan: &Plan, found: &[Found], ready: &Records) -> Event {
    let proven = plan.discovery.databases.iter().zip(found).map(|(database, found)| Database {
        name: database.name.clone(),
        workload: Some(database.workload.clone()),
        container: Some(database.container.clone()),
        version: found.version.clone(),
        evidence: ready
            .get(&database.workload)
            .and_then(|containers| containers.get(&database.container))
            .cloned(),
        timeline: vec![Moment { what: What::Ready, at: found.at, detail: String::new() }],
        ..Database::default()
    });
    Event::Ready { databases: proven.collect(), at: Time::now() }
}

/// The recording of a run that is about to be made. Its objects get the record's id: the one of an earlier
/// call where that has made some of the run already.
pub(super) async fn recording<'a>(call: &mut Call<'a>, cluster: &Cluster) -> anyhow::Result<Recording<'a>> {
    let Call { maker, plan, recorder, .. } = call;
    let source = &maker.making().source;
    let pipeline_run = archiving::pipeline_run(&source.pipeline_run);
    let mut record = origin::begin(maker.name(), plan.run_id.as_str(), "kubernetes", &pipeline_run);
    record.origin.cluster = Some(cluster.server.clone());
    record.origin.namespace = Some(cluster.namespace.clone());
    let recording = Recording::of_maker(recorder, record, pipeline_run);
    if recorder.is_on()
        // A run id of its own making is nobody else's.
        && source.run_id.is_some()
        && let Some(earlier) = earlier(cluster, plan).await
    {
        recording.join(earlier);
    }
    if let Some(id) = recording.id() {
        stamp::note_record(&mut plan.objects, &id)?;
    }
    Ok(recording)
}

/// The record of a run that an earlier call has begun to make.
async fn earlier(cluster: &Cluster, plan: &Plan) -> Option<String> {
    // Without this look, the run has one more record: no reason to fail.
    let runs = list::runs(cluster, Some(&plan.run_id)).await.ok()?;
    let run = runs.into_values().next()?;
    let metadata =
        run.pods.iter().map(|pod| &pod.metadata).chain(run.services.iter().map(|service| &service.metadata));
    metadata
        .filter_map(|metadata| metadata.annotations.as_ref()?.get(stamp::RECORD_ANNOTATION))
        .next()
        .cloned()
}

/// The first object is about to be made.
fn begun(plan: &Plan) -> Event {
    let redactor = plan.redactor();
    let databases = plan.discovery.databases.iter().map(|database| describe(database, &redactor)).collect();
    // The cluster tells of the objects later, as they are then.
    Event::Begun { objects: Vec::new(), databases, redactor }
}

/// Asks the cluster for what the plan needs to know of it. Nothing is created yet.
///
/// # Errors
/// A usage error with the object; a failed request, explained.
async fn prepare(
    plan: &mut Plan,
    cluster: &Cluster,
    config: &mut Config,
    may_be_none: bool,
    progress: &Progress,
) -> anyhow::Result<Kinds> {
    check_namespace(&plan.objects, &cluster.namespace, &plan.allowed)?;
    let missing = std::mem::take(&mut plan.discovery.missing);
    let telling = std::mem::take(&mut plan.discovery.telling);
    if !missing.is_empty() || !telling.is_empty() {
        references::fetch(cluster, &missing, &mut plan.data).await?;
        // What the run can do without is no reason to fail.
        if let Err(error) = references::fetch(cluster, &telling, &mut plan.data).await {
            progress.warn(&format!("{error:#}"));
        }
        plan.rediscover()?;
        config.check(plan, progress)?;
        plan.refuse_nothing(may_be_none)?;
    }
    let mut kinds = Kinds::new(cluster);
    kinds.learn(&plan.objects).await?;
    kinds.refuse_cluster_scoped(&plan.objects, &plan.allowed)?;
    hand_over(plan, cluster, &kinds, progress);
    Ok(kinds)
}

/// Makes the PipelineRun the owner of the objects. An owner has to be in their namespace: one that is not
/// would cost them their life.
fn hand_over(plan: &mut Plan, cluster: &Cluster, kinds: &Kinds, progress: &Progress) {
    let Some(owner) = &plan.owner else { return };
    if cluster.home.as_ref() != Some(&cluster.namespace) {
        let Owner { name, .. } = owner;
        progress.explain(&format!(
            "PipelineRun {name} is not in namespace {}: it does not own the objects",
            cluster.namespace
        ));
        return;
    }
    let owned = plan
        .objects
        .iter_mut()
        .filter(|object| object.is_in(&cluster.namespace) && !kinds.is_cluster_scoped(&object.kind_name()));
    owned.for_each(|object| owner.adopt(object));
}

/// Creates the objects, and says how many.
async fn create(
    plan: &Plan,
    cluster: &Cluster,
    kinds: &Kinds,
    time: Timeout,
    progress: &Progress,
) -> anyhow::Result<Created> {
    let created = create::create(cluster, kinds, &plan.objects, &plan.run_id, time, progress)
        .await
        .kind("creation", None)?;
    progress.say(&summary(plan, &created));
    let redactor = plan.redactor();
    for (text, labels) in &created.warnings {
        progress.warn(&format!("{}: {}", labels.join(", "), redactor.redact(text)));
    }
    Ok(created)
}

/// Resolves when `--timeout` is over before there are any objects to tell of: what the API server does
/// instead is the reason.
pub(super) async fn late(deadline: Instant, timeout: Duration, cluster: &Cluster) -> anyhow::Error {
    sleep_until(deadline).await;
    let why =
        cluster.trouble().unwrap_or_else(|| format!("the API server {} is slow to answer", cluster.server));
    let error = anyhow!("not ready within {}: {why}", humantime::format_duration(timeout));
    error.kind("not-ready", None).exit(Exit::NotReady)
}

/// From a plan to databases that are ready, unless somebody ends it.
///
/// # Errors
/// What failed, or the interruption; exit codes 3 and 4 when the databases did not, or cannot, become ready.
pub(super) async fn make(
    pods: &mut Pods,
    session: &mut Session<'_>,
    mut stop: Stop<'_>,
) -> Result<Up, Failed> {
    let created = create_all(pods, session, stop.as_mut()).await?;
    let created = pods.created.insert(created);
    let up = tokio::select! {
        up = bug::caught(bring_up(&pods.cluster, created, session)) => up,
        error = stop => Err(error),
    };
    up.map_err(Failed::Amid)
}

/// Creates the objects, unless somebody cancels it or the time is over.
async fn create_all(pods: &Pods, session: &mut Session<'_>, mut stop: Stop<'_>) -> Result<Created, Failed> {
    let cluster = &pods.cluster;
    let Call { maker, progress, deadline, .. } = session.call;
    let told = maker.making().timeout;
    let too_late = pin!(late(deadline, told, cluster));
    let mut cancelled = pin!(async {
        tokio::select! {
            error = stop.as_mut() => error,
            error = too_late => error,
        }
    });
    let Call { plan, config, .. } = &mut session.call;
    let kinds = tokio::select! {
        kinds = prepare(plan, cluster, config, maker.making().allow_none, progress) => kinds,
        error = &mut cancelled => Err(error).hint(NOTHING),
    };
    let kinds = kinds.map_err(Failed::Before)?;
    config.remove_older().map_err(Failed::Before)?;
    let (plan, recording) = (&session.call.plan, &session.recording);
    if recording.recorder().is_on() {
        recording.on(begun(plan));
    }
    let mut creation = pin!(bug::caught(create(plan, cluster, &kinds, Timeout { told, deadline }, progress)));
    let error = tokio::select! {
        created = &mut creation => {
            if let Ok(created) = &created {
                recording.on(Event::Created {
                    is_fresh: created.adopted.is_empty(),
                    record: created.adopted.iter().find_map(collect::record_of),
                });
            }
            // What there was when it panicked, nobody knows.
            return created.map_err(if bug::seen().is_some() { Failed::Amid } else { Failed::Before });
        }
        error = cancelled => error,
    };
    let limit = match maker {
        Maker::Up(_) => CREATION,
        Maker::Run(_) => told.clamp(CREATION, CREATION_OF_RUN),
    };
    match timeout(limit, creation).await {
        Ok(Err(failure)) => {
            let error = error.hint(format!("the creation failed as well: {failure:#}"));
            Err(Failed::Before(hints_of(&failure).into_iter().fold(error, crate::failure::Advise::hint)))
        }
        Ok(Ok(_)) | Err(_) => Err(Failed::Amid(error)),
    }
}

/// Takes over the passwords of an earlier `up` of this run: its Secrets hold what its servers were set up
/// with.
fn adopt(plan: &mut Plan, created: &Created) -> anyhow::Result<()> {
    if created.adopted.is_empty() {
        return Ok(());
    }
    for object in &created.adopted {
        if let Ok(secret) = object.clone().try_parse() {
            plan.data.add_secret(secret);
        }
    }
    plan.rediscover()
}

fn summary(plan: &Plan, created: &Created) -> String {
    match (created.fresh, created.adopted.len()) {
        (fresh, 0) => format!("created {}", count(fresh, "object")),
        (0, adopted) => format!("all {adopted} objects of run {} exist already", plan.run_id),
        (fresh, adopted) => format!("created {fresh} objects, {adopted} exist already"),
    }
}

/// From created objects to databases that are ready.
async fn bring_up(cluster: &Cluster, created: &Created, session: &mut Session<'_>) -> anyhow::Result<Up> {
    let Session { call: Call { maker, plan, config, progress, deadline, .. }, claim, recording, .. } =
        session;
    let args = maker.making();
    adopt(plan, created)?;
    // The passwords of an earlier call were not known when the run began.
    if !created.adopted.is_empty() {
        recording.know(plan.redactor());
    }
    let plan = &*plan;
    let databases = &plan.discovery.databases;
    let (observer, mut failure) = Observer::start(cluster, Whose::Run(plan.run_id.clone()), databases);
    let budgets = Budgets { pull: args.pull_timeout, capacity: args.capacity_timeout };
    // Whether what fails is still there afterwards, to be looked at.
    let stays = match maker {
        Maker::Up(_) => args.on_failure != Some(OnFailure::Delete) || !created.adopted.is_empty(),
        Maker::Run(_) => args.on_failure == Some(OnFailure::Keep),
    };
    let scope = Scope { discovery: &plan.discovery, redactor: plan.redactor(), stays, past: Past::Counts };
    let watcher = FailureWatcher::start(scope, cluster, budgets);
    let is_forwarded = matches!(maker, Maker::Up(up) if up.forward);
    let seeded = tokio::select! {
        seeded = seed::earlier(plan, cluster, created) => seeded?,
        error = late(*deadline, args.timeout, cluster) => return Err(error),
    };
    let stays_open = is_forwarded || matches!(maker, Maker::Run(_));
    let reach = tokio::select! {
        reach = reach::reach(plan, cluster, created, is_forwarded, stays_open, &observer, progress) => reach?,
        error = late(*deadline, args.timeout, cluster) => return Err(error),
    };
    let waits = Waits::default();
    let wait = wait::wait(plan, args.settle, &reach.targets, &observer, &waits, recording, progress);
    let follower = Follower { databases, recording, is_past: !created.adopted.is_empty() };
    let outcome = tokio::select! {
        outcome = timeout_at(*deadline, wait) => outcome,
        error = failure.reason() => return Err(error),
        mut lost = watcher.lost(&observer, progress) => {
            let script = seed::script_that_failed(plan, cluster, &mut lost).await;
            let error = watcher.report(lost).await;
            return Err(match script {
                Some(script) => error.context(watcher.redact(&script)),
                None => error,
            });
        }
        never = follower.follow(observer.pods(), watcher.events()) => match never {},
    };
    let evidence = outcome.map_err(|_| {
        let unready = observer.unready(&plan.discovery.workloads);
        let reasons: Vec<String> =
            progress.unfinished().into_iter().chain(unready).chain(cluster.trouble()).collect();
        let reasons = watcher.redact(&reasons.join("; "));
        let error = waits.in_vain(args.timeout, &reasons);
        match watcher.unread() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    });
    let found = evidence??;
    for (database, found) in databases.iter().zip(&found) {
        progress.explain(&format!(
            "{}: ready by {}: {}",
            database.name,
            found.evidence.kind(),
            found.evidence
        ));
    }
    let filling = Filling {
        plan,
        cluster,
        config,
        folder: claim.folder(),
        targets: &reach.targets,
        found: &found,
        observer: &observer,
        progress,
        deadline: *deadline,
        timeout: args.timeout,
    };
    tokio::select! {
        filled = filling.fill(&seeded) => filled?,
        error = failure.reason() => return Err(error),
        lost = watcher.lost(&observer, progress) => return Err(watcher.report(lost).await),
        never = follower.follow(observer.pods(), watcher.events()) => match never {},
    }
    // The tests of `run` get the addresses that lead there from here; `up` tells those inside the cluster,
    // unless asked to forward.
    let is_from_here = is_forwarded || matches!(maker, Maker::Run(_));
    if is_from_here || !cluster.inside {
        config.keep_authorities(plan, true)?;
    }
    // Who uses the addresses inside the cluster may be on another machine.
    if !is_from_here {
        config.leave_out_authorities();
    }
    let mut model = config.model(plan, |index, database| match reach.targets.get(index) {
        Some(target) if is_from_here => (&target.host, target.port),
        _ => (&database.host, database.port),
    });
    model.note_tls(found.iter().map(|found| found.over_tls));
    bug::provoke("ready", &config.text(&model)?);
    let ready = ready::records(plan, &found);
    claim.record.ready.clone_from(&ready);
    claim.record.seeded.extend(seed::names(plan));
    recording.on(is_up(plan, &found, &ready));
    let before = containers(&observer);
    Ok(Up { model, ready, forwards: reach.forwards, observer, before })
}

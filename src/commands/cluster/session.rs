//! From a plan to databases in a cluster that are ready, as the addresses that somebody asks for.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::bug;
use crate::cli::{Making, Source};
use crate::commands::archiving;
use crate::commands::config::Config;
use crate::commands::plan::Plan;
use crate::commands::waits::Waits;
use crate::failure::{Advise, Exit};
use crate::history::record::{Database, Moment, What};
use crate::location::Beyond;
use crate::manifest::check::check_namespace;
use crate::manifest::owner::Owner;
use crate::manifest::policy::Allowance;
use crate::manifest::stamp;
use crate::output::Model;
use crate::probe::Found;
use crate::progress::Progress;
use crate::recorder::{Event, Recorder, Recording, origin};
use crate::run_id::RunId;
use crate::runtime::kubernetes::collect::{self, Known, describe};
use crate::runtime::kubernetes::create::{self, Created};
use crate::runtime::kubernetes::diagnose::Budgets;
use crate::runtime::kubernetes::events::Past;
use crate::runtime::kubernetes::forward::Forward;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::Whose;
use crate::runtime::kubernetes::removal::Removal;
use crate::runtime::kubernetes::teardown::Timeout;
use crate::runtime::kubernetes::timeline::Course;
use crate::runtime::kubernetes::{Choice, Cluster, list, references};
use crate::state::Remembered;
use crate::time::Time;

use super::failure_watcher::{FailureWatcher, Scene};
use super::ready::{self, Records};
use super::{reach, wait};

/// A run whose databases are ready.
pub(crate) struct Session {
    /// What the tests get to know.
    pub model: Model,
    /// What proved that the databases are ready.
    pub ready: Records,
    /// The ports of this machine that lead to them, if there are any.
    pub forwards: Vec<Forward>,
    /// The watch on the run's pods, which the ports need to find them.
    pub observer: Observer,
    /// How each database came to be ready, in the order of the plan.
    pub found: Vec<Found>,
}

impl Session {
    /// All databases are ready, and this is what proved it.
    pub(crate) fn is_up(&self, plan: &Plan) -> Event {
        let proven = plan.discovery.databases.iter().zip(&self.found).map(|(database, found)| Database {
            name: database.name.clone(),
            workload: Some(database.workload.clone()),
            container: Some(database.container.clone()),
            version: found.version.clone(),
            evidence: self.ready.get(&database.workload).and_then(|containers| containers.get(&database.container)).cloned(),
            timeline: vec![Moment { what: What::Ready, at: found.at, detail: String::new() }],
            ..Database::default()
        });
        Event::Ready { databases: proven.collect(), at: Time::now() }
    }
}

/// The addresses that the tests get to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Those inside the cluster, wherever testbed runs.
    InCluster,
    /// Ports of this machine, even inside the cluster.
    Forwarded,
    /// Those that lead to the databases from where testbed runs.
    FromHere,
}

/// Says which run this is, and where.
pub(crate) fn announce(run_id: &RunId, cluster: &Cluster, progress: &Progress) {
    progress.say(&format!("run {run_id} in namespace {} of {} ({})", cluster.namespace, cluster.server, cluster.source));
}

/// The recording of a run that is about to be made by `called`. Its objects get the record's id: the one of an earlier call where that has made
/// some of the run already.
///
/// # Errors
/// An object that takes no annotation.
pub(crate) async fn recording<'a>(
    recorder: &'a Recorder,
    cluster: &Cluster,
    called: &str,
    source: &Source,
    plan: &mut Plan,
) -> anyhow::Result<Recording<'a>> {
    let pipeline_run = archiving::pipeline_run(&source.pipeline_run);
    let mut record = origin::begin(called, plan.run_id.as_str(), "kubernetes", &pipeline_run);
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
    let metadata = run.pods.iter().map(|pod| &pod.metadata).chain(run.services.iter().map(|service| &service.metadata));
    metadata.filter_map(|metadata| metadata.annotations.as_ref()?.get(stamp::RECORD_ANNOTATION)).next().cloned()
}

/// The first object is about to be made.
fn begun(plan: &Plan) -> Event {
    let redactor = plan.redactor();
    let databases = plan.discovery.databases.iter().map(|database| describe(database, &redactor)).collect();
    // The cluster tells of the objects later, as they are then.
    Event::Begun { objects: Vec::new(), databases, redactor }
}

/// The removal of a run that this call makes.
pub(crate) fn removal<'a>(plan: &'a Plan, cluster: &'a Cluster, recording: &'a Recording<'a>) -> Removal<'a> {
    let known = Known { redactor: plan.redactor(), secrets: plan.data.secret_names().map(str::to_owned).collect() };
    Removal::new(cluster, &plan.run_id, recording).knowing(known)
}

/// Collects what there is to know of a run that stays.
pub(crate) async fn collect(plan: &Plan, cluster: &Cluster, recording: &Recording<'_>) {
    let _ = removal(plan, cluster, recording).collect().await;
}

/// The places beyond its namespace in which a run is to have objects: its maker names them by allowing the objects that do.
pub(crate) fn beyond(plan: &Plan) -> Beyond {
    let namespaces = plan.objects.iter().filter_map(|object| object.namespace().map(str::to_owned)).collect();
    Beyond { namespaces, cluster_scoped: plan.allowed.contains(&Allowance::CLUSTER_SCOPED) }
}

/// The command that removes the run, from any folder.
pub(crate) fn down_command(choice: &Choice, cluster: &Cluster, run_id: &RunId) -> String {
    let Beyond { namespaces, cluster_scoped } = &cluster.location.beyond;
    let also: String = namespaces.iter().map(|namespace| format!(" --also-namespace {namespace}")).collect();
    let cluster_scoped = if *cluster_scoped { " --cluster-scoped" } else { "" };
    format!("testbed down --run-id {run_id} -n {}{also}{cluster_scoped}{}", cluster.namespace, choice.flags())
}

/// The hint that names it.
pub(crate) fn how_to_remove(choice: &Choice, cluster: &Cluster, run_id: &RunId) -> String {
    format!("remove it:  {}", down_command(choice, cluster, run_id))
}

/// The hint that says how to look at a run's pods.
pub(crate) fn how_to_look(cluster: &Cluster, run_id: &RunId) -> String {
    format!("look at it: {} describe pods -l {}", cluster.kubectl, run_id.selector().as_str())
}

/// What another command in the same folder has to know to find the run; of the config file, its path and the hash of its content.
pub(crate) fn memory(
    choice: &Choice,
    cluster: &Cluster,
    run_id: &RunId,
    folder: PathBuf,
    output: Option<(PathBuf, String)>,
    ready: Records,
) -> Remembered {
    Remembered {
        run_id: run_id.as_str().into(),
        kubeconfig: choice.kubeconfig.as_ref().map(|path| folder.join(path)),
        context: choice.context.clone(),
        namespace: cluster.namespace.clone(),
        beyond: cluster.location.beyond.clone(),
        local: false,
        output,
        folder,
        ready,
    }
}

/// Asks the cluster for what the plan needs to know of it. Nothing is created yet.
///
/// # Errors
/// A usage error with the object; a failed request, explained.
async fn prepare(plan: &mut Plan, cluster: &Cluster, config: &Config, progress: &Progress) -> anyhow::Result<Kinds> {
    check_namespace(&plan.objects, &cluster.namespace, &plan.allowed)?;
    if !plan.discovery.missing.is_empty() {
        let missing = std::mem::take(&mut plan.discovery.missing);
        references::fetch(cluster, &missing, &mut plan.data).await?;
        plan.rediscover()?;
        config.check(plan)?;
    }
    let mut kinds = Kinds::new(cluster);
    kinds.learn(&plan.objects).await?;
    kinds.refuse_cluster_scoped(&plan.objects, &plan.allowed)?;
    hand_over(plan, cluster, &kinds, progress);
    Ok(kinds)
}

/// Makes the PipelineRun the owner of the objects. An owner has to be in their namespace: one that is not would cost them their life.
fn hand_over(plan: &mut Plan, cluster: &Cluster, kinds: &Kinds, progress: &Progress) {
    let Some(owner) = &plan.owner else { return };
    if cluster.home.as_ref() != Some(&cluster.namespace) {
        let Owner { name, .. } = owner;
        progress.explain(&format!("PipelineRun {name} is not in namespace {}: it does not own the objects", cluster.namespace));
        return;
    }
    let owned = plan.objects.iter_mut().filter(|object| object.is_in(&cluster.namespace) && !kinds.is_cluster_scoped(&object.kind_name()));
    owned.for_each(|object| owner.adopt(object));
}

/// Creates the objects, and says how many.
///
/// # Errors
/// The first failure, explained; what this call has made is gone by then, or named in the error.
async fn create(plan: &Plan, cluster: &Cluster, kinds: &Kinds, time: Timeout, progress: &Progress) -> anyhow::Result<Created> {
    let created = create::create(cluster, kinds, &plan.objects, &plan.run_id, time, progress).await.kind("creation", None)?;
    progress.say(&summary(plan, &created));
    let redactor = plan.redactor();
    for (text, labels) in &created.warnings {
        progress.warn(&format!("{}: {}", labels.join(", "), redactor.redact(text)));
    }
    Ok(created)
}

/// Resolves when `--timeout` is over before there are any objects to tell of: what the API server does instead is the reason.
pub(crate) async fn late(cluster: &Cluster, args: &Making, deadline: Instant) -> anyhow::Error {
    sleep_until(deadline).await;
    let why = cluster.trouble().unwrap_or_else(|| format!("the API server {} is slow to answer", cluster.server));
    let error = anyhow!("not ready within {}: {why}", humantime::format_duration(args.timeout));
    Err::<(), _>(error).kind("not-ready", None).exit(Exit::NotReady).unwrap_err()
}

/// Why there are no databases.
pub(crate) enum Failed {
    /// Nothing that this call has made exists.
    Before(anyhow::Error),
    /// The run's objects are there, all of them or some.
    Amid(anyhow::Error),
}

/// How the creation of a run is cancelled.
pub(crate) struct Cancel<'a, C, B> {
    /// Takes down what happens.
    pub recording: &'a Recording<'a>,
    /// Resolves when somebody cancels it.
    pub cancelled: C,
    /// How long objects get to arrive that are on their way to the API server: they cannot be called back, and would come to be after a
    /// teardown.
    pub limit: Duration,
    /// Called just before the first object is made.
    pub begins: B,
    /// How long the whole command may take.
    pub time: Timeout,
}

/// [`prepare`] and [`create`], unless somebody cancels it.
///
/// # Errors
/// What failed, or the cancellation.
pub(crate) async fn create_unless(
    plan: &mut Plan,
    cluster: &Cluster,
    config: &Config,
    cancel: Cancel<'_, impl Future<Output = anyhow::Error> + Unpin, impl FnOnce()>,
    progress: &Progress,
) -> Result<Created, Failed> {
    let Cancel { recording, mut cancelled, limit, begins, time } = cancel;
    let kinds = tokio::select! {
        kinds = prepare(plan, cluster, config, progress) => kinds,
        error = &mut cancelled => Err(error),
    };
    let kinds = kinds.map_err(Failed::Before)?;
    // Before this run is remembered in the place of the one that has written it.
    config.remove_older().map_err(Failed::Before)?;
    begins();
    if recording.recorder().is_on() {
        recording.on(begun(plan));
    }
    let mut creation = pin!(bug::caught(create(plan, cluster, &kinds, time, progress)));
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
    match timeout(limit, creation).await {
        Ok(Err(failure)) => Err(error).hint(format!("the creation failed as well: {failure:#}")).map_err(Failed::Before),
        Ok(Ok(_)) | Err(_) => Err(Failed::Amid(error)),
    }
}

/// Takes over the passwords of an earlier `up` of this run: its Secrets hold what its servers were set up with.
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
        (1, 0) => "created 1 object".into(),
        (fresh, 0) => format!("created {fresh} objects"),
        (0, adopted) => format!("all {adopted} objects of run {} exist already", plan.run_id),
        (fresh, adopted) => format!("created {fresh} objects, {adopted} exist already"),
    }
}

/// What a wait needs to know besides the run itself.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    /// The flags: how long to wait, and for what.
    pub args: &'a Making,
    /// The addresses to tell.
    pub addresses: Addresses,
    /// Whether what fails is still there afterwards, to be looked at.
    pub stays: bool,
    /// Takes down what happens.
    pub recording: &'a Recording<'a>,
    /// When the time of the flags is over.
    pub deadline: Instant,
}

/// From created objects to databases that are ready.
///
/// # Errors
/// What failed; exit codes 3 and 4 when the databases did not, or cannot, become ready.
pub(crate) async fn bring_up(
    plan: &mut Plan,
    cluster: &Cluster,
    created: &Created,
    config: &Config,
    wait: Wait<'_>,
    progress: &Progress,
) -> anyhow::Result<Session> {
    let Wait { args, addresses, stays, recording, deadline } = wait;
    adopt(plan, created)?;
    // The passwords of an earlier call were not known when the run began.
    if !created.adopted.is_empty() {
        recording.know(plan.redactor());
    }
    let plan = &*plan;
    let databases = &plan.discovery.databases;
    let (observer, mut failure) = Observer::start(cluster, Whose::Run(plan.run_id.clone()), databases);
    let budgets = Budgets { pull: args.pull_timeout, capacity: args.capacity_timeout };
    let scene = Scene { discovery: &plan.discovery, redactor: plan.redactor(), stays, past: Past::Counts };
    let watcher = FailureWatcher::start(scene, cluster, budgets);
    let reach = tokio::select! {
        reach = reach::reach(plan, cluster, created, addresses == Addresses::Forwarded, &observer, progress) => reach?,
        error = late(cluster, args, deadline) => return Err(error),
    };
    let waits = Waits::default();
    let wait = wait::wait(plan, args.settle, &reach.targets, &observer, &waits, recording, progress);
    let course = Course { databases, recording, is_past: !created.adopted.is_empty() };
    let outcome = tokio::select! {
        outcome = timeout_at(deadline, wait) => outcome,
        error = failure.reason() => return Err(error),
        lost = watcher.lost(&observer, progress) => return Err(watcher.report(lost).await),
        never = course.follow(observer.pods(), watcher.events()) => match never {},
    };
    let evidence = outcome.map_err(|_| {
        let unready = observer.unready(&plan.discovery.workloads);
        let reasons: Vec<String> = progress.unfinished().into_iter().chain(unready).chain(cluster.trouble()).collect();
        let reasons = watcher.redact(&reasons.join("; "));
        let error = waits.in_vain(args.timeout, &reasons);
        match watcher.unread() {
            Some(hint) => Err::<(), _>(error).hint(hint).unwrap_err(),
            None => error,
        }
    });
    let found = evidence??;
    for (database, found) in databases.iter().zip(&found) {
        progress.explain(&format!("{}: ready by {}: {}", database.name, found.evidence.kind(), found.evidence));
    }
    let model = config.model(plan, |index, database| match reach.targets.get(index) {
        Some(target) if addresses != Addresses::InCluster => (&target.host, target.port),
        _ => (&database.host, database.port),
    });
    bug::provoke("ready", &config.text(&model)?);
    let ready = ready::records(plan, &found);
    Ok(Session { model, ready, forwards: reach.forwards, observer, found })
}

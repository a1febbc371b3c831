//! `testbed up`: creates the run's objects, waits until every database is ready, and writes the config file.

mod aftermath;
mod failing;
mod reach;
pub mod ready;
mod screen;
mod wait;

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use super::config::Config;
use super::plan::Plan;
use super::runtime::runtime;
use super::waits::Waits;
use super::{choice, interrupted, local, print, progress};
use crate::cli::{Global, OnFailure, Runtime, Up};
use crate::failure::{Advise, Exit, exit_of};
use crate::manifest::check::check_namespace;
use crate::progress::Progress;
use crate::run_id::RunId;
use crate::runtime::kubernetes::create::{self, Created};
use crate::runtime::kubernetes::forward::Forward;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::{Choice, Cluster, references, teardown};
use crate::state::{self, Remembered};

use ready::Records;

/// How long the teardown may take that `up` itself does.
const TEARDOWN: Duration = Duration::from_secs(60);

pub async fn up(args: Up, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let (runtime, why) = runtime(global)?;
    let config = Config::new(&args)?;
    let plan = Plan::make(&args.source)?;
    config.check(&plan)?;
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    match runtime {
        Runtime::Local => local::up::up(args, config, plan, why, &progress).await,
        Runtime::Kubernetes => in_cluster(args, config, plan, choice(global), &progress).await,
    }
}

async fn in_cluster(args: Up, config: Config, mut plan: Plan, choice: Choice, progress: &Progress) -> anyhow::Result<()> {
    let cluster = Cluster::connect(&choice).await?;
    progress.say(&format!("run {} in namespace {} of {} ({})", plan.run_id, cluster.namespace, cluster.server, cluster.source));
    let remove = format!("remove it:  {}", down_command(&choice, &cluster, &plan.run_id));
    let look = format!("look at it: {} describe pods -l {}", cluster.kubectl, plan.run_id.selector().as_str());
    // One listener for the whole command: a signal between two of them would be lost.
    let mut interrupt = pin!(interrupted());
    let work = async {
        let created = make(&mut plan, &cluster, &choice, &config, progress).await?;
        progress.say(&summary(&plan, &created));
        match bring_up(&plan, &cluster, &created, &args, &config, progress).await {
            // A usage error as well: a Secret that an earlier `up` left can hold what the config file cannot.
            Err(error) if matches!(exit_of(&error), Exit::Failure | Exit::Usage) => Err(undo(error, &plan, &cluster, &created).await),
            Err(error) if args.on_failure == Some(OnFailure::Delete) => {
                Err(aftermath::discard(error, &plan, &cluster, &created, progress).await)
            }
            outcome => outcome.map_err(|error| aftermath::leave(error, &remove, &look)),
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        error = &mut interrupt => Err(error),
    };
    progress.finish();
    let session = outcome.map_err(|error| match exit_of(&error) {
        Exit::Interrupted | Exit::Terminated => aftermath::leave(error, &remove, &look),
        _ => error,
    })?;

    finish(&plan, &cluster, &choice, &config, &session, progress).hint(remove)?;
    ready::publish(&plan, &cluster, &session.observer, &session.ready, progress).await;
    if !session.held.is_empty() {
        hold(&cluster, &plan, session, interrupt, progress).await?;
    }
    Ok(())
}

/// After a failure that waiting would not mend, such as a right that is missing: what this call has made goes again, and what an earlier
/// one has made stays.
async fn undo(error: anyhow::Error, plan: &Plan, cluster: &Cluster, created: &Created) -> anyhow::Error {
    if !created.adopted.is_empty() {
        return error;
    }
    match teardown::tear_down(cluster, &plan.run_id, teardown::DEFAULT_GRACE, TEARDOWN, |_| {}).await {
        Ok(_) => error,
        Err(left) => Err::<(), _>(error).hint(format!("its objects could not be removed again: {left:#}")).unwrap_err(),
    }
}

/// What a finished wait leaves behind: the config file's text and, with `--forward`, the open ports.
struct Session {
    text: String,
    ready: Records,
    held: Vec<Forward>,
    observer: Observer,
}

/// Everything up to the created objects.
async fn make(plan: &mut Plan, cluster: &Cluster, choice: &Choice, config: &Config, progress: &Progress) -> anyhow::Result<Created> {
    check_namespace(&plan.objects, &cluster.namespace)?;
    if !plan.discovery.missing.is_empty() {
        let missing = std::mem::take(&mut plan.discovery.missing);
        references::fetch(cluster, &missing, &mut plan.data).await?;
        plan.rediscover()?;
        config.check(plan)?;
    }
    let mut kinds = Kinds::new(cluster);
    kinds.learn(&plan.objects).await?;
    if let Some(earlier) = earlier_run(&plan.run_id) {
        progress.say(&format!("run {earlier} of an earlier `up` in this folder may still be there: testbed down --run-id {earlier}"));
    }
    // Remembered before anything exists, so that a `down` after a crash finds it.
    remember(plan, cluster, choice, None, Records::new());
    config.remove_older()?;
    let created = create::create(cluster, &kinds, &plan.objects, &plan.run_id).await?;
    // The Secrets of an earlier `up` of this run hold the passwords that its servers were set up with.
    if !created.adopted.is_empty() {
        for object in &created.adopted {
            if let Ok(secret) = object.clone().try_parse() {
                plan.data.add_secret(secret);
            }
        }
        plan.rediscover()?;
    }
    Ok(created)
}

fn summary(plan: &Plan, created: &Created) -> String {
    match (created.fresh, created.adopted.len()) {
        (1, 0) => "created 1 object".into(),
        (fresh, 0) => format!("created {fresh} objects"),
        (0, adopted) => format!("all {adopted} objects of run {} exist already", plan.run_id),
        (fresh, adopted) => format!("created {fresh} objects, {adopted} exist already"),
    }
}

/// From created objects to the text of the config file.
async fn bring_up(
    plan: &Plan,
    cluster: &Cluster,
    created: &Created,
    args: &Up,
    config: &Config,
    progress: &Progress,
) -> anyhow::Result<Session> {
    let databases = &plan.discovery.databases;
    let (observer, failure) = Observer::start(cluster, &plan.run_id, databases);
    let lookout = failing::Lookout::start(plan, cluster, created, args);
    let reach = reach::reach(plan, cluster, created, args.forward, &observer, progress).await?;
    let waits = Waits::default();
    let wait = wait::wait(plan, args.settle, &reach.targets, &observer, &waits, progress);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(args.timeout, wait) => outcome,
        error = failure.reason() => return Err(error),
        lost = lookout.lost(&observer, progress) => return Err(lookout.report(lost).await),
    };
    let evidence = outcome.map_err(|_| {
        let unready = observer.unready(&plan.discovery.workloads);
        let reasons: Vec<String> = progress.unfinished().into_iter().chain(unready).collect();
        let reasons = lookout.redact(&reasons.join("; "));
        let error = waits.in_vain(args.timeout, &reasons);
        match lookout.unread() {
            Some(hint) => Err::<(), _>(error).hint(hint).unwrap_err(),
            None => error,
        }
    });
    let found = evidence??;
    for (database, found) in databases.iter().zip(&found) {
        progress.explain(&format!("{}: ready by {}: {}", database.name, found.evidence.kind(), found.evidence));
    }
    let model = config.model(plan, |index, database| match reach.targets.get(index) {
        Some(target) if args.forward => (&target.host, target.port),
        _ => (&database.host, database.port),
    });
    let text = config.text(&model)?;
    let ready = ready::records(plan, &found);
    Ok(Session { text, ready, held: if args.forward { reach.forwards } else { Vec::new() }, observer })
}

/// Writes the config file and says what is there.
fn finish(plan: &Plan, cluster: &Cluster, choice: &Choice, config: &Config, session: &Session, progress: &Progress) -> anyhow::Result<()> {
    let seconds = progress.elapsed().as_secs_f64();
    let count = match plan.discovery.databases.len() + plan.sqlite_at.len() {
        1 => "1 database".to_owned(),
        count => format!("{count} databases"),
    };
    let path = config.write(&session.text)?;
    remember(plan, cluster, choice, path.map(|path| (path, session.text.as_str())), session.ready.clone());
    let Some(path) = path else {
        progress.say(&format!("{count} ready after {seconds:.1} s"));
        return print(&session.text);
    };
    progress.say(&format!("{count} ready after {seconds:.1} s: {}", path.display()));
    if session.held.is_empty() {
        progress.say(&format!("when you are done: {}", down_command(choice, cluster, &plan.run_id)));
    }
    print(&format!("{}\n", plan.run_id))
}

/// The command that removes the run, from any folder.
fn down_command(choice: &Choice, cluster: &Cluster, run_id: &RunId) -> String {
    format!("testbed down --run-id {run_id} -n {}{}", cluster.namespace, choice.flags())
}

fn remember(plan: &Plan, cluster: &Cluster, choice: &Choice, output: Option<(&Path, &str)>, ready: Records) {
    let (Some(state), Ok(folder)) = (state::folder(), std::env::current_dir()) else { return };
    let remembered = Remembered {
        run_id: plan.run_id.as_str().into(),
        kubeconfig: choice.kubeconfig.as_ref().map(|path| folder.join(path)),
        context: choice.context.clone(),
        namespace: cluster.namespace.clone(),
        local: false,
        output: output.map(|(path, text)| (folder.join(path), state::hash(text.as_bytes()))),
        folder,
        ready,
    };
    // A convenience for the next command only: in a pod with a read-only file system nobody misses it.
    let _ = remembered.save(&state);
}

/// The run that an earlier `up` in this folder made, and that no `down` has removed since.
fn earlier_run(run_id: &RunId) -> Option<String> {
    Some(Remembered::here()?.run_id).filter(|earlier| earlier != run_id.as_str())
}

/// Keeps the forwarded ports open until a signal comes, then tears the run down.
async fn hold(
    cluster: &Cluster,
    plan: &Plan,
    session: Session,
    interrupt: impl Future<Output = anyhow::Error>,
    progress: &Progress,
) -> anyhow::Result<()> {
    progress.say("the addresses stay open until Ctrl-C, which tears the run down");
    let signal = interrupt.await;
    drop(session);
    teardown::tear_down(cluster, &plan.run_id, teardown::DEFAULT_GRACE, TEARDOWN, |text| progress.say(text)).await?;
    Remembered::forget_run(&plan.run_id);
    progress.say(&format!("run {} is gone", plan.run_id));
    Err(signal)
}

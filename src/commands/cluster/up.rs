//! `testbed up` in a cluster: the databases stay up when it has ended.

use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::cleanup::{self, Cancelled};
use super::ready::{self, Records};
use super::session::{self, Addresses, Cancel, Failed, Session, Wait, down_command};
use super::while_up;
use crate::bug;
use crate::cli::{OnCancel, OnFailure, Up};
use crate::commands::config::{Config, write_results};
use crate::commands::plan::Plan;
use crate::commands::{interrupted, reap};
use crate::console;
use crate::deadline;
use crate::failure::{Advise, Exit, exit_of};
use crate::progress::Progress;
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recorder, Recording};
use crate::registry::Registry;
use crate::run_id::RunId;
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::removal::Limit;
use crate::runtime::kubernetes::teardown::{DEFAULT_GRACE, Timeout};
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::state::{self, Remembered};
use crate::words::count;

/// How long objects that are on their way to the API server get once nobody wants them any more.
const CREATION: Duration = Duration::from_secs(1);

/// How long it may take to note on the pods what proved them ready.
const PUBLICATION: Duration = Duration::from_secs(5);

/// Resolves when somebody ends the call.
type Interrupt<'a> = Pin<&'a mut dyn Future<Output = anyhow::Error>>;

/// A run that this call makes.
struct Site {
    cluster: Cluster,
    choice: Choice,
    config: Config,
    args: Up,
    /// When `--timeout` is over.
    deadline: Instant,
}

/// Creates the objects, waits until every database is ready, writes the config file and leaves.
///
/// # Errors
/// What failed. What is left of it then, the hints tell.
pub(crate) async fn up(
    args: Up,
    config: Config,
    mut plan: Plan,
    choice: Choice,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let deadline = deadline::after(args.making.timeout);
    // One listener for the whole command: a signal between two of them would be lost.
    let mut interrupt = pin!(interrupted());
    let mut interrupt: Interrupt = interrupt.as_mut();
    let cluster = tokio::select! {
        cluster = connect(&choice, recorder, args.making.timeout / 2, progress) => cluster?,
        error = interrupt.as_mut() => return Err(error).hint("nothing was created"),
    };
    let cluster = cluster.with_beyond(session::beyond(&plan));
    session::announce(&plan.run_id, &cluster, progress);
    let site = Site { cluster, choice, config, args, deadline };
    let recording = tokio::select! {
        recording = session::recording(recorder, &site.cluster, "up", &site.args.making.source, &mut plan) => recording?,
        error = session::late(&site.cluster, &site.args.making, deadline) => return Err(error).hint("nothing was created"),
        error = interrupt.as_mut() => return Err(error).hint("nothing was created"),
    };
    let outcome = site.make(&mut plan, &recording, interrupt.as_mut(), progress).await;
    progress.finish();
    let (session, text) = outcome?;
    recording.on(session.is_up(&plan));

    let holds = site.args.forward && !session.forwards.is_empty();
    let finish = bug::caught(async {
        let result = site.finish(&plan, text, &session.ready, holds, progress)?;
        console::hand_over(result).await
    });
    tokio::select! {
        finished = finish => finished.hint(site.how_to_remove(&plan))?,
        error = interrupt.as_mut() => return Err(site.cancel(error, &plan, &recording, progress).await),
    }
    let publish = async {
        ready::publish(&plan, &site.cluster, &session.observer, &session.ready, progress).await;
        Ok(())
    };
    tokio::select! {
        published = timeout(PUBLICATION, bug::caught(publish)) => published.unwrap_or(Ok(())).hint(site.how_to_remove(&plan))?,
        error = interrupt.as_mut() => return Err(site.cancel(error, &plan, &recording, progress).await),
    }
    if holds {
        hold(&plan, &site.cluster, &recording, session, interrupt, progress).await?;
    }
    Ok(())
}

async fn connect(choice: &Choice, recorder: &Recorder, within: Duration, progress: &Progress) -> anyhow::Result<Cluster> {
    if let Some(registry) = Registry::find() {
        reap::reap(&registry, recorder, within, progress).await;
    }
    Cluster::connect(choice).await
}

impl Site {
    /// From a plan to databases that are ready, and the config file's text.
    async fn make(
        &self,
        plan: &mut Plan,
        recording: &Recording<'_>,
        mut interrupt: Interrupt<'_>,
        progress: &Progress,
    ) -> anyhow::Result<(Session, String)> {
        let Self { cluster, config, args, .. } = self;
        if let Some(earlier) = earlier_run(&plan.run_id) {
            progress.say(&format!("run {earlier} of an earlier `up` in this folder may still be there: testbed down --run-id {earlier}"));
        }
        // Remembered before anything exists, so that a `down` after a crash finds it.
        let run_id = plan.run_id.clone();
        let begins = || self.remember(&run_id, None, Records::new());
        let late = session::late(cluster, &args.making, self.deadline);
        let stop = async {
            tokio::select! {
                error = interrupt.as_mut() => error,
                error = late => error,
            }
        };
        let time = Timeout { told: args.making.timeout, deadline: self.deadline };
        let cancel = Cancel { recording, cancelled: Box::pin(stop), limit: CREATION, begins, time };
        let created = match session::create_unless(plan, cluster, config, cancel, progress).await {
            Ok(created) => created,
            Err(Failed::Before(error)) => {
                recording.on(Event::NotMade(Failure::of(&error)));
                let has_stopped = is_cancelled(&error) || exit_of(&error) == Exit::NotReady;
                return if has_stopped { Err(error).hint("nothing was created") } else { Err(error) };
            }
            Err(Failed::Amid(error)) if is_cancelled(&error) => return Err(self.cancel(error, plan, recording, progress).await),
            Err(Failed::Amid(error)) => return Err(self.late_amid(error, plan, recording, progress).await),
        };
        let addresses = if args.forward { Addresses::Forwarded } else { Addresses::InCluster };
        let on_failure = args.making.on_failure;
        let stays = on_failure != Some(OnFailure::Delete) || !created.adopted.is_empty();
        let wait = Wait { args: &args.making, addresses, stays, recording, deadline: self.deadline };
        let outcome = tokio::select! {
            outcome = bug::caught(session::bring_up(plan, cluster, &created, config, wait, progress)) => outcome,
            error = interrupt => Err(error),
        };
        match outcome.and_then(|session| config.text(&session.model).map(|text| (session, text))) {
            Err(error) if is_cancelled(&error) => Err(self.cancel(error, plan, recording, progress).await),
            // A usage error as well: a Secret that an earlier `up` left can hold what the config file cannot.
            Err(error) if matches!(exit_of(&error), Exit::Failure | Exit::Usage) => {
                Err(cleanup::undo(error, plan, recording, cluster, &created, args.making.timeout).await)
            }
            Err(error) if on_failure == Some(OnFailure::Delete) => {
                Err(cleanup::discard(error, plan, recording, cluster, &created, args.making.timeout, progress).await)
            }
            Err(error) => {
                recording.on(Event::Failed(Failure::of(&error)));
                session::collect(plan, cluster, recording).await;
                Err(cleanup::leave(error, &self.how_to_remove(plan), &self.how_to_look(plan)))
            }
            ready => ready,
        }
    }

    /// The time is over, and nobody knows what has become of the objects that were on their way: as when they do not become ready. Under a run
    /// id that somebody has given, an earlier call may have made some of them.
    async fn late_amid(&self, error: anyhow::Error, plan: &Plan, recording: &Recording<'_>, progress: &Progress) -> anyhow::Error {
        let making = &self.args.making;
        if making.on_failure == Some(OnFailure::Delete) && making.source.run_id.is_none() {
            return cleanup::discard(error, plan, recording, &self.cluster, &Created::default(), making.timeout, progress).await;
        }
        progress.finish();
        recording.on(Event::Failed(Failure::of(&error)));
        session::collect(plan, &self.cluster, recording).await;
        let error = Err::<(), _>(error).hint("some of its objects may be there").unwrap_err();
        cleanup::leave(error, &self.how_to_remove(plan), &self.how_to_look(plan))
    }

    /// After a signal: says what is left, or removes it.
    async fn cancel(&self, error: anyhow::Error, plan: &Plan, recording: &Recording<'_>, progress: &Progress) -> anyhow::Error {
        progress.finish();
        // Its presence would mean that the databases are ready.
        let _ = self.config.remove_older();
        recording.on(Event::Failed(Failure::of(&error)));
        let cancelled = Cancelled { plan, recording, cluster: &self.cluster, remove: &self.how_to_remove(plan) };
        match self.args.on_cancel {
            OnCancel::Keep => cancelled.keep(error).await,
            OnCancel::Delete => cancelled.delete(error, progress).await,
        }
    }

    fn how_to_remove(&self, plan: &Plan) -> String {
        session::how_to_remove(&self.choice, &self.cluster, &plan.run_id)
    }

    fn how_to_look(&self, plan: &Plan) -> String {
        session::how_to_look(&self.cluster, &plan.run_id)
    }

    /// Writes the config file, says what is there, and returns what is for programs.
    fn finish(&self, plan: &Plan, text: String, ready: &Records, holds: bool, progress: &Progress) -> anyhow::Result<String> {
        let seconds = progress.elapsed().as_secs_f64();
        let count = count(plan.database_count(), "database");
        let path = self.config.write(&text)?;
        self.remember(&plan.run_id, path.map(|path| (path, text.as_str())), ready.clone());
        write_results(&self.args.result, path, plan.database_count())?;
        let Some(path) = path else {
            progress.say(&format!("{count} ready after {seconds:.1} s"));
            return Ok(text);
        };
        progress.say(&format!("{count} ready after {seconds:.1} s: {}", path.display()));
        if !holds {
            progress.say(&format!("when you are done: {}", down_command(&self.choice, &self.cluster, &plan.run_id)));
        }
        Ok(format!("{}\n", plan.run_id))
    }

    fn remember(&self, run_id: &RunId, output: Option<(&Path, &str)>, ready: Records) {
        let (Some(state), Ok(folder)) = (state::folder(), std::env::current_dir()) else { return };
        let output = output.map(|(path, text)| (folder.join(path), state::hash(text.as_bytes())));
        let remembered = session::memory(&self.choice, &self.cluster, run_id, folder, output, ready);
        // A convenience for the next command only: in a pod with a read-only file system nobody misses it.
        let _ = remembered.save(&state);
    }
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(exit_of(error), Exit::Interrupted | Exit::Terminated)
}

/// The run that an earlier `up` in this folder made, and that no `down` has removed since.
fn earlier_run(run_id: &RunId) -> Option<String> {
    Some(Remembered::here().ok()??.run_id).filter(|earlier| earlier != run_id.as_str())
}

/// Keeps the forwarded ports open until a signal comes, then tears the run down.
async fn hold(
    plan: &Plan,
    cluster: &Cluster,
    recording: &Recording<'_>,
    session: Session,
    interrupt: impl Future<Output = anyhow::Error>,
    progress: &Progress,
) -> anyhow::Result<()> {
    progress.say("the addresses stay open until Ctrl-C, which tears the run down");
    let signal = tokio::select! {
        signal = bug::or(interrupt) => signal,
        never = while_up::keep(plan, &session.observer, progress) => match never {},
    };
    drop(session);
    let run_id = &plan.run_id;
    let removal = session::removal(plan, cluster, recording);
    removal.tear_down(Asked::Down, DEFAULT_GRACE, Limit::For(cleanup::TEARDOWN), |text| progress.say(text)).await?;
    Remembered::forget_run(run_id);
    progress.say(&format!("run {run_id} is gone"));
    Err(signal)
}

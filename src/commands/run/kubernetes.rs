//! `testbed run` in a cluster.

use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::note::Note;
use super::work::{Worked, conclude, work};
use crate::bug;
use crate::cli::{OnFailure, Run};
use crate::commands::attend::Signals;
use crate::commands::cluster::cleanup::{self, TEARDOWN};
use crate::commands::cluster::ready;
use crate::commands::cluster::session::{self, Addresses, Cancel, Failed, Session, Wait};
use crate::commands::cluster::while_up;
use crate::commands::config::Config;
use crate::commands::plan::Plan;
use crate::deadline;
use crate::failure::{Advise, Exit, exit_of};
use crate::probe::Container;
use crate::progress::Progress;
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recorder, Recording};
use crate::registry::Phase;
use crate::runtime::kubernetes::events::Events;
use crate::runtime::kubernetes::pods::serving;
use crate::runtime::kubernetes::removal::Limit;
use crate::runtime::kubernetes::teardown::{DEFAULT_GRACE, Timeout};
use crate::runtime::kubernetes::timeline::Course;
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::state::{self, Remembered};

/// How long the creation of objects that has begun may take once nobody wants them any more.
const CREATION: Duration = Duration::from_secs(30);

/// Up, the command, and always down.
///
/// # Errors
/// What failed besides the command.
pub(super) async fn run(
    args: &Run,
    mut config: Config,
    mut plan: Plan,
    choice: &Choice,
    mut signals: Signals,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<u8> {
    let cluster = Cluster::connect(choice).await?.with_beyond(session::beyond(&plan));
    session::announce(&plan.run_id, &cluster, progress);
    let mut note = tokio::select! {
        note = Note::take(&plan.run_id, &cluster, &mut config, recorder, progress) => note?,
        error = signals.interrupted() => return Err(error),
    };
    let deadline = deadline::after(args.making.timeout);
    let site = Site { args, choice, cluster, config, progress, deadline };
    let recording = tokio::select! {
        error = session::late(&site.cluster, &args.making, deadline) => {
            let _ = note.claim.forget();
            return Err(error).hint("nothing was created");
        }
        recording = session::recording(recorder, &site.cluster, "run", &args.making.source, &mut plan) => recording?,
        error = signals.interrupted() => return Err(error),
    };
    note.remember_record(recording.id());
    let outcome = site.bring_up(&mut plan, &recording, &mut signals).await;
    progress.finish();
    let outcome = match outcome {
        Err(Failed::Before(error)) => {
            // What there is under this run id is not this call's to remove; what could not be taken back, the error names.
            let _ = note.claim.forget();
            recording.on(Event::NotMade(Failure::of(&error)));
            return Err(error);
        }
        Err(Failed::Amid(error)) => {
            recording.on(Event::Failed(Failure::of(&error)));
            let deserves_a_look = matches!(exit_of(&error), Exit::NotReady | Exit::Never);
            if deserves_a_look && args.making.on_failure == Some(OnFailure::Keep) {
                session::collect(&plan, &site.cluster, &recording).await;
                return Err(site.leave(error, &plan, note));
            }
            Err(error)
        }
        Ok(session) => {
            recording.on(session.is_up(&plan));
            let worked = site.work(&plan, &session, &recording, &mut note, &mut signals).await;
            recording.on(worked.event());
            let outcome = worked.outcome;
            if args.keep_on_failure && !matches!(outcome, Ok(0)) {
                session::collect(&plan, &site.cluster, &recording).await;
                site.keep(&plan, &session, note)?;
                return outcome;
            }
            outcome
        }
    };
    let removed = site.tear_down(&plan, &recording, note, &mut signals).await;
    conclude(outcome, removed, progress)
}

/// What all steps of one call need.
struct Site<'a> {
    args: &'a Run,
    choice: &'a Choice,
    cluster: Cluster,
    config: Config,
    progress: &'a Progress,
    /// When `--timeout` is over.
    deadline: Instant,
}

impl Site<'_> {
    async fn bring_up(&self, plan: &mut Plan, recording: &Recording<'_>, signals: &mut Signals) -> Result<Session, Failed> {
        let Self { args, cluster, config, progress, .. } = self;
        let mut cancelled = pin!(signals.interrupted());
        let late = session::late(cluster, &args.making, self.deadline);
        let stop = async {
            tokio::select! {
                error = cancelled.as_mut() => error,
                error = late => error,
            }
        };
        let limit = args.making.timeout.clamp(Duration::from_secs(1), CREATION);
        let time = Timeout { told: args.making.timeout, deadline: self.deadline };
        let cancel = Cancel { recording, cancelled: Box::pin(stop), limit, begins: || (), time };
        let created = session::create_unless(plan, cluster, config, cancel, progress).await?;
        let stays = args.making.on_failure == Some(OnFailure::Keep);
        let wait = Wait { args: &args.making, addresses: Addresses::FromHere, stays, recording, deadline: self.deadline };
        let outcome = tokio::select! {
            session = bug::caught(session::bring_up(plan, cluster, &created, config, wait, progress)) => session,
            error = cancelled => Err(error),
        };
        outcome.map_err(Failed::Amid)
    }

    /// The command, with ports that stay open and lead to whichever pods there are.
    async fn work(&self, plan: &Plan, session: &Session, recording: &Recording<'_>, note: &mut Note, signals: &mut Signals) -> Worked {
        let Self { args, cluster, config, progress, .. } = self;
        let before = containers(session);
        let publish = async {
            // A panic in it ends the work beside it.
            let publish = ready::publish(plan, cluster, &session.observer, &session.ready, progress).map(Ok);
            let _ = bug::caught(publish).await;
            std::future::pending().await
        };
        // Of a pod that is taken away meanwhile nothing else is left to tell.
        let course = Course { databases: &plan.discovery.databases, recording, is_past: false };
        let (_none, events) = watch::channel(Events::default());
        let worked = tokio::select! {
            worked = work(args, config, &session.model, &mut note.claim, signals, progress) => worked,
            worked = publish => worked,
            never = course.follow(session.observer.pods(), events) => match never {},
        };
        for ((database, before), after) in plan.discovery.databases.iter().zip(before).zip(containers(session)) {
            if before != after {
                progress.warn(&format!("{} did not stay up while the command ran: {}", database.name, while_up::why(&after)));
            }
        }
        worked
    }

    /// Leaves databases up that did not become ready, as `testbed up` would.
    fn leave(&self, error: anyhow::Error, plan: &Plan, mut note: Note) -> anyhow::Error {
        let noted = self.note_as_up(plan, &mut note, None);
        let remove = session::how_to_remove(self.choice, &self.cluster, &plan.run_id);
        let look = session::how_to_look(&self.cluster, &plan.run_id);
        let error = match noted {
            Ok(()) => error,
            Err(left) => Err::<(), _>(error).hint(format!("it could not be noted: {left:#}")).unwrap_err(),
        };
        cleanup::leave(error, &remove, &look)
    }

    /// Leaves the run up after its command, and says how to reach it without testbed.
    fn keep(&self, plan: &Plan, session: &Session, mut note: Note) -> anyhow::Result<()> {
        let Self { choice, cluster, progress, .. } = self;
        self.note_as_up(plan, &mut note, Some(session))?;
        progress.say(&format!("run {} stays up, as --keep-on-failure asks for:", plan.run_id));
        let pods = session.observer.pods();
        for (index, database) in plan.discovery.databases.iter().enumerate() {
            progress.say(&format!("  {} on {}:{} in the cluster", database.name, database.host, database.port));
            let pod = serving(&pods.borrow(), &database.workload).and_then(|pod| pod.metadata.name.clone());
            // On the port that the config file tells.
            if let (Some(forward), Some(pod)) = (session.forwards.get(index), pod) {
                let (here, there) = (forward.port, database.server_port);
                progress.say(&format!("  {} from here: {} port-forward pod/{pod} {here}:{there}", database.name, cluster.kubectl));
            }
        }
        if let Some((path, _)) = &note.claim.record.output {
            progress.say(&format!("  logins are in {}", path.display()));
        }
        progress.say(&format!("  {}", session::how_to_look(cluster, &plan.run_id)));
        progress.say(&format!("  {}", session::how_to_remove(choice, cluster, &plan.run_id)));
        Ok(())
    }

    /// From now on the run is up until somebody removes it.
    fn note_as_up(&self, plan: &Plan, note: &mut Note, session: Option<&Session>) -> anyhow::Result<()> {
        note.keep_folder();
        let record = &mut note.claim.record;
        record.phase = Phase::Up;
        if let Some(folder) = state::folder() {
            let proofs = session.map(|session| session.ready.clone()).unwrap_or_default();
            let (here, output) = (record.called_in.clone(), record.output.clone());
            let remembered = session::memory(self.choice, &self.cluster, &plan.run_id, here, output, proofs);
            // A convenience for the next command in this folder.
            let _ = remembered.save(&folder);
        }
        note.claim.save()
    }

    /// Removes all of the run, and forgets it. What it cannot remove stays noted, for the next command.
    async fn tear_down(&self, plan: &Plan, recording: &Recording<'_>, note: Note, signals: &mut Signals) -> anyhow::Result<()> {
        let Self { choice, cluster, progress, .. } = self;
        let removal = session::removal(plan, cluster, recording);
        let removal = removal.tear_down(Asked::ByMaker, DEFAULT_GRACE, Limit::For(TEARDOWN), |text| progress.say(text));
        let removed = tokio::select! {
            removed = removal => removed,
            () = stopped(signals, progress) => Err(anyhow!("its removal was interrupted")),
        };
        state::remove_written(note.claim.record.output.as_ref());
        removed.hint(session::how_to_remove(choice, cluster, &plan.run_id))?;
        Remembered::forget_run(&plan.run_id);
        progress.say(&format!("run {} is gone", plan.run_id));
        note.claim.forget()
    }
}

/// Each database's container.
fn containers(session: &Session) -> Vec<Container> {
    session.observer.outsides().iter().map(|outside| outside.borrow().container.clone()).collect()
}

/// Resolves when somebody at the terminal insists. One Ctrl-C is not enough: it may be the one that has ended the command.
async fn stopped(signals: &mut Signals, progress: &Progress) {
    while signals.next().await != Signal::INT {}
    progress.say("removing the run; Ctrl-C once more leaves the rest of it for the next testbed command");
    while signals.next().await != Signal::INT {}
}

//! Runs in a cluster: their databases are containers of pods.

mod cleanup;
mod failure_report;
pub(crate) mod failure_watcher;
pub(super) mod gc;
mod make;
mod note;
mod reach;
mod ready;
pub(super) mod restart;
mod seed;
pub(super) mod standing;
pub(super) mod status;
mod wait;
mod while_up;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::anyhow;
use tempfile::TempDir;
use tokio::sync::watch;

use self::make::Up;
use super::{Backend, Call, Failed, Maker, Session, Stop, abandoned, is_interruption};
use crate::failure::{Advise, Exit};
use crate::location::Beyond;
use crate::manifest::policy::Allowance;
use crate::output::Model;
use crate::ports;
use crate::progress::Progress;
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recorder, Recording};
use crate::registry::Registry;
use crate::runtime::kubernetes::collect::Known;
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::events::Events;
use crate::runtime::kubernetes::pods::serving;
use crate::runtime::kubernetes::removal::{Limit, Removal};
use crate::runtime::kubernetes::teardown::DEFAULT_GRACE;
use crate::runtime::kubernetes::timeline::Follower;
use crate::runtime::kubernetes::{Choice, Cluster};

use super::plan::Plan;

/// How long the teardown may take that `up` and `run` themselves do.
const TEARDOWN: Duration = Duration::from_secs(60);

/// What an error says that came before the first object.
const NOTHING: &str = "nothing was created";

/// A run of which testbed creates the pods, and whatever else its manifest names.
pub(super) struct Pods {
    cluster: Cluster,
    /// The folder of the config file, where that is not the run's own.
    folder: Option<TempDir>,
    /// The objects, as soon as they are there.
    created: Option<Created>,
}

impl Backend for Pods {
    type Place = Choice;
    type Up = Up;

    async fn begin<'a>(
        choice: Choice,
        mut call: Call<'a>,
        mut stop: Stop<'_>,
    ) -> anyhow::Result<(Self, Session<'a>)> {
        let cluster = tokio::select! {
            cluster = connect(&choice, call.recorder, call.maker.making().timeout, call.progress) => cluster?,
            error = stop.as_mut() => return Err(error).hint(NOTHING),
        };
        let cluster = cluster.with_beyond(beyond(&call.plan));
        let (run_id, progress) = (&call.plan.run_id, call.progress);
        progress.say(&format!(
            "run {} in namespace {} of {} ({})",
            run_id.brief(),
            cluster.namespace,
            cluster.server,
            cluster.source
        ));
        // Those of the port-forwards that are for somebody.
        let is_forwarded = match call.maker {
            Maker::Up(up) => up.forward,
            Maker::Run(_) => !cluster.inside,
        };
        let asked = call.plan.asked.iter().filter_map(|(name, asked)| Some((name, asked.port?)));
        asked.filter(|_| is_forwarded).try_for_each(|(name, port)| ports::check(port, name)).hint(NOTHING)?;
        let (deadline, told) = (call.deadline, call.maker.making().timeout);
        let note::Noted { mut claim, folder, is_adopted } = note::take(&mut call, &cluster)?;
        let recording = tokio::select! {
            recording = make::recording(&mut call, &cluster) => recording,
            error = make::late(deadline, told, &cluster) => Err(error).hint(NOTHING),
            error = stop => Err(error).hint(NOTHING),
        };
        match recording {
            Ok(recording) => {
                claim.record.history = recording.id();
                // Its objects carry it as well, so that not to have noted it is no loss.
                let _ = claim.save();
                let pods = Self { cluster, folder, created: None };
                Ok((pods, Session { call, claim, recording, is_adopted }))
            }
            Err(error) => {
                if !is_adopted {
                    let _ = claim.forget();
                }
                Err(error)
            }
        }
    }

    async fn make(&mut self, session: &mut Session<'_>, stop: Stop<'_>) -> Result<Up, Failed> {
        make::make(self, session, stop).await
    }

    async fn give_up(
        self,
        session: Session<'_>,
        failed: Failed,
        insisted: impl Future<Output = ()>,
    ) -> anyhow::Error {
        match (failed, session.call.maker) {
            (Failed::Before(error), _) => {
                session.recording.on(Event::NotMade(Failure::of(&error)));
                // What there is under this run id is not this call's to remove; what could not be taken back,
                // the error names.
                if !session.is_adopted {
                    let _ = session.claim.forget();
                }
                error
            }
            (Failed::Amid(error), Maker::Up(args)) => {
                cleanup::after_failure(&self, session, args, error).await
            }
            (Failed::Amid(error), maker) => {
                session.recording.on(Event::Failed(Failure::of(&error)));
                if session.is_adopted || maker.keeps(&error) {
                    self.collect(&session).await;
                    let mut pods = self;
                    pods.keep_files();
                    return cleanup::leave(&pods, session, error);
                }
                match self.remove(session, Asked::ByMaker, insisted).await {
                    Ok(()) => error,
                    Err(left) => error.hint(format!("the run could not be removed: {left:#}")),
                }
            }
        }
    }

    fn model<'u>(&self, up: &'u Up) -> &'u Model {
        &up.model
    }

    async fn publish(&self, call: &Call<'_>, up: &Up) {
        ready::publish(&call.plan, &self.cluster, &up.observer, &up.ready, call.progress).await;
    }

    async fn follow(&self, call: &Call<'_>, recording: &Recording<'_>, up: &Up) -> Infallible {
        // Of a pod that is taken away meanwhile nothing else is left to tell.
        let follower = Follower { databases: &call.plan.discovery.databases, recording, is_past: false };
        let (_none, events) = watch::channel(Events::default());
        let publish = async {
            self.publish(call, up).await;
            std::future::pending().await
        };
        tokio::select! {
            never = publish => never,
            never = follower.follow(up.observer.pods(), events) => never,
        }
    }

    async fn tell_losses(&self, session: &Session<'_>, up: &mut Up) {
        let now = make::containers(&up.observer);
        for ((database, before), after) in
            session.call.plan.discovery.databases.iter().zip(&up.before).zip(&now)
        {
            if before != after {
                let why = while_up::why(after);
                session
                    .call
                    .progress
                    .warn(&format!("{} did not stay up while the command ran: {why}", database.name));
            }
        }
    }

    fn holds(&self, up: &Up) -> Option<&'static str> {
        (!up.forwards.is_empty()).then_some("the addresses stay open until Ctrl-C, which tears the run down")
    }

    async fn hold(&self, session: &Session<'_>, up: &Up) -> Infallible {
        while_up::keep(&session.call.plan, &up.observer, session.call.progress).await
    }

    async fn collect(&self, session: &Session<'_>) {
        let _ = self.removal(session).collect().await;
    }

    fn keep(&mut self, session: &mut Session<'_>) -> anyhow::Result<()> {
        self.keep_files();
        session.stays_up()
    }

    fn how_to_use(&self, session: &Session<'_>, up: &Up) -> Vec<String> {
        let mut lines = Vec::new();
        let pods = up.observer.pods();
        for (index, database) in session.call.plan.discovery.databases.iter().enumerate() {
            lines.push(format!("{} on {}:{} in the cluster", database.name, database.host, database.port));
            let pod = serving(&pods.borrow(), &database.workload).and_then(|pod| pod.metadata.name.clone());
            // On the port that the config file tells.
            if let (Some(forward), Some(pod)) = (up.forwards.get(index), pod) {
                let (kubectl, here, there) = (&self.cluster.kubectl, forward.port, database.server_port);
                lines.push(format!(
                    "{} from here: {kubectl} port-forward pod/{pod} {here}:{there}",
                    database.name
                ));
            }
        }
        lines.push(self.how_to_look(session));
        lines
    }

    fn down_command(&self, session: &Session<'_>) -> String {
        self.cluster.down_command(&session.call.plan.run_id)
    }

    async fn abandon(self, session: Session<'_>, error: anyhow::Error) -> anyhow::Error {
        let hint = self.how_to_remove(&session);
        match session.call.maker {
            Maker::Up(args) if is_interruption(&error) => {
                cleanup::after_interruption(&self, session, args, error).await
            }
            _ => cleanup::stays(session, error).hint(hint),
        }
    }

    async fn remove(
        self,
        session: Session<'_>,
        asked: Asked,
        insisted: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Call { plan, progress, .. } = &session.call;
        let removal = self
            .removal(&session)
            .tear_down(asked, DEFAULT_GRACE, Limit::For(TEARDOWN), |text| progress.say(text));
        let removed = tokio::select! {
            removed = removal => removed,
            () = insisted => Err(anyhow!("its removal was interrupted")),
        };
        session.claim.record.remove_outputs();
        removed.hint(self.how_to_remove(&session))?;
        progress.say(&format!("run {} is gone", plan.run_id));
        session.claim.forget()
    }
}

/// Connects, once the runs are removed that were left behind, in no more than half of the time.
async fn connect(
    choice: &Choice,
    recorder: &Recorder,
    timeout: Duration,
    progress: &Progress,
) -> anyhow::Result<Cluster> {
    if let Some(registry) = Registry::find() {
        abandoned::remove(&registry, recorder, timeout / 2, progress).await;
    }
    let connected = tokio::time::timeout(timeout, Cluster::connect(choice)).await;
    connected.unwrap_or_else(|_| {
        let time = humantime::format_duration(timeout);
        Err(anyhow!("not ready within {time}: the login that the kubeconfig asks for has not ended"))
            .exit(Exit::NotReady)
    })
}

/// The places beyond its namespace in which a run is to have objects: its maker names them by allowing the
/// objects that do.
fn beyond(plan: &Plan) -> Beyond {
    let namespaces = plan.objects.iter().filter_map(|object| object.namespace().map(str::to_owned)).collect();
    Beyond { namespaces, cluster_scoped: plan.allowed.contains(&Allowance::CLUSTER_SCOPED) }
}

impl Pods {
    fn removal<'r>(&'r self, session: &'r Session<'_>) -> Removal<'r> {
        let plan = &session.call.plan;
        let known = Known {
            redactor: plan.redactor(),
            secrets: plan.data.secret_names().map(str::to_owned).collect(),
        };
        Removal::new(&self.cluster, &plan.run_id, &session.recording).knowing(known)
    }

    /// The config file stays with the run.
    fn keep_files(&mut self) {
        if let Some(folder) = self.folder.take() {
            drop(folder.keep());
        }
    }

    fn how_to_remove(&self, session: &Session<'_>) -> String {
        format!("remove it:  {}", self.down_command(session))
    }

    fn how_to_look(&self, session: &Session<'_>) -> String {
        format!(
            "look at it: {} describe pods -l {}",
            self.cluster.kubectl,
            session.call.plan.run_id.selector().as_str()
        )
    }
}

//! The wait for several databases: each is attempted by itself, until all are ready at the same time.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{try_join, try_join_all};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Evidence, Log, Outcome, Outside, Prober, Readiness, Reason, Refusal, Verdict, change};
use crate::time::Time;

/// How long an attempt may still take once the log has said that the set-up is over. One that met the dying
/// set-up server may hang: a port-forward passes the end of a connection on only a second later. One that
/// meets the final server and is slower is only begun again.
const OVERDUE: Duration = Duration::from_millis(50);

/// After this a second login begins beside a first, where the end of a connection may be passed on late.
const LATE: Duration = Duration::from_millis(60);

/// How long an answer stands: two databases that answered within this time were ready at once.
const FRESH: Duration = Duration::from_millis(100);

pub struct Watched {
    pub prober: Prober,
    pub readiness: Readiness,
    /// What is seen of it from outside; a container and a log that never change where nobody looks.
    pub outside: watch::Receiver<Outside>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Waiting(Reason),
    Ready,
}

#[derive(Debug, Clone)]
pub struct Found {
    /// What proves it.
    pub evidence: Evidence,
    pub at: Time,
    pub version: Option<String>,
    pub over_tls: bool,
}

/// How a database became ready in one round.
struct Reached {
    found: Found,
    answered: Instant,
    attempts: usize,
}

/// Attempts at all databases until they are ready at the same time, and `others` with them. `report` hears
/// where each one is. An error is the index of one that can never become ready, and its server's refusal.
pub async fn all_ready<F: Future<Output = ()>>(
    watched: &mut [Watched],
    report: impl Fn(usize, Stage),
    others: impl Fn() -> F,
) -> Result<Vec<Found>, (usize, Refusal)> {
    let mut first: Vec<Option<Found>> = vec![None; watched.len()];
    for round in 0_usize.. {
        let (tally, _) = watch::channel(0);
        let total = watched.len();
        let waits = watched.iter_mut().zip(first.iter_mut()).enumerate().map(|(index, (watched, first))| {
            let (report, tally) = (&report, &tally);
            async move {
                let reached = stay_ready(watched, |stage| report(index, stage), tally, total).await;
                let reached = reached.map_err(|refusal| (index, refusal))?;
                // A confirmation tells nothing new, unless the evidence is another one.
                let known =
                    first.take().filter(|found| found.evidence.kind() == reached.found.evidence.kind());
                *first = Some(known.unwrap_or_else(|| reached.found.clone()));
                Ok(reached)
            }
        });
        let (reached, ()) = try_join(try_join_all(waits), others().map(Ok)).await?;
        // While one was waited for, another may have restarted. Only answers of the same moment tell, or a
        // round that every database passed at the first look.
        let now = Instant::now();
        let fresh = reached.iter().all(|reached| now.saturating_duration_since(reached.answered) <= FRESH);
        if fresh || (round > 0 && reached.iter().all(|reached| reached.attempts == 1)) {
            break;
        }
    }
    Ok(first.into_iter().flatten().collect())
}

/// Waits until all of the round are ready, starting over whenever this one's container changes.
async fn stay_ready(
    watched: &mut Watched,
    report: impl Fn(Stage),
    tally: &watch::Sender<usize>,
    total: usize,
) -> Result<Reached, Refusal> {
    let mut all = tally.subscribe();
    loop {
        let reached = until_ready(watched, &report).await?;
        report(Stage::Ready);
        tally.send_modify(|ready| *ready += 1);
        tokio::select! {
            biased;
            _ = all.wait_for(|ready| *ready == total) => return Ok(reached),
            () = change(&mut watched.outside) => tally.send_modify(|ready| *ready -= 1),
        }
    }
}

async fn until_ready(watched: &mut Watched, report: &impl Fn(Stage)) -> Result<Reached, Refusal> {
    let Watched { prober, readiness, outside } = watched;
    let pace = prober.target().pace;
    let mut attempts = 0;
    loop {
        let seen = outside.borrow_and_update().clone();
        if let Some(reason) = readiness.outside(std::time::Instant::now(), &seen) {
            report(Stage::Waiting(reason));
            change(outside).await;
            continue;
        }
        attempts += 1;
        let (began, outcome) = tokio::select! {
            attempted = attempt(prober) => attempted,
            // What it would say is about a server that is gone.
            () = overtaken(outside, &seen) => continue,
        };
        let answered = Instant::now();
        match readiness.attempt(began.into_std(), answered.into_std(), &outcome) {
            Verdict::Ready(evidence) => {
                let version = outcome.server.and_then(|server| server.version);
                return Ok(Reached {
                    found: Found { evidence, at: Time::now(), version, over_tls: prober.is_over_tls() },
                    answered,
                    attempts,
                });
            }
            Verdict::Waiting(reason) => report(Stage::Waiting(reason)),
            Verdict::Never(refusal) => return Err(refusal),
        }
        let pause = if outside.borrow().log == Log::SettingUp { pace.setting_up } else { pace.usual };
        tokio::select! {
            () = sleep(pause) => {}
            () = change(outside) => {}
        }
    }
}

/// One attempt, and when it began. Where connections are made by somebody else, such as a port-forward, one
/// that is late may have met a server that has died since: then another one begins beside it, and the first
/// of the two that ends tells.
async fn attempt(prober: &mut Prober) -> (Instant, Outcome) {
    let began = Instant::now();
    if prober.target().way.is_none() {
        return (began, prober.attempt().await);
    }
    let mut second = prober.clone();
    let (attempted, is_second) = tokio::select! {
        biased;
        outcome = prober.attempt() => ((began, outcome), false),
        attempted = async {
            sleep(LATE).await;
            (Instant::now(), second.attempt().await)
        } => (attempted, true),
    };
    if is_second {
        *prober = second;
    }
    attempted
}

/// Waits until an attempt is about a server that is gone: another container runs, or the set-up is over.
async fn overtaken(outside: &mut watch::Receiver<Outside>, seen: &Outside) {
    loop {
        let now = outside.borrow_and_update().clone();
        if now.container != seen.container {
            return;
        }
        if now.log != seen.log && matches!(now.log, Log::Final(_)) {
            return sleep(OVERDUE).await;
        }
        change(outside).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use futures::future::BoxFuture;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::database::{Engine, Login, Password};
    use crate::probe::{Connection, Dial, Pace, Settle, Target, Tls};

    /// A server that accepts and says nothing, while the outside changes: whether a second attempt comes long
    /// before the first one's deadline.
    async fn tries_again_after(first: Outside, second: Outside) -> bool {
        tries_again(first, second, None).await
    }

    async fn tries_again(
        first: Outside,
        second: Outside,
        way: Option<fn(SocketAddr) -> Arc<dyn Dial>>,
    ) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, outside) = watch::channel(first);
        let login = Login { user: "u".into(), password: Password::new(""), database: None };
        let address = listener.local_addr().unwrap();
        let (port, way) = (address.port(), way.map(|way| way(address)));
        let pause = Duration::from_millis(1);
        let pace = Pace { usual: pause, setting_up: pause };
        let target = Target {
            engine: Engine::Postgres,
            host: "127.0.0.1".into(),
            port,
            way,
            login,
            admin: None,
            arguments: None,
            tls: Tls::Never,
            authority: None,
            may_reveal: false,
            pace,
        };
        let readiness = Readiness::new(Settle::Never, std::time::Instant::now());
        let mut watched = [Watched { prober: Prober::new(target), readiness, outside }];
        let script = async {
            let _first = listener.accept().await.unwrap();
            to.send_replace(second);
            timeout(Duration::from_secs(1), listener.accept()).await.is_ok()
        };
        tokio::select! {
            again = script => again,
            _ = all_ready(&mut watched, |_, _| {}, || std::future::ready(())) => unreachable!("nobody answers"),
        }
    }

    /// Connects as a port-forward does: by itself.
    #[derive(Debug)]
    struct Elsewhere(SocketAddr);

    impl Dial for Elsewhere {
        fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
            Box::pin(async { Ok(Box::new(TcpStream::connect(self.0).await?) as Box<dyn Connection>) })
        }
    }

    #[tokio::test]
    async fn a_late_attempt_gets_another_one_beside_it_where_ends_may_be_passed_on_late() {
        let nothing_new = || Outside::running("a");
        assert!(
            tries_again(nothing_new(), nothing_new(), Some(|address| Arc::new(Elsewhere(address)))).await
        );
        assert!(!tries_again(nothing_new(), nothing_new(), None).await);
    }

    #[tokio::test]
    async fn an_attempt_ends_with_the_server_that_it_is_about() {
        let setting_up = |id: &str| Outside { log: Log::SettingUp, ..Outside::running(id) };
        let over = |id: &str| Outside { log: Log::Final("over"), ..Outside::running(id) };
        assert!(tries_again_after(setting_up("a"), over("a")).await);
        assert!(tries_again_after(setting_up("a"), Outside::running("b")).await);
        assert!(tries_again_after(over("a"), over("b")).await);
        // That the set-up begins says nothing against the attempt.
        assert!(!tries_again_after(Outside::running("a"), setting_up("a")).await);
    }
}

//! Is a database ready? Knows addresses and logins, and no Kubernetes.
//!
//! An [`attempt`] logs in and asks the server who it is; [`Readiness`] turns the answers of many attempts into a verdict; [`until_ready`]
//! repeats attempts until the verdict is ready.

mod mysql;
mod postgres;
mod readiness;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub use readiness::{Answer, Evidence, Readiness, Verdict};

use crate::database::{Engine, Login};
use crate::failure;

/// How long one login and its queries may take: a server that accepts and says nothing must not hold the wait up. Above one second,
/// because a MySQL that looks clients up in a slow DNS needs about that long for each login.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What to log in to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The engine, which decides the protocol.
    pub engine: Engine,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The tests' user.
    pub login: Login,
    /// An administrator, asked for evidence where the tests' user may not see it.
    pub admin: Option<Login>,
    /// The pause between attempts.
    pub interval: Duration,
}

/// Why an attempt got no answer, as a short text such as `connection refused`.
pub type NotYet = String;

/// The state of the container behind a database, as far as it matters to probing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// Not running, and why.
    Waiting(String),
    /// Running; the id changes when the container is restarted.
    Running(String),
}

/// Where a database is that is not ready yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its container does not run, and why.
    Starting(String),
    /// Its server does not answer yet, and why.
    Initialising(String),
    /// Its server answers, and counts as ready if it goes on for this long.
    Settling(Duration),
}

/// One login as the tests' user, a query, and the server's identity.
///
/// # Errors
/// Why there was no answer; a password is never part of it.
pub async fn attempt(target: &Target) -> Result<Answer, NotYet> {
    let login = async {
        // The administrator first: a process id of 1 means that the final server is there, so that the later login meets it as well.
        let admin = target.admin.as_ref().filter(|admin| **admin != target.login);
        let proof = match admin {
            Some(admin) => ask(target, admin).await.ok().and_then(|answer| answer.process_id),
            None => None,
        };
        let answer = ask(target, &target.login).await?;
        Ok(Answer { process_id: answer.process_id.or(proof), ..answer })
    };
    match timeout(ATTEMPT, login).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", ATTEMPT.as_secs())),
    }
}

async fn ask(target: &Target, login: &Login) -> Result<Answer, NotYet> {
    match target.engine {
        Engine::Mysql | Engine::Mariadb => mysql::ask(target, login).await,
        Engine::Postgres => postgres::ask(target, login).await,
        Engine::Sqlite => Err("sqlite has no server".into()),
    }
}

/// Attempts until the database is ready, starting over whenever the container does. `report` hears where it is.
///
/// Returns the evidence and the number of attempts that were needed: one means that an earlier verdict still holds.
pub async fn until_ready(
    target: &Target,
    readiness: &mut Readiness,
    container: &mut watch::Receiver<Container>,
    mut report: impl FnMut(Stage),
) -> (Evidence, usize) {
    let mut attempts = 0;
    loop {
        let state = container.borrow_and_update().clone();
        readiness.container(&state);
        if let Container::Waiting(why) = state {
            report(Stage::Starting(why));
            change(container).await;
            continue;
        }
        attempts += 1;
        let outcome = tokio::select! {
            outcome = attempt(target) => outcome,
            // A restart in the middle of an attempt: what it would say is about a server that is gone.
            () = change(container) => continue,
        };
        match readiness.answer(Instant::now().into_std(), &outcome) {
            Verdict::Ready(evidence) => return (evidence, attempts),
            Verdict::Waiting(why) => report(Stage::Initialising(why)),
            Verdict::Settling(left) => report(Stage::Settling(left)),
        }
        tokio::select! {
            () = sleep(target.interval) => {}
            () = change(container) => {}
        }
    }
}

/// Waits for the next change. When the watch behind it is over, so is the whole wait, and this never returns: whoever owns both reports why.
pub async fn change<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// `connection refused` rather than the chain around it, in one line.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    failure::innermost(error).lines().next().unwrap_or_default().to_lowercase()
}

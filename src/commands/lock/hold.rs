//! What `acquire` and `run` have in common: the wait for a lock, told as it goes.

use std::cell::{Cell, RefCell};
use std::pin::pin;

use anyhow::anyhow;
use tokio::time::{Instant, sleep_until};

use super::{replica, which, words};
use crate::cli::Locking;
use crate::failure::{Advise, Exit, usage};
use crate::lock::attempt::{Attempt, Outcome, Report};
use crate::lock::candidacy::Held;
use crate::lock::object::Target;
use crate::lock::state::{Identity, Terms};
use crate::lock::step::{BEATS, Candidate, Refusal};
use crate::progress::Progress;
use crate::runtime::kubernetes::Cluster;

/// Somebody who wants a lock.
pub(super) struct Wish<'a> {
    pub cluster: &'a Cluster,
    pub args: &'a Locking,
    pub identity: Identity,
    pub terms: Terms,
    /// When `--timeout` is over.
    pub deadline: Instant,
}

pub(super) struct Taken {
    pub target: Target,
    pub held: Held,
}

/// An error of what was to come before the wait: the time may have been over.
pub(super) fn not_in_time(error: anyhow::Error, deadline: Instant) -> anyhow::Error {
    if Instant::now() < deadline { error } else { error.exit(Exit::NotAcquired) }
}

/// Waits until one of the locks is held. `cancelled` ends the wait.
/// [`Exit::NotAcquired`] when the time is up, and when the lock is taken and nobody waits.
pub(super) async fn hold(
    wish: &Wish<'_>,
    cancelled: impl Future<Output = anyhow::Error>,
    progress: &Progress,
) -> anyhow::Result<Taken> {
    let Wish { cluster, args, identity, terms, deadline } = wish;
    let mut cancelled = pin!(cancelled);
    let targets = async {
        let targets = which::targets(cluster, &args.locked).await?;
        for target in &targets {
            replica::check(target, args, progress).await?;
        }
        Ok(targets)
    };
    let targets = tokio::select! {
        targets = cluster.by(*deadline, args.timeout, targets) => targets,
        error = &mut cancelled => Err(error),
    };
    let targets = targets.map_err(|error| not_in_time(error, *deadline))?;
    if args.heartbeat.is_zero() {
        return Err(usage("--heartbeat 0s: nobody can be heard all the time; write 1s or more"));
    }
    let candidate = Candidate {
        identity: identity.clone(),
        terms: terms.clone(),
        timeout: args.heartbeat * BEATS,
        permits: args.permits,
        waits: !args.no_wait,
    };
    let last = RefCell::new(String::new());
    let (in_trouble, is_blind) = (Cell::new(false), Cell::new(false));
    let report = |report: Report| match report {
        Report::State(target, version, obstacle) => {
            in_trouble.set(false);
            let lock = &version.lock;
            let text = words::waiting(lock, identity, obstacle);
            if lock.holder(identity).is_none() && lock.place(identity).is_some() {
                progress.wait(&target.to_string(), &text);
            }
            if lock.holder(identity).is_none() {
                *last.borrow_mut() = format!("{target}: {text}");
            }
        }
        // Said once, until it is over.
        Report::Trouble(_) if in_trouble.replace(true) => {}
        Report::Trouble(error) => progress.say(&format!("{error:#}; trying again")),
        // The same for every holder.
        Report::Blind(_) if is_blind.replace(true) => {}
        Report::Blind(why) => {
            progress.warn(&format!("{why}: only the ttl tells whether a lock is abandoned"));
        }
        Report::Removed(target, before, after) => {
            for gone in before.holders.iter().filter(|holder| after.holder(&holder.identity).is_none()) {
                progress.say(&format!(
                    "{target}: taken from {}, which has abandoned it",
                    words::name(&gone.identity)
                ));
            }
            for gone in before
                .queue
                .iter()
                .filter(|waiter| waiter.identity != *identity && after.place(&waiter.identity).is_none())
            {
                progress
                    .explain(&format!("{target}: {} is not waiting any more", words::name(&gone.identity)));
            }
        }
    };
    let mut attempt = Attempt::new(cluster, targets.clone(), candidate, report);
    let stop = async {
        tokio::select! {
            error = cancelled => error,
            () = sleep_until(*deadline) => {
                let timeout = humantime::format_duration(args.timeout);
                let last = Some(last.borrow().clone()).filter(|text| !text.is_empty());
                let why = cluster.trouble().or(last).unwrap_or_else(|| format!("the API server {} does not answer", cluster.server));
                let error = anyhow!("the lock was not to be had within {timeout}: {why}");
                error.exit(Exit::NotAcquired).hint("wait longer with --timeout; testbed lock show tells who holds and who waits")
            }
        }
    };
    let outcome = attempt.by(*deadline, args.timeout).hold(stop).await;
    drop(attempt);
    progress.finish();
    match outcome? {
        Outcome::Held(index, held) => {
            let target =
                targets.into_iter().nth(index).ok_or_else(|| anyhow!("a lock that nobody asked for"))?;
            Ok(Taken { target, held: *held })
        }
        Outcome::Refused(Refusal::Busy) => Err(anyhow!("the lock is not free: {}", last.borrow()))
            .exit(Exit::NotAcquired)
            .hint("without --no-wait, it is waited for"),
        Outcome::Refused(Refusal::Permits(permits)) => {
            let error = anyhow!("the lock is in use with {permits} permits: {}", last.borrow());
            Err(error).exit(Exit::Usage).hint(format!("leave out --permits, or write --permits {permits}"))
        }
    }
}

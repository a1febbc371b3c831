//! The verdict on a database, from its container, its log and its server's answers. Pure: without a clock.
//!
//! A database container starts a set-up server first and stops it again, so an answer alone proves nothing.
//! Ready needs evidence that the answering server is the final one:
//! 1. its process id inside the container is 1: the entrypoint has `exec`'ed it. An id from the server's pid
//!    file, which others could write to, counts only if nothing contradicts it;
//! 2. else the entrypoint's log says that the set-up is over, and the login began after that was read;
//! 3. else the same server (by its start time) stays up for a settling window, where [`Settle`] lets that
//!    count, and no option of its command line is one that only a set-up server has.
//!
//! A refused login is held against the same evidence: what a set-up server refuses may be right a moment
//! later, what the final server refuses stays wrong.

use std::time::{Duration, Instant};

use super::refusal::{Kind, Refusal};
use super::{Answer, Container, Log, Outcome, Outside, ProcessId};
use crate::database::Settling;

/// How far two readings of one server's start time may lie apart: MySQL tells its uptime in whole seconds.
const START_TOLERANCE: Duration = Duration::from_millis(1500);

/// How long a proven final server has to go on refusing: a start hook may still be making the user.
pub(super) const CONFIRMATION: Duration = Duration::from_secs(1);

/// How long a server has to stay up unless the user says otherwise.
pub const WINDOW: Duration = Duration::from_secs(6);

/// Programs that run as process 1 to look after others: below them the final server has another id.
const INITS: [&str; 13] = [
    "tini",
    "tini-static",
    "docker-init",
    "dumb-init",
    "catatonit",
    "pause",
    "s6-svscan",
    "supervisord",
    "runsvdir",
    "runit",
    "systemd",
    "init",
    "launchd",
];

/// When staying up counts as evidence, for want of a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Never: only a proof is believed.
    Never,
    /// For a server that does not tell its process id. One that tells another id than 1 is the set-up server,
    /// unless process 1 is known to be an init program.
    Untold(Duration),
    /// For any server, whatever its process id.
    Any(Duration),
}

impl From<Settling> for Settle {
    /// What the user says holds for any server.
    fn from(settling: Settling) -> Self {
        match settling {
            Settling::Never => Self::Never,
            Settling::For(window) => Self::Any(window),
        }
    }
}

/// Why a database is believed to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Process1,
    /// The same, as the server's pid file says, which nothing contradicts.
    PidFile,
    Log(&'static str),
    Settled(Duration),
}

impl Evidence {
    /// The rung of the ladder, as programs read it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Process1 | Self::PidFile => "process-1",
            Self::Log(_) => "log",
            Self::Settled(_) => "settled",
        }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process1 => write!(f, "the server is process 1 of its container"),
            Self::PidFile => write!(f, "the server is process 1 of its container, as its pid file says"),
            Self::Log(marker) => write!(f, "the container's log says {marker:?}"),
            Self::Settled(window) => write!(f, "the same server for {:.1} s", window.as_secs_f64()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Container(String),
    Refused(Refusal),
    SettingUp,
    NotProcess1(u32),
    SetUpOption(String),
    /// No process id that can be believed is told, and staying up is not to count.
    Unproven,
    Settling(Duration),
}

impl Reason {
    /// The stage that it belongs to, in a word.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Container(_) => "starting",
            Self::Settling(_) => "settling",
            _ => "initialising",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container(why) => f.write_str(why),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::SettingUp => f.write_str("a set-up server answers; the log says that the set-up goes on"),
            Self::NotProcess1(id) => {
                write!(f, "a server answers as process {id} of its container; the final one is process 1")
            }
            Self::SetUpOption(option) => {
                write!(
                    f,
                    "a set-up server answers: its command line has {option}, and the container's arguments have not"
                )
            }
            Self::Unproven => f.write_str("a server answers, and nothing proves that it is the final one"),
            Self::Settling(left) => write!(f, "{:.0} s more", left.as_secs_f64().ceil()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Waiting(Reason),
    /// Ready, and why that is certain.
    Ready(Evidence),
    /// Can never become ready: the final server refuses the tests' login.
    Never(Refusal),
}

#[derive(Debug)]
pub struct Readiness {
    settle: Settle,
    container: Option<Running>,
    log: (Log, Instant),
    server: Option<Seen>,
    told: Option<Told>,
    refused: Option<Refused>,
}

/// The container that runs now.
#[derive(Debug)]
struct Running {
    id: String,
    since: Instant,
}

/// Which server answers.
#[derive(Debug, Clone, Copy)]
struct Identity {
    started: Instant,
    connection: Option<u32>,
}

impl Identity {
    fn of(answer: &Answer, now: Instant) -> Self {
        Self { started: now.checked_sub(answer.uptime).unwrap_or(now), connection: answer.connection }
    }

    /// The same server as of a later answer; `None` if that is another server's. The start stays the first
    /// reading's, so that small differences do not add up.
    fn then(self, later: Self) -> Option<Self> {
        let is_lower = self.connection.zip(later.connection).is_some_and(|(before, after)| after < before);
        (is_same(self.started, later.started) && !is_lower)
            .then_some(Self { connection: later.connection.or(self.connection), ..self })
    }
}

/// A server that takes the tests' logins.
#[derive(Debug, Clone, Copy)]
struct Seen {
    server: Identity,
    first: Instant,
}

/// What a server's pid file said first, which is what it stays: no process changes its id.
#[derive(Debug, Clone, Copy)]
struct Told {
    server: Identity,
    process_id: u32,
}

/// A refusal that goes on without a break.
#[derive(Debug, Clone, Copy)]
struct Refused {
    since: Instant,
    kind: Kind,
    proven: bool,
    server: Option<Identity>,
}

impl Readiness {
    pub fn new(settle: Settle, now: Instant) -> Self {
        Self { settle, container: None, log: (Log::Unread, now), server: None, told: None, refused: None }
    }

    /// Takes the state of the container and its log as of `now`; another container, or none, starts over.
    /// Returns the reason to wait for as long as there is nothing to log in to.
    pub fn outside(&mut self, now: Instant, outside: &Outside) -> Option<Reason> {
        match &outside.container {
            Container::Waiting(why) => {
                self.start_over(now);
                self.container = None;
                return Some(Reason::Container(why.clone()));
            }
            Container::Running(id) if self.container.as_ref().is_none_or(|running| running.id != *id) => {
                self.start_over(now);
                self.container = Some(Running { id: id.clone(), since: now });
            }
            Container::Running(_) => {}
        }
        if self.log.0 != outside.log {
            self.log = (outside.log, now);
        }
        None
    }

    fn start_over(&mut self, now: Instant) {
        self.log = (Log::Unread, now);
        self.server = None;
        self.told = None;
        self.refused = None;
    }

    /// Takes the outcome of an attempt that began at `began` and ended at `now`.
    pub fn attempt(&mut self, began: Instant, now: Instant, outcome: &Outcome) -> Verdict {
        if self.container.as_ref().is_none_or(|running| began < running.since) {
            // It may have met the server of a container that is gone.
            return Verdict::Waiting(Reason::Container("its container has just started".into()));
        }
        let answer = outcome.server.clone().map(|answer| self.believed(answer, now));
        let proof = self.proof(began, answer.as_ref());
        match (&outcome.login, answer) {
            (Ok(()), Some(answer)) => {
                self.refused = None;
                self.answered(now, &answer, proof)
            }
            // Both come from one login, so that this does not happen; it would prove nothing.
            (Ok(()), None) => Verdict::Waiting(Reason::Unproven),
            (Err(refusal), answer) => {
                // A server that refuses is no longer the one that answered before.
                self.server = None;
                self.refused(now, refusal, proof.is_some(), answer.as_ref())
            }
        }
    }

    /// What proves that an attempt met the final server.
    fn proof(&self, began: Instant, answer: Option<&Answer>) -> Option<Evidence> {
        let told = answer.and_then(|answer| answer.process_id);
        let is_contradicted =
            self.log.0 == Log::SettingUp || answer.is_some_and(|answer| answer.set_up_option.is_some());
        match (told, self.log) {
            (Some(ProcessId::Own(1)), _) => Some(Evidence::Process1),
            (Some(ProcessId::File(1)), _) if !is_contradicted => Some(Evidence::PidFile),
            // An attempt that was under way when the line came may have met the set-up server.
            (_, (Log::Final(marker), read)) if began >= read => Some(Evidence::Log(marker)),
            _ => None,
        }
    }

    /// With the id that the pid file said first: if it says another one by now, somebody has written to it.
    fn believed(&mut self, mut answer: Answer, now: Instant) -> Answer {
        let server = Identity::of(&answer, now);
        if let Some(ProcessId::File(process_id)) = &mut answer.process_id {
            let known = self.told.and_then(|told| Some(Told { server: told.server.then(server)?, ..told }));
            let told = known.unwrap_or(Told { server, process_id: *process_id });
            *process_id = told.process_id;
            self.told = Some(told);
        }
        answer
    }

    fn answered(&mut self, now: Instant, answer: &Answer, proof: Option<Evidence>) -> Verdict {
        let server = Identity::of(answer, now);
        let known = self.server.and_then(|seen| Some(Seen { server: seen.server.then(server)?, ..seen }));
        let seen = known.unwrap_or(Seen { server, first: now });
        self.server = Some(seen);
        if let Some(evidence) = proof {
            return Verdict::Ready(evidence);
        }
        if self.log.0 != Log::Unread {
            // Set-up goes on, or was over only after this attempt had begun.
            return Verdict::Waiting(Reason::SettingUp);
        }
        let other = answer.process_id.map(ProcessId::number).filter(|id| *id != 1);
        if let Some(option) =
            answer.set_up_option.as_ref().filter(|_| other.is_none() || may_be_final(answer))
        {
            return Verdict::Waiting(Reason::SetUpOption(option.clone()));
        }
        let Some(window) = self.window(Some(answer)).filter(|_| answer.set_up_option.is_none()) else {
            return Verdict::Waiting(other.map_or(Reason::Unproven, Reason::NotProcess1));
        };
        let stayed = now.saturating_duration_since(seen.first);
        if stayed >= window {
            Verdict::Ready(Evidence::Settled(stayed))
        } else {
            Verdict::Waiting(Reason::Settling(window - stayed))
        }
    }

    /// The settling window, if staying up counts for this server.
    fn window(&self, answer: Option<&Answer>) -> Option<Duration> {
        match self.settle {
            Settle::Never => None,
            Settle::Any(window) => Some(window),
            Settle::Untold(window) => answer.is_none_or(may_be_final).then_some(window),
        }
    }

    fn refused(&mut self, now: Instant, refusal: &Refusal, proven: bool, answer: Option<&Answer>) -> Verdict {
        let identity = answer.map(|answer| Identity::of(answer, now));
        let waiting = || Verdict::Waiting(Reason::Refused(refusal.clone()));
        if !refusal.kind.may_be_for_ever() {
            self.refused = None;
            // Whoever answers after a gap may be another one.
            self.told = self.told.filter(|_| refusal.kind == Kind::NotYet);
            return waiting();
        }
        let goes_on = |refused: &Refused| {
            let same_server =
                refused.server.zip(identity).is_none_or(|(before, after)| before.then(after).is_some());
            refused.kind == refusal.kind && refused.proven == proven && same_server
        };
        let refused = match self.refused {
            Some(refused) if goes_on(&refused) => refused,
            _ => Refused { since: now, kind: refusal.kind, proven, server: identity },
        };
        self.refused = Some(refused);
        let certain_after = if proven {
            Some(CONFIRMATION)
        } else if self.log.0 != Log::Unread || answer.is_some_and(|answer| answer.set_up_option.is_some()) {
            None
        } else if refusal.kind == Kind::Denied && !matches!(self.settle, Settle::Any(_)) {
            // A set-up server that nobody gets into yet looks just like this.
            None
        } else {
            self.window(answer)
        };
        match certain_after {
            Some(time) if now.saturating_duration_since(refused.since) >= time => {
                Verdict::Never(refusal.clone())
            }
            _ => waiting(),
        }
    }
}

/// Whether a server with this answer can be the final one although it does not prove that.
fn may_be_final(answer: &Answer) -> bool {
    answer.process_id.is_none() || answer.first_process.as_deref().is_some_and(|name| INITS.contains(&name))
}

fn is_same(a: Instant, b: Instant) -> bool {
    a.max(b) - a.min(b) <= START_TOLERANCE
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

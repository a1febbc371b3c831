//! Keeps a lock that is held: renews it in time, and tells when it is lost and why.
//!
//! A renewal is a compare-and-swap on the newest version, which the watch tells: whoever waits changes the object as well. The holder believes
//! only what it has written itself, and counts from when it sent that, see [`Deadlines`].

use std::time::Duration;

use anyhow::anyhow;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::timeout;

use super::attempt::Held;
use super::backoff::Pauses;
use super::clock::{now, until};
use super::deadlines::Deadlines;
use super::object::{Kind, Sighting, Target, Unwritten, Version};
use super::state::{Holder, Lock};

/// Without a ttl, a request that takes longer is tried again.
const REQUEST: Duration = Duration::from_secs(10);

/// What becomes of a lock that is kept.
#[derive(Debug)]
pub enum News {
    /// It was renewed, so that there are new deadlines.
    Renewed,
    /// A renewal has failed, for this reason. The next one may not.
    Trouble(String),
    /// It is lost.
    Lost(Loss),
}

/// Why a lock is lost.
#[derive(Debug)]
pub enum Loss {
    /// No renewal was taken for too long. It is still held, but not for long.
    Silence {
        /// For how long.
        since: Duration,
        /// What the last attempt came to; nothing where there was none, as testbed itself was stopped.
        trouble: Option<String>,
    },
    /// Somebody has deleted the object. Those who wait put it back together with its holders, as far as these run commands, and so does this
    /// holder.
    Deleted {
        /// Whether this kind of object can be put back at all.
        can_return: bool,
    },
    /// Somebody has taken the holder out. This is how the lock was seen then; somebody else may hold it by now.
    Removed(Box<Lock>),
}

/// Keeps one lock.
pub struct Keeper {
    target: Target,
    /// The holder's own entry, as it was last seen.
    entry: Holder,
    known: Known,
    sightings: BoxStream<'static, anyhow::Result<Sighting>>,
    deadlines: Option<Deadlines>,
    /// When the last renewal was sent that was taken.
    kept_at: Duration,
    /// When the first of those renewals was sent of which it is unknown whether they were taken.
    unclear_at: Option<Duration>,
    /// Whether the known version is not the newest.
    is_stale: bool,
    /// When to write next.
    due: Option<Duration>,
    pauses: Pauses,
    trouble: Option<String>,
    is_silence_told: bool,
    is_deletion_told: bool,
}

enum Known {
    There(Box<Version>),
    /// Somebody has deleted it; how it was.
    Gone(Lock),
}

/// What a request has led to.
enum Answer {
    /// The state that was written.
    Written(Version),
    /// The state that was read.
    Read(Option<Version>),
}

impl Keeper {
    /// Begins to keep a lock that was just taken. `None`: the holder is not in it.
    pub fn new(target: &Target, held: Held) -> Option<Self> {
        let entry = held.version.lock.holders.iter().find(|holder| holder.fence == held.fence)?.clone();
        let deadlines = entry.terms.ttl().map(Deadlines::of);
        Some(Self {
            sightings: target.watch(),
            target: target.clone(),
            entry,
            known: Known::There(Box::new(held.version)),
            deadlines,
            kept_at: held.asked_at,
            unclear_at: None,
            is_stale: false,
            due: deadlines.map(|deadlines| held.asked_at + deadlines.renewal()),
            pauses: Pauses::default(),
            trouble: None,
            is_silence_told: false,
            is_deletion_told: false,
        })
    }

    /// Until when the command has to be dead, unless the lock is renewed; `None` if time alone does not lose it.
    pub fn kill_at(&self) -> Option<Duration> {
        self.deadlines.map(|deadlines| self.kept_at + deadlines.kill())
    }

    /// When somebody else has to have killed it.
    pub fn last_moment(&self) -> Option<Duration> {
        self.deadlines.map(|deadlines| self.kept_at + deadlines.last())
    }

    /// What happens next. After a loss the lock is kept on as far as possible, so that the command has the time to end, and a worse loss is told.
    pub async fn next(&mut self) -> News {
        loop {
            // The clock first: this process may have been stopped for any time, and the machine asleep.
            if let Some(loss) = self.overdue() {
                return News::Lost(loss);
            }
            let time = now();
            if self.due.is_some_and(|due| due <= time) {
                if let Some(news) = self.request().await {
                    return news;
                }
                continue;
            }
            let silence = self.deadlines.filter(|_| !self.is_silence_told).map(|deadlines| self.kept_at + deadlines.end());
            let wake = self.due.into_iter().chain(silence).min();
            tokio::select! {
                biased;
                () = until(wake) => {}
                sighting = self.sightings.next() => if let Some(loss) = self.see(sighting) {
                    return News::Lost(loss);
                }
            }
        }
    }

    /// Whether the lock is lost by the clock alone; told once.
    pub fn overdue(&mut self) -> Option<Loss> {
        let time = now();
        let deadlines = self.deadlines.filter(|_| !self.is_silence_told)?;
        let at = self.kept_at + deadlines.end();
        if time < at {
            return None;
        }
        self.is_silence_told = true;
        // Whoever comes this late was not run, and a request that got no answer meanwhile says nothing about the API server.
        let trouble = self.trouble.clone().filter(|_| time < at + deadlines.request());
        Some(Loss::Silence { since: time.saturating_sub(self.kept_at), trouble })
    }

    /// One request: a renewal, or what makes the next one possible.
    async fn request(&mut self) -> Option<News> {
        let sent_at = now();
        let within = self.patience(sent_at);
        let is_gone = matches!(self.known, Known::Gone(_));
        let answer = timeout(within, self.ask()).await;
        let news = match answer.unwrap_or_else(|_| Err(Unwritten::Unclear(anyhow!("the API server does not answer")))) {
            Ok(Answer::Written(version)) => {
                self.kept_at = sent_at;
                self.unclear_at = None;
                self.trouble = None;
                self.pauses = Pauses::default();
                self.due = self.deadlines.map(|deadlines| sent_at + deadlines.renewal());
                self.learn(Box::new(version)).map_or(Some(News::Renewed), |loss| Some(News::Lost(loss)))
            }
            Ok(Answer::Read(Some(version))) => self.learn(Box::new(version)).map(News::Lost),
            Ok(Answer::Read(None)) => self.lose_object(None).map(News::Lost),
            Err(Unwritten::Conflict) => {
                // The watch is about to tell; if it does not, it is worth a request.
                self.is_stale = true;
                self.due = Some(now() + within);
                None
            }
            Err(Unwritten::Unclear(error)) => {
                self.unclear_at = self.unclear_at.or(Some(sent_at));
                Some(self.fail(&error))
            }
            // Rights may come back as well as connections.
            Err(Unwritten::Refused(error) | Unwritten::Denied(error)) => Some(self.fail(&error)),
        };
        if is_gone && !matches!(news, Some(News::Lost(_))) && !std::mem::replace(&mut self.is_deletion_told, true) {
            return Some(News::Lost(Loss::Deleted { can_return: true }));
        }
        news
    }

    /// For how long to wait for an answer: not beyond what has to be done next.
    fn patience(&self, time: Duration) -> Duration {
        let Some(deadlines) = self.deadlines else { return REQUEST };
        let next = if self.is_silence_told { deadlines.kill() } else { deadlines.end() };
        deadlines.request().min(REQUEST).min((self.kept_at + next).saturating_sub(time))
    }

    fn fail(&mut self, error: &anyhow::Error) -> News {
        let trouble = format!("{error:#}");
        self.trouble = Some(trouble.clone());
        self.due = self.pauses.next().map(|pause| now() + pause);
        News::Trouble(trouble)
    }

    async fn ask(&self) -> Result<Answer, Unwritten> {
        if self.is_stale {
            return self.target.look().await.map(Answer::Read);
        }
        match &self.known {
            Known::There(version) => self.target.write(version, &with(&version.lock, &self.entry)).await.map(Answer::Written),
            Known::Gone(lock) => self.target.create(lock).await.map(Answer::Written),
        }
    }

    fn see(&mut self, sighting: Option<anyhow::Result<Sighting>>) -> Option<Loss> {
        match sighting {
            Some(Ok(Sighting::There(version))) => {
                let is_old = |known: &Version| version.number < known.number || (version.number == known.number && !self.is_stale);
                if matches!(&self.known, Known::There(known) if version.number != 0 && is_old(known)) {
                    // From before the own write.
                    return None;
                }
                let was_stale = self.is_stale || matches!(self.known, Known::Gone(_));
                let loss = self.learn(version);
                if was_stale && self.due.is_some() {
                    self.due = Some(now());
                }
                loss
            }
            Some(Ok(Sighting::Gone(was))) => match &self.known {
                // What was put back since.
                Known::There(known) if was.as_ref().is_some_and(|was| was.uid != known.uid) => None,
                Known::There(_) if was.is_none() => {
                    // Maybe from before that.
                    self.is_stale = true;
                    self.due = Some(now());
                    None
                }
                Known::There(_) => self.lose_object(was.map(|was| was.lock)),
                Known::Gone(_) => None,
            },
            Some(Ok(Sighting::Trouble(error)) | Err(error)) => {
                self.trouble = Some(format!("{error:#}"));
                None
            }
            None => {
                self.sightings = self.target.watch();
                None
            }
        }
    }

    /// Takes note of a version, and looks whether the holder is still in it.
    fn learn(&mut self, version: Box<Version>) -> Option<Loss> {
        self.is_stale = false;
        let Some(own) = entry_in(&version.lock, &self.entry).cloned() else {
            let is_out = matches!(&self.known, Known::There(known) if entry_in(&known.lock, &self.entry).is_none());
            if (is_out || matches!(self.known, Known::Gone(_))) && version.lock.has_room() {
                // Somebody who did not know that there was a holder has made the deleted object, and does not hold the lock yet.
                self.known = Known::There(version);
                self.due = Some(now());
                return None;
            }
            return Some(Loss::Removed(Box::new(version.lock)));
        };
        // Of an entry that nobody else renews: one of the unclear ones was taken.
        if own.renewals > self.entry.renewals
            && own.party.session.is_some()
            && let Some(sent_at) = self.unclear_at.take()
        {
            self.kept_at = self.kept_at.max(sent_at);
        }
        self.entry = own;
        // Somebody who waits was faster in putting it back.
        let is_another = matches!(&self.known, Known::There(known) if known.uid != version.uid);
        self.known = Known::There(version);
        (is_another && !std::mem::replace(&mut self.is_deletion_told, true)).then_some(Loss::Deleted { can_return: true })
    }

    /// Prepares to put back what somebody has deleted, with all holders whose commands may still run.
    fn lose_object(&mut self, was: Option<Lock>) -> Option<Loss> {
        self.is_stale = false;
        if let Known::There(version) = &self.known {
            let mut lock = was.unwrap_or_else(|| version.lock.clone());
            if entry_in(&lock, &self.entry).is_none() {
                return Some(Loss::Removed(Box::new(lock)));
            }
            lock.holders.retain(|holder| holder.party.session.is_some() || is_same(holder, &self.entry));
            self.known = Known::Gone(with(&lock, &self.entry));
        }
        if self.target.kind != Kind::Lease {
            self.due = None;
            return Some(Loss::Deleted { can_return: false });
        }
        self.due = Some(now());
        None
    }
}

fn is_same(one: &Holder, other: &Holder) -> bool {
    one.fence == other.fence && one.party == other.party
}

fn entry_in<'a>(lock: &'a Lock, entry: &Holder) -> Option<&'a Holder> {
    lock.holders.iter().find(|holder| is_same(holder, entry))
}

/// The state with a holder's entry renewed, or put back into it. What is put back is renewed as well: its holder counts anew from there, and so
/// must those who wait, whatever they had told of it before.
pub(super) fn with(lock: &Lock, entry: &Holder) -> Lock {
    let mut lock = lock.clone();
    if entry_in(&lock, entry).is_none() {
        lock.fence = lock.fence.max(entry.fence);
        lock.holders.push(entry.clone());
    }
    lock.renew(&entry.party, entry.fence);
    lock
}

#[cfg(test)]
mod tests {
    use super::super::state::{Party, Terms};
    use super::*;

    #[test]
    fn an_entry_is_renewed_or_put_back_with_its_number() {
        let party = |id: &str| Party { id: id.into(), session: Some("s".into()) };
        let terms = Terms { ttl_millis: Some(1_000), ttl_is_asked_for: true, pipeline_run: None };
        let mut lock = Lock::default();
        lock.grant(&party("one"), &terms, k8s_openapi::jiff::Timestamp::UNIX_EPOCH, 17);
        lock.holders[0].idle_millis = 900;
        let entry = lock.holders[0].clone();
        let renewed = with(&lock, &entry);
        assert_eq!((renewed.holders.len(), renewed.holders[0].renewals, renewed.holders[0].idle_millis), (1, 1, 0));
        // A later acquisition of the same process is another one.
        let later = Holder { fence: 18, ..entry.clone() };
        assert_eq!(entry_in(&lock, &later), None);
        let back = with(&Lock::default(), &entry);
        assert_eq!((back.holders, back.fence), (renewed.holders, 17));
    }
}

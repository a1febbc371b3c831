//! What a pool knows of its databases, and what is to be done next. No input and no output: whoever makes and
//! removes databases asks for [`Work`], and tells how it went.
//!
//! A name is given to one database and never again, so that two tests could only have one database in common
//! where one of them has given it back unchanged. A test that comes late finds its database gone, and not
//! somebody else's in its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long clients of a database that was given back may take to log out.
const LOGGING_OUT: Duration = Duration::from_secs(10);
/// How soon it is looked for them again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a database that somebody has used has to be without anybody before its test counts as over.
const UNUSED: Duration = Duration::from_secs(1);
/// The same for one that nobody has logged in to yet.
const NEVER_USED: Duration = Duration::from_mins(5);
/// The same for one that a test has given back unchanged: nobody knows whether the next one has been logged in between
/// two looks.
const USED_BEFORE: Duration = Duration::from_secs(30);
/// How often it is looked which databases are used.
const LOOKS: Duration = Duration::from_millis(500);
/// After a copy that has failed nobody tries the next one for so long, unless somebody asks for it.
const PAUSE: Duration = Duration::from_secs(1);
/// How many discarded templates are remembered.
const DISCARDED: usize = 100;

/// What a pool may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many databases of each template are kept ready.
    pub ready: usize,
    /// How many databases tests may have and not give back: those above it are taken back once they are unused.
    pub soft: usize,
    /// How many databases there may be, those that are about to go included.
    pub most: usize,
    /// What all copies of one template may take on disk, in bytes.
    pub bytes: u64,
}

/// The number of a test database.
pub(super) type Id = u32;

/// Why there is no database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Unknown,
    /// The template of the seed is asked for, and the database has none.
    Unseeded,
    Discarded,
    /// Somebody has made the template, or is about to.
    Locked,
    /// The server has failed, and what it said.
    Failed(String),
}

/// What there is to know of a template that is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    /// What it takes on disk, in bytes.
    pub size: u64,
    /// Whether it has settings or rights of its own.
    pub has_settings: bool,
}

/// What is to be done on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Make a copy, and tell [`Core::copied`].
    Copy { hash: String, template: String, id: Id, name: String },
    /// Remove a database, and tell [`Core::removed`].
    Remove { name: String, way: Way },
    /// See who uses these, and tell [`Core::seen`].
    Look(Vec<(Id, String)>),
}

/// How a database goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Once nobody is logged in.
    Unused,
    /// Whoever is logged in.
    Forced,
    /// Once nobody is logged in and nobody can: its test may go on after all.
    Locked,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    Gone,
    /// Somebody is logged in.
    Busy,
    /// The server could not be asked.
    Unasked,
    /// It stays, for a reason that time does not mend.
    Stuck,
}

/// What somebody who asks for a test database gets.
#[derive(Debug)]
pub(super) enum Got {
    Now(Id),
    Later(oneshot::Receiver<Result<Id, Refusal>>),
    Never(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its maker fills it, or it is being created.
    Initialising,
    /// Nobody gets in any more, and soon nobody is in.
    Closing,
    Finalized,
    Discarded,
}

#[derive(Debug)]
struct Template {
    database: String,
    stage: Stage,
    /// How many copies it may have for their size.
    most: usize,
    ready: VecDeque<Id>,
    /// Those that a test has given back unchanged.
    again: BTreeSet<Id>,
    handed: BTreeMap<Id, Handed>,
    /// How many copies are being made.
    making: usize,
    waiting: VecDeque<oneshot::Sender<Result<Id, Refusal>>>,
    paused: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    at: Instant,
    /// Whether its test is known to have been logged in.
    was_used: bool,
    unused_since: Option<Instant>,
}

impl Handed {
    fn to_a_test(at: Instant) -> Self {
        Self { at, was_used: false, unused_since: None }
    }
}

#[derive(Debug)]
struct Doomed {
    name: String,
    /// The test that may go on with it after all.
    of: Option<(String, Id, Handed)>,
    /// When it is removed whoever uses it.
    forced: Instant,
    due: Instant,
}

#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    prefix: String,
    next: Id,
    templates: BTreeMap<String, Template>,
    doomed: VecDeque<Doomed>,
    /// Those that are being removed.
    going: Vec<Doomed>,
    /// Those that could not be removed.
    stuck: usize,
    looks: Option<Instant>,
    is_looking: bool,
    /// The template that nobody has to make.
    seed: Option<String>,
}

impl Core {
    /// `prefix` is what all names begin with.
    pub(super) fn new(limits: Limits, prefix: String) -> Self {
        Self {
            limits,
            prefix,
            next: 1,
            templates: BTreeMap::new(),
            doomed: VecDeque::new(),
            going: Vec::new(),
            stuck: 0,
            looks: None,
            is_looking: false,
            seed: None,
        }
    }

    /// Begins the template that nobody has to make: the database that is to be created for it.
    pub(super) fn initialise_seed(&mut self, hash: &str) -> Result<String, Refusal> {
        self.seed = Some(hash.to_owned());
        self.initialise(hash)
    }

    /// The name of a test database.
    pub(super) fn name(&self, id: Id) -> String {
        format!("{}_test_{id}", self.prefix)
    }

    /// Begins a template: the database that is to be created for it.
    pub(super) fn initialise(&mut self, hash: &str) -> Result<String, Refusal> {
        if self.templates.get(hash).is_some_and(|template| template.stage != Stage::Discarded) {
            return Err(Refusal::Locked);
        }
        self.next += 1;
        let database = format!("{}_template_{}", self.prefix, self.next);
        let template = Template {
            database: database.clone(),
            stage: Stage::Initialising,
            most: self.limits.most,
            ready: VecDeque::new(),
            again: BTreeSet::new(),
            handed: BTreeMap::new(),
            making: 0,
            waiting: VecDeque::new(),
            paused: None,
        };
        self.templates.insert(hash.to_owned(), template);
        Ok(database)
    }

    /// What the database of a template is called that is there.
    pub(super) fn template(&self, hash: &str) -> Option<String> {
        let template = self.templates.get(hash)?;
        (template.stage != Stage::Discarded).then(|| template.database.clone())
    }

    /// The template that could not be created, or whose maker has gone, is as if nobody had asked for it.
    pub(super) fn not_created(&mut self, hash: &str, database: &str, why: &Refusal, now: Instant) {
        if self.is_current(hash, database) {
            let template = self.templates.remove(hash);
            answer_all(template.into_iter().flat_map(|template| template.waiting), why);
        }
        // It may have been created all the same.
        self.doom(database.to_owned(), now);
    }

    fn is_current(&self, hash: &str, database: &str) -> bool {
        let template = self.templates.get(hash);
        template.is_some_and(|template| template.database == database && template.stage != Stage::Discarded)
    }

    /// Its database is there. One that was discarded meanwhile goes.
    pub(super) fn created(&mut self, hash: &str, database: &str, now: Instant) {
        if !self.is_current(hash, database) {
            self.doom(database.to_owned(), now);
        }
    }

    pub(super) fn is_finalized(&self, hash: &str) -> Result<bool, Refusal> {
        match self.templates.get(hash).map(|template| template.stage) {
            Some(Stage::Initialising | Stage::Closing) => Ok(false),
            Some(Stage::Finalized) => Ok(true),
            Some(Stage::Discarded) | None => Err(Refusal::Unknown),
        }
    }

    /// The database that this caller is to close so that copies can be made of it; `None` where that is done, or
    /// somebody else is at it.
    pub(super) fn begin_closing(&mut self, hash: &str) -> Option<String> {
        let template =
            self.templates.get_mut(hash).filter(|template| template.stage == Stage::Initialising)?;
        template.stage = Stage::Closing;
        Some(template.database.clone())
    }

    /// It could not be closed, or whoever was at it has gone.
    pub(super) fn not_closed(&mut self, hash: &str, database: &str) {
        let template = self.templates.get_mut(hash).filter(|template| template.database == database);
        if let Some(template) = template.filter(|template| template.stage == Stage::Closing) {
            template.stage = Stage::Initialising;
        }
    }

    /// From now on there are copies of it. `size` is what one takes.
    pub(super) fn finalized(&mut self, hash: &str, database: &str, size: u64) -> Result<(), Refusal> {
        let limits = self.limits;
        let found = self.templates.get_mut(hash).filter(|template| template.database == database);
        // Somebody has discarded it meanwhile.
        let template = found.filter(|template| template.stage != Stage::Discarded).ok_or(Refusal::Unknown)?;
        template.stage = Stage::Finalized;
        let fitting = usize::try_from(limits.bytes / size.max(1)).unwrap_or(usize::MAX);
        template.most = fitting.max(limits.ready + 1).min(limits.most);
        Ok(())
    }

    /// Nobody gets a copy any more; whoever waits for one is told. The template of the seed, which nobody would make
    /// again, stays and has new copies.
    pub(super) fn discard(&mut self, hash: &str, now: Instant) -> Result<(), Refusal> {
        if self.seed.as_deref() == Some(hash) && self.templates.contains_key(hash) {
            self.discard_copies(hash, now);
            return Ok(());
        }
        let template = self.templates.get_mut(hash).ok_or(Refusal::Unknown)?;
        if template.stage == Stage::Discarded {
            return Err(Refusal::Unknown);
        }
        template.stage = Stage::Discarded;
        answer_all(template.waiting.drain(..), &Refusal::Discarded);
        let database = template.database.clone();
        self.doom(database, now);
        self.discard_copies(hash, now);
        let discarded = |(hash, template): (&String, &Template)| {
            (template.stage == Stage::Discarded).then(|| hash.clone())
        };
        let old: Vec<String> = self.templates.iter().filter_map(discarded).collect();
        for hash in old.iter().take(old.len().saturating_sub(DISCARDED)) {
            self.templates.remove(hash);
        }
        Ok(())
    }

    fn discard_copies(&mut self, hash: &str, now: Instant) {
        // Nobody goes on with one of them, which would be taken for one of the next template of that name.
        for doomed in self.doomed.iter_mut().chain(&mut self.going) {
            doomed.of.take_if(|(of, ..)| of == hash);
        }
        let Some(template) = self.templates.get_mut(hash) else { return };
        let ready = std::mem::take(&mut template.ready);
        let handed = std::mem::take(&mut template.handed);
        let copies: Vec<Id> = ready.into_iter().chain(handed.into_keys()).collect();
        copies.into_iter().for_each(|id| self.doom(self.name(id), now));
    }

    /// Discards all templates, and forgets that there were any but that of the seed.
    pub(super) fn reset(&mut self, now: Instant) {
        let hashes: Vec<String> = self.templates.keys().cloned().collect();
        for hash in &hashes {
            let _ = self.discard(hash, now);
        }
        self.templates.retain(|hash, _| self.seed.as_ref() == Some(hash));
    }

    /// A database for one test.
    pub(super) fn get(&mut self, hash: &str, now: Instant) -> Got {
        let Some(template) = self.templates.get_mut(hash) else { return Got::Never(Refusal::Unknown) };
        if template.stage == Stage::Discarded {
            return Got::Never(Refusal::Discarded);
        }
        template.paused = None;
        template.waiting.retain(|waiting| !waiting.is_closed());
        if template.waiting.is_empty()
            && let Some(id) = template.ready.pop_front()
        {
            template.handed.insert(id, Handed::to_a_test(now));
            return Got::Now(id);
        }
        let (sender, receiver) = oneshot::channel();
        template.waiting.push_back(sender);
        Got::Later(receiver)
    }

    /// Takes back what nobody has got to know of, or what a test has left unchanged.
    pub(super) fn unlock(&mut self, hash: &str, id: Id, now: Instant) -> Result<(), Refusal> {
        let is_known = id < self.next;
        let template = self.finalized_template(hash)?;
        match template.handed.remove(&id) {
            Some(_) => {
                template.ready.push_front(id);
                template.again.insert(id);
                template.hand_out(now);
                Ok(())
            }
            None if is_known => Ok(()),
            None => Err(Refusal::Unknown),
        }
    }

    /// Takes back what a test has changed: another one is made in its place.
    pub(super) fn recreate(&mut self, hash: &str, id: Id, now: Instant) -> Result<(), Refusal> {
        let is_known = id < self.next;
        let template = self.finalized_template(hash)?;
        match template.handed.remove(&id) {
            Some(_) => {
                template.again.remove(&id);
                self.doom(self.name(id), now);
                Ok(())
            }
            None if is_known => Ok(()),
            None => Err(Refusal::Unknown),
        }
    }

    fn finalized_template(&mut self, hash: &str) -> Result<&mut Template, Refusal> {
        let template = self.templates.get_mut(hash);
        template.filter(|template| template.stage == Stage::Finalized).ok_or(Refusal::Unknown)
    }

    fn doom(&mut self, name: String, now: Instant) {
        self.doomed.push_back(Doomed { name, of: None, forced: now + LOGGING_OUT, due: now });
    }

    /// What is to be done now.
    pub(super) fn next_work(&mut self, now: Instant) -> Option<Work> {
        if self.doomed.len() > self.limits.ready.max(4)
            && let Some(work) = self.next_removal(now)
        {
            return Some(work);
        }
        self.next_copy(now).or_else(|| self.next_removal(now)).or_else(|| self.next_look(now))
    }

    /// When there is something to be done without anything having happened.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        let doomed = self.doomed.iter().map(|doomed| doomed.due);
        let paused = self.templates.values().filter_map(|template| template.paused);
        let looks = self.wants_look().then(|| self.looks.unwrap_or(now));
        doomed.chain(paused).chain(looks).min()
    }

    fn next_copy(&mut self, now: Instant) -> Option<Work> {
        for template in self.templates.values_mut() {
            template.waiting.retain(|waiting| !waiting.is_closed());
            template.paused = template.paused.filter(|until| *until > now);
        }
        let is_full = self.count() >= self.limits.most;
        let can =
            |template: &Template| template.stage == Stage::Finalized && template.count() < template.most;
        let is_asked = |template: &Template| template.waiting.len() > template.making;
        let asked = self.templates.iter().find(|(_, template)| can(template) && is_asked(template));
        let asked = asked.map(|(hash, _)| hash.clone());
        if is_full {
            // What another template keeps ready can be made again.
            let hash = asked?;
            let spare = self.templates.iter_mut().find(|(other, _)| **other != hash)?.1.ready.pop_back()?;
            self.doom(self.name(spare), now);
            return None;
        }
        let kept = self.limits.ready;
        let is_low = |template: &Template| {
            template.paused.is_none()
                && template.ready.len() + template.making < kept + template.waiting.len()
        };
        let hash = asked.or_else(|| {
            let low = self.templates.iter().find(|(_, template)| can(template) && is_low(template));
            low.map(|(hash, _)| hash.clone())
        })?;
        let id = self.next;
        self.next += 1;
        let name = self.name(id);
        let template = self.templates.get_mut(&hash)?;
        template.making += 1;
        Some(Work::Copy { template: template.database.clone(), hash, id, name })
    }

    /// A copy is there, or is not.
    pub(super) fn copied(
        &mut self,
        hash: &str,
        source: &str,
        id: Id,
        outcome: Result<(), Refusal>,
        now: Instant,
    ) {
        let found = self.templates.get_mut(hash);
        let current = found.filter(|template| template.database == source);
        if let Some(template) = current {
            template.making -= 1;
            match outcome {
                Ok(()) if template.stage == Stage::Finalized => {
                    template.ready.push_back(id);
                    template.hand_out(now);
                    return;
                }
                Ok(()) => {}
                Err(refusal) => {
                    template.paused = Some(now + PAUSE);
                    answer_all(template.waiting.drain(..), &refusal);
                }
            }
        }
        // What was half made as well: there may be something of it.
        self.doom(self.name(id), now);
    }

    /// No copy can be made as long as the server takes no logins: who waits goes on waiting.
    pub(super) fn postponed(&mut self, hash: &str, source: &str, id: Id, now: Instant) {
        if let Some(template) = self.templates.get_mut(hash).filter(|template| template.database == source) {
            template.making -= 1;
            template.paused = Some(now + PAUSE);
        }
        self.doom(self.name(id), now);
    }

    /// Nobody who waits is to wait any longer.
    pub(super) fn refuse_waiting(&mut self, refusal: &Refusal) {
        let finalized = |template: &&mut Template| template.stage == Stage::Finalized;
        self.templates
            .values_mut()
            .filter(finalized)
            .for_each(|template| answer_all(template.waiting.drain(..), refusal));
    }

    fn next_removal(&mut self, now: Instant) -> Option<Work> {
        let at = self.doomed.iter().position(|doomed| doomed.due <= now)?;
        let doomed = self.doomed.remove(at)?;
        let way = match (&doomed.of, doomed.forced <= now) {
            (Some(_), _) => Way::Locked,
            (None, true) => Way::Forced,
            (None, false) => Way::Unused,
        };
        let work = Work::Remove { name: doomed.name.clone(), way };
        self.going.push(doomed);
        Some(work)
    }

    /// What became of a removal.
    pub(super) fn removed(&mut self, name: &str, outcome: Removed, now: Instant) {
        let Some(at) = self.going.iter().position(|doomed| doomed.name == name) else { return };
        let doomed = self.going.swap_remove(at);
        match (outcome, doomed.of) {
            (Removed::Gone, _) => {}
            (Removed::Stuck, _) => self.stuck += 1,
            (Removed::Busy | Removed::Unasked, Some((hash, id, handed))) => {
                let handed = Handed { unused_since: None, ..handed };
                match self.finalized_template(&hash) {
                    Ok(template) => drop(template.handed.insert(id, handed)),
                    Err(_) => self.doom(doomed.name, now),
                }
            }
            // Prepared transactions, replication slots and subscriptions hold it until the server goes.
            (Removed::Busy, None) if doomed.forced + LOGGING_OUT <= now => self.stuck += 1,
            (Removed::Busy | Removed::Unasked, None) => {
                self.doomed.push_back(Doomed { of: None, due: now + AGAIN, ..doomed });
            }
        }
    }

    fn wants_look(&self) -> bool {
        let is_wanted = |template: &Template| !template.handed.is_empty() && self.wanted_of(template) > 0;
        !self.is_looking && (self.wanted() > 0 || self.templates.values().any(is_wanted))
    }

    fn handed(&self) -> usize {
        self.templates.values().map(|template| template.handed.len()).sum()
    }

    /// How many databases are to be taken back, of whatever template: what is more than tests may keep, or, where
    /// there may be no more of them, what is missing.
    fn wanted(&self) -> usize {
        let above = self.handed().saturating_sub(self.limits.soft);
        if self.count() < self.limits.most {
            return above;
        }
        let missing: usize =
            self.templates.values().map(|template| template.missing(self.limits.ready)).sum();
        above.max(missing.saturating_sub(self.doomed.len() + self.going.len())).min(self.handed())
    }

    /// The same of one template, of which there may be no more.
    fn wanted_of(&self, template: &Template) -> usize {
        if template.count() < template.most { 0 } else { template.missing(self.limits.ready) }
    }

    fn next_look(&mut self, now: Instant) -> Option<Work> {
        if !self.wants_look() || self.looks.is_some_and(|next| next > now) {
            return None;
        }
        self.is_looking = true;
        let ids = self.templates.values().flat_map(|template| template.handed.keys());
        Some(Work::Look(ids.map(|id| (*id, self.name(*id))).collect()))
    }

    /// The look has failed: nobody knows.
    pub(super) fn not_seen(&mut self, now: Instant) {
        self.is_looking = false;
        self.looks = Some(now + LOOKS);
    }

    /// Those that somebody is logged in to, and those that anybody has ever been logged in to.
    pub(super) fn seen(&mut self, used: &[Id], ever: &[Id], now: Instant) {
        self.not_seen(now);
        let mut over = Vec::new();
        for (hash, template) in &mut self.templates {
            for (id, handed) in &mut template.handed {
                if used.contains(id) {
                    (handed.was_used, handed.unused_since) = (true, None);
                    continue;
                }
                // Of one that was given back unchanged it may have been the test before; and a server that comes
                // back after a crash knows of nobody.
                handed.was_used |= ever.contains(id) && !template.again.contains(id);
                let since = *handed.unused_since.get_or_insert(now);
                let most = match (handed.was_used, template.again.contains(id)) {
                    (true, _) => UNUSED,
                    (false, true) => USED_BEFORE,
                    (false, false) => NEVER_USED,
                };
                if now.duration_since(since) >= most {
                    over.push((handed.at, hash.clone(), *id));
                }
            }
        }
        over.sort();
        let mut wanted = self.wanted();
        let mut of: BTreeMap<String, usize> =
            self.templates.iter().map(|(hash, template)| (hash.clone(), self.wanted_of(template))).collect();
        for (_, hash, id) in over {
            let own = of.entry(hash.clone()).or_default();
            if wanted == 0 && *own == 0 {
                continue;
            }
            (wanted, *own) = (wanted.saturating_sub(1), own.saturating_sub(1));
            let Some(template) = self.templates.get_mut(&hash) else { continue };
            let Some(handed) = template.handed.remove(&id) else { continue };
            template.again.remove(&id);
            let of = Some((hash, id, handed));
            self.doomed.push_back(Doomed { name: self.name(id), of, forced: now, due: now });
        }
    }

    /// How many databases there are besides the templates.
    fn count(&self) -> usize {
        let copies: usize = self.templates.values().map(Template::count).sum();
        copies + self.doomed.len() + self.going.len() + self.stuck
    }

    /// Why somebody has waited in vain.
    pub(super) fn why_not(&self, hash: &str) -> String {
        let Some(template) = self.templates.get(hash) else { return "the template is gone".to_owned() };
        if matches!(template.stage, Stage::Initialising | Stage::Closing) {
            return "nobody has finalized the template: its maker is at work, or has ended without a word. \
                    DELETE of the template discards it"
                .to_owned();
        }
        format!(
            "{} test databases are handed out, {} are being made and {} removed, and there may be {} of them: \
             give them back with recreate or unlock",
            template.handed.len(),
            template.making,
            self.doomed.len() + self.going.len(),
            template.most,
        )
    }

    /// All names that there may be databases of.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Template {
    fn count(&self) -> usize {
        self.ready.len() + self.handed.len() + self.making
    }

    /// How many databases there are too few for those who wait and for what is kept ready.
    fn missing(&self, kept: usize) -> usize {
        match self.stage {
            Stage::Finalized => (self.waiting.len() + kept).saturating_sub(self.ready.len() + self.making),
            _ => 0,
        }
    }

    /// Gives what is ready to those who wait.
    fn hand_out(&mut self, now: Instant) {
        while let Some(id) = self.ready.pop_front() {
            let Some(waiting) = self.waiting.pop_front() else {
                self.ready.push_front(id);
                return;
            };
            // Who has gone has got nothing.
            match waiting.send(Ok(id)) {
                Ok(()) => drop(self.handed.insert(id, Handed::to_a_test(now))),
                Err(_) => self.ready.push_front(id),
            }
        }
    }
}

fn answer_all(waiting: impl Iterator<Item = oneshot::Sender<Result<Id, Refusal>>>, refusal: &Refusal) {
    waiting.for_each(|waiting| drop(waiting.send(Err(refusal.clone()))));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LIMITS: Limits = Limits { ready: 2, soft: 0, most: 10, bytes: 1000 };

    fn core() -> Core {
        Core::new(LIMITS, "pool".to_owned())
    }

    fn template(core: &mut Core, hash: &str) {
        let database = core.initialise(hash).unwrap();
        core.finalized(hash, &database, 1).unwrap();
    }

    /// Does all that is to be done now, as a server without faults would.
    fn settle(core: &mut Core, now: Instant) {
        while let Some(work) = core.next_work(now) {
            match work {
                Work::Copy { hash, template, id, .. } => core.copied(&hash, &template, id, Ok(()), now),
                Work::Remove { name, .. } => core.removed(&name, Removed::Gone, now),
                Work::Look(_) => core.not_seen(now),
            }
        }
    }

    fn now(got: Got) -> Id {
        match got {
            Got::Now(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn later(got: Got) -> oneshot::Receiver<Result<Id, Refusal>> {
        match got {
            Got::Later(receiver) => receiver,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_two_tests_have_one_database_whatever_happens() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut core, mut clock) = (core(), Instant::now());
            let hashes = ["a", "b"];
            hashes.iter().for_each(|hash| template(&mut core, hash));
            let (mut held, mut gone, mut working) = (Vec::new(), BTreeSet::new(), Vec::new());
            let mut waiting: Vec<(&str, oneshot::Receiver<Result<Id, Refusal>>)> = Vec::new();
            for _ in 0..400 {
                clock += Duration::from_millis(random.u64(0..300));
                match random.u8(0..10) {
                    0..3 => match core.get(random.choice(hashes).unwrap(), clock) {
                        Got::Now(id) => held.push(("?", id)),
                        Got::Later(receiver) => waiting.push(("?", receiver)),
                        Got::Never(refusal) => panic!("{refusal:?}"),
                    },
                    3 if !waiting.is_empty() => {
                        // A client that goes, with what it may have got on the way.
                        let (_, mut receiver) = waiting.swap_remove(random.usize(0..waiting.len()));
                        receiver.close();
                        if let Ok(Ok(id)) = receiver.try_recv() {
                            hashes.iter().for_each(|hash| drop(core.unlock(hash, id, clock)));
                        }
                    }
                    4..6 if !held.is_empty() => {
                        let (_, id) = held.swap_remove(random.usize(0..held.len()));
                        gone.insert(id);
                        hashes.iter().for_each(|hash| drop(core.recreate(hash, id, clock)));
                    }
                    6 if !held.is_empty() => {
                        let (_, id) = held.swap_remove(random.usize(0..held.len()));
                        hashes.iter().for_each(|hash| drop(core.unlock(hash, id, clock)));
                    }
                    _ => working.extend(core.next_work(clock)),
                }
                if !working.is_empty() && random.bool() {
                    match working.swap_remove(random.usize(0..working.len())) {
                        Work::Copy { hash, template, id, .. } => {
                            core.copied(&hash, &template, id, Ok(()), clock);
                        }
                        Work::Remove { name, way } => {
                            assert_ne!(way, Way::Locked, "nobody has used any");
                            let outcome = if random.bool() { Removed::Gone } else { Removed::Busy };
                            core.removed(&name, outcome, clock);
                        }
                        // All are used.
                        Work::Look(databases) => {
                            let ids: Vec<Id> = databases.into_iter().map(|(id, _)| id).collect();
                            core.seen(&ids, &ids, clock);
                        }
                    }
                }
                waiting.retain_mut(|(hash, receiver)| match receiver.try_recv() {
                    Ok(Ok(id)) => {
                        held.push((*hash, id));
                        false
                    }
                    Ok(Err(refusal)) => panic!("{refusal:?}"),
                    Err(_) => true,
                });
                let ids: BTreeSet<Id> = held.iter().map(|(_, id)| *id).collect();
                assert_eq!(ids.len(), held.len(), "seed {seed}: one is held twice");
                assert!(ids.is_disjoint(&gone), "seed {seed}: one came again that was changed");
                assert!(core.count() <= LIMITS.most, "seed {seed}: there are {}", core.count());
            }
        }
    }

    #[test]
    fn who_waits_longest_is_first_and_who_has_gone_gets_nothing() {
        let (mut core, clock) = (core(), Instant::now());
        let database = core.initialise("a").unwrap();
        let mut first = later(core.get("a", clock));
        drop(later(core.get("a", clock)));
        let mut third = later(core.get("a", clock));
        core.finalized("a", &database, 1).unwrap();
        settle(&mut core, clock);
        let (first, third) = (first.try_recv().unwrap().unwrap(), third.try_recv().unwrap().unwrap());
        assert!(first < third);
        assert_eq!(core.templates["a"].ready.len(), LIMITS.ready);
    }

    #[test]
    fn a_copy_that_comes_after_its_template_was_discarded_goes() {
        let (mut core, clock) = (core(), Instant::now());
        template(&mut core, "a");
        let Some(Work::Copy { hash, template: old, id, name }) = core.next_work(clock) else { panic!() };
        core.discard("a", clock).unwrap();
        template(&mut core, "a");
        core.copied(&hash, &old, id, Ok(()), clock);
        assert!(core.doomed.iter().any(|doomed| doomed.name == name));
        settle(&mut core, clock);
        assert_ne!(now(core.get("a", clock)), id);
    }

    #[test]
    fn one_that_fails_tells_those_who_wait_and_is_tried_again_later() {
        let (mut core, clock) = (core(), Instant::now());
        template(&mut core, "a");
        let mut waiting = later(core.get("a", clock));
        let Some(Work::Copy { hash, template, id, .. }) = core.next_work(clock) else { panic!() };
        let refusal = Refusal::Failed("the disk is full".to_owned());
        core.copied(&hash, &template, id, Err(refusal.clone()), clock);
        assert_eq!(waiting.try_recv().unwrap(), Err(refusal));
        settle(&mut core, clock);
        assert!(core.templates["a"].ready.is_empty() && core.wakes(clock) == Some(clock + PAUSE));
        settle(&mut core, clock + PAUSE);
        now(core.get("a", clock));
    }

    #[test]
    fn tests_that_are_over_lose_their_databases_once_there_are_many() {
        let (mut core, mut clock) = (core(), Instant::now());
        template(&mut core, "a");
        let mut ids = Vec::new();
        for _ in 0..6 {
            settle(&mut core, clock);
            ids.push(now(core.get("a", clock)));
        }
        let used = [ids[0]];
        let mut look = |core: &mut Core, ever: &[Id]| {
            clock += Duration::from_secs(2);
            while let Some(work) = core.next_work(clock) {
                match work {
                    Work::Look(_) => {
                        core.seen(&used, ever, clock);
                        break;
                    }
                    Work::Copy { hash, template, id, .. } => core.copied(&hash, &template, id, Ok(()), clock),
                    Work::Remove { name, way } => {
                        assert_eq!(way, Way::Locked);
                        let outcome = if name == format!("pool_test_{}", ids[1]) {
                            Removed::Busy
                        } else {
                            Removed::Gone
                        };
                        core.removed(&name, outcome, clock);
                    }
                }
            }
        };
        let ever = &ids[..4];
        (0..3).for_each(|_| look(&mut core, ever));
        let left: Vec<Id> = core.templates["a"].handed.keys().copied().collect();
        // The first is used, the second is again, and the last two nobody has logged in to yet.
        assert_eq!(left, [ids[0], ids[1], ids[4], ids[5]]);
    }

    #[test]
    fn no_more_are_taken_back_than_are_too_many() {
        let clock = Instant::now();
        let handed = |soft, size, count| {
            let mut core = Core::new(Limits { soft, ..LIMITS }, "pool".to_owned());
            let database = core.initialise("a").unwrap();
            core.finalized("a", &database, size).unwrap();
            let mut ids = Vec::new();
            for _ in 0..count {
                settle(&mut core, clock);
                ids.push(now(core.get("a", clock)));
            }
            (core, ids)
        };
        let taken = |core: &mut Core, ids: &[Id]| {
            core.seen(&[], ids, clock);
            core.seen(&[], ids, clock + UNUSED);
            ids.iter().filter(|id| !core.templates["a"].handed.contains_key(id)).copied().collect::<Vec<Id>>()
        };
        // With those that are ready there are eight.
        let (mut core, ids) = handed(6, 1, 6);
        settle(&mut core, clock);
        assert!(!core.wants_look() && taken(&mut core, &ids).is_empty());
        let (mut core, ids) = handed(4, 1, 6);
        assert!(core.wants_look());
        assert_eq!(taken(&mut core, &ids), ids[..2]);
        // As many of the template as there may be, for its size, and of all together.
        for (size, count) in [(200, 5), (1, 10)] {
            let (mut core, ids) = handed(20, size, count);
            settle(&mut core, clock);
            let waiting = later(core.get("a", clock));
            assert!(core.wants_look());
            assert_eq!(taken(&mut core, &ids), ids[..3], "one that waits, and two that are kept ready");
            drop(waiting);
        }
    }

    #[test]
    fn one_that_a_test_gave_back_unchanged_is_the_next_ones_until_that_has_used_it() {
        let (mut core, clock) = (core(), Instant::now());
        template(&mut core, "a");
        let mut ids = Vec::new();
        for _ in 0..6 {
            settle(&mut core, clock);
            ids.push(now(core.get("a", clock)));
        }
        core.unlock("a", ids[0], clock).unwrap();
        assert_eq!(now(core.get("a", clock)), ids[0]);
        let mut look = |seconds, used: &[Id]| {
            let clock = clock + Duration::from_secs(seconds);
            core.seen(used, &ids, clock);
            core.templates["a"].handed.contains_key(&ids[0])
        };
        // Its test is slow to log in, and the server tells of the one before.
        assert!(look(1, &[]) && look(3, &[]) && look(30, &[]));
        assert!(look(31, &ids[..1]) && look(32, &[]));
        assert!(!look(34, &[]));
    }

    #[test]
    fn what_was_seen_in_use_is_remembered_where_the_server_forgets_it() {
        let (mut core, clock) = (core(), Instant::now());
        template(&mut core, "a");
        let mut ids = Vec::new();
        for _ in 0..6 {
            settle(&mut core, clock);
            ids.push(now(core.get("a", clock)));
        }
        core.seen(&ids, &ids, clock);
        core.seen(&[], &[], clock + UNUSED);
        core.seen(&[], &[], clock + UNUSED * 2);
        assert!(core.templates["a"].handed.is_empty());
    }

    #[test]
    fn a_removal_is_tried_until_the_server_can_be_asked() {
        let (mut core, mut clock) = (core(), Instant::now());
        template(&mut core, "a");
        settle(&mut core, clock);
        let id = now(core.get("a", clock));
        core.recreate("a", id, clock).unwrap();
        clock += LOGGING_OUT * 10;
        for _ in 0..3 {
            let removal = std::iter::from_fn(|| core.next_work(clock)).find_map(|work| match work {
                Work::Remove { name, .. } => Some(name),
                _ => None,
            });
            core.removed(&removal.unwrap(), Removed::Unasked, clock);
            clock += AGAIN;
        }
        assert_eq!(core.stuck, 0);
    }

    #[test]
    fn a_seed_is_not_forgotten_with_the_others() {
        let (mut core, clock) = (core(), Instant::now());
        let database = core.initialise_seed("seed").unwrap();
        core.finalized("seed", &database, 1).unwrap();
        template(&mut core, "a");
        settle(&mut core, clock);
        let before = [now(core.get("seed", clock)), now(core.get("seed", clock))];
        core.reset(clock);
        assert_eq!((core.template("a"), core.template("seed")), (None, Some(database)));
        settle(&mut core, clock);
        assert!(!before.contains(&now(core.get("seed", clock))));
        assert!(core.doomed.is_empty());
    }

    #[test]
    fn what_takes_much_is_made_less_often() {
        let mut core = core();
        let database = core.initialise("a").unwrap();
        core.finalized("a", &database, 200).unwrap();
        assert_eq!(core.templates["a"].most, 5);
        let database = core.initialise("b").unwrap();
        core.finalized("b", &database, 5000).unwrap();
        assert_eq!(core.templates["b"].most, 3, "one more than are kept ready");
    }

    #[test]
    fn a_database_of_a_discarded_template_is_never_of_the_next_one_of_its_hash() {
        let (mut core, clock) = (core(), Instant::now());
        template(&mut core, "a");
        let mut ids = Vec::new();
        for _ in 0..6 {
            settle(&mut core, clock);
            ids.push(now(core.get("a", clock)));
        }
        // All are unused for long: they are taken back.
        core.seen(&[], &ids, clock);
        core.seen(&[], &ids, clock + UNUSED);
        let clock = clock + UNUSED;
        let name = loop {
            match core.next_work(clock).unwrap() {
                Work::Remove { name, way: Way::Locked } => break name,
                Work::Copy { hash, template, id, .. } => core.copied(&hash, &template, id, Ok(()), clock),
                Work::Look(_) => core.not_seen(clock),
                Work::Remove { name, .. } => core.removed(&name, Removed::Gone, clock),
            }
        };
        let old: Id = name.rsplit('_').next().unwrap().parse().unwrap();
        // The template is made anew, with another schema, before that has come to its end.
        core.discard("a", clock).unwrap();
        template(&mut core, "a");
        core.removed(&name, Removed::Busy, clock);
        // Its test goes on, and gives it back unchanged.
        core.unlock("a", old, clock).unwrap();
        let got = core.get("a", clock);
        assert!(
            !matches!(got, Got::Now(id) if id == old),
            "one of the old template is given out as one of the new"
        );
    }
}

//! The API server, as far as the protocol knows it: one object or none, a version that never goes back, and compare-and-swap.

use std::rc::Rc;

use super::setting::Guards;
use crate::lock::state::Lock;

/// A version of the object. No two have the same number.
#[derive(Debug)]
pub struct Version {
    /// The number of the version that was the object's first.
    pub uid: u64,
    pub number: u64,
    pub lock: Lock,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Event {
    There(Rc<Version>),
    /// There is none; what it was, for those who saw it go.
    Gone(Option<Rc<Version>>),
}

#[derive(Debug, Clone)]
pub enum Request {
    Create(Lock),
    Write(Rc<Version>, Lock),
    Delete(Rc<Version>),
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// Done; what was written.
    Done(Option<Rc<Version>>),
    Conflict,
}

#[derive(Debug, Clone)]
pub struct Server {
    pub object: Option<Rc<Version>>,
    /// The version of the last change.
    pub number: u64,
}

impl Default for Server {
    fn default() -> Self {
        // Other objects were there before.
        Self { object: None, number: 10 }
    }
}

impl Server {
    /// How somebody finds the object who begins to look now.
    pub fn listed(&self) -> Event {
        self.object.clone().map_or(Event::Gone(None), Event::There)
    }

    /// Carries out a request, and tells what the watches are to hear of it.
    pub fn serve(&mut self, request: Request, guards: &Guards) -> (Reply, Option<Event>) {
        match (request, &self.object) {
            (Request::Create(lock), None) => self.put(self.number + 1, lock),
            (Request::Write(seen, lock), Some(object)) if object.number == seen.number || !guards.compare_and_swap => {
                self.put(object.uid, lock)
            }
            (Request::Delete(seen), Some(object)) if object.number == seen.number || !guards.delete_precondition => {
                (Reply::Done(None), self.remove())
            }
            _ => (Reply::Conflict, None),
        }
    }

    /// Whether a request can only meet a conflict, whenever it arrives: no version comes back.
    pub fn is_outdated(&self, request: &Request) -> bool {
        let is_current = |seen: &Version| self.object.as_ref().is_some_and(|object| object.number == seen.number);
        match request {
            // There may be none again.
            Request::Create(_) => false,
            Request::Write(seen, _) | Request::Delete(seen) => !is_current(seen),
        }
    }

    /// Deletes whatever is there.
    pub fn remove(&mut self) -> Option<Event> {
        let was = self.object.take()?;
        self.number += 1;
        Some(Event::Gone(Some(Rc::new(Version { uid: was.uid, number: self.number, lock: was.lock.clone() }))))
    }

    fn put(&mut self, uid: u64, lock: Lock) -> (Reply, Option<Event>) {
        self.number += 1;
        let version = Rc::new(Version { uid, number: self.number, lock });
        self.object = Some(version.clone());
        (Reply::Done(Some(version.clone())), Some(Event::There(version)))
    }
}

//! The API server, as far as the protocol knows it: one object or none, a version that never goes back, and
//! compare-and-swap.

use std::sync::Arc;

use kube::api::DynamicObject;

use super::setting::Guards;
use crate::lock::object::{Request, Version, WatchEvent};
use crate::lock::state::Lock;

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Change {
    There(Arc<Version>),
    /// There is none; what it was, for those who saw it go.
    Gone(Option<Arc<Version>>),
}

impl From<Change> for WatchEvent {
    fn from(change: Change) -> Self {
        match change {
            Change::There(version) => Self::There(version),
            Change::Gone(was) => Self::Gone(was),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Done; the object after it.
    Done(Option<Arc<Version>>),
    Conflict,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub object: Option<Arc<Version>>,
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
    pub(super) fn listed(&self) -> Change {
        self.object.clone().map_or(Change::Gone(None), Change::There)
    }

    /// Carries out a request, and tells what the watches are to hear of it.
    pub(super) fn serve(&mut self, request: Request, guards: &Guards) -> (Reply, Option<Change>) {
        match (request, &self.object) {
            (Request::Read, object) => (Reply::Done(object.clone()), None),
            (Request::Create(lock), None) => self.put((self.number + 1).to_string(), lock),
            (Request::Write(seen, lock), Some(object))
                if object.number == seen.number || !guards.compare_and_swap =>
            {
                self.put(object.uid.clone(), lock)
            }
            (Request::Delete(seen), Some(object))
                if object.number == seen.number || !guards.delete_precondition =>
            {
                (Reply::Done(None), self.remove())
            }
            _ => (Reply::Conflict, None),
        }
    }

    /// Whether a request can only meet a conflict, whenever it arrives: no version comes back.
    pub(super) fn is_outdated(&self, request: &Request) -> bool {
        let is_current =
            |seen: &Version| self.object.as_ref().is_some_and(|object| object.number == seen.number);
        match request {
            // There may be none again.
            Request::Create(_) | Request::Read => false,
            Request::Write(seen, _) | Request::Delete(seen) => !is_current(seen),
        }
    }

    /// Deletes whatever is there.
    pub(super) fn remove(&mut self) -> Option<Change> {
        let was = self.object.take()?;
        self.number += 1;
        Some(Change::Gone(Some(version(was.uid.clone(), self.number, was.lock.clone()))))
    }

    fn put(&mut self, uid: String, lock: Lock) -> (Reply, Option<Change>) {
        self.number += 1;
        let version = version(uid, self.number, lock);
        self.object = Some(version.clone());
        (Reply::Done(Some(version.clone())), Some(Change::There(version)))
    }
}

/// A version of the object. No two have the same number; the uid is the number of the object's first one.
fn version(uid: String, number: u64, lock: Lock) -> Arc<Version> {
    let object = DynamicObject { types: None, metadata: Default::default(), data: serde_json::Value::Null };
    Arc::new(Version { lock, uid, resource_version: String::new(), number, is_ours: true, object })
}

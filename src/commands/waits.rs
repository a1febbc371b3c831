//! What databases are waited for: shown while it goes on, and turned into advice when the time is over.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::database::{Engine, Login};
use crate::probe::{Reason, Stage};
use crate::progress::{Progress, READY};

/// The last reason of each database that is not ready.
#[derive(Default)]
pub struct Waits(RefCell<BTreeMap<String, Wait>>);

struct Wait {
    reason: Reason,
    engine: Engine,
    login: Login,
}

impl Waits {
    /// Takes and shows where a database is.
    pub fn note(&self, progress: &Progress, name: &str, engine: Engine, login: &Login, stage: Stage) {
        match stage {
            Stage::Ready => {
                self.0.borrow_mut().remove(name);
                progress.stage(name, READY, "");
            }
            Stage::Waiting(reason) => {
                progress.stage(name, reason.stage(), &reason.to_string());
                self.0.borrow_mut().insert(name.to_owned(), Wait { reason, engine, login: login.clone() });
            }
        }
    }

    /// What to do about the waits that were in vain.
    pub fn advice(&self) -> Vec<String> {
        let waits = self.0.borrow();
        waits.iter().filter_map(|(name, wait)| Some(format!("{name}: {}", advice(wait)?))).collect()
    }
}

fn advice(Wait { reason, engine, login }: &Wait) -> Option<String> {
    match reason {
        Reason::NotProcess1(_) => Some(
            "if its image keeps the final server below another process, let staying up count: annotation testbed/settle: 10s on the pod, or \
             --settle 10s"
                .into(),
        ),
        Reason::SettingUp => Some("its set-up was still going on; give it more time (--timeout)".into()),
        Reason::Unproven => Some("nothing proves that its server is the final one; let staying up count: --settle 10s".into()),
        Reason::Refused(refusal) if refusal.kind.may_be_for_ever() => {
            Some(format!("if its set-up was over: {}", refusal.remedy(*engine, login)))
        }
        _ => None,
    }
}

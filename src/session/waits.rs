//! What databases are waited for: shown while it goes on, and turned into advice when the time is over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;

use crate::database::{Engine, Login};
use crate::failure::{Advise, Exit};
use crate::probe::{Reason, Refusal, Stage};
use crate::progress::{Progress, READY};

/// The last reason of each database that is not ready.
#[derive(Default)]
pub(crate) struct Waits(RefCell<BTreeMap<String, Wait>>);

struct Wait {
    reason: Reason,
    engine: Engine,
    login: Login,
}

impl Waits {
    /// Takes and shows where a database is.
    pub(crate) fn note(&self, progress: &Progress, name: &str, engine: Engine, login: &Login, stage: Stage) {
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

    /// The error of a wait whose time is over ([`Exit::NotReady`]), with what to do about each database;
    /// `reasons` say what was missing.
    pub(crate) fn in_vain(&self, timeout: Duration, reasons: &str) -> anyhow::Error {
        let error = anyhow!("not ready within {}: {reasons}", humantime::format_duration(timeout));
        let waits = self.0.borrow();
        let only = waits.keys().next().filter(|_| waits.len() == 1);
        let error = error.kind("not-ready", only.map(String::as_str));
        let advice = waits.iter().filter_map(|(name, wait)| Some(format!("{name}: {}", advice(wait)?)));
        advice.fold(error.exit(Exit::NotReady), Advise::hint)
    }
}

/// The error of a wait that can never end well ([`Exit::Never`]): `server` refuses the tests' login for good.
pub(crate) fn never(
    name: &str,
    server: &str,
    engine: Engine,
    login: &Login,
    refusal: &Refusal,
) -> anyhow::Error {
    let what = anyhow!("{name} can never become ready: {server} refuses the login: {refusal}");
    what.kind("refused", Some(name)).hint(refusal.remedy(engine, login)).exit(Exit::Never)
}

fn advice(Wait { reason, engine, login }: &Wait) -> Option<String> {
    match reason {
        Reason::NotProcess1(_) => Some(
            "if its image keeps the final server below another process, let staying up count: annotation testbed/settle: 10s on the pod, or \
             --settle 10s"
                .into(),
        ),
        Reason::SetUpOption(_) => Some(
            "if its image starts the final server with options of its own, let staying up count: annotation testbed/settle: 10s on the pod, \
             or --settle 10s"
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

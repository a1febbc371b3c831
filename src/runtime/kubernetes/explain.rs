//! What a failed API request means, in one line, with the remedy where it is known.

use std::time::Duration;

use kube::Error;
use kube::core::Status;

use super::Cluster;
use super::diagnose::admission;
use crate::failure::{Advise, Exit, innermost};

/// Turns a failed creation into an error: as [`explain`], and a refusal by a quota, a limit or a policy is
/// told in words of its own, with exit code 4 where the same request would be refused again.
pub fn explain_creation(cluster: &Cluster, error: Error, action: &str) -> anyhow::Error {
    let Error::Api(status) = &error else { return explain(cluster, error, action) };
    let Some(refusal) = admission::read(&status.message, &cluster.kubectl) else {
        return explain(cluster, error, action);
    };
    let message = anyhow::anyhow!("{} ({})", refusal.what, status.message.trim()).context(action.to_owned());
    let advised = message.hint(refusal.advice);
    if refusal.is_final { advised.exit(Exit::Never) } else { advised }
}

/// Turns a failed request into an error: `action` is what was being done, such as `creating Pod mysql-42`.
pub fn explain(cluster: &Cluster, error: Error, action: &str) -> anyhow::Error {
    let (message, hint) = match &error {
        Error::Api(status) => api(cluster, status),
        other => transport(cluster, other),
    };
    let plain = anyhow::Error::msg(message).context(action.to_owned());
    match hint {
        None => plain,
        Some(hint) => plain.hint(hint),
    }
}

/// How many characters of a message are told.
const LONGEST: usize = 2000;

fn api(cluster: &Cluster, status: &Status) -> (String, Option<String>) {
    let message: String = status.message.trim().chars().take(LONGEST).collect();
    let details = status.details.as_ref();
    match status.code {
        401 => (
            format!(
                "the API server {} does not accept the credentials of {} (401 Unauthorized)",
                cluster.server, cluster.source
            ),
            Some(format!(
                "a client certificate or token may have expired; try: {} auth can-i --list",
                cluster.kubectl
            )),
        ),
        403 if status.reason == "Forbidden" && message.contains("cannot ") => (
            message,
            Some(format!("the Role of this user needs that verb in namespace {}", cluster.namespace)),
        ),
        404 if details.is_some_and(|details| details.kind == "namespaces") => (
            format!("the namespace {} does not exist", cluster.namespace),
            Some(format!("create it (kubectl create namespace {}) or pass --namespace", cluster.namespace)),
        ),
        code => {
            let answered =
                format!("the API server {} answered {code} {}", cluster.server, reason(code, &status.reason));
            match (message.is_empty(), code == 429 || code >= 500) {
                (true, _) => (answered, None),
                (false, true) => (format!("{message} ({answered})"), None),
                (false, false) => (message, None),
            }
        }
    }
}

fn reason(code: u16, said: &str) -> String {
    let known = http::StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| said.to_owned(), str::to_owned)
}

/// In the texts of errors, where nobody answers.
const OUT_OF_REACH: [&str; 9] = [
    "refused",
    "timed out",
    "deadline",
    "unreachable",
    "lookup",
    "resolve",
    "reset",
    "closed",
    "whole answer",
];

fn transport(cluster: &Cluster, error: &Error) -> (String, Option<String>) {
    if matches!(error, Error::SerdeError(_) | Error::FromUtf8(_)) {
        let hint =
            format!("is {} the address of an API server? ({} says so)", cluster.server, cluster.source);
        return (format!("what {} answers is no answer of an API server", cluster.server), Some(hint));
    }
    let reason = innermost(error);
    let lower = reason.to_lowercase();
    let hint = if lower.contains("certificate") {
        Some("the API server's certificate and the kubeconfig's certificate authority do not fit, or one has expired".to_owned())
    } else if OUT_OF_REACH.iter().any(|word| lower.contains(word)) {
        Some(format!(
            "is the cluster running, and is {} its address? ({} says so)",
            cluster.server, cluster.source
        ))
    } else {
        None
    };
    (format!("cannot talk to the API server {}: {reason}", cluster.server), hint)
}

pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

/// Whether the object, or its kind, is not there.
pub fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// Whether the server says of this very object that it is not there, and not of a path that it does not have.
pub fn is_object_absent(error: &Error, name: &str) -> bool {
    matches!(error, Error::Api(status) if status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name))
}

/// A right that is asked for again and again. One that is missing at first will be missing later. One that
/// was there before may come back: an API server that starts refuses everybody until it knows its Roles, and
/// has nothing of kinds that it has not read yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    may_come_back: bool,
    missing_since: Option<Duration>,
}

impl Grant {
    /// How long an API server that starts may take until it knows its Roles.
    const STARTING: Duration = Duration::from_secs(10);

    pub fn granted() -> Self {
        Self { may_come_back: true, missing_since: None }
    }

    /// Takes note that the API server was away.
    pub fn may_come_back(&mut self) {
        self.may_come_back = true;
    }

    /// Whether one that is missing now stays so. The time is that of any clock, always of the same one.
    pub fn is_gone(&mut self, time: Duration) -> bool {
        !self.may_come_back || time.saturating_sub(*self.missing_since.get_or_insert(time)) >= Self::STARTING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_was_there_may_come_back_for_a_while() {
        let seconds = Duration::from_secs;
        assert!(Grant::default().is_gone(seconds(5)));
        let mut right = Grant::granted();
        assert_eq!([5, 14, 15].map(|time| right.is_gone(seconds(time))), [false, false, true]);
        right = Grant::granted();
        assert!(!right.is_gone(seconds(30)));
        let mut after_outage = Grant::default();
        after_outage.may_come_back();
        assert_eq!([1, 11].map(|time| after_outage.is_gone(seconds(time))), [false, true]);
    }
}

//! What a check of `testbed doctor` found: a status, a sentence, and the remedy. Made by the runtimes, shown
//! by the command.

use serde::Serialize;

use crate::failure::{details_of, hints_of};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All well.
    Ok,
    /// The check could not be made: a right is missing for it, or something that it builds on.
    Skipped,
    /// It would work, but worse than it could.
    Warning,
    /// It would fail.
    Problem,
}

impl Status {
    /// The word that is shown, which is also the one in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// The outcome of one check, or of its part that is about one object. Serialised, it is an element of the
/// list that `-o json` prints: all keys are always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which check: a stable word, such as `rights`.
    pub check: &'static str,
    /// The object that it is about, such as `Service mysql-42` or `ResourceQuota small`.
    pub object: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What was found, in one line.
    pub message: String,
    /// What to do about it: a sentence, and YAML below it where that has to be added somewhere.
    pub remedy: Option<String>,
}

impl Verdict {
    fn new(check: &'static str, status: Status, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            check,
            object: None,
            status,
            message: message.lines().collect::<Vec<_>>().join(" "),
            remedy: None,
        }
    }

    /// All well.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, message)
    }

    /// A check that could not be made; the message says what it would need.
    pub fn skipped(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, message)
    }

    /// Something that works worse than it could.
    pub fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, message)
    }

    /// Something that would fail.
    pub fn problem(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Problem, message)
    }

    /// An error as `up` would have it, with its hints as the remedy.
    pub fn from_error(check: &'static str, error: &anyhow::Error) -> Self {
        let hints = hints_of(error).join("; ");
        let details = details_of(error).concat().lines().map(|line| format!("; {line}")).collect::<String>();
        let problem = Self::problem(check, format!("{error:#}{details}"));
        problem.remedy(if hints.is_empty() { "change what the message names".to_owned() } else { hints })
    }

    /// The same about one object.
    #[must_use]
    pub fn on(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same where it need not be a problem.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { status: Status::Warning, ..self }
    }

    /// Whether it says that something would fail.
    pub fn is_problem(&self) -> bool {
        self.status == Status::Problem
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::failure::Advise;

    #[test]
    fn an_error_keeps_its_hints_as_the_remedy() {
        let error = anyhow!("refused").hint("do this").context("creating").hint("or that");
        let verdict = Verdict::from_error("dry-run", &error).on("Pod a");
        assert_eq!(
            (verdict.message.as_str(), verdict.remedy.as_deref()),
            ("creating: refused", Some("do this; or that"))
        );
    }

    #[test]
    fn json_has_every_key() {
        let text = serde_json::to_string(&Verdict::ok("api", "it answers")).unwrap();
        assert_eq!(
            text,
            r#"{"check":"api","object":null,"status":"ok","message":"it answers","remedy":null}"#
        );
    }
}

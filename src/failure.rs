//! How a failure leaves the program: its exit code and the remedy printed under it.
//!
//! Errors are plain [`anyhow`] chains. Where the exit code or a remedy is known, the error is wrapped in
//! [`Advice`], which does not show in the chain; `main` looks it up once, at the end.

use std::fmt;

/// The documented exit codes. The table in docs/src/reference/commands.md is the user's copy of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something went wrong that fits no other code.
    Failure,
    /// The command line or a file that it names is wrong; nothing was created.
    Usage,
    /// The databases were not ready within the timeout.
    NotReady,
    /// A database or another pod can never become ready, however long one waits.
    Never,
    /// Objects of the run are still there.
    TeardownIncomplete,
    /// Somebody else has the lock.
    NotAcquired,
    /// The lock was lost while its command ran.
    LockLost,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The code as the process returns it.
    pub fn code(self) -> u8 {
        match self {
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::NotReady => 3,
            Exit::Never => 4,
            Exit::TeardownIncomplete => 5,
            Exit::NotAcquired => 6,
            Exit::LockLost => 7,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

/// An error together with what is known about how to end: transparent in the printed chain.
#[derive(Debug)]
pub struct Advice {
    exit: Option<Exit>,
    hint: Option<String>,
    detail: Option<String>,
    kind: Option<Kind>,
    error: anyhow::Error,
}

/// What a failure is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// A word such as `ErrImagePull` or `refused`.
    pub word: String,
    /// The database that it is about, if it is about one.
    pub database: Option<String>,
}

impl Advice {
    fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: None, hint: None, detail: None, kind: None, error: error.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Advice {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Adds an exit code or a remedy to an error, or to a result that may be one.
pub trait Advise: Sized {
    /// The same with the advice in it.
    type Advised;

    /// Adds advice to the error.
    fn advise(self, advice: impl FnOnce(Advice) -> Advice) -> Self::Advised;

    /// The process ends with this code unless an outer error says otherwise.
    fn exit(self, exit: Exit) -> Self::Advised {
        self.advise(|advice| Advice { exit: Some(exit), ..advice })
    }

    /// A sentence that tells what to do next, printed on a line of its own.
    fn hint(self, hint: impl Into<String>) -> Self::Advised {
        self.advise(|advice| Advice { hint: Some(hint.into()), ..advice })
    }

    /// Lines that show the matter more closely, such as the end of a log: printed between the error and the
    /// hints.
    fn detail(self, detail: impl Into<String>) -> Self::Advised {
        self.advise(|advice| Advice { detail: Some(detail.into()), ..advice })
    }

    /// A word to count the failure by, and the database that it is about.
    fn kind(self, word: impl Into<String>, database: Option<&str>) -> Self::Advised {
        self.advise(|advice| Advice {
            kind: Some(Kind { word: word.into(), database: database.map(str::to_owned) }),
            ..advice
        })
    }
}

impl Advise for anyhow::Error {
    type Advised = Self;

    fn advise(self, advice: impl FnOnce(Advice) -> Advice) -> Self {
        advice(Advice::new(self)).into()
    }
}

impl<T, E: Into<anyhow::Error>> Advise for Result<T, E> {
    type Advised = anyhow::Result<T>;

    fn advise(self, advice: impl FnOnce(Advice) -> Advice) -> anyhow::Result<T> {
        self.map_err(|error| error.into().advise(advice))
    }
}

/// A usage error (exit code 2) from a message.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Advice { exit: Some(Exit::Usage), ..Advice::new(anyhow::Error::msg(message.into())) }.into()
}

/// The exit code that the error asks for; the outermost one wins.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    advice(error).find_map(|advice| advice.exit).unwrap_or(Exit::Failure)
}

/// The remedies along the chain, innermost first: the nearer to the cause, the more a remedy says.
pub fn hints_of(error: &anyhow::Error) -> Vec<&str> {
    let mut hints: Vec<&str> = advice(error).filter_map(|advice| advice.hint.as_deref()).collect();
    hints.reverse();
    hints
}

/// The closer views along the chain, outermost first.
pub fn details_of(error: &anyhow::Error) -> Vec<&str> {
    advice(error).filter_map(|advice| advice.detail.as_deref()).collect()
}

/// What the failure is counted by; the innermost word wins, because it is nearest to the cause.
pub fn kind_of(error: &anyhow::Error) -> Option<&Kind> {
    advice(error).filter_map(|advice| advice.kind.as_ref()).last()
}

/// The innermost message of an error, without the system's error number: what went wrong in the end.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error);
    let text = last.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn advice(error: &anyhow::Error) -> impl Iterator<Item = &Advice> {
    // An Advice may hold another one directly (a hint on top of an exit code), which its transparent source()
    // skips; one under a context is found both ways.
    let links = error.chain().filter_map(|link| link.downcast_ref::<Advice>());
    let mut found: Vec<&Advice> = Vec::new();
    for advice in links
        .flat_map(|outer| std::iter::successors(Some(outer), |advice| advice.error.downcast_ref::<Advice>()))
    {
        if !found.iter().any(|known| std::ptr::eq(*known, advice)) {
            found.push(advice);
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn advice_is_invisible_in_the_chain_and_found_through_context() {
        let error = anyhow!("connection refused")
            .context("creating Pod a")
            .exit(Exit::NotReady)
            .kind("refused", Some("db"))
            .hint("try again")
            .detail("the log")
            .context("up")
            .hint("or give up");
        assert_eq!(format!("{error:#}"), "up: creating Pod a: connection refused");
        assert_eq!(exit_of(&error), Exit::NotReady);
        assert_eq!(hints_of(&error), ["try again", "or give up"]);
        assert_eq!(details_of(&error), ["the log"]);
        assert_eq!(kind_of(&error), Some(&Kind { word: "refused".into(), database: Some("db".into()) }));
    }

    #[test]
    fn an_error_without_advice_is_a_plain_failure() {
        assert_eq!(exit_of(&anyhow!("x")), Exit::Failure);
        assert!(hints_of(&anyhow!("x")).is_empty());
    }
}

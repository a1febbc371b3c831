//! The config file: what the tests read to find their databases. Its presence means that all of them are
//! ready, so it is written last and in one step.
//!
//! [`Model`] says what there is to know of a run, and each format shows it in its own way; [`Format`] is the
//! user's choice of one, and [`Renderer`] that choice made ready before anything is created. [`Environment`]
//! is the same for a command that testbed starts.

mod connarg;
mod dotenv;
mod environment;
mod format;
mod model;
mod results;
mod shell;
mod template;
mod testing_databases;
mod url;

pub use connarg::{ConnArg, check_connargs};
pub use environment::{Environment, check_names, option_file, other_option_file};
pub use format::{Format, Renderer};
pub use model::{Connection, Entry, Model};
pub use results::{LockFact, ResultFile, RunFact};
pub use shell::Shell;
pub use url::authority;

/// What to do about names that a format cannot take.
const RENAME: &str =
    "a database is called what --with ENGINE=NAME says, else its Service's name without the run id";

#[cfg(test)]
mod examples;

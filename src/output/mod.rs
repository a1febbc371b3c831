//! The config file: what the tests read to find their databases. Its presence means that all of them are
//! ready, so it is written last and in one step.
//!
//! [`Model`] says what there is to know of a run, and each format shows it in its own way; [`Format`] is the
//! user's choice of one, and [`Renderer`] that choice made ready before anything is created. [`Environment`]
//! is the same for a command that testbed starts, and [`Names`] are what the project itself calls things.

mod connarg;
mod dotenv;
mod drivers;
mod environment;
mod format;
pub mod json;
mod model;
mod names;
pub mod pool_url;
mod presets;
mod results;
mod shell;
mod template;
mod testing_databases;
mod url;

pub use connarg::{ConnArg, check_connargs};
pub use environment::{Environment, check_names, option_file, other_option_file};
pub use format::{Format, Renderer};
pub use model::{Connection, Entry, Model, Secured, ca_file, keystore_file};
pub use names::{Chosen, Names, check as check_variable};
pub use presets::Preset;
pub use results::{LockFact, ResultFile, RunFact};
pub use shell::Shell;
pub use url::authority;

/// What to do about names that a format cannot take.
const RENAME: &str =
    "a database is called what --with ENGINE=NAME says, else its Service's name without the run id";

#[cfg(test)]
mod examples;

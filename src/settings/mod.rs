//! `testbed.yaml`: what the flags can say, written down in the project's root, so that `testbed run --
//! pytest` is all that anyone types.
//!
//! [`find`] looks for the file, [`read`] makes [`Settings`] of its text by way of the table in [`keys`], and
//! [`fill`] puts them below what was typed: flag, variable, file, default. A flag checks its own values, so
//! that a new one needs one line in the table. [`reach`] is what a file may not do where it comes with a
//! change that nobody has looked at.

mod compose;
mod databases;
mod env;
pub mod fill;
pub mod find;
mod habits;
pub mod keys;
mod meant;
mod parameters;
pub mod reach;
pub mod read;

use crate::cli::Cli;
use crate::manifest::render::Places;
use crate::output::Chosen;

/// What a file says, checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The values of flags, by the flags' long names.
    pub values: Vec<(&'static keys::Key, String)>,
    /// `databases` and `with`, as `--with` takes them.
    pub with: Vec<String>,
    /// What `databases` says beside the image, as `--param` takes it: goes where `with` goes.
    pub database_params: Vec<String>,
    /// `manifest`: paths as seen from the current folder.
    pub manifests: Vec<String>,
    /// `params`, as `--param` takes them.
    pub params: Vec<String>,
    /// `connargs`, as `--connarg` takes them.
    pub connargs: Vec<String>,
    /// What `env` says of variables, as `--env` takes it.
    pub env: Vec<String>,
    /// What it says of presets, as `--preset` takes it.
    pub presets: Vec<Chosen>,
    /// Where it says what may turn out to be wrong later on.
    pub places: Places,
}

/// The command line with a project's settings below it.
pub struct Arguments {
    pub cli: Cli,
    /// The files that were read: the user's own, and the project's.
    pub files: Vec<String>,
    /// Why a file was not used, for commands that have to work without.
    pub ignored: Option<anyhow::Error>,
}

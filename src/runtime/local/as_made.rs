//! What a server of a run was made from, kept beside its data: enough to make that once more, whatever has become of
//! the manifest and of the project's files since.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::planned::Planned;
use crate::database::Login;
use crate::failure::Advise;
use crate::files;
use crate::registry::{Server, Source};

const FILE: &str = "made.json";

/// More than the set-up scripts of one database may have.
const MOST: usize = 64 << 20;

#[derive(Clone, Serialize, Deserialize)]
pub struct AsMade {
    pub planned: Planned,
    /// The administrator.
    pub root: Login,
    /// The prepared folder with its seed, if it has one.
    pub seed: Option<Source>,
}

impl AsMade {
    /// # Errors
    /// An older testbed has made the server, or the file is damaged.
    pub fn read(server: &Server) -> anyhow::Result<Self> {
        let (name, path) = (&server.name, file(&server.data));
        let context = || format!("reading {}", path.display());
        let bytes = files::if_there(files::read(&path, MOST)).with_context(context)?;
        let bytes = bytes
            .ok_or_else(|| anyhow!("{name}: an older testbed has made it, which did not note from what"))
            .hint(ANEW)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| anyhow!("{}: {}", path.display(), files::damage(&error)))
            .hint(ANEW)
    }

    pub(super) fn write(&self, data: &Path) -> anyhow::Result<()> {
        files::write(&file(data), &serde_json::to_string(self)?, 0o600)
    }
}

pub(super) const ANEW: &str = "make the run anew: testbed down, then testbed up";

fn file(data: &Path) -> PathBuf {
    data.with_file_name(FILE)
}

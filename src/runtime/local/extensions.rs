//! Whether a server of PostgreSQL has the extensions that are asked for, as its files tell before it runs.

use std::path::PathBuf;

use anyhow::anyhow;

use super::find::Installed;
use super::packages;
use crate::failure::{Advise, Exit};

/// Every server has it, so that it tells the folder of extensions from others.
const OF_EVERY_SERVER: &str = "plpgsql.control";

/// Refuses an extension that the server does not have. Where its files are not found, and where `arguments` say
/// that they are elsewhere as well, the server itself tells.
///
/// # Errors
/// A usage error with the package that it is in.
pub(super) async fn check(
    installed: &Installed,
    wanted: &[String],
    arguments: &[String],
) -> anyhow::Result<()> {
    let Some(folder) = folder(installed).filter(|_| !wanted.is_empty()) else { return Ok(()) };
    if arguments.iter().any(|word| word.contains("extension_control_path")) {
        return Ok(());
    }
    let Some(missing) = wanted.iter().find(|name| !folder.join(format!("{name}.control")).exists()) else {
        return Ok(());
    };
    Err(anyhow!("{installed} does not have the extension {missing}"))
        .hint(packages::of_extension(installed, missing).await)
        .exit(Exit::Usage)
}

/// Where the server looks for extensions: beside its programs, or where Debian, Fedora and Alpine have it.
fn folder(installed: &Installed) -> Option<PathBuf> {
    let root = installed.program.parent()?.parent()?;
    let major = installed.version.0.first()?;
    let shared = [
        root.join("share/postgresql"),
        root.join("share"),
        PathBuf::from(format!("/usr/share/postgresql/{major}")),
        PathBuf::from(format!("/usr/share/postgresql{major}")),
        PathBuf::from("/usr/share/pgsql"),
    ];
    let mut folders = shared.into_iter().map(|folder| folder.join("extension"));
    folders.find(|folder| folder.join(OF_EVERY_SERVER).exists())
}

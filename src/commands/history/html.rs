//! Where a page goes.

use std::path::Path;

use crate::console;
use crate::files;
use crate::progress::Progress;

/// Writes a page to a file, which is for its owner alone, or to standard output.
///
/// # Errors
/// The path with the system's reason.
pub(super) fn write(path: &Path, page: &str, progress: &Progress) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return console::print(page);
    }
    files::write(path, page, 0o600)?;
    progress.say(&format!("written to {}", path.display()));
    Ok(())
}

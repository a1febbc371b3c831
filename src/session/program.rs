//! Finds the command's program, and says why it cannot be started with the exit codes that shells use for it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::console;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cannot {
    Find,
    /// It may not be executed, or the system cannot execute it; and why.
    Execute(String),
}

impl Cannot {
    pub(crate) fn from_error(error: &std::io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound {
            Self::Find
        } else {
            Self::Execute(crate::failure::innermost(error))
        }
    }

    /// Prints it, and tells the exit code: 127 or 126.
    pub(crate) fn report(&self, program: &OsStr) -> u8 {
        let program = program.display();
        match self {
            Self::Find => {
                console::say(&format!("error: starting the command: {program}: no such program"));
                127
            }
            Self::Execute(why) => {
                console::say(&format!("error: starting the command: {program}: {why}"));
                126
            }
        }
    }
}

/// Whether a program can be started by this name: a path, or a name to be found in `PATH`.
pub(crate) fn look_up(program: &OsStr) -> Result<(), Cannot> {
    let path = Path::new(program);
    let candidates: Vec<PathBuf> =
        if path.components().count() > 1 || program.as_encoded_bytes().contains(&b'/') {
            vec![path.to_owned()]
        } else {
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .map(|folder| folder.join(path))
                .collect()
        };
    let files: Vec<_> = candidates.iter().filter_map(|path| std::fs::metadata(path).ok()).collect();
    let is_executable = |file: &std::fs::Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
    match files.first() {
        None => Err(Cannot::Find),
        Some(_) if files.iter().any(is_executable) => Ok(()),
        Some(first) if first.is_dir() => Err(Cannot::Execute("it is a folder".into())),
        Some(_) => Err(Cannot::Execute("it may not be executed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(look_up(OsStr::new("sh")), Ok(()));
        assert_eq!(look_up(OsStr::new("/bin/sh")), Ok(()));
        assert_eq!(look_up(OsStr::new("no-such-program")), Err(Cannot::Find));
        assert_eq!(look_up(file.as_os_str()), Err(Cannot::Execute("it may not be executed".into())));
        assert_eq!(look_up(folder.path().as_os_str()), Err(Cannot::Execute("it is a folder".into())));
    }
}

//! Reads what people and other programs have written, up to a limit: what is no file, and what never ends, is
//! refused instead of being waited for.

use std::fs::{FileType, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The most that a file written by people may have: a manifest, the settings, a template, a password.
pub const MOST: usize = 4 << 20;

/// Reads a file.
///
/// # Errors
/// The system's reason; that it is no regular file, or has more bytes than `limit`.
pub fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>> {
    // Before it is opened, because that alone may wind a tape; and afterwards, because it may be another one
    // by then.
    refuse(&std::fs::metadata(path)?)?;
    // To open a FIFO would wait for somebody who writes.
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    refuse(&file.metadata()?)?;
    up_to(file, limit)
}

/// Reads a file of text.
///
/// # Errors
/// As [`bytes`]; bytes that are no text.
pub fn text(path: &Path, limit: usize) -> Result<String> {
    as_text(bytes(path, limit)?)
}

/// Reads all of standard input as text.
///
/// # Errors
/// The system's reason; more bytes than `limit`, and bytes that are no text.
pub fn standard_input(limit: usize) -> Result<String> {
    as_text(up_to(std::io::stdin().lock(), limit)?)
}

/// Opens nothing: says whether this is a file that can be read in a bounded time, for those who read it in a
/// way of their own.
///
/// # Errors
/// As [`bytes`].
pub fn check(path: &Path, limit: usize) -> Result<()> {
    let metadata = std::fs::metadata(path)?;
    refuse(&metadata)?;
    if metadata.len() > limit as u64 { Err(too_much(limit)) } else { Ok(()) }
}

/// Reads to the end, or up to the limit.
///
/// # Errors
/// The source's; more bytes than `limit`.
pub fn up_to(source: impl Read, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(too_much(limit)) } else { Ok(bytes) }
}

fn as_text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

fn too_much(limit: usize) -> Error {
    Error::new(ErrorKind::FileTooLarge, format!("it has more than {} MiB", limit >> 20))
}

/// Refuses what is no regular file.
///
/// # Errors
/// What it is.
pub fn refuse(metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("it is {}, and no file", kind(metadata.file_type()))))
}

/// What stands in the place of a file.
pub fn kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_has_no_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        std::fs::write(at("large"), [b'x'; 11]).unwrap();
        std::fs::write(at("bytes"), b"a\n\xff").unwrap();
        std::fs::write(at("fits"), [b'x'; 10]).unwrap();
        let error = |path: &Path| text(path, 10).unwrap_err().to_string();
        assert_eq!(error(Path::new("/dev/zero")), "it is a device, and no file");
        assert_eq!(error(&at("fifo")), "it is a pipe, and no file");
        assert_eq!(error(folder.path()), "it is a folder, and no file");
        assert_eq!(error(&at("large")), "it has more than 0 MiB");
        assert_eq!(error(&at("bytes")), "line 2 is not UTF-8");
        assert_eq!(text(&at("fits"), 10).unwrap().len(), 10);
        assert!(
            check(&at("fits"), 10).is_ok()
                && check(&at("large"), 10).is_err()
                && check(Path::new("/dev/zero"), 10).is_err()
        );
        // Says that it is empty, and is not.
        assert!(!text(Path::new("/proc/self/status"), MOST).unwrap().is_empty());
        assert!(up_to(std::io::repeat(0), 1 << 20).is_err());
    }
}

//! The logs of a run's servers as they are written: files that grow, over the restarts of their servers, and
//! that somebody may empty or put others in the place of.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use crate::files;
use crate::redact::{Redactor, Stream};

/// As much as is read at once.
const BLOCK: usize = 64 << 10;

/// Between two looks where the system tells of no change: it has a limit on those that it tells.
const PAUSE: Duration = Duration::from_millis(250);

/// A server's log.
struct Growing<'a> {
    path: PathBuf,
    file: Option<File>,
    read: u64,
    stream: Stream<'a>,
}

/// Reads these logs, the last lines or all of them, and gives their lines away together with the log's
/// number; and if they are to be followed, what comes later, for as long as the run's folder is there.
///
/// # Errors
/// What `give` fails with.
pub async fn follow(
    run: &Path,
    logs: &[&Path],
    redactor: &Redactor,
    tail: Option<u32>,
    goes_on: bool,
    mut give: impl AsyncFnMut(usize, Vec<String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // First, or what is written between a look and the watch would wait for what is written next.
    let changes = goes_on.then(|| Changes::of(run, logs));
    let mut growing: Vec<Growing> = logs
        .iter()
        .map(|path| Growing { path: (*path).to_owned(), file: None, read: 0, stream: Stream::new(redactor) })
        .collect();
    for (number, log) in growing.iter_mut().enumerate() {
        log.file = files::open(&log.path).ok();
        if let (Some(tail), Some(file)) = (tail, &mut log.file) {
            log.read = start_of_last(file, tail).unwrap_or_default();
        }
        log.give(number, &mut give).await?;
    }
    while let Some(changes) = &changes
        && run.exists()
    {
        changes.next().await;
        for (number, log) in growing.iter_mut().enumerate() {
            // Before the file that is read now: what the server had to say there is said by then.
            let next = log.next();
            log.give(number, &mut give).await?;
            if let Some(next) = next {
                give(number, log.stream.finish()).await?;
                (log.file, log.read) = (Some(next), 0);
                log.give(number, &mut give).await?;
            }
        }
    }
    for (number, log) in growing.iter_mut().enumerate() {
        give(number, log.stream.finish()).await?;
    }
    Ok(())
}

impl Growing<'_> {
    /// Another file in the place of the one that is read, or the first one: a server that was never started
    /// has none yet. As long as it is empty, the one before may not be at its end.
    fn next(&self) -> Option<File> {
        let there = self.path.symlink_metadata().ok().filter(|there| there.len() > 0)?;
        let read = self.file.as_ref().and_then(|file| file.metadata().ok());
        let is_read = read.is_some_and(|read| inode(&read) == inode(&there));
        if is_read { None } else { files::open(&self.path).ok() }
    }

    /// Gives away what was written since the last time.
    async fn give(
        &mut self,
        number: usize,
        give: &mut impl AsyncFnMut(usize, Vec<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // One that is shorter was emptied, and begins anew.
        if file.metadata().is_ok_and(|metadata| metadata.len() < self.read) {
            self.read = 0;
            give(number, self.stream.finish()).await?;
        }
        let mut block = vec![0; BLOCK];
        loop {
            let read = file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read(&mut block));
            let Ok(count @ 1..) = read else { return Ok(()) };
            self.read += count as u64;
            let lines = self.stream.push(&block[..count]);
            if !lines.is_empty() {
                give(number, lines).await?;
            }
        }
    }
}

/// What tells a file from others, whatever its name.
fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Where the last lines of a file begin.
fn start_of_last(file: &mut File, lines: u32) -> std::io::Result<u64> {
    let mut at = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    // The break at the file's end ends a line, and begins none.
    let (mut end, mut found) = (at, 0);
    while at > 0 {
        let size = at.min(BLOCK as u64);
        at -= size;
        let block = &mut block[..usize::try_from(size).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(block)?;
        if end == at + size && block.ends_with(b"\n") && lines > 0 {
            end -= 1;
        }
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let start = at + index as u64 + 1;
            if start > end {
                continue;
            }
            found += 1;
            if found >= lines.max(1) {
                return Ok(if lines == 0 { end } else { start });
            }
        }
    }
    Ok(if lines == 0 { end } else { 0 })
}

/// After so long without any change it is looked whether the run is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Tells of changes in the folders of logs.
struct Changes(Option<AsyncFd<OwnedFd>>);

impl Changes {
    fn of(run: &Path, logs: &[&Path]) -> Self {
        let watch = || -> std::io::Result<AsyncFd<OwnedFd>> {
            let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let flags = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::MOVE
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF;
            for folder in logs.iter().filter_map(|log| log.parent()).chain([run]) {
                // What is not there yet is made in the run's own folder.
                files::if_there(inotify::add_watch(&changes, folder, flags).map_err(Into::into))?;
            }
            #[expect(
                deprecated,
                reason = "its successor is unsafe, for handles that do not stay what they are; one that is owned does"
            )]
            AsyncFd::with_interest(changes, Interest::READABLE)
        };
        Self(watch().ok())
    }

    /// Waits for the next change.
    async fn next(&self) {
        let Some(changes) = &self.0 else { return sleep(PAUSE).await };
        // A folder that is removed while a log in it is open here may tell nothing of its own end.
        let Ok(ready) = timeout(LOOK, changes.readable()).await else { return };
        let Ok(mut ready) = ready else { return sleep(PAUSE).await };
        // What has changed is looked for; that something has is enough here.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(changes.get_ref(), &mut buffer);
        while events.next().is_ok() {}
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_wherever_blocks_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (text, lines, expected) in [
            ("", 3, ""),
            ("a\nb\nc\n", 0, ""),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc\n", 9, "a\nb\nc\n"),
            ("a\nb", 1, "b"),
            ("a\n\n", 1, "\n"),
        ] {
            std::fs::write(&path, text).unwrap();
            let start = start_of_last(&mut File::open(&path).unwrap(), lines).unwrap();
            assert_eq!(&text[usize::try_from(start).unwrap()..], expected, "{text:?} {lines}");
        }
        for size in [BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let text = format!("first\n{}\nlast\n", "x".repeat(size));
            std::fs::write(&path, &text).unwrap();
            for (lines, left) in [(1, 5), (2, size + 6), (3, text.len()), (4, text.len())] {
                let start = start_of_last(&mut File::open(&path).unwrap(), lines).unwrap();
                assert_eq!(text.len() - usize::try_from(start).unwrap(), left, "{size} {lines}");
            }
        }
    }
}

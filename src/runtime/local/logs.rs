//! The logs of a run's servers: files in its data folder, read as long as that is there.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use crate::files;
use crate::history::clip::{Clip, Clipped, HEAD, TAIL};
use crate::history::log::Log;
use crate::history::record::LogInfo;
use crate::redact::Redactor;
use crate::registry::LocalRun;

/// Reads the logs of a run, without its secrets, and tells what could not be read.
pub fn collect(run: &LocalRun, redactor: &Redactor) -> (Vec<Log>, Vec<String>) {
    let (mut logs, mut notes) = (Vec::new(), Vec::new());
    for (name, path) in of(run) {
        let is_damaged = || Err(std::io::Error::other("it is not in the run's folder"));
        match if run.has(path) { read(path) } else { is_damaged() } {
            Ok(clipped) => logs.push(log(name, clipped, redactor)),
            // A server that was never started has none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => notes
                .push(format!("the log of {name} could not be read: {}", crate::failure::innermost(&error))),
        }
    }
    (logs, notes)
}

/// Holds a log, as a server does from its start to its end by what it writes to: in another container nothing else
/// of it is seen. Whoever looks takes it for a moment.
pub(super) fn hold(log: &File) {
    for _ in 0..1000 {
        match log.try_lock_shared() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}

/// The names of the databases and their servers' logs. What an older testbed has noted has only the servers
/// that are up.
pub fn of(run: &LocalRun) -> Vec<(&str, &Path)> {
    if run.logs.is_empty() {
        return run.servers.iter().map(|server| (server.name.as_str(), server.log.as_path())).collect();
    }
    run.logs.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect()
}

fn log(name: &str, Clipped { text, bytes, cut }: Clipped, redactor: &Redactor) -> Log {
    let info = LogInfo {
        source: name.to_owned(),
        database: Some(name.to_owned()),
        bytes,
        cut,
        ..LogInfo::default()
    };
    Log::new(info, &redactor.redact_text(&text))
}

/// Its head and its tail: of a log of gigabytes no more than these is read.
pub(super) fn read(path: &Path) -> std::io::Result<Clipped> {
    let mut file = files::open(path)?;
    // It may grow meanwhile, and this is to end.
    let length = file.metadata()?.len();
    let mut clip = Clip::default();
    let between = length.saturating_sub((HEAD + TAIL) as u64);
    if between > 0 {
        take(&mut file, HEAD as u64, &mut clip)?;
        file.seek(SeekFrom::Current(between.cast_signed()))?;
        clip.pass_over(between);
        take(&mut file, TAIL as u64, &mut clip)?;
    } else {
        take(&mut file, length, &mut clip)?;
    }
    Ok(clip.finish())
}

fn take(file: &mut File, bytes: u64, clip: &mut Clip) -> std::io::Result<()> {
    let mut taken = file.take(bytes);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match taken.read(&mut buffer)? {
            0 => return Ok(()),
            count => clip.push(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn run(folder: &Path, names: &[&str]) -> LocalRun {
        let logs = names.iter().map(|name| ((*name).to_owned(), folder.join(name))).collect();
        LocalRun { logs, secrets: vec!["hush-hush".into()], ..LocalRun::default() }
    }

    fn collected(run: &LocalRun) -> (Vec<Log>, Vec<String>) {
        collect(run, &run.redactor("r"))
    }

    #[test]
    fn logs_are_read_without_secrets_and_what_is_missing_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop"), "ready\nPASSWORD 'hush-hush'").unwrap();
        let (logs, notes) = collected(&run(folder.path(), &["shop", "never-started"]));
        assert_eq!((logs.len(), notes), (1, vec![]));
        assert_eq!(logs[0].text().unwrap(), "ready\nPASSWORD '***'");
        assert_eq!((logs[0].info.bytes, logs[0].info.database.as_deref()), (26, Some("shop")));
    }

    #[test]
    fn a_long_log_is_read_as_if_all_of_it_had_been() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
        for number in 0..200_000 {
            writeln!(file, "line {number} of many").unwrap();
        }
        file.into_inner().unwrap();
        let mut clip = Clip::default();
        clip.push(&std::fs::read(&path).unwrap());
        let whole = clip.finish();
        assert!(whole.cut.is_some() && whole.text.contains("\nline 199999 of many\n"));
        assert_eq!(read(&path).unwrap(), whole);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("secret"), "x").unwrap();
        std::os::unix::fs::symlink(at("secret"), at("link")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let (logs, notes) = collected(&run(folder.path(), &["link", "folder", "pipe"]));
        assert_eq!((logs.len(), notes.len()), (0, 3), "{notes:?}");
    }
}

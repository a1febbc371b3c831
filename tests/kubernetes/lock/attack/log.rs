//! The log to which all holders append, and to which this test adds what it does to them: its order is the
//! order of events.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A holder's own: it begins, it works, it ends.
    Enter(Entry),
    At(Entry),
    Leave(Entry),
    /// The test is about to kill or stop processes of a turn, or to bring about an outage in which it cannot
    /// renew: it need not leave.
    Disturb(String),
}

/// Who writes, under which fencing number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub fence: u64,
    /// The run id: each turn has one of its own.
    pub id: String,
    pub pid: u32,
}

impl Line {
    /// `None` for what is no line of the log.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        if let ["disturb", id] = words[..] {
            return Some(Self::Disturb(id.to_owned()));
        }
        let [word, fence, id, pid, _uptime] = words[..] else { return None };
        let entry = Entry { fence: fence.parse().ok()?, id: id.to_owned(), pid: pid.parse().ok()? };
        match word {
            "enter" => Some(Self::Enter(entry)),
            "at" => Some(Self::At(entry)),
            "leave" => Some(Self::Leave(entry)),
            _ => None,
        }
    }
}

/// The log while it grows.
pub struct Log {
    path: PathBuf,
    tail: Child,
    follower: Option<JoinHandle<()>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    entered: Mutex<Vec<(Entry, Instant)>>,
    changed: Condvar,
}

impl Log {
    pub fn new(path: &Path) -> Self {
        std::fs::write(path, "").expect("a file in the temporary folder");
        let mut tail = Command::new("tail");
        tail.args(["--lines=+1", "--follow"]).arg(path).stdout(Stdio::piped());
        let mut tail = tail.spawn().expect("tail");
        let lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
        let seen = Arc::<Seen>::default();
        let told = Arc::clone(&seen);
        let follower = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(Line::Enter(entry)) = Line::parse(&line) {
                    told.entered.lock().expect("no panic").push((entry, Instant::now()));
                    told.changed.notify_all();
                }
            }
        });
        Self { path: path.to_owned(), tail, follower: Some(follower), seen }
    }

    /// Adds what is about to be done to a turn.
    pub fn disturb(&self, id: &str) {
        let mut file = OpenOptions::new().append(true).open(&self.path).expect("the log");
        file.write_all(format!("disturb {id}\n").as_bytes()).expect("one write");
    }

    /// Waits until a turn has entered, at most for `patience`, or until `is_over` says that it never will.
    pub fn until_entered(
        &self,
        id: &str,
        patience: Duration,
        mut is_over: impl FnMut() -> bool,
    ) -> Option<(Entry, Instant)> {
        let deadline = Instant::now() + patience;
        let mut entered = self.seen.entered.lock().expect("no panic");
        loop {
            if let Some(entry) = entered.iter().rev().find(|(entry, _)| entry.id == id) {
                return Some(entry.clone());
            }
            if Instant::now() > deadline || is_over() {
                return None;
            }
            // The end of a process wakes nobody here.
            entered = self.seen.changed.wait_timeout(entered, Duration::from_millis(50)).expect("no panic").0;
        }
    }

    /// Whether a turn has entered that is over; about when.
    pub fn find(&self, id: &str) -> Option<(Entry, Instant)> {
        let entry = |line| if let Line::Enter(entry) = line { Some(entry) } else { None };
        let text = std::fs::read_to_string(&self.path).expect("the log");
        let entered = text.lines().filter_map(Line::parse).filter_map(entry).find(|entry| entry.id == id);
        entered.map(|entry| (entry, Instant::now()))
    }

    /// Everything, once nobody writes any more. A line that is none is an error, as it may be two that were
    /// written at once.
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.path).expect("the log");
        text.lines()
            .map(|line| Line::parse(line).unwrap_or_else(|| panic!("{line:?} is no line of the log")))
            .collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.tail.kill();
        let _ = self.tail.wait();
        if let Some(follower) = self.follower.take() {
            let _ = follower.join();
        }
    }
}

/// The turns that have entered.
pub fn entered(lines: &[Line]) -> BTreeSet<&str> {
    let id = |line| if let &Line::Enter(Entry { ref id, .. }) = line { Some(id.as_str()) } else { None };
    lines.iter().filter_map(id).collect()
}

//! Processes of this machine, told apart although their numbers are used again.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::files;

/// A process, by a number that may be used again and the time when it started, in clock ticks since the
/// machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Process {
    pub fn with_id(pid: u32) -> Option<Self> {
        Some(Self { pid, start: Stat::read(pid)?.start })
    }

    /// Whether it still runs. One that has ended and whose parent has not noticed does not.
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_zombie)
    }

    /// A handle on the process, if it is still this one: signals through it can hit no other.
    pub fn open(self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(i32::try_from(self.pid).ok()?)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(handle)
    }

    pub fn signal(self, signal: Signal) {
        if let Some(handle) = self.open() {
            let _ = pidfd_send_signal(&handle, signal);
        }
    }
}

/// The machine's present time of running: another id after a reboot, when no process of before exists.
pub fn boot_id() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = files::if_there(std::fs::read_to_string(path)).with_context(|| format!("reading {path}"))?;
    Ok(id.unwrap_or_default().trim().to_owned())
}

/// Where processes are told by the numbers that this one sees: in another container a number is another process.
/// `None` where the system does not tell.
pub fn namespace() -> Option<String> {
    std::fs::read_link("/proc/self/ns/pid").ok()?.to_str().map(str::to_owned)
}

/// Fails where processes cannot be looked at, so that those that are not found need not be gone: too few open
/// files, for one.
pub fn check() -> anyhow::Result<()> {
    let _folder = File::open("/proc").context("looking at processes: opening /proc")?;
    File::open("/proc/self/stat").map(drop).context("looking at processes: opening /proc/self/stat")
}

/// What the system tells of a process.
pub struct Stat {
    pub is_zombie: bool,
    pub parent: u32,
    /// 0 where it is not in this process's namespace of processes, as for those of `docker exec`.
    pub group: u32,
    /// 0 as for `group`.
    pub session: u32,
    pub start: u64,
}

impl Stat {
    pub fn of_this_process() -> Option<Self> {
        Self::read(std::process::id())
    }

    /// Reads `/proc/PID/stat`, in one step. The second field is the name in brackets, which may hold
    /// anything: also what is no text.
    pub fn read(pid: u32) -> Option<Self> {
        let mut bytes = [0; 2048];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let me = Process::with_id(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me }.is_alive());
    }
}

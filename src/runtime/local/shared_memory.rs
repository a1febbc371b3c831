//! The System V shared memory of PostgreSQL servers that were killed: it is in no folder, and stays until the machine
//! restarts.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::files;
use crate::registry::Server;

/// How long its removal may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Removes what servers that have ended have left of it.
pub(super) async fn remove(servers: &[Server]) {
    let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    for server in servers.iter().filter(|server| !server.process.is_alive()) {
        let Ok(data) = server.data.symlink_metadata() else { continue };
        let noted = files::read(&server.data.join("postmaster.pid"), 4096).unwrap_or_default();
        let Some(noted) = noted_id(&String::from_utf8_lossy(&noted)).map(str::to_owned) else { continue };
        for id in left_by(&all, server.process.pid, data.uid()).into_iter().filter(|id| **id == noted) {
            // The system has no file for it that could be deleted.
            let mut command = Command::new("ipcrm");
            command.args(["-m", id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = timeout(PATIENCE, command.kill_on_drop(true).status()).await;
        }
    }
}

/// The segment that a server has noted in its `postmaster.pid`: the number of another process may be the same by now.
fn noted_id(text: &str) -> Option<&str> {
    text.lines().nth(SEGMENT)?.split_whitespace().nth(1)
}

/// The line of its key and id.
const SEGMENT: usize = 6;

/// What a process has made that nobody uses any more.
fn left_by(all: &str, pid: u32, uid: u32) -> Vec<&str> {
    let read = |line| {
        let fields: Vec<&str> = str::split_whitespace(line).collect();
        let [_, id, _, _, maker, _, users, owner, ..] = fields[..] else { return None };
        let is_left = maker.parse() == Ok(pid) && owner.parse() == Ok(uid) && users == "0";
        is_left.then_some(id)
    };
    all.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_process_has_left_is_removed() {
        let all = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime
    11263002        1   600                    56   700   700      0   104   110   104   110 1 1 1 4096 0
    11263003        2   600                    56   700   700      1   104   110   104   110 1 1 1 4096 0
    11263004        3   600                    56   701   700      0   104   110   104   110 1 1 1 4096 0
    11263005        4   600                    56   700   700      0     0     0     0     0 1 1 1 4096 0
    short 5\n";
        assert_eq!(left_by(all, 700, 104), ["1"]);
        assert!(left_by("", 700, 104).is_empty());
        let noted = "700\n/data\n1764512345\n5432\n\nlocalhost\n 11263002         1\nready   \n";
        assert_eq!((noted_id(noted), noted_id("700\n")), (Some("1"), None));
    }
}

//! As whom the servers run: as the caller, or, since PostgreSQL refuses to run as root and the others should,
//! as an unprivileged user of the machine when the caller is root.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::database::Engine;
use crate::failure::Advise;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name, for messages.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// The user for a server; `None` where testbed itself runs unprivileged, so that the server runs as the same
/// user.
///
/// # Errors
/// When testbed runs as root and the machine, or the user namespace that it is in, has no fit user.
pub fn for_server(engine: Engine) -> anyhow::Result<Option<Account>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let own = if engine == Engine::Postgres { "postgres" } else { "mysql" };
    let users =
        std::fs::read_to_string("/etc/passwd").context("looking for an unprivileged user for the servers")?;
    let accounts: Vec<Account> = [own, "nobody"].iter().filter_map(|name| account(&users, name)).collect();
    let maps = ["uid_map", "gid_map"].map(|name| std::fs::read_to_string(format!("/proc/self/{name}")).ok());
    let [uids, gids] = maps.each_ref().map(Option::as_deref);
    let is_here = |account: &&Account| is_mapped(uids, account.uid) && is_mapped(gids, account.gid);
    let account = accounts.iter().find(is_here).cloned();
    if let (None, Some(Account { name, uid, .. })) = (&account, accounts.first()) {
        return Err(anyhow!("a server must not run as root, and this user namespace does not have the user {name} ({uid})"))
            .hint("map more users into it, as podman and `unshare --map-auto` do; or call testbed outside of it as an ordinary user");
    }
    let account = account.ok_or_else(|| {
        anyhow!("a server must not run as root, and this machine has neither a user {own} nor nobody")
    });
    account.map(Some).hint(format!("make one: useradd --system {own}; or call testbed as an ordinary user"))
}

/// Whether a user namespace has this id, by its map: lines of the first id inside, the first outside, and how many.
fn is_mapped(map: Option<&str>, id: u32) -> bool {
    let has = |line: &str| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        id.checked_sub(first).is_some_and(|at| at < count)
    };
    map.is_none_or(|map| map.lines().any(has))
}

/// Makes sure that the server's user has a name, which PostgreSQL's programs ask the system for.
///
/// # Errors
/// What is missing, with what to do.
pub fn check_name(account: Option<&Account>) -> anyhow::Result<()> {
    let uid = owner(account);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_there = users.lines().any(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()));
    // Others come from a directory service.
    let is_known = || {
        let mut getent = std::process::Command::new("getent");
        getent.arg("passwd").arg(uid.to_string()).stdout(std::process::Stdio::null());
        getent.status().is_ok_and(|status| status.success())
    };
    if is_there || is_known() {
        return Ok(());
    }
    Err(anyhow!("the user {uid} has no entry in /etc/passwd, without which PostgreSQL makes no data folder")).hint(
        format!("add one: echo 'user:x:{uid}:0::/tmp:/bin/sh' >> /etc/passwd; or use nss_wrapper, as the official image does")
    )
}

fn account(users: &str, name: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
}

/// The user whom the account's files belong to.
pub fn owner(account: Option<&Account>) -> u32 {
    account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid)
}

/// Hands a file or folder over to the server's user: one in a folder that this user cannot write to. A link
/// is not followed.
pub fn hand_over(path: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    let Some(account) = account else { return Ok(()) };
    lchown(path, Some(account.uid), Some(account.gid))
        .with_context(|| format!("handing {} over to {}", path.display(), account.name))
}

/// Makes a folder for the server's user alone, in one that this user cannot write to.
pub fn make_folder(path: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        // Where the umask has taken something away.
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("making {}", path.display()))?;
    hand_over(path, account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_has_the_ids_of_its_map() {
        let [whole, own, several] =
            ["0 0 4294967295", "         0       1000          1\n", "0 1000 1\n1 100000 65536\n"];
        for (map, id, expected) in [
            (Some(whole), 65534, true),
            (Some(own), 0, true),
            (Some(own), 104, false),
            (Some(several), 104, true),
            (Some(several), 65537, false),
            (None, 104, true),
        ] {
            assert_eq!(is_mapped(map, id), expected, "{map:?} {id}");
        }
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\nmysqlx:x:1:1::/:/bin/sh\nmysql:x:101:104:MySQL,,,:/nonexistent:/bin/false\n";
        assert_eq!(account(users, "mysql"), Some(Account { name: "mysql".into(), uid: 101, gid: 104 }));
        assert_eq!(account(users, "root"), None);
        assert_eq!(account(users, "postgres"), None);
    }
}

//! Ports of this machine that are asked for by their numbers: whether one is free, and who has it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;

use anyhow::anyhow;

use crate::failure::{Advise, Exit};
use crate::run_id::RunId;

/// The first port that everybody may listen on.
const FIRST: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Refuses a port of 127.0.0.1 that this process could not have.
///
/// # Errors
/// A usage error with the database, the port, and who has it.
pub fn check(port: u16, database: &str) -> anyhow::Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(taken(port, database)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(reserved(port, database)),
        Err(error) => Err(anyhow!("{database}: the port {port} of 127.0.0.1 cannot be had: {error}"))
            .hint("choose another port, or leave it out for a free one")
            .exit(Exit::Usage),
    }
}

/// Refuses a machine on which nothing gets to 127.0.0.1, where the databases would be: servers listen there all the
/// same, and every login would fail until the time is over.
///
/// # Errors
/// The loopback device is down ([`Exit::Never`]).
pub fn check_loopback() -> anyhow::Result<()> {
    if !is_loopback_down() {
        return Ok(());
    }
    Err(anyhow!("the loopback device (lo) is down: nothing on this machine gets to 127.0.0.1"))
        .hint(LOOPBACK_HINT)
        .exit(Exit::Never)
}

/// How to set the loopback device up.
pub const LOOPBACK_HINT: &str = "set it up in this network namespace, as root: ip link set lo up";

/// Whether there is no way to 127.0.0.1. Nothing is sent.
pub fn is_loopback_down() -> bool {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::LOCALHOST, 9)))
        .is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable)
}

/// The same for a server, which runs as somebody else where this process is root.
///
/// # Errors
/// As for [`check`].
pub fn check_for_server(port: u16, database: &str) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() && port < first() {
        return Err(reserved(port, database));
    }
    check(port, database)
}

fn first() -> u16 {
    let said = std::fs::read_to_string(FIRST).ok().and_then(|text| text.trim().parse().ok());
    said.unwrap_or(1024)
}

fn reserved(port: u16, database: &str) -> anyhow::Error {
    anyhow!("{database}: the port {port} of 127.0.0.1 is reserved for root, and no server runs as root")
        .hint(format!("choose one from {} on, or leave it out for a free one", first()))
        .exit(Exit::Usage)
}

/// The error about a port that somebody has.
pub fn taken(port: u16, database: &str) -> anyhow::Error {
    let holder = Holder::of(port);
    let who = match &holder {
        Some(Holder { process: Some((pid, name)), .. }) => format!(" by {name} (process {pid})"),
        // Whose processes cannot be looked into.
        Some(Holder { process: None, user }) => format!(" by another user's process (user id {user})"),
        None => String::new(),
    };
    let error = anyhow!("{database}: the port {port} of 127.0.0.1 is taken{who}").exit(Exit::Usage);
    let error = match holder.and_then(|holder| run_of(holder.process?.0)) {
        Some(run) => {
            let id = run.brief();
            error.hint(format!("it is of the run {id}: testbed exec --run-id {id} -- COMMAND uses that, testbed down --run-id {id} removes it"))
        }
        None => error,
    };
    error.hint("end it, choose another port, or leave out the port for a free one")
}

/// The ports of this machine from which somebody is connected to this one.
pub fn clients(port: u16) -> BTreeSet<u16> {
    let tables = tables();
    let fits = |line| client(line, port).map(|(from, _)| from);
    tables.iter().flat_map(|table| table.lines()).filter_map(fits).collect()
}

/// What the system knows of connections.
fn tables() -> [String; 2] {
    ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default())
}

/// Who is connected to a port of 127.0.0.1: programs with their process ids, as far as they can be looked into.
pub fn connected(port: u16) -> Vec<String> {
    let tables = tables();
    let inodes: Vec<&str> = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| client(line, port).map(|(_, inode)| inode))
        .filter(|inode| *inode != "0")
        .collect();
    let who = |inode: &&str| match having(inode) {
        Some(pid) => format!("{} (process {pid})", name(pid)),
        None => "another user's process".to_owned(),
    };
    let mut found: Vec<String> = inodes.iter().map(who).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The own port and the inode in a line of `/proc/net/tcp`, if it is about the client's end of a connection to this port.
fn client(line: &str, port: u16) -> Option<(u16, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port_of = |field: usize| u16::from_str_radix(fields.get(field)?.rsplit_once(':')?.1, 16).ok();
    let fits = port_of(2)? == port && *fields.get(3)? == "01";
    Some((port_of(1)?, *fields.get(9)?)).filter(|_| fits)
}

/// The process that has a socket. A server's first process has a smaller number than its children, which have the
/// socket as well.
fn having(inode: &str) -> Option<u32> {
    let link = format!("socket:[{inode}]");
    let mut pids: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let has_it = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|to| to.as_os_str() == link.as_str())
    };
    pids.into_iter().find(has_it)
}

/// Who listens on a port.
struct Holder {
    /// Its number and name, where it can be looked into.
    process: Option<(u32, String)>,
    user: String,
}

impl Holder {
    fn of(port: u16) -> Option<Self> {
        let tables = tables();
        let (user, inode) =
            tables.iter().flat_map(|table| table.lines()).find_map(|line| listening(line, port))?;
        let process = having(inode).map(|pid| (pid, name(pid)));
        Some(Self { process, user: user.to_owned() })
    }
}

/// The user and the inode in a line of `/proc/net/tcp`, if it is about a listener that 127.0.0.1 meets.
fn listening(line: &str, port: u16) -> Option<(&str, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, own) = fields.get(1)?.rsplit_once(':')?;
    let is_everybodys = address.bytes().all(|byte| byte == b'0');
    // 127.0.0.1, and the same as an address of version 6.
    let meets = is_everybodys || address == "0100007F" || address == "0000000000000000FFFF00000100007F";
    let fits = meets && u16::from_str_radix(own, 16) == Ok(port) && *fields.get(3)? == "0A";
    fits.then_some((*fields.get(7)?, *fields.get(9)?))
}

/// What a process calls itself, which may be anything.
fn name(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() { "a process without a name".into() } else { name }
}

/// The run that a process belongs to, as its environment says; only this user's own are believed.
fn run_of(pid: u32) -> Option<RunId> {
    let folder = format!("/proc/{pid}");
    let own = rustix::process::geteuid();
    let owner = std::fs::metadata(&folder).ok()?.uid();
    let environment =
        std::fs::read(format!("{folder}/environ")).ok().filter(|_| own.is_root() || owner == own.as_raw())?;
    let id = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"TESTBED_RUN_ID="))?;
    RunId::parse(std::str::from_utf8(id).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{exit_of, hints_of};

    #[test]
    fn listeners_that_are_in_the_way_are_told_from_others() {
        let line = |address: &str, state: &str| {
            format!(
                "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000 0 4711 1 0"
            )
        };
        for (address, state, is) in [
            ("0100007F:1538", "0A", true),
            ("00000000:1538", "0A", true),
            ("00000000000000000000000000000000:1538", "0A", true),
            ("0000000000000000FFFF00000100007F:1538", "0A", true),
            ("0100007F:1539", "0A", false),
            ("0100007F:1538", "01", false),
            ("0500A8C0:1538", "0A", false),
        ] {
            let found = line(address, state);
            assert_eq!(listening(&found, 0x1538), is.then_some(("1000", "4711")), "{address} {state}");
        }
        assert_eq!(listening("  sl  local_address rem_address", 1), None);
    }

    #[test]
    fn who_is_connected_is_told_by_the_port_it_comes_from() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(clients(port), [client.local_addr().unwrap().port()].into());
        drop(client);
        assert_eq!(clients(port), [].into());
    }

    #[test]
    fn a_port_that_is_taken_tells_by_whom() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check(port, "orders").unwrap_err();
        let expected = format!(
            "orders: the port {port} of 127.0.0.1 is taken by {} (process {})",
            name(std::process::id()),
            std::process::id()
        );
        assert_eq!((error.to_string(), exit_of(&error)), (expected, Exit::Usage));
        assert!(hints_of(&error).iter().any(|hint| hint.contains("choose another port")));
        drop(listener);
        check(port, "orders").unwrap();
    }
}

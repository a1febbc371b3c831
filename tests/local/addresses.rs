//! `testbed wait` for real servers on addresses of version 6, and behind names that have addresses of both
//! versions.

use std::fs::Metadata;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::account::is_root;
use crate::harness::{Database, Local, is_alive, until};
use crate::support::{Called, binary};

/// A host that has both.
const BOTH: &str = "both.example";

/// Whether the machine has a loopback of version 6. Says so where it has none, for a test that then has
/// nothing to do.
fn has_version_6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no ::1");
    }
    has
}

/// A server that testbed has set up, started again on other addresses than its own.
struct Moved {
    local: Local,
    database: Database,
    /// As testbed has started it.
    command: Vec<String>,
    environment: Vec<String>,
    program: PathBuf,
    folder: PathBuf,
    account: Metadata,
    server: Option<Child>,
}

impl Moved {
    fn new(with: &str) -> Self {
        // Nobody else is to find the changed folder again.
        let local = Local::with_cold_cache();
        let (_, mut databases) = local.up(&["--with", with, "--run-id", "r"]);
        let rows: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
        let process = u32::try_from(rows[0]["process"].as_u64().unwrap()).unwrap();
        let at = |name: &str| PathBuf::from(format!("/proc/{process}/{name}"));
        let words = |name: &str| {
            let text = String::from_utf8(std::fs::read(at(name)).unwrap()).unwrap();
            text.split_terminator('\0').map(str::to_owned).collect()
        };
        let folder = std::fs::read_link(at("cwd")).unwrap();
        let moved = Self {
            database: databases.remove(0),
            command: words("cmdline"),
            environment: words("environ"),
            program: std::fs::read_link(at("exe")).unwrap(),
            account: std::fs::metadata(at("")).unwrap(),
            server: None,
            local,
            folder,
        };
        moved.end(process);
        // testbed lets logins in from its own address only.
        let rules = moved.folder.join("pg_hba.conf");
        if let Ok(text) = std::fs::read_to_string(&rules) {
            std::fs::write(&rules, format!("{text}\nhost all all all scram-sha-256\n")).unwrap();
        }
        moved
    }

    fn end(&self, process: u32) {
        let signal = if self.database.driver == "postgres" { "-INT" } else { "-TERM" };
        assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
        until("the server has ended", || (!is_alive(process)).then_some(()));
    }

    /// The same server, as the same user, on the same port of another address.
    fn to(&mut self, address: &str) {
        if let Some(mut server) = self.server.take() {
            self.end(server.id());
            server.wait().unwrap();
        }
        let mut command = Command::new(&self.program);
        // What the first start has read is gone.
        command.args(self.command[1..].iter().filter(|arg| !arg.starts_with("--init-file")));
        if self.database.driver == "postgres" {
            command.args(["-c", &format!("listen_addresses={address}")]);
        } else {
            command.arg(format!("--bind-address={address}"));
        }
        command
            .env_clear()
            .envs(self.environment.iter().filter_map(|pair| pair.split_once('=')))
            .current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            command.uid(self.account.uid()).gid(self.account.gid());
        }
        self.server = Some(command.spawn().expect("the server"));
    }

    fn url(&self, host: &str, password: &str) -> String {
        let Database { driver, user, port, database, .. } = &self.database;
        format!("{driver}://{user}:{password}@{host}:{port}/{}", database.as_deref().unwrap())
    }

    fn wait(&self, host: &str) -> Called {
        self.local.call(&[
            "wait",
            &self.url(host, &self.database.password),
            "--settle",
            "100ms",
            "--timeout",
            "20s",
            "-o",
            "json",
        ])
    }

    /// The same where the name leads to both loopback addresses: in a file that nobody but this call sees in
    /// the place of the machine's.
    fn wait_with_names(&self, password: &str) -> Called {
        let hosts = self.local.file("hosts", &format!("127.0.0.1 {BOTH}\n::1 {BOTH}\n"));
        let args = ["wait", &self.url(BOTH, password), "--settle", "100ms", "--timeout", "20s"];
        let mut command = as_own_mounts();
        command
            .args(["mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts.display().to_string(), binary()])
            .args(args);
        let testbed = self.local.command(&[]);
        command
            .current_dir(self.local.path())
            .env_clear()
            .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Called::new(&args, command.stdin(Stdio::null()).output().expect("unshare"))
    }

    /// By its address of version 6, and by a name of which only one address answers. A wrong password is told
    /// of, whatever the other one says.
    fn is_waited_for(&mut self, refusal: &str) {
        self.to("::1");
        let found: Value = serde_json::from_str(&self.wait("[::1]").ok().stdout).unwrap();
        assert_eq!(found[0]["address"], format!("[::1]:{}", self.database.port));
        if !may_name_hosts() {
            return;
        }
        for address in ["::1", "127.0.0.1"] {
            self.to(address);
            self.wait_with_names(&self.database.password).ok();
            self.wait_with_names("hush").fails(4).says(refusal).keeps("hush");
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        let down = self.local.call(&["down", "--run-id", "r"]);
        assert!(std::thread::panicking() || down.code == Some(0), "{}", down.transcript());
    }
}

/// A shell with mounts of its own; its script is the next argument.
fn as_own_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.args(if is_root() {
        &["--mount", "sh", "-c"][..]
    } else {
        &["--user", "--map-root-user", "--mount", "sh", "-c"]
    });
    command
}

/// Whether a call may have names of its own. Says so where it may not.
fn may_name_hosts() -> bool {
    let output = as_own_mounts().arg("mount --bind /etc/hosts /etc/hosts").output().expect("unshare");
    if !output.status.success() {
        eprintln!("skipped: no mounts of one's own: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn a_postgres_is_found_on_either_version() {
    if !has_version_6() {
        return;
    }
    let mut moved = Moved::new("postgres");
    moved.is_waited_for("password authentication failed");
    if may_name_hosts() {
        moved.to("127.0.0.1");
        // The other address takes connections and says nothing.
        let _silent = TcpListener::bind(("::1", moved.database.port)).unwrap();
        moved.wait_with_names(&moved.database.password).ok();
    }
}

#[test]
fn a_mariadb_is_found_on_either_version() {
    if has_version_6() {
        Moved::new("mariadb").is_waited_for("Access denied");
    }
}

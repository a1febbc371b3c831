//! Calls the built program as a user would: in a folder of its own, with no setting of the caller's
//! environment, and with everything that it says checked.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod api;
pub mod pages;
pub mod random;
pub mod results;
pub mod screen;
pub mod terminal;

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The program under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_testbed")
}

/// A count that `make soak` raises.
pub fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("a number in {variable}")))
}

/// Whether the user wants no tests of testbed's image: then it was not built, or no cluster can pull it. Says
/// so, for a test that has nothing to do.
pub fn is_without_image() -> bool {
    let is_without = std::env::var("TESTBED_TEST_IMAGE").is_ok_and(|image| image == "none");
    if is_without {
        eprintln!("skipped: TESTBED_TEST_IMAGE is none");
    }
    is_without
}

/// A folder to call testbed in, with a state folder inside.
pub struct Folder {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder"), environment: Vec::new() }
    }

    /// The same for databases on this machine: where the tests run as root, the servers run as somebody else,
    /// who has to be able to pass through. Prepared data folders are shared by all tests.
    pub fn local() -> Self {
        Self::new().with_cache(&shared_cache())
    }

    /// The same below a folder of another file system, with the cache there as well.
    pub fn local_on(place: &Path) -> Self {
        let dir = TempDir::new_in(place).expect("a temporary folder");
        Self { dir, environment: Vec::new() }.with_cache(place)
    }

    fn with_cache(self, cache: &Path) -> Self {
        open_for_passing(self.path());
        self.env("TESTBED_RUNTIME", "local").env("XDG_CACHE_HOME", cache.display().to_string())
    }

    /// Sets a variable for all later calls.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file in the temporary folder");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// A call that has yet to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.path()).env_clear();
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.path()).env("XDG_STATE_HOME", self.path().join("state"));
        // Nothing is to start on this machine where a test forgets to name a cluster.
        command.env("TESTBED_RUNTIME", "kubernetes");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Calls testbed and waits.
    #[must_use]
    pub fn call(&self, args: &[&str]) -> Called {
        Called::new(args, self.command(args).stdin(Stdio::null()).output().expect("testbed starts"))
    }

    /// Calls testbed with a text on standard input.
    #[must_use]
    pub fn call_with_input(&self, args: &[&str], input: &str) -> Called {
        let mut child = self.start_piped(args);
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("testbed reads its input");
        Called::new(args, child.wait_with_output().expect("testbed ends"))
    }

    /// Starts testbed and goes on.
    pub fn start(&self, args: &[&str]) -> Started {
        Started::new(args, self.command(args))
    }

    fn start_piped(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("testbed starts")
    }
}

/// Lets every user of the machine pass through a folder.
pub fn open_for_passing(folder: &Path) {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("a folder of one's own");
}

/// Below the build's own folder, unless only its owner can get there.
fn shared_cache() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let is_open =
        |folder: &Path| std::fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    let is_reachable = built.ancestors().all(is_open);
    let user = std::fs::metadata("/proc/self").expect("/proc").uid();
    let cache = if is_reachable {
        built.join("cache")
    } else {
        PathBuf::from(format!("/var/tmp/testbed-tests-{user}"))
    };
    std::fs::create_dir_all(&cache).expect("a folder for the cache");
    open_for_passing(&cache);
    cache
}

/// A call that goes on.
pub struct Started {
    args: Vec<String>,
    pub child: Child,
    /// What was read of standard error so far.
    heard: Vec<u8>,
}

impl Started {
    /// Starts a prepared command, which goes by these arguments.
    pub fn new(args: &[&str], mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("testbed starts");
        Self { args: args.iter().map(ToString::to_string).collect(), child, heard: Vec::new() }
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success(), "testbed has ended already");
    }

    /// Reads standard error from where the last call stopped until the text has been said.
    pub fn until_it_says(&mut self, part: &str) {
        let stderr = self.child.stderr.as_mut().expect("a pipe");
        let from = self.heard.len();
        let mut byte = [0];
        while !self.heard[from..].ends_with(part.as_bytes()) {
            let count = stderr.read(&mut byte).expect("standard error of testbed");
            assert_eq!(count, 1, "{part:?} was never said:\n{}", String::from_utf8_lossy(&self.heard));
            self.heard.push(byte[0]);
        }
    }

    #[must_use]
    pub fn wait(self) -> Called {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut output = self.child.wait_with_output().expect("testbed ends");
        output.stderr.splice(0..0, self.heard);
        Called::new(&args, output)
    }
}

/// A call that has ended.
pub struct Called {
    what: String,
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Called {
    pub fn new(args: &[&str], output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            what: format!("testbed {}", args.join(" ")),
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Everything that was said, for a failed test.
    pub fn transcript(&self) -> String {
        format!("{} -> {:?}\n--- stdout\n{}--- stderr\n{}", self.what, self.code, self.stdout, self.stderr)
    }

    /// The call has to have succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.transcript());
        self
    }

    /// The call has to have failed with this code, exactly one `error:` line, nothing on standard output, and
    /// no panic.
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.transcript());
        let errors = self.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert!(
            errors == 1 && self.stdout.is_empty() && !self.stderr.contains("panicked"),
            "{}",
            self.transcript()
        );
        self
    }

    /// The call has to have ended with the code of the command that it has run.
    pub fn ends(self, code: i32) -> Self {
        assert!(
            self.code == Some(code) && !self.stderr.contains("panicked"),
            "{code} is wanted\n{}",
            self.transcript()
        );
        self
    }

    /// What was said, line by line, without the times in front.
    pub fn story(&self) -> Vec<&str> {
        self.stderr.lines().map(plain).collect()
    }

    /// Standard error has to contain the text.
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{part:?} is not in\n{}", self.transcript());
        self
    }

    /// Neither stream may contain the text.
    pub fn keeps(self, secret: &str) -> Self {
        assert!(
            !self.stderr.contains(secret) && !self.stdout.contains(secret),
            "{secret:?} is in\n{}",
            self.transcript()
        );
        self
    }
}

/// `   0.1s postgres: preparing` without the time.
fn plain(line: &str) -> &str {
    let Some((time, rest)) = line.trim_start().split_once("s ") else { return line };
    if time.parse::<f64>().is_ok() { rest } else { line }
}

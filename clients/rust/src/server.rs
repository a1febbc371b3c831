//! The pool of the `testbed run` around the tests, or of one that is started and ends with this process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::Error;

pub const VARIABLE: &str = "INTEGRESQL_CLIENT_BASE_URL";

const MISSING: &str =
    "testbed is not in PATH, and INTEGRESQL_CLIENT_BASE_URL is not set. Build testbed from its \
    repository (`make build` makes target/release/testbed) and put it into PATH, or run the tests in \
    `testbed run --with postgres --pool -- cargo test`.";

/// Says where the pool is, and stays until nobody has the other end of its standard input any more: also where this
/// process is killed.
const HOLDER: [&str; 3] = ["sh", "-c", "echo \"$INTEGRESQL_CLIENT_BASE_URL\"; exec cat >/dev/null"];

/// The address, and what keeps it.
static POOL: OnceLock<Result<(String, Option<Child>), Error>> = OnceLock::new();

pub fn url() -> Result<&'static str, Error> {
    let pool = POOL.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => Ok((url, None)),
        _ => start().map(|(url, child)| (url, Some(child))),
    });
    pool.as_ref().map(|(url, _)| url.as_str()).map_err(Clone::clone)
}

fn start() -> Result<(String, Child), Error> {
    let args = if has_settings() {
        &["run", "-q", "--pool"][..]
    } else {
        &["run", "-q", "--with", "postgres", "--pool"]
    };
    let mut command = Command::new("testbed");
    command.args(args).arg("--").args(HOLDER);
    // A run around this that serves no pool has nothing to do with this one. Ctrl-C is for the tests.
    command.env_remove("TESTBED_RUN_ID").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(MISSING),
        _ => Error::new(format!("starting testbed: {error}")),
    })?;
    let mut line = String::new();
    let output = child.stdout.take().map(BufReader::new);
    let read = output.map_or(Ok(0), |mut output| output.read_line(&mut line));
    if read.is_ok() && !line.trim().is_empty() {
        return Ok((line.trim().to_owned(), child));
    }
    let told = child.wait_with_output().map_err(|error| Error::new(format!("testbed: {error}")))?;
    let said = String::from_utf8_lossy(&told.stderr);
    Err(Error::new(format!("testbed {} has ended ({}):\n{said}", args.join(" "), told.status)))
}

/// Whether testbed finds a file here that says which databases the project has.
fn has_settings() -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    for folder in here.ancestors() {
        let has = |name: &str| Path::new(folder).join(name).exists();
        if has("testbed.yaml") || has("testbed.yml") {
            return true;
        }
        if has(".git") {
            return false;
        }
    }
    false
}

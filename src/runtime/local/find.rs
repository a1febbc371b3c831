//! Which database servers are installed on this machine: by the usual folders, or where the user points to,
//! and what `--version` says of them. A program's name is not trusted: Debian's `mysqld` is MariaDB.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::database::Engine;
use crate::engine::Version;
use crate::files;
use crate::reading;

/// Folders below which servers are installed, besides those of `PATH`; `*` stands for any name.
const FOLDERS: [&str; 12] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/mysql/bin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/m*/bin",
    "/snap/bin",
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// What it is: MySQL, MariaDB or PostgreSQL.
    pub engine: Engine,
    pub version: Version,
    /// The program, links resolved.
    pub program: PathBuf,
    /// What identifies this very build: the version line, and size and time of the program.
    pub build: String,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", title(self.engine), self.version, self.program.display())
    }
}

/// The engine's name as people write it.
pub fn title(engine: Engine) -> &'static str {
    match engine {
        Engine::Mysql => "MySQL",
        Engine::Mariadb => "MariaDB",
        Engine::Postgres => "PostgreSQL",
        Engine::Sqlite => "SQLite",
    }
}

/// Looks for servers, and remembers in a file of the cache what each program's `--version` says.
pub struct Finder {
    memory_file: PathBuf,
    memory: BTreeMap<PathBuf, Known>,
    is_new: bool,
    /// The programs that have not said their version.
    pub silent: Vec<PathBuf>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Known {
    /// Size and time of change: another program has others.
    stamp: String,
    /// The first line that `--version` prints.
    line: String,
}

impl Finder {
    /// Reads the memory, which may be missing or broken: then every server is asked again.
    pub fn new(cache: &Path) -> Self {
        let memory_file = cache.join("servers.json");
        let memory = reading::bytes(&memory_file, reading::MOST)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { memory_file, memory, is_new: false, silent: Vec::new() }
    }

    /// The servers of a family: PostgreSQL, or MySQL and MariaDB, which share their programs' names. The
    /// newest first.
    pub async fn installed(&mut self, engine: Engine) -> Vec<Installed> {
        let names: &[&str] = if engine == Engine::Postgres { &["postgres"] } else { &["mariadbd", "mysqld"] };
        let mut programs: Vec<PathBuf> = Vec::new();
        for candidate in folders().iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))) {
            if let Some(program) = program(&candidate).filter(|program| !programs.contains(program)) {
                programs.push(program);
            }
        }
        let mut found = Vec::new();
        for program in &programs {
            found.extend(self.ask(program).await.ok());
        }
        self.keep();
        // Stable: of two alike, the one that comes first in PATH.
        found.sort_by(|one, other| other.version.cmp(&one.version));
        found
    }

    /// The server that the user points to: the program itself, or the folder that it is in.
    pub async fn at(&mut self, path: &Path, engine: Engine) -> anyhow::Result<Installed> {
        let names: &[&str] = if engine == Engine::Postgres { &["postgres"] } else { &["mariadbd", "mysqld"] };
        let candidates = names
            .iter()
            .flat_map(|name| [path.join(name), path.join("bin").join(name), path.join("sbin").join(name)]);
        let program = if path.is_dir() {
            candidates.into_iter().find_map(|candidate| program(&candidate))
        } else {
            program(path)
        };
        let program = program.ok_or_else(|| {
            anyhow!("{} is no program and has none called {}", path.display(), names.join(" or "))
        })?;
        let found = self.ask(&program).await?;
        self.keep();
        Ok(found)
    }

    async fn ask(&mut self, program: &Path) -> anyhow::Result<Installed> {
        let metadata =
            std::fs::metadata(program).with_context(|| format!("looking at {}", program.display()))?;
        let stamp = format!("{} {}.{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        let line = match self.memory.get(program) {
            Some(known) if known.stamp == stamp => known.line.clone(),
            _ => {
                let line = self.version_line(program).await?;
                self.memory.insert(program.to_owned(), Known { stamp: stamp.clone(), line: line.clone() });
                self.is_new = true;
                line
            }
        };
        let (engine, version) = read_version(&line)
            .ok_or_else(|| anyhow!("{} is no database server: {line:?}", program.display()))?;
        Ok(Installed {
            engine,
            version,
            program: program.to_owned(),
            build: format!("{line} {stamp} {}", program.display()),
        })
    }

    async fn version_line(&mut self, program: &Path) -> anyhow::Result<String> {
        let context = || format!("asking {} for its version", program.display());
        if !self.silent.iter().any(|silent| silent == program) {
            if let Ok(line) = timeout(ANSWER, version_line(program)).await {
                return line.with_context(context);
            }
            self.silent.push(program.to_owned());
        }
        let within = humantime::format_duration(ANSWER);
        Err(anyhow!("it says nothing within {within}")).with_context(context)
    }

    fn keep(&mut self) {
        // Without a memory the next command asks again; nothing else depends on it.
        if std::mem::take(&mut self.is_new)
            && let Ok(text) = serde_json::to_string(&self.memory)
        {
            let _ = files::write(&self.memory_file, &text, 0o600);
        }
    }
}

/// How long a program may take to say its version, and how long the line may be.
const ANSWER: Duration = Duration::from_secs(5);
const LINE: u64 = 4 << 10;

/// A program with all that it has started in its group.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

async fn version_line(program: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.arg("--version").process_group(0).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // Ended before the child is waited for: until then, the number is its own.
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let mut line = Vec::new();
    if let Some(from) = child.stdout.take() {
        BufReader::new(from.take(LINE)).read_until(b'\n', &mut line).await?;
    }
    drop(group);
    child.wait().await?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian …)`, `mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for …`, `mysqld  Ver
/// 9.7.0 for Linux …`
fn read_version(line: &str) -> Option<(Engine, Version)> {
    if let Some((_, rest)) = line.split_once("(PostgreSQL) ") {
        return Some((Engine::Postgres, Version::leading(rest)?));
    }
    let (_, rest) = line.split_once(" Ver ")?;
    let engine = if rest.contains("MariaDB") { Engine::Mariadb } else { Engine::Mysql };
    Some((engine, Version::leading(rest.trim_start())?))
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(FOLDERS.iter().flat_map(|pattern| expand(pattern)));
    folders
}

/// The folders that fit a pattern with at most one `*`, which stands for the end of a name.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let fits = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
    entries.filter(fits).map(|entry| entry.path().join(after.trim_start_matches('/'))).collect()
}

fn program(path: &Path) -> Option<PathBuf> {
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.mode() & 0o111 != 0).then(|| path.canonicalize().ok()).flatten()
}

/// The server for a database: the newest one of the engine and series, or, for a plain `mysql` where there is
/// no MySQL, MariaDB. `None` where nothing fits.
pub fn choose<'a>(
    found: &'a [Installed],
    engine: Engine,
    version: Option<&Version>,
) -> Option<&'a Installed> {
    let fits =
        |installed: &&Installed| version.is_none_or(|version| installed.version.is_of(version, engine));
    let of = |engine: Engine| found.iter().find(|installed| installed.engine == engine && fits(installed));
    of(engine)
        .or_else(|| (engine == Engine::Mysql && version.is_none()).then(|| of(Engine::Mariadb)).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(engine: Engine, version: &str) -> Installed {
        Installed {
            engine,
            version: Version::leading(version).unwrap(),
            program: "/x".into(),
            build: String::new(),
        }
    }

    #[test]
    fn version_lines_of_the_servers() {
        for (line, engine, version) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Engine::Postgres, "15.18"),
            ("postgres (PostgreSQL) 18beta1", Engine::Postgres, "18"),
            (
                "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)",
                Engine::Mariadb,
                "10.11.14",
            ),
            ("/usr/sbin/mysqld  Ver 10.5.8-MariaDB for Linux on x86_64", Engine::Mariadb, "10.5.8"),
            (
                "/opt/homebrew/opt/mysql/bin/mysqld  Ver 9.0.1 for macos14.4 on arm64 (Homebrew)",
                Engine::Mysql,
                "9.0.1",
            ),
        ] {
            let (found, number) = read_version(line).unwrap();
            assert_eq!((found, number.to_string().as_str()), (engine, version), "{line}");
        }
        assert_eq!(read_version("psql 15"), None);
    }

    #[test]
    fn the_series_that_is_asked_for_is_served_or_nothing() {
        let found = [
            installed(Engine::Postgres, "17.1"),
            installed(Engine::Postgres, "15.18"),
            installed(Engine::Mariadb, "10.11.14"),
        ];
        let chosen = |engine, version: Option<&str>| {
            let version = version.and_then(Version::leading);
            choose(&found, engine, version.as_ref()).map(|installed| installed.version.to_string())
        };
        assert_eq!(chosen(Engine::Postgres, None).as_deref(), Some("17.1"));
        assert_eq!(chosen(Engine::Postgres, Some("15.2")).as_deref(), Some("15.18"));
        assert_eq!(chosen(Engine::Postgres, Some("16")), None);
        assert_eq!(chosen(Engine::Mariadb, Some("10")).as_deref(), Some("10.11.14"));
        assert_eq!(chosen(Engine::Mariadb, Some("10.6")), None);
        assert_eq!(chosen(Engine::Mysql, None).as_deref(), Some("10.11.14"));
        assert_eq!(chosen(Engine::Mysql, Some("9.7")), None);
    }
}

//! Which package of this very system has a server, a client or an extension: its package manager is asked, since
//! names differ from one release to the next. What is known already is asked for, and no network.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::find::{Installed, title};
use crate::database::Engine;
use crate::engine::Version;

/// The most that is read of a package manager's answer.
const MOST: u64 = 1 << 20;

/// How long it may take to answer: on a busy machine, apt-cache does so for seconds.
const WITHIN: Duration = Duration::from_secs(20);

/// A program that knows the system's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Brew,
}

const ALL: [Manager; 4] = [Manager::Apt, Manager::Dnf, Manager::Apk, Manager::Brew];

impl Manager {
    /// The one that this system has.
    fn here() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |manager: &Self| {
            std::env::split_paths(&path).any(|folder| folder.join(manager.program()).is_file())
        };
        ALL.into_iter().find(is_there)
    }

    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Apk => "apk",
            Self::Brew => "brew",
        }
    }

    /// The program that answers questions.
    fn program(self) -> &'static str {
        if self == Self::Apt { "apt-cache" } else { self.name() }
    }

    /// The command that installs packages.
    fn install(self, packages: &str) -> String {
        let verb = if self == Self::Apk { "add" } else { "install" };
        format!("{} {verb} {packages}", self.name())
    }

    /// How it is asked for a package's version: with the name at the end.
    fn question(self) -> &'static [&'static str] {
        match self {
            Self::Apt | Self::Apk => &["policy"],
            Self::Dnf => &["--quiet", "--cacheonly", "repoquery", "--queryformat", "%{version}\n"],
            Self::Brew => &["info", "--formula"],
        }
    }

    /// The version that would be installed, as its answer tells.
    fn version(self, answer: &str) -> Option<Version> {
        let lines = || answer.lines().map(str::trim);
        let text = match self {
            // `Candidate: 1:10.11.19-0+deb12u1`, with an epoch in front.
            Self::Apt => lines().find_map(|line| line.strip_prefix("Candidate: "))?,
            // One a line, the oldest first.
            Self::Dnf => lines().rfind(|line| !line.is_empty())?,
            // `postgresql16 policy:`, and the versions below it, the newest first.
            Self::Apk => lines().nth(1)?,
            // `==> postgresql@17: stable 17.5 (bottled)`
            Self::Brew => lines().find_map(|line| line.split_once(": stable "))?.1,
        };
        let is_epoch = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Version::leading(
            text.split_once(':').filter(|(epoch, _)| is_epoch(epoch)).map_or(text, |(_, rest)| rest),
        )
    }

    /// The packages that may have a server, each by its names.
    fn servers(self, engine: Engine, version: Option<&Version>) -> Vec<Vec<String>> {
        let series = version.map(|version| version.series(engine).to_string());
        let numbered =
            |pattern: &str| series.iter().map(|series| vec![pattern.replace('#', series)]).collect();
        let plain = |names: &[&str]| vec![names.iter().map(ToString::to_string).collect::<Vec<_>>()];
        let (own, any): (Vec<Vec<String>>, _) = match (self, engine) {
            (Self::Apt, Engine::Postgres) => (numbered("postgresql-#"), plain(&["postgresql"])),
            (Self::Dnf, Engine::Postgres) => (numbered("postgresql#-server"), plain(&["postgresql-server"])),
            (Self::Apk, Engine::Postgres) => (numbered("postgresql#"), Vec::new()),
            (Self::Brew, Engine::Postgres) => (numbered("postgresql@#"), Vec::new()),
            (Self::Apt, Engine::Mariadb) => {
                (Vec::new(), plain(&["mariadb-server-core", "mariadb-client-core"]))
            }
            (Self::Dnf, Engine::Mariadb) => (numbered("mariadb#-server"), plain(&["mariadb-server"])),
            (Self::Apk, Engine::Mariadb) => (Vec::new(), plain(&["mariadb", "mariadb-client"])),
            (Self::Brew, Engine::Mariadb) => (numbered("mariadb@#"), plain(&["mariadb"])),
            (Self::Apt, Engine::Mysql) => (numbered("mysql-server-core-#"), plain(&["mysql-server-core"])),
            (Self::Dnf, Engine::Mysql) => (numbered("mysql#-server"), plain(&["mysql-server"])),
            (Self::Brew, Engine::Mysql) => (numbered("mysql@#"), plain(&["mysql"])),
            (Self::Apk, Engine::Mysql) | (_, Engine::Sqlite) => (Vec::new(), Vec::new()),
        };
        own.into_iter().chain(any).collect()
    }

    /// The packages that may have an engine's client, the best one first.
    fn clients(self, engine: Engine) -> &'static [&'static str] {
        match (self, engine) {
            (Self::Apt, Engine::Postgres) => &["postgresql-client"],
            (Self::Apt, Engine::Mysql) => &["default-mysql-client", "mysql-client", "mariadb-client"],
            (Self::Apt | Self::Apk, Engine::Mariadb) => &["mariadb-client"],
            (Self::Apt, Engine::Sqlite) => &["sqlite3"],
            (Self::Dnf, Engine::Postgres) => &["postgresql"],
            (Self::Dnf, Engine::Mysql) => &["mysql", "community-mysql", "mysql8.4", "mariadb"],
            (Self::Dnf, Engine::Mariadb) => &["mariadb"],
            (Self::Apk, Engine::Postgres) => &[
                "postgresql18-client",
                "postgresql17-client",
                "postgresql16-client",
                "postgresql15-client",
                "postgresql-client",
            ],
            (Self::Apk, Engine::Mysql) => &["mysql-client", "mariadb-client"],
            (Self::Dnf | Self::Apk | Self::Brew, Engine::Sqlite) => &["sqlite"],
            (Self::Brew, Engine::Postgres) => &["libpq", "postgresql"],
            (Self::Brew, Engine::Mysql) => &["mysql-client"],
            (Self::Brew, Engine::Mariadb) => &["mariadb"],
        }
    }

    /// What it says; nothing where it fails, and `None` where it cannot be asked or takes too long.
    async fn ask(self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(self.program());
        command.args(arguments).env("LC_ALL", "C").current_dir(Path::new("/"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let answer = async {
            let mut asked = command.spawn().ok()?;
            let mut answer = Vec::new();
            asked.stdout.take()?.take(MOST).read_to_end(&mut answer).await.ok()?;
            let has_succeeded = asked.wait().await.ok()?.success();
            Some(String::from_utf8(answer).ok().filter(|_| has_succeeded).unwrap_or_default())
        };
        tokio::time::timeout(WITHIN, answer).await.ok()?
    }

    /// The version of a package, if there is one; `None` without an answer.
    async fn version_of(self, package: &str) -> Option<Option<Version>> {
        let arguments: Vec<&str> = self.question().iter().copied().chain([package]).collect();
        Some(self.version(&self.ask(&arguments).await?))
    }
}

/// How to install a server: with a package that this system has, else what is known of it.
pub(super) async fn of_server(engine: Engine, version: Option<&Version>) -> String {
    let wanted = version.map_or_else(
        || title(engine).to_owned(),
        |version| format!("{} {}", title(engine), version.series(engine)),
    );
    let Some(manager) = Manager::here() else {
        return format!("packages of {wanted} come from its makers");
    };
    for names in manager.servers(engine, version) {
        let Some(name) = names.first() else { continue };
        let Some(found) = manager.version_of(name).await else {
            return format!("{} has not told which package has {wanted}", manager.name());
        };
        if let Some(found) = found.filter(|found| version.is_none_or(|version| found.is_of(version, engine)))
        {
            return format!("{}, which has {found}", manager.install(&names.join(" ")));
        }
    }
    format!("{} knows no package of {wanted}; its makers have packages of their own", manager.name())
}

/// How to install an engine's client.
pub async fn of_client(engine: Engine) -> String {
    let Some(manager) = Manager::here() else {
        return format!("packages with a client for {} come from its makers", title(engine));
    };
    for name in manager.clients(engine) {
        match manager.version_of(name).await {
            Some(Some(_)) => return format!("install it: {}", manager.install(name)),
            Some(None) => {}
            None => {
                let (manager, title) = (manager.name(), title(engine));
                return format!("{manager} has not told which package has a client for {title}");
            }
        }
    }
    format!("{} knows no package with a client for {}", manager.name(), title(engine))
}

/// What to do about an extension that a server of PostgreSQL does not have.
pub(super) async fn of_extension(installed: &Installed, extension: &str) -> String {
    let major = installed.version.0.first().copied().unwrap_or_default();
    let stems = stems(extension);
    let file = format!("share/extension/{extension}.control");
    let said = match Manager::here() {
        Some(manager @ Manager::Apt) => {
            let pattern = format!("^postgresql-{major}-.*({})", stems.join("|"));
            manager.ask(&["search", "--names-only", &pattern]).await.map(|said| (manager, said))
        }
        Some(manager @ Manager::Dnf) => {
            let pattern = format!("*/extension/{extension}.control");
            let question =
                ["--quiet", "--cacheonly", "repoquery", "--queryformat", "%{name}\n", "--whatprovides"];
            manager.ask(&[&question[..], &[&pattern]].concat()).await.map(|said| (manager, said))
        }
        Some(manager @ Manager::Apk) => {
            let pattern = format!("postgresql*{}*", stems[0]);
            manager.ask(&["search", "-q", &pattern]).await.map(|said| (manager, said))
        }
        Some(Manager::Brew) | None => None,
    };
    let Some((manager, said)) = said else {
        return format!("the server looks for {file}, which comes with the extension");
    };
    let names: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
    match nearest(&names, &stems) {
        Some(package) => {
            format!("install what the extension {extension} is in: {}", manager.install(package))
        }
        None => format!(
            "{} knows no package with the extension {extension} for PostgreSQL {major}; the server looks for {file}",
            manager.name()
        ),
    }
}

/// What an extension and its package have in common, the longest first: `pg_cron` is in `cron`, `vector` in
/// `pgvector`, `postgis_raster` in `postgis`.
fn stems(extension: &str) -> Vec<String> {
    let stem = extension.strip_prefix("pg_").unwrap_or(extension);
    let stem: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let first = stem.split('-').next().unwrap_or_default().to_owned();
    let is_other = first != stem && !first.is_empty();
    [stem].into_iter().chain(is_other.then_some(first)).collect()
}

/// The package whose name has the least besides the extension's.
fn nearest<'a>(names: &[&'a str], stems: &[String]) -> Option<&'a str> {
    let has = |name: &str, stem: &str| {
        let name = format!("-{name}-");
        name.contains(&format!("-{stem}-")) || name.contains(&format!("-pg{stem}-"))
    };
    stems
        .iter()
        .find_map(|stem| names.iter().copied().filter(|name| has(name, stem)).min_by_key(|name| name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_package_is_the_extensions_own() {
        let names = ["postgresql-15-postgis-3-scripts", "postgresql-15-postgis-3", "postgresql-15-pgvector"];
        for (extension, package) in [
            ("postgis", Some("postgresql-15-postgis-3")),
            ("postgis_raster", Some("postgresql-15-postgis-3")),
            ("vector", Some("postgresql-15-pgvector")),
            ("pg_cron", None),
            ("gis", None),
        ] {
            assert_eq!(nearest(&names, &stems(extension)), package, "{extension}");
        }
    }

    #[test]
    fn the_answers_of_package_managers() {
        for (manager, answer, version) in [
            (
                Manager::Apt,
                "mariadb-server-core:\n  Installed: (none)\n  Candidate: 1:10.11.19-0+deb12u1\n",
                Some("10.11.19"),
            ),
            (Manager::Apt, "postgresql:\n  Installed: (none)\n  Candidate: 15+248\n", Some("15")),
            (Manager::Apt, "postgresql-99:\n  Installed: (none)\n  Candidate: (none)\n", None),
            (Manager::Apt, "", None),
            (Manager::Dnf, "16.3\n16.9\n", Some("16.9")),
            (Manager::Dnf, "\n", None),
            (Manager::Apk, "postgresql16 policy:\n  16.9-r0:\n    lib/apk/db/installed\n", Some("16.9")),
            (Manager::Apk, "", None),
            (
                Manager::Brew,
                "==> postgresql@17: stable 17.5 (bottled), HEAD\nhttps://example\n",
                Some("17.5"),
            ),
        ] {
            let found = manager.version(answer).map(|version| version.to_string());
            assert_eq!(found.as_deref(), version, "{manager:?}: {answer}");
        }
    }

    /// The real one of this machine, if it has one.
    #[tokio::test]
    async fn apt_is_asked_and_not_guessed() {
        use std::process::Command;

        if Command::new("apt-cache").arg("--version").output().is_err() {
            return;
        }
        let policy = Command::new("apt-cache").args(["policy", "postgresql-15"]).output().unwrap();
        let has = String::from_utf8_lossy(&policy.stdout).contains("Candidate: 15.");
        let hint = of_server(Engine::Postgres, Some(&Version(vec![15]))).await;
        assert_eq!(hint.starts_with("apt install postgresql-15, which has 15."), has, "{hint}");
    }
}

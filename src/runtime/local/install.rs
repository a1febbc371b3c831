//! Which package of this very system has a server: its package manager is asked, since names differ from one
//! release to the next. What is known already is asked for, and no network.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::find::{Version, title};
use crate::database::Engine;
use crate::reading;

/// The most that a package manager's answer may have.
const MOST: usize = 1 << 20;

/// How long it may take to answer: on a busy machine, apt-cache does so for seconds.
const WITHIN: Duration = Duration::from_secs(20);

/// The exit code of `timeout` for what has taken longer.
const LATE: i32 = 124;

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
    /// The command that installs packages.
    fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Apk => "apk",
            Self::Brew => "brew",
        }
    }

    /// How it is asked for a package's version: with the name at the end.
    fn question(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["apt-cache", "policy"],
            Self::Dnf => &["dnf", "--quiet", "--cacheonly", "repoquery", "--queryformat", "%{version}\n"],
            Self::Apk => &["apk", "policy"],
            Self::Brew => &["brew", "info", "--formula"],
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
    fn packages(self, engine: Engine, version: Option<&Version>) -> Vec<Vec<String>> {
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

    /// The version of a package, if there is one; `None` without an answer.
    fn ask(self, package: &str) -> Option<Option<Version>> {
        let (program, arguments) = self.question().split_first()?;
        // What asks for longer is ended by `timeout`, which every system with one of these has.
        let mut asked = Command::new("timeout")
            .arg(WITHIN.as_secs().to_string())
            .arg(program)
            .args(arguments)
            .arg(package)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let answer = asked.stdout.take().and_then(|stdout| reading::up_to(stdout, MOST).ok());
        let status = asked.wait().ok().filter(|status| status.code() != Some(LATE))?;
        let answer = answer.filter(|_| status.success()).unwrap_or_default();
        Some(self.version(&String::from_utf8_lossy(&answer)))
    }
}

/// How to install a server: with a package that this system has, else what is known of it.
pub(super) fn how_to_install(engine: Engine, version: Option<&Version>) -> String {
    let wanted = version.map_or_else(
        || title(engine).to_owned(),
        |version| format!("{} {}", title(engine), version.series(engine)),
    );
    let is_there = |manager: &Manager| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        manager
            .question()
            .first()
            .is_some_and(|program| std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
    };
    let Some(manager) = ALL.into_iter().find(is_there) else {
        return format!("packages of {wanted} come from its makers");
    };
    for names in manager.packages(engine, version) {
        let Some(found) = names.first().and_then(|name| manager.ask(name)) else {
            return format!("{} has not told which package has {wanted}", manager.name());
        };
        if let Some(found) = found.filter(|found| version.is_none_or(|version| found.is_of(version, engine)))
        {
            return format!("{} install {}, which has {found}", manager.name(), names.join(" ")).replacen(
                "apk install",
                "apk add",
                1,
            );
        }
    }
    format!("{} knows no package of {wanted}; its makers have packages of their own", manager.name())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    #[test]
    fn apt_is_asked_and_not_guessed() {
        if Command::new("apt-cache").arg("--version").output().is_err() {
            return;
        }
        let policy = Command::new("apt-cache").args(["policy", "postgresql-15"]).output().unwrap();
        let has = String::from_utf8_lossy(&policy.stdout).contains("Candidate: 15.");
        let hint = how_to_install(Engine::Postgres, Some(&Version(vec![15])));
        assert_eq!(hint.starts_with("apt install postgresql-15, which has 15."), has, "{hint}");
    }
}

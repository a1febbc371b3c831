//! The package that an extension of PostgreSQL is in, as this machine's own package manager knows it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::find::Installed;

/// How long a package manager may think: on a busy machine, apt-cache does so for seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most that is read of what it says.
const MOST: usize = 1 << 20;

/// What to do about an extension that a server does not have.
pub(super) async fn of_extension(installed: &Installed, extension: &str) -> String {
    let major = installed.version.0.first().copied().unwrap_or_default();
    let stems = stems(extension);
    let asked: [(&str, &str, Vec<String>); 3] = [
        (
            "apt-cache",
            "apt install",
            vec![
                "search".into(),
                "--names-only".into(),
                format!("^postgresql-{major}-.*({})", stems.join("|")),
            ],
        ),
        (
            "dnf",
            "dnf install",
            ["-q", "-C", "repoquery", "--qf", "%{name}\n", "--whatprovides"]
                .map(String::from)
                .into_iter()
                .chain([format!("*/extension/{extension}.control")])
                .collect(),
        ),
        ("apk", "apk add", vec!["search".into(), "-q".into(), format!("postgresql*{}*", stems[0])]),
    ];
    for (manager, install, args) in asked {
        let Some(said) = said(manager, &args).await else { continue };
        let names: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
        return match nearest(&names, &stems) {
            Some(package) => format!("install what the extension {extension} is in: {install} {package}"),
            None => format!(
                "{manager} knows no package with the extension {extension} for PostgreSQL {major}; the server \
                 looks for share/extension/{extension}.control"
            ),
        };
    }
    format!("the server looks for share/extension/{extension}.control, which comes with the extension")
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

/// What a program says, unless it is not there, fails or takes too long.
async fn said(program: &str, args: &[String]) -> Option<String> {
    let folders = std::env::var_os("PATH")?;
    let path =
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())?;
    let mut command = Command::new(&path);
    command.args(args).env("LC_ALL", "C").current_dir(Path::new("/"));
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|text| text.len() < MOST)?;
    output.status.success().then_some(text)
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
}

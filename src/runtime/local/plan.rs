//! Which installed server serves which database of a manifest, and what of the manifest has no counterpart on
//! a machine without a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::Container;

use super::account;
use super::area::Area;
use super::difference::{Difference, SCRIPTS, UNKNOWN};
use super::find::{Finder, Installed, choose, title};
use super::planned::{Options, Planned, Script};
use super::{extensions, mysql, packages, postgres, snapshot, tls, zones};
use crate::database::program::{self, Runs};
use crate::database::{Data, Database, Discovery, Engine, Other, Variables, Workload};
use crate::engine::{self, Version};
use crate::failure::{Advise, Exit};
use crate::manifest::render::Params;
use crate::manifest::setup::{self, Asked};

/// Where the images look for the server's settings.
const SETTINGS: [&str; 4] = ["/etc/mysql", "/etc/my.cnf", "/etc/my.cnf.d", "/etc/postgresql"];

#[derive(Debug)]
pub struct LocalPlan {
    /// In the order of the manifest.
    pub servers: Vec<Planned>,
    /// What differs from the same run in a cluster: `--strict` refuses it.
    pub differences: Vec<String>,
}

impl LocalPlan {
    /// Whether the data is to be in the machine's memory: all of it, or none.
    pub fn is_in_memory(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server.in_memory)
    }
}

/// What the choice of servers depends on besides the manifest.
pub struct Wishes<'a> {
    /// The parameters: `NAME.server` and `ENGINE.server` point to a server's program or its folder.
    pub params: &'a Params,
    /// What the built-in databases ask for, by their names.
    pub asked: &'a BTreeMap<String, Asked>,
    /// The folder of the project, whose snapshots are meant.
    pub project: &'a Path,
}

/// Finds a server for every database.
///
/// # Errors
/// What is missing and how to install it ([`Exit::Never`]); a part of the manifest that cannot work without a
/// cluster.
pub async fn plan(
    discovery: &Discovery,
    data: &Data,
    wishes: &Wishes<'_>,
    area: &Area,
) -> anyhow::Result<LocalPlan> {
    if let Some(missing) = discovery.missing.first() {
        return Err(anyhow!(
            "{:?} {} is not in the manifest, and a database's login comes from it",
            missing.kind,
            missing.name
        ))
        .hint("put it into the manifest; without a cluster there is nowhere else to look")
        .exit(Exit::Usage);
    }
    let mut finder = Finder::new(&area.cache);
    let mut servers = Vec::new();
    // Each kind once, with the databases that it is about.
    let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
    let others = discovery.others.iter();
    let (copies, others): (Vec<&Other>, Vec<&Other>) = others.partition(|other| other.is_replica);
    let of = |other: &&Other| replica(&other.workload, &other.container, &other.image);
    let replicas: Vec<String> = copies.iter().map(of).collect();
    for (index, database) in discovery.databases.iter().enumerate() {
        let mut differences = Vec::new();
        let planned = server(index, database, discovery, data, wishes, &mut finder, &mut differences).await;
        let mut planned = planned.with_context(|| format!("{}: no server for it", database.name))?;
        let asked = wishes.asked.get(&database.name);
        planned.postgres.scram_iterations = asked.and_then(|asked| asked.scram_iterations);
        let from = asked.and_then(|asked| asked.from.as_deref());
        if let Some(from) = from {
            let found = snapshot::find(area, wishes.project, &database.name, from)?;
            found.check(database, &planned.installed)?;
            (planned.from, planned.seed) = (Some(found), None);
        }
        servers.push(planned);
        for what in differences.iter().map(Difference::to_string) {
            match kinds.iter_mut().find(|(known, _)| *known == what) {
                Some((_, names)) => names.push(&database.name),
                None => kinds.push((what, vec![&database.name])),
            }
        }
    }
    let kinds = kinds.into_iter().map(|(what, names)| format!("{}: {what}", names.join(", ")));
    let differences = left_out(&others).into_iter().chain(replicas).chain(kinds).collect();
    Ok(LocalPlan { servers, differences })
}

pub(super) fn replica(workload: &str, container: &str, image: &str) -> String {
    format!("{workload}: container {container} ({image}) is a replica of another server and is left out")
}

/// The containers that are no databases.
fn left_out(others: &[&Other]) -> Option<String> {
    let of = |other: &Other| (other.workload.clone(), format!("{} ({})", other.container, other.image));
    match others {
        [] => None,
        [one] => {
            let (workload, container) = of(one);
            Some(no_database(&workload, &container))
        }
        _ => {
            let all = others
                .iter()
                .map(|other| of(other))
                .map(|(workload, container)| format!("{container} of {workload}"));
            let all = all.collect::<Vec<_>>().join(", ");
            Some(format!("{} containers are no databases and are left out: {all}", others.len()))
        }
    }
}

pub(super) fn no_database(workload: &str, container: &str) -> String {
    format!("{workload}: container {container} is no database and is left out")
}

async fn server(
    index: usize,
    database: &Database,
    discovery: &Discovery,
    data: &Data,
    wishes: &Wishes<'_>,
    finder: &mut Finder,
    differences: &mut Vec<Difference>,
) -> anyhow::Result<Planned> {
    let name = &database.name;
    let installed = installed(database, wishes, finder).await?;
    let mut differs = |what: Difference| differences.push(what);
    if installed.engine != database.engine {
        differs(Difference::Engine(title(database.engine).to_owned(), installed.to_string()));
    }
    if let Some(version) = asked_for(database, wishes)
        && !installed.version.0.starts_with(&version.0)
    {
        differs(Difference::Release(version.to_string(), database.image.clone(), installed.to_string()));
    }
    let image = database.image.split('@').next().unwrap_or_default();
    if !is_plain(image, database.engine) {
        differs(Difference::Image(image.to_owned(), installed.to_string()));
    }
    let workload = discovery.workloads.iter().find(|workload| workload.id == database.workload);
    let container = workload
        .and_then(|workload| workload.containers().find(|container| container.name == database.container));
    let (Some(workload), Some(container)) = (workload, container) else {
        bail!("its container {} is gone", database.container)
    };

    let mut variables = Variables::new(&workload.spec, container, data);
    // The image's set-up is a shell's.
    let words = shlex::split(&variables.get("POSTGRES_INITDB_ARGS")?.unwrap_or_default());
    let words = words.context("POSTGRES_INITDB_ARGS: a quote in it has no end").exit(Exit::Usage)?;
    let (initdb, of_container) = postgres::sort_initdb(&words);
    if !of_container.is_empty() {
        differs(Difference::InitDb(of_container.join(" ")));
    }
    // Bitnami's image trusts everybody where there is no password.
    let trust = || database.login.password.reveal().is_empty().then(|| "trust".to_owned());
    let auth_method = variables.get("POSTGRES_HOST_AUTH_METHOD")?.or_else(trust);
    let options = Options { initdb, auth_method, scram_iterations: None };
    // The images' set-up loads them unless told otherwise.
    let skips = ["MYSQL_INITDB_SKIP_TZINFO", "MARIADB_INITDB_SKIP_TZINFO"];
    let has_names = database.engine != Engine::Postgres
        && !skips
            .iter()
            .any(|name| variables.get(name).is_ok_and(|value| value.is_some_and(|value| !value.is_empty())));
    let zones = zones::edition().filter(|_| has_names);
    if has_names && zones.is_none() {
        differs(Difference::ZoneNames(zones::folder().display().to_string()));
    }
    let told = variables.get("TZ")?.filter(|zone| !zone.is_empty());
    let zone = told.as_deref().and_then(zones::named).map(str::to_owned);
    if let Some(told) = told.filter(|_| zone.is_none()) {
        differs(Difference::Zone(told));
    }
    let (args, mut refused, of_script) = arguments(database.engine, container, &mut variables)?;
    if let Some(words) = of_script {
        differs(Difference::Program(words.join(" ")));
    }
    let (args, unfit) = match (database.engine, installed.engine) {
        (Engine::Postgres, _) => postgres::loadable(&installed, args),
        (Engine::Mysql, Engine::Mariadb) => mysql::for_mariadb(&args),
        _ => (args, Vec::new()),
    };
    if !unfit.is_empty() {
        differs(Difference::Unfit(installed.to_string(), unfit.join(" ")));
    }
    if database.tls.is_some() {
        refused.retain(|word| !tls::is_about(word));
    }
    if !refused.is_empty() {
        differs(Difference::Arguments(refused.join(" ")));
    }
    let scripts =
        variables.files_below(SCRIPTS).with_context(|| format!("reading the set-up scripts in {SCRIPTS}"))?;
    let (known, unknown): (Vec<_>, Vec<_>) = scripts
        .files
        .into_iter()
        .partition(|(name, _)| setup::SCRIPTS.iter().any(|ending| name.ends_with(ending)));
    let unknown: Vec<String> = unknown.into_iter().map(|(name, _)| name).collect();
    if !unknown.is_empty() {
        differs(Difference::NoScripts(unknown));
    }
    scripts.others.into_iter().map(Difference::Scripts).for_each(&mut differs);
    settings(container).into_iter().map(Difference::Settings).for_each(&mut differs);
    if container.lifecycle.as_ref().is_some_and(|hooks| hooks.post_start.is_some()) {
        differs(Difference::Hook("postStart"));
    }
    if workload.replicas > 1 {
        differs(Difference::Replicas(workload.replicas));
    }
    let account = account::for_server(installed.engine)?;
    // With nss_wrapper, the system's files are not what programs see.
    if installed.engine == Engine::Postgres && std::env::var_os("NSS_WRAPPER_PASSWD").is_none() {
        account::check_name(account.as_ref()).exit(Exit::Never)?;
    }
    let asked = wishes.asked.get(name);
    let script = |(file, bytes): (String, Vec<u8>)| {
        let name = asked.and_then(|asked| asked.scripts.get(&file)).unwrap_or(&file).clone();
        Script { name, file, bytes }
    };
    if let Some(asked) = asked.filter(|_| installed.engine == Engine::Postgres) {
        extensions::check(&installed, &asked.extensions, &args).await?;
    }
    Ok(Planned {
        database: database.clone(),
        folder: format!(
            "{index}-{}",
            name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect::<String>()
        ),
        account,
        installed,
        args,
        variables: variables.all(),
        zones,
        zone,
        in_memory: is_in_memory(workload, container),
        scripts: known.into_iter().map(script).collect(),
        seed: asked.and_then(|asked| asked.seed.clone()),
        from: None,
        port: asked.and_then(|asked| asked.port),
        postgres: options,
    })
}

/// Where volumes show settings for the server.
fn settings(container: &Container) -> Vec<String> {
    let mounts = container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str());
    let is_below = |path: &str| SETTINGS.iter().any(|folder| Path::new(path).starts_with(folder));
    mounts.filter(|path| is_below(path)).map(str::to_owned).collect()
}

/// Whether a volume in memory holds the container's data. One in the place of shared memory is for other
/// things.
fn is_in_memory(workload: &Workload, container: &Container) -> bool {
    let medium = |name: &str| {
        let volume = workload.spec.volumes.iter().flatten().find(|volume| volume.name == name)?;
        volume.empty_dir.as_ref()?.medium.as_deref()
    };
    container
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.mount_path != "/dev/shm" && medium(&mount.name) == Some("Memory"))
}

/// The arguments that the server takes here too, those that are left out, and those that a script of the container
/// gives it, where there is one.
type Sorted = (Vec<String>, Vec<String>, Option<Vec<String>>);

/// Sorts what the container's command and arguments give to its server.
fn arguments(engine: Engine, container: &Container, variables: &mut Variables<'_>) -> anyhow::Result<Sorted> {
    let mut filled = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words.map(|word| variables.filled(word).unwrap_or_else(|_| format!("{word}{UNKNOWN}"))).collect()
    };
    let (command, args) = (filled(&container.command), filled(&container.args));
    let all = [&command[..], &args].concat();
    let files = |path: &str| variables.file(path);
    let words = match program::runs(&command, &args, &files) {
        Runs::Server(Some(words)) => words,
        // A program of the image's own, which hands them on.
        Runs::Unknown(program) if all.first() == Some(&program) => all[1..].to_vec(),
        _ => return Ok((Vec::new(), Vec::new(), Some(program::of_script(&command, &args, &files)))),
    };
    let sorted = if engine == Engine::Postgres { postgres::sort(&words) } else { mysql::sort(&words) };
    let (kept, mut left_out) = sorted;
    let others = (all.len() - words.len()).min(command.len());
    left_out.splice(0..0, command[..others].iter().cloned());
    left_out.iter_mut().for_each(|word| word.retain(|c| c != UNKNOWN));
    Ok((kept, left_out, None))
}

/// Whether the image is the engine's own: others bring extensions, and are numbered in their own way.
fn is_plain(image: &str, engine: Engine) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image).split([':', '@']).next().unwrap_or_default();
    name == engine.name() || (engine == Engine::Postgres && name == "postgresql") || name.is_empty()
}

/// The version that somebody wants.
fn asked_for(database: &Database, wishes: &Wishes<'_>) -> Option<Version> {
    let is_any = wishes.asked.get(&database.name).is_some_and(|asked| asked.any_version);
    engine::version(&database.image).filter(|_| !is_any).as_deref().and_then(Version::leading)
}

async fn installed(
    database: &Database,
    wishes: &Wishes<'_>,
    finder: &mut Finder,
) -> anyhow::Result<Installed> {
    let engine = database.engine;
    let version = asked_for(database, wishes);
    if let Some((path, source)) = pointed(database, wishes) {
        let found = finder
            .at(&path, engine)
            .await
            .with_context(|| format!("{source} points to the server"))
            .exit(Exit::Usage)?;
        let fits = choose(std::slice::from_ref(&found), engine, version.as_ref()).is_some();
        if !fits {
            return Err(anyhow!(
                "{} is asked for, and {source} points to {found}",
                wanted(engine, version.as_ref())
            ))
            .exit(Exit::Usage);
        }
        return Ok(found);
    }
    let found = finder.installed(engine).await;
    if let Some(installed) = choose(&found, engine, version.as_ref()) {
        return Ok(installed.clone());
    }
    let there: Vec<String> = found.iter().map(ToString::to_string).collect();
    let there = if there.is_empty() { "no such server".to_owned() } else { there.join(", ") };
    let what = wanted(engine, version.as_ref());
    let image = if version.is_some() { format!(" (image {})", database.image) } else { String::new() };
    let error = anyhow!("{what} is asked for{image}, and this machine has {there}")
        .hint(remedy(database, version.as_ref(), &found).await)
        .exit(Exit::Never);
    let silent = finder.silent.iter().map(|program| program.display().to_string()).collect::<Vec<_>>();
    Err(match silent.is_empty() {
        true => error,
        false => error.hint(format!("no version is said by {}: mend or remove it", silent.join(", "))),
    })
}

/// The server that the user points to, and by what.
fn pointed(database: &Database, wishes: &Wishes<'_>) -> Option<(PathBuf, String)> {
    let engine = database.engine.name();
    let params = [format!("{}.server", database.name), format!("{engine}.server")];
    if let Some(name) = params.iter().find(|name| wishes.params.contains_key(*name)) {
        return Some((PathBuf::from(&wishes.params[name]), format!("--param {name}")));
    }
    let variable = format!("TESTBED_{}_SERVER", engine.to_uppercase());
    let path = std::env::var_os(&variable).filter(|path| !path.is_empty())?;
    Some((Path::new(&path).to_owned(), variable))
}

fn wanted(engine: Engine, version: Option<&Version>) -> String {
    version.map_or_else(
        || title(engine).to_owned(),
        |version| format!("{} {}", title(engine), version.series(engine)),
    )
}

async fn remedy(database: &Database, version: Option<&Version>, found: &[Installed]) -> String {
    let engine = database.engine;
    let install = packages::of_server(engine, version).await;
    let install = format!("install it ({install}), or point to it: --param {}.server=PATH", database.name);
    let same = found.iter().find(|installed| installed.engine == engine);
    match same {
        Some(same) => {
            format!("{install}; or ask for what is there: {engine}:{}", same.version.series(engine))
        }
        None if engine == Engine::Mysql && !found.is_empty() => {
            format!("{install}; a plain mysql, without a version, is served by MariaDB")
        }
        None => format!("{install}; or run it in a cluster: --runtime kubernetes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_arguments_are_the_servers_where_it_gets_them() {
        let words = |words: &[&str]| {
            (!words.is_empty()).then(|| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        for (command, args, kept, left_out) in [
            (&[][..], &["postgres", "-c", "work_mem=5MB"][..], &["-c", "work_mem=5MB"][..], &[][..]),
            (&["docker-entrypoint.sh"], &["-N", "9"], &["-N", "9"], &["docker-entrypoint.sh"]),
            (
                &["docker-entrypoint.sh", "postgres", "-N", "9"],
                &[],
                &["-N", "9"],
                &["docker-entrypoint.sh", "postgres"],
            ),
            (&["/bin/bash"], &["-c", "exec docker-entrypoint.sh postgres -c max_connections=300"], &[], &[]),
            (&["bash", "-c", "exec docker-entrypoint.sh postgres -c max_connections=300"], &[], &[], &[]),
        ] {
            let container = Container { command: words(command), args: words(args), ..Container::default() };
            let (spec, data) = Default::default();
            let sorted =
                arguments(Engine::Postgres, &container, &mut Variables::new(&spec, &container, &data))
                    .unwrap();
            assert_eq!(
                (&sorted.0[..], &sorted.1[..]),
                (&*words(kept).unwrap_or_default(), &*words(left_out).unwrap_or_default()),
                "{command:?} {args:?}"
            );
        }
    }

    #[test]
    fn an_argument_that_the_container_alone_knows_is_left_out() {
        let of = |name: &str, path: &str| serde_json::json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        for (engine, args, kept) in [
            (Engine::Postgres, ["-c", "cluster_name=$(POD)", "-N9", "$(NONE)"], ["-N9", "$(NONE)"]),
            (
                Engine::Mariadb,
                ["--report-host=$(POD)", "$(POD)", "--x=1", "--y=$(NONE)"],
                ["--x=1", "--y=$(NONE)"],
            ),
        ] {
            let container =
                serde_json::json!({"name": "db", "args": args, "env": [of("POD", "metadata.name")]});
            let container: Container = serde_json::from_value(container).unwrap();
            let (spec, data) = Default::default();
            let sorted =
                arguments(engine, &container, &mut Variables::new(&spec, &container, &data)).unwrap();
            assert_eq!(
                (sorted.0.as_slice(), sorted.1.as_slice()),
                (
                    &kept.map(String::from)[..],
                    &args[..2].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..]
                )
            );
        }
    }

    #[test]
    fn images_of_the_engine_itself_are_plain() {
        for (image, engine, plain) in [
            ("postgres:17", Engine::Postgres, true),
            ("registry:5000/library/mysql", Engine::Mysql, true),
            ("bitnami/postgresql:16", Engine::Postgres, true),
            ("mariadb@sha256:0000", Engine::Mariadb, true),
            ("postgis/postgis:17-3.5", Engine::Postgres, false),
            ("percona:8", Engine::Mysql, false),
        ] {
            assert_eq!(is_plain(image, engine), plain, "{image}");
        }
    }
}

//! What the parameters of the built-in databases say about the inside of a server: its port and arguments,
//! further databases and users, extensions, and set-up scripts. Values are read here, so that a wrong one is
//! named; what is made of them goes the way of a manifest's own scripts, through the folder that the images
//! look into.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::ByteString;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::builtin::{PARAMS, With};
use super::render::{Params, Places};
use super::seed::{Part, Seed, Written};
use super::{Object, Origin};
use crate::engine::Engine;
use crate::failure::{Advise, Exit, usage};
use crate::reading;
use crate::run_id::RunId;

/// How the names of set-up scripts end.
pub const SCRIPTS: [&str; 5] = [".sql", ".sql.gz", ".sql.xz", ".sql.zst", ".sh"];

/// The script that makes what the parameters ask for: the first one, and a secret one, for it makes logins.
pub const OWN_SCRIPT: &str = "000-testbed.sql";

/// The most that the scripts of one database may have.
const MOST: usize = 32 << 20;
/// As many as fit into the names that are made for them.
const MOST_FILES: usize = 999;
/// What is put into one ConfigMap: a little less than what Kubernetes takes.
const MAP: usize = 1_000_000;

/// What one built-in database asks for besides its objects.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether neither a tag nor an image says which version it has to be.
    pub any_version: bool,
    /// The port on this machine.
    pub port: Option<u16>,
    /// The user's own names of its set-up scripts, by the names that they have in the container.
    pub scripts: BTreeMap<String, String>,
    /// Those of them, by the names in the container, that are a seed's files.
    pub of_seed: BTreeSet<String>,
    /// The extensions of all of its databases.
    pub extensions: Vec<String>,
    /// What is put in once.
    pub seed: Option<Seed>,
    /// What tells it from the same database as it is asked for otherwise, apart from the seed, by the user's own
    /// words.
    pub parts: Vec<Part>,
    /// The snapshot that it starts with.
    pub from: Option<String>,
    /// How often a password is hashed at each login.
    pub scram_iterations: Option<u32>,
}

/// A further database of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Further {
    name: String,
    owner: Option<String>,
    extensions: Vec<String>,
}

/// The parameters of one built-in database that are about the inside of its server, with what they lead to.
#[derive(Debug, Default)]
pub struct Setup {
    pub port: Option<u16>,
    args: Vec<String>,
    databases: Vec<Further>,
    users: Vec<String>,
    extensions: Vec<String>,
    scripts: Vec<Script>,
    seed: Option<Seed>,
    /// What tells the commands of the seed from others, where testbed calls them once the server is there.
    work: Option<String>,
    from: Option<String>,
    scram_iterations: Option<u32>,
}

#[derive(Debug)]
struct Script {
    /// As the user names it.
    path: String,
    /// As the image sees it: numbered, so that its own order is the user's.
    name: String,
    bytes: Vec<u8>,
    is_of_seed: bool,
}

/// What a template knows of it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    /// The Service's.
    port: u16,
    args: &'a [String],
    /// The script that makes users, databases and extensions.
    sql: Option<String>,
    /// The annotation that tells of the databases.
    databases: Option<String>,
    /// The ConfigMaps with the user's scripts.
    maps: Vec<String>,
    /// What tells the commands of its seed from others.
    seed: Option<&'a str>,
}

impl Setup {
    /// Reads the parameters that are for one database, and its scripts.
    ///
    /// # Errors
    /// A usage error that names the database and the parameter.
    pub fn read(with: &With, params: &Params, places: &Places) -> anyhow::Result<Self> {
        if with.engine == Engine::Sqlite {
            return Ok(Self::default());
        }
        Self::of(with, params, places).exit(Exit::Usage)
    }

    fn of(with: &With, params: &Params, places: &Places) -> anyhow::Result<Self> {
        let called = || places.get(&with.name).cloned().unwrap_or_else(|| format!("--with {}", with.name));
        // What the settings say is found there, and all else by the flag.
        let named = |scope: &str| {
            places
                .get(scope)
                .cloned()
                .unwrap_or_else(|| format!("--with {}: the parameter {scope}", with.name))
        };
        let given = |param: &str| {
            let scope = with.scopes(param).into_iter().find(|scope| params.contains_key(scope))?;
            let value = params.get(&scope).map(|value| value.trim()).filter(|value| !value.is_empty())?;
            Some((named(&scope), value))
        };
        let port = match (with.port, value(given("port"), port)?) {
            (Some(one), Some(other)) if one != other => {
                bail!("{}: it is to have the port {one}, and the parameter port says {other}", called())
            }
            (one, other) => one.or(other),
        };
        let setup = Self {
            port,
            args: value(given("args"), words)?.unwrap_or_default(),
            databases: value(given("databases"), databases)?.unwrap_or_default(),
            users: value(given("users"), names)?.unwrap_or_default(),
            extensions: value(given("extensions"), names)?.unwrap_or_default(),
            scripts: value(given("init"), |text| scripts(&words(text)?))?.unwrap_or_default(),
            seed: value(given("seed"), |text| Seed::read(text, with.engine))?,
            work: None,
            from: value(given("from"), snapshot)?,
            scram_iterations: value(given("scram-iterations"), scram_iterations)?
                .filter(|_| with.engine == Engine::Postgres),
        };
        // For all databases it is about those of PostgreSQL.
        if let Some((named, _)) = given("scram-iterations")
            && with.engine != Engine::Postgres
            && !params.contains_key("scram-iterations")
        {
            bail!("{named}: it is about the logins of PostgreSQL, and this is {}", with.engine);
        }
        let user = given("user")
            .map_or(if with.engine == Engine::Postgres { "postgres" } else { "root" }, |(_, user)| user);
        let database = given("database").map_or("test", |(_, name)| name);
        setup.check(with.engine, database, user).with_context(called)?;
        Ok(setup)
    }

    /// The same for a cluster, where nothing is kept: the seed's files are further set-up scripts, which run after the
    /// others, and its commands are told apart.
    ///
    /// # Errors
    /// A usage error about files that cannot go this way.
    pub fn in_cluster(mut self, with: &With, places: &Places) -> anyhow::Result<Self> {
        let Some(seed) = self.seed.take() else { return Ok(self) };
        let called = || places.get(&with.name).cloned().unwrap_or_else(|| format!("--with {}", with.name));
        let files: Vec<_> = seed.files_first().with_context(called).exit(Exit::Usage)?.collect();
        let of_seed = files.iter().map(|file| file.bytes.len());
        let size = self.scripts.iter().map(|script| script.bytes.len()).chain(of_seed).sum::<usize>();
        if size > MOST {
            return Err(usage(format!(
                "{}: the files of its seed have, with the set-up scripts, {} MiB, and {} MiB in all go into a database of a cluster",
                called(),
                size.div_ceil(1 << 20),
                MOST >> 20
            )))
            .hint("pack them (gzip schema.sql), or load them by the seed's run");
        }
        for file in files {
            let name = numbered(self.scripts.len(), Path::new(&file.name));
            let name = name.with_context(called).exit(Exit::Usage)?;
            self.scripts.push(Script {
                path: file.name.clone(),
                name,
                bytes: file.bytes.clone(),
                is_of_seed: true,
            });
        }
        self.work = seed.work();
        self.seed = Some(seed);
        Ok(self)
    }

    /// What only all parameters together tell.
    fn check(&self, engine: Engine, database: &str, user: &str) -> anyhow::Result<()> {
        let mut seen = vec![database];
        for Further { name, .. } in &self.databases {
            if name == database {
                bail!("the parameter databases: {name} is made anyway, as the parameter database says");
            }
            if seen.contains(&name.as_str()) {
                bail!("the parameter databases: {name} stands twice");
            }
            if BUILT_IN.contains(&name.as_str()) {
                bail!("the parameter databases: {name} is the server's own; name another one");
            }
            seen.push(name);
        }
        let longest = if engine == Engine::Mysql { 32 } else { 63 };
        for name in self.users(user) {
            if name.len() > longest {
                bail!("the user {name} has {} characters, and {engine} takes at most {longest}", name.len());
            }
            let is_own = match engine {
                Engine::Postgres => name.starts_with("pg_"),
                _ => name == "root" || name.starts_with("mysql.") || name.starts_with("mariadb."),
            };
            if is_own {
                bail!("the user {name} is one of the server's own; name another one");
            }
        }
        if self.users.iter().any(|name| name == user) {
            bail!("the parameter users: {user} is made anyway, as the parameter user says");
        }
        let extended = self.databases.iter().find_map(|further| further.extensions.first());
        if let Some(name) = self.extensions.first().or(extended).filter(|_| engine != Engine::Postgres) {
            bail!("the extension {name}: {engine} has no extensions; they are PostgreSQL's");
        }
        Ok(())
    }

    /// The users that are to be made: those that are named, and the databases' owners.
    fn users<'a>(&'a self, user: &str) -> Vec<&'a str> {
        let owners = self.databases.iter().filter_map(|further| further.owner.as_ref());
        let mut users: Vec<&str> = Vec::new();
        for name in self.users.iter().chain(owners) {
            if name != user && !users.contains(&name.as_str()) {
                users.push(name);
            }
        }
        users
    }

    /// What the run has to know besides the objects.
    pub fn asked(&self, with: &With, params: &Params) -> Asked {
        let own = (OWN_SCRIPT.to_owned(), "for databases, users and extensions".to_owned());
        let scripts = self.scripts.iter().map(|script| (script.name.clone(), script.path.clone()));
        let of_others = self.databases.iter().flat_map(|further| &further.extensions);
        Asked {
            any_version: with.takes_any_version(params),
            parts: self.parts(with, params),
            port: self.port,
            scripts: scripts.chain([own]).collect(),
            of_seed: self
                .scripts
                .iter()
                .filter(|script| script.is_of_seed)
                .map(|script| script.name.clone())
                .collect(),
            extensions: self.extensions.iter().chain(of_others).cloned().collect(),
            seed: self.seed.clone(),
            from: self.from.clone(),
            scram_iterations: self.scram_iterations,
        }
    }

    fn parts(&self, with: &With, params: &Params) -> Vec<Part> {
        let given = |param: &&str| {
            let scope = with.scopes(param).into_iter().find(|scope| params.contains_key(scope))?;
            Some(Part::of(*param, params[&scope].as_bytes()))
        };
        // A script is told by its content, and a seed or a snapshot apart.
        let params = PARAMS.iter().filter(|param| !["port", "init", "seed", "from"].contains(*param));
        let version = Part::new("the version", with.tag.as_deref().unwrap_or("any"));
        let port = self.port.map(|port| Part::new("port", port.to_string()));
        let scripts = self.scripts.iter().map(|script| Part::of(&script.path, &script.bytes));
        [version].into_iter().chain(port).chain(params.filter_map(given)).chain(scripts).collect()
    }

    /// What the template has to know. `user` is the tests' user, where one is named.
    pub(super) fn shown(&self, with: &With, run_id: &RunId, user: Option<&str>, password: &str) -> Shown<'_> {
        let further = |further: &Further| match &further.owner {
            Some(owner) => json!({"name": further.name, "user": owner}),
            None => json!({"name": further.name}),
        };
        let databases: Vec<Value> = self.databases.iter().map(further).collect();
        Shown {
            port: self.port.unwrap_or_else(|| with.engine.port()),
            args: &self.args,
            sql: self.sql(with.engine, user, password),
            databases: (!databases.is_empty()).then(|| Value::from(databases).to_string()),
            maps: (0..self.maps().len()).map(|index| map_name(with, run_id, index)).collect(),
            seed: self.work.as_deref(),
        }
    }

    /// The statements that make users, databases and extensions; `None` where nothing is asked for.
    fn sql(&self, engine: Engine, user: Option<&str>, password: &str) -> Option<String> {
        let default = if engine == Engine::Postgres { "postgres" } else { "root" };
        let users = self.users(user.unwrap_or(default));
        if users.is_empty() && self.databases.is_empty() && self.extensions.is_empty() {
            return None;
        }
        let mut lines = vec!["-- What the parameters databases, users and extensions ask for.".to_owned()];
        if engine == Engine::Postgres {
            // The passwords are for nobody's log.
            let quiet = [
                "log_statement = none",
                "log_min_error_statement = panic",
                "log_min_duration_statement = -1",
            ];
            lines.extend(quiet.map(|setting| format!("SET {setting};")));
            let password = password.replace('\'', "''");
            // A backslash means itself, whatever the server's settings say.
            lines.push("SET standard_conforming_strings = on;".into());
            lines.extend(
                users.iter().map(|user| format!("CREATE ROLE \"{user}\" LOGIN PASSWORD '{password}';")),
            );
            lines.extend(self.databases.iter().map(|Further { name, owner, .. }| match owner {
                Some(owner) => format!("CREATE DATABASE \"{name}\" OWNER \"{owner}\";"),
                None => format!("CREATE DATABASE \"{name}\";"),
            }));
            let extension = |name: &String| format!("CREATE EXTENSION IF NOT EXISTS \"{name}\" CASCADE;");
            lines.extend(self.extensions.iter().map(extension));
            for Further { name, extensions, .. } in
                self.databases.iter().filter(|further| !further.extensions.is_empty())
            {
                lines.push(format!("\\connect \"{name}\""));
                lines.extend(extensions.iter().map(extension));
            }
        } else {
            let password = password.replace('\\', "\\\\").replace('\'', "''");
            lines.extend(
                users.iter().map(|user| format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';")),
            );
            for Further { name, owner, .. } in &self.databases {
                lines.push(format!("CREATE DATABASE `{name}`;"));
                // In a grant `_` stands for any character.
                let pattern = name.replace('_', "\\_");
                let owner = owner
                    .as_deref()
                    .or(user)
                    .map(|owner| format!("GRANT ALL ON `{pattern}`.* TO '{owner}'@'%';"));
                lines.extend(owner);
            }
        }
        Some(lines.join("\n") + "\n")
    }

    /// The scripts, as they go into ConfigMaps. One that is too large for any has one of its own: only a cluster
    /// minds.
    fn maps(&self) -> Vec<Vec<&Script>> {
        let mut maps: Vec<Vec<&Script>> = Vec::new();
        let mut size = usize::MAX;
        for script in &self.scripts {
            let own = script.bytes.len() + script.name.len();
            if size.saturating_add(own) > MAP {
                maps.push(Vec::new());
                size = 0;
            }
            size += own;
            maps.last_mut().into_iter().for_each(|map| map.push(script));
        }
        maps
    }

    /// The ConfigMaps with the user's scripts.
    pub fn objects(&self, with: &With, run_id: &RunId) -> Vec<Object> {
        let object = |(index, scripts): (usize, Vec<&Script>)| {
            let name = map_name(with, run_id, index);
            let (mut texts, mut others) = (Map::new(), Map::new());
            for Script { name, bytes, .. } in scripts {
                match std::str::from_utf8(bytes) {
                    Ok(text) => drop(texts.insert(name.clone(), text.into())),
                    Err(_) => drop(others.insert(name.clone(), json!(ByteString(bytes.clone())))),
                }
            }
            let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            for (key, files) in [("data", texts), ("binaryData", others)] {
                if !files.is_empty() {
                    body[key] = files.into();
                }
            }
            let origin =
                Origin { file: Arc::from(format!("--with {}", with.name)), document: index + 1, line: 1 };
            let body = if let Value::Object(body) = body { body } else { Map::new() };
            Object { origin, api_version: "v1".into(), kind: "ConfigMap".into(), name, body }
        };
        self.maps().into_iter().enumerate().map(object).collect()
    }
}

/// Databases that every server has.
const BUILT_IN: [&str; 7] =
    ["postgres", "template0", "template1", "mysql", "sys", "information_schema", "performance_schema"];

fn map_name(with: &With, run_id: &RunId, index: usize) -> String {
    match index {
        0 => format!("{}-{run_id}", with.name),
        // Two dashes: `orders-2` may be a database of its own.
        _ => format!("{}--{}-{run_id}", with.name, index + 1),
    }
}

fn value<T>(
    given: Option<(String, &str)>,
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    given.map(|(named, text)| read(text).with_context(|| named.clone())).transpose()
}

/// Refuses a value that the parameter cannot have; which files there are is not looked at.
///
/// # Errors
/// A message that does not name the parameter.
pub fn check(param: &str, value: &str) -> anyhow::Result<()> {
    match param {
        _ if value.trim().is_empty() => Ok(()),
        "port" => port(value).map(drop),
        "args" | "init" => words(value).map(drop),
        "seed" => Written::parse(value).map(drop),
        "from" => snapshot(value).map(drop),
        "scram-iterations" => scram_iterations(value).map(drop),
        "databases" => databases(value).map(drop),
        "users" | "extensions" => names(value).map(drop),
        _ => Ok(()),
    }
}

/// Whether a parameter takes several values.
pub fn takes_list(param: &str) -> bool {
    ["args", "init", "databases", "users", "extensions"].contains(&param)
}

/// The name of a snapshot.
///
/// # Errors
/// It is none.
pub fn snapshot(name: &str) -> anyhow::Result<String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.chars().all(is_fit) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64 {
        return Ok(name.to_owned());
    }
    bail!(
        "{name:?} is no name for a snapshot: use letters, digits, '.', '_' and '-', a letter or digit first, 64 at most"
    )
}

fn scram_iterations(text: &str) -> anyhow::Result<u32> {
    match text.trim().parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => bail!("{text:?} is no number of iterations: 1 to 1000000; PostgreSQL's own is 4096"),
    }
}

pub fn port(text: &str) -> anyhow::Result<u16> {
    match text.trim().parse() {
        Ok(0) | Err(_) => bail!("{text:?} is no port: a number from 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

/// Several values: words with spaces between them, or a JSON list of texts. No message shows them.
///
/// # Errors
/// That it begins like a JSON list, and is none.
pub fn words(text: &str) -> anyhow::Result<Vec<String>> {
    match list(text)? {
        Some(items) => {
            items.into_iter().map(|item| item.as_str().map(str::to_owned).context(TEXTS)).collect()
        }
        None => Ok(text.split_whitespace().map(str::to_owned).collect()),
    }
}

const TEXTS: &str = "write words with spaces between them, or a JSON list of texts";

fn list(text: &str) -> anyhow::Result<Option<Vec<Value>>> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|_| anyhow!(TEXTS))
}

/// Names of users or extensions.
fn names(text: &str) -> anyhow::Result<Vec<String>> {
    words(text)?.into_iter().map(name).collect()
}

/// A name that needs no more than quotes anywhere.
fn name(name: String) -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(fits) || name.len() > 63 {
        bail!(
            "the name {name:?} needs letters, digits, '_', '-' and '.', a letter or '_' first, and at most 63 of them"
        );
    }
    Ok(name)
}

fn databases(text: &str) -> anyhow::Result<Vec<Further>> {
    let plain = |name| Ok(Further { name, owner: None, extensions: Vec::new() });
    match list(text)? {
        None => names(text)?.into_iter().map(plain).collect(),
        Some(items) => items.iter().map(database).collect(),
    }
}

fn database(item: &Value) -> anyhow::Result<Further> {
    const FORM: &str = "write a name, or {name: a, owner: alice, extensions: [vector]}";
    if let Value::String(text) = item {
        return Ok(Further { name: name(text.clone())?, owner: None, extensions: Vec::new() });
    }
    let entries = item.as_object().context(FORM)?;
    if let Some(key) = entries.keys().find(|key| !["name", "owner", "extensions"].contains(&key.as_str())) {
        bail!("{key:?} is nothing that a database has; {FORM}");
    }
    let text = |key: &str| match entries.get(key) {
        None => Ok(None),
        Some(value) => {
            name(value.as_str().with_context(|| format!("its {key} is no text; {FORM}"))?.into()).map(Some)
        }
    };
    let extensions = match entries.get("extensions") {
        None => Vec::new(),
        Some(Value::String(text)) => names(text)?,
        Some(value) => names(&value.to_string()).with_context(|| format!("its extensions; {FORM}"))?,
    };
    let name = text("name")?.with_context(|| format!("one has no name; {FORM}"))?;
    Ok(Further { name, owner: text("owner")?, extensions })
}

/// Reads the set-up scripts: files, and folders, which stand for the scripts in them in the order of their
/// names.
fn scripts(paths: &[String]) -> anyhow::Result<Vec<Script>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths.iter().map(Path::new) {
        let context = || format!("reading the set-up script {}", path.display());
        if !std::fs::metadata(path).with_context(context)?.is_dir() {
            if !is_script(path) {
                bail!("{}: the name of a set-up script ends in {}", path.display(), SCRIPTS.join(", "));
            }
            found.push(path.to_owned());
            continue;
        }
        let inner = in_folder(path).with_context(context)?;
        if inner.is_empty() {
            bail!("{}: no set-up script in this folder ({})", path.display(), SCRIPTS.join(", "));
        }
        found.extend(inner);
    }
    let mut left = MOST;
    let script = |(index, path): (usize, PathBuf)| {
        let bytes = reading::bytes(&path, left)
            .with_context(|| format!("reading the set-up script {}", path.display()))
            .hint(format!("the scripts of a database may have {} MiB in all", MOST >> 20))?;
        left -= bytes.len();
        let name = numbered(index, &path)?;
        Ok(Script { path: path.display().to_string(), name, bytes, is_of_seed: false })
    };
    found.into_iter().enumerate().map(script).collect()
}

/// The name of a script for the image, which runs them in the order of their names.
fn numbered(index: usize, path: &Path) -> anyhow::Result<String> {
    if index >= MOST_FILES {
        bail!("these are more than {MOST_FILES} set-up scripts, the files of a seed in a cluster included");
    }
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name = format!("{:03}-{}", index + 1, own.chars().map(plain).collect::<String>());
    if name.len() > LONGEST {
        bail!("{}: its name is too long for a set-up script", path.display());
    }
    Ok(name)
}

/// Of a key in a ConfigMap.
const LONGEST: usize = 253;

fn is_script(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    SCRIPTS.iter().any(|ending| name.ends_with(ending))
}

/// The scripts that the images would see: not what is hidden, nor what is in folders below. A link that leads
/// out of the folder's repository is nothing that the user has named.
pub fn in_folder(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let is_seen = |path: &PathBuf| {
        is_script(path) && !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.')
    };
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_seen).collect();
    files.sort();
    let real = folder.canonicalize()?;
    let root = real.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&real);
    for file in &files {
        let led = file.canonicalize().with_context(|| file.display().to_string())?;
        if !led.starts_with(root) {
            bail!("{} is a link that leads out of {}; name the file itself", file.display(), root.display());
        }
    }
    files.retain(|file| !file.is_dir());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(with: &str, pairs: &[(&str, &str)]) -> anyhow::Result<Setup> {
        let params = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Setup::read(&With::parse(with).unwrap(), &params, &Places::new())
    }

    #[test]
    fn several_values_are_words_or_a_json_list() {
        assert_eq!(words(" a  b ").unwrap(), ["a", "b"]);
        assert_eq!(words(r#"["a b", "c"]"#).unwrap(), ["a b", "c"]);
        for wrong in ["[a]", "[1]", "[\"a\""] {
            assert_eq!(words(wrong).unwrap_err().to_string(), TEXTS);
        }
    }

    #[test]
    fn what_is_asked_for_is_made_in_an_order_that_works() {
        let databases = r#"[{"name": "a_b", "owner": "alice", "extensions": ["vector"]}, "c"]"#;
        let setup = read(
            "postgres",
            &[("databases", databases), ("users", "bob"), ("extensions", "hstore uuid-ossp")],
        )
        .unwrap();
        let sql = setup.sql(Engine::Postgres, None, "it's\\").unwrap();
        let made: Vec<&str> =
            sql.lines().filter(|line| !line.starts_with("SET ") && !line.starts_with("--")).collect();
        assert_eq!(
            made,
            [
                "CREATE ROLE \"bob\" LOGIN PASSWORD 'it''s\\';",
                "CREATE ROLE \"alice\" LOGIN PASSWORD 'it''s\\';",
                "CREATE DATABASE \"a_b\" OWNER \"alice\";",
                "CREATE DATABASE \"c\";",
                "CREATE EXTENSION IF NOT EXISTS \"hstore\" CASCADE;",
                "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" CASCADE;",
                "\\connect \"a_b\"",
                "CREATE EXTENSION IF NOT EXISTS \"vector\" CASCADE;",
            ]
        );
        let databases = r#"[{"name": "a_b", "owner": "alice"}, "c"]"#;
        let sql = |user: Option<&str>| {
            read("mysql", &[("databases", databases)]).unwrap().sql(Engine::Mysql, user, "it's\\").unwrap()
        };
        let made = [
            "CREATE USER 'alice'@'%' IDENTIFIED BY 'it''s\\\\';",
            "CREATE DATABASE `a_b`;",
            "GRANT ALL ON `a\\_b`.* TO 'alice'@'%';",
            "CREATE DATABASE `c`;",
        ];
        assert_eq!(sql(None).lines().skip(1).collect::<Vec<_>>(), made);
        assert!(sql(Some("app")).ends_with("GRANT ALL ON `c`.* TO 'app'@'%';\n"));
        assert!(read("postgres", &[("databases", "")]).unwrap().sql(Engine::Postgres, None, "x").is_none());
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (with, name, value, part) in [
            ("postgres", "port", "0", "the parameter port: \"0\" is no port: a number from 1 to 65535"),
            ("postgres", "port", "65536", "is no port"),
            ("postgres@1", "port", "2", "it is to have the port 1, and the parameter port says 2"),
            ("postgres", "databases", "test", "test is made anyway"),
            ("postgres", "databases", "a a", "a stands twice"),
            ("postgres", "databases", "template1", "the server's own"),
            ("postgres", "databases", "a;b", "the name \"a;b\" needs letters"),
            ("postgres", "databases", r#"[{"owner": "x"}]"#, "one has no name"),
            (
                "postgres",
                "databases",
                r#"[{"name": "x", "ownr": "y"}]"#,
                "\"ownr\" is nothing that a database has",
            ),
            ("postgres", "databases", r#"[{"name": 1}]"#, "its name is no text"),
            ("postgres", "databases", "[1]", "write a name, or"),
            ("postgres", "users", "postgres", "made anyway"),
            ("mysql", "users", "mysql.sys", "mysql.sys is one of the server's own"),
            ("mysql", "users", "a2345678901234567890123456789012x", "takes at most 32"),
            ("mysql", "extensions", "vector", "mysql has no extensions"),
            ("mariadb", "databases", r#"[{"name": "a", "extensions": "x"}]"#, "mariadb has no extensions"),
            ("postgres", "init", "no-such.sql", "reading the set-up script no-such.sql: No such file"),
            (
                "postgres",
                "init",
                "Cargo.toml",
                "Cargo.toml: the name of a set-up script ends in .sql, .sql.gz",
            ),
            ("postgres", "init", "src/manifest", "src/manifest: no set-up script in this folder"),
        ] {
            let error = format!("{:#}", read(with, &[(name, value)]).expect_err(value));
            assert!(error.starts_with("--with ") && error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn scripts_keep_their_order_and_fill_as_many_config_maps_as_they_need() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("seeds/below.sql")).unwrap();
        for (name, size) in [
            ("z.sql", 10),
            ("seeds/b.sql", 600_000),
            ("seeds/a.sh", 600_000),
            ("seeds/ä.sql", 2),
            ("seeds/.c.sql", 1),
        ] {
            std::fs::write(at(name), "-".repeat(size)).unwrap();
        }
        std::fs::write(at("seeds/latin.sql.gz"), b"\xff").unwrap();
        std::fs::write(at("seeds/README"), "none").unwrap();
        let paths = serde_json::to_string(&[at("z.sql"), at("seeds")]).unwrap();
        let setup = read("postgres=db", &[("init", &paths)]).unwrap();
        let objects = setup.objects(&With::parse("postgres=db").unwrap(), &RunId::parse("r").unwrap());
        let keys = |index: usize, part: &str| -> Vec<String> {
            let files: &Object = &objects[index];
            files.body[part].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(
            objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(),
            ["db-r", "db--2-r"]
        );
        assert_eq!(keys(0, "data"), ["001-z.sql", "002-a.sh"]);
        assert_eq!(
            (keys(1, "data"), keys(1, "binaryData")),
            (vec!["003-b.sql".into(), "005-_.sql".into()], vec!["004-latin.sql.gz".into()])
        );
        assert_eq!(objects[1].body["binaryData"]["004-latin.sql.gz"], "/w==");
        assert_eq!(
            setup.asked(&With::parse("postgres").unwrap(), &Params::new()).scripts["002-a.sh"],
            at("seeds/a.sh").display().to_string()
        );
    }

    #[test]
    fn a_link_out_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let seeds = folder.path().join("seeds");
        std::fs::create_dir(&seeds).unwrap();
        std::fs::write(folder.path().join("out.sql"), "").unwrap();
        std::os::unix::fs::symlink("../out.sql", seeds.join("a.sql")).unwrap();
        let error = |path: &Path| read("postgres", &[("init", path.to_str().unwrap())]).map(drop);
        let refusal = format!("{:#}", error(&seeds).unwrap_err());
        assert!(refusal.contains("a.sql is a link that leads out of"), "{refusal}");
        // Named plainly, or in the same repository.
        error(&seeds.join("a.sql")).unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        error(&seeds).unwrap();
    }
}

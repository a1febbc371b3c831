//! What all commands share that take databases and manifests: from flags and files to stamped objects,
//! without any network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Map;

use crate::authority::{Authority, Signed};
use crate::cli::{Source, said};
use crate::database::{self, Data, Database, Discovery, Engine, Other};
use crate::failure::{Advise, Exit, usage};
use crate::manifest::builtin::{self, With};
use crate::manifest::lifetime::Lifetime;
use crate::manifest::owner::Owner;
use crate::manifest::policy::{Allowance, Refused};
use crate::manifest::render::{Params, Variables, is_param_name};
use crate::manifest::seed::{Seed, Written};
use crate::manifest::setup::{self, Asked, Setup};
use crate::manifest::stamp::{self, Stamp};
use crate::manifest::{Object, check, foreign, images, mesh, parse, render};
use crate::output::Entry;
use crate::reading::{self, MOST};
use crate::redact::Redactor;
use crate::run_id::{RunId, is_dns_label};
use crate::runtime::seeding::SHELL;
use crate::settings::find::NAMES;
use crate::words::count;

/// A run that is ready to be created.
pub(crate) struct Plan {
    pub run_id: RunId,
    /// Its objects, stamped.
    pub objects: Vec<Object>,
    pub data: Data,
    pub discovery: Discovery,
    /// SQLite's entries, which need no server: the index of the database that each stands before, and its
    /// name.
    pub sqlite_at: Vec<(usize, String)>,
    /// What the user should know before it goes wrong later.
    pub warnings: Vec<String>,
    /// The same of a cluster alone.
    pub warnings_in_cluster: Vec<String>,
    pub params: Params,
    /// What a cluster is not asked for.
    pub refused: Refused,
    /// What is asked of it all the same.
    pub allowed: Vec<Allowance>,
    /// The PipelineRun that testbed works for.
    pub owner: Option<Owner>,
    /// What the built-in databases ask for besides their objects, by their names.
    pub asked: BTreeMap<String, Asked>,
}

impl Plan {
    /// Reads, renders, checks and stamps what the flags name, for a cluster or for this machine.
    ///
    /// # Errors
    /// A usage error with file, line, object or flag.
    pub(crate) fn make(source: &Source, is_in_cluster: bool) -> anyhow::Result<Self> {
        let run_id = source.run_id.as_deref().map_or_else(|| Ok(RunId::generate()), RunId::parse)?;
        let withs = withs(source)?;
        let mut params = params(&source.param)?;
        seeds(&source.seed, &withs, &mut params)?;
        snapshots(&source.from, &withs, &mut params)?;
        let files = files(source)?;
        if files.is_empty() && withs.is_empty() {
            return Err(usage(
                "nothing to create: name a manifest, or a built-in database such as --with postgres",
            ))
            .hint("testbed init writes a testbed.yaml, which names them once and for all");
        }
        let mut objects = Vec::new();
        let mut generated = vec![password()];
        for (name, text) in &files {
            let extra = Map::from_iter([("generated_password".to_owned(), generated[0].as_str().into())]);
            let variables = Variables { run_id: &run_id, params: &params, extra };
            let rendered = render::render_manifest(name, text, &variables)?;
            let parse = if rendered == *text { parse::parse } else { parse::parse_rendered };
            let parsed = parse(name, &rendered).and_then(|parsed| {
                check::check(&parsed, &run_id)?;
                Ok(parsed)
            });
            objects.extend(parsed.map_err(|error| no_manifest(name, text, error))?);
        }
        if objects.is_empty() && withs.is_empty() {
            let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            return Err(usage(format!("{}: no object in it", names.join(", "))));
        }
        let mut sqlite = Vec::new();
        let mut authority = None;
        let mut asked = BTreeMap::new();
        let mut warnings = Vec::new();
        for with in &withs {
            if with.engine == Engine::Sqlite {
                sqlite.push((objects.len(), with.name.clone()));
                continue;
            }
            let password = password();
            let setup = Setup::read(with, &params, &source.places)?;
            let setup = if is_in_cluster { setup.in_cluster(with, &source.places)? } else { setup };
            let signed = if builtin::wants_tls(with, &params)? {
                let host = format!("{}-{run_id}", with.name);
                Some(certificate(&mut authority, &host, &mut generated)?)
            } else {
                None
            };
            let rendered = builtin::render(with, &run_id, &params, &setup, &password, signed.as_ref())?;
            generated.push(password);
            let of_database = setup.asked(with, &params);
            // In a cluster each run has it made.
            let kept = of_database.seed.iter().filter(|_| !is_in_cluster);
            warnings.extend(kept.flat_map(|seed| seed.unseen()).map(|command| {
                format!(
                    "{}: when what the seed's command `{command}` reads changes, the seed stays as it is: say what it \
                     reads, such as inputs: [migrations/**], or inputs: [] where that is nothing",
                    with.name
                )
            }));
            asked.insert(with.name.clone(), of_database);
            objects.extend(setup.objects(with, &run_id));
            objects.extend(parse::parse_rendered(&format!("--with {}", with.name), &rendered)?);
        }
        check_ports(&asked)?;
        let mut warnings_in_cluster = Vec::from_iter(check::check(&objects, &run_id)?);
        warnings.extend(objects.iter().filter_map(operated));
        if files.is_empty() {
            warnings.extend(builtin::unknown(&withs, &params));
        }
        images::rewrite(&mut objects, &source.image_prefix)?;
        let generated: Vec<&str> = generated.iter().map(String::as_str).collect();
        let limit = source.lifetime.unwrap_or(Lifetime::IN_CLUSTER).from(Timestamp::now());
        let refused = Refused::find(&objects, &run_id, &source.allow);
        stamp::stamp(&mut objects, &Stamp { run_id: &run_id, generated: &generated, limit: limit.as_ref() })?;
        let mut data = Data::default();
        data.add_objects(&objects).exit(Exit::Usage)?;
        if !is_in_cluster {
            data.close();
        }
        let discovery = discover(&mut objects, &run_id, &data)?;
        let discovery = if is_in_cluster { discovery } else { discovery.without_replicas() };
        let unreached = discovery.others.iter().filter(|other| other.is_server);
        warnings_in_cluster.extend(unreached.map(|other| {
            format!("{}: container {} is left to Kubernetes: {}", other.workload, other.container, other.why)
        }));
        let sqlite_at = sqlite
            .into_iter()
            .map(|(end, name)| (databases_before(&discovery, &objects[..end]), name))
            .collect();
        Ok(Self {
            run_id,
            objects,
            data,
            discovery,
            sqlite_at,
            warnings,
            warnings_in_cluster,
            params,
            refused,
            allowed: source.allow.clone(),
            owner: owner(source),
            asked,
        })
    }

    /// Refuses a run of no database, unless that is what was asked for: tests would begin, and find nothing.
    ///
    /// # Errors
    /// A usage error with each container and why it is none.
    pub(crate) fn refuse_nothing(&self, is_allowed: bool) -> anyhow::Result<()> {
        let Discovery { databases, others, .. } = &self.discovery;
        if is_allowed || !databases.is_empty() || !self.sqlite_at.is_empty() {
            return Ok(());
        }
        let containers = others.iter().map(|other| {
            let Other { workload, container, image, why, .. } = other;
            format!("  {workload}: container {container} ({image}): {why}")
        });
        let lines: Vec<String> = containers.collect();
        let what = match lines.len() {
            0 => format!("{} and no container that could be one", count(self.objects.len(), "object")),
            1 => "the only container is none".to_owned(),
            number => format!("none of the {number} containers is one"),
        };
        let error = usage(format!("no database was found: {what}"));
        let error = if lines.is_empty() { error } else { error.detail(lines.join("\n")) };
        Err(error
            .hint("the annotation testbed/engine: postgres (or mysql, mariadb, CONTAINER=ENGINE) on a pod makes its container a database")
            .hint("--allow-none, or allow-none: true in testbed.yaml, is for runs that have none"))
    }

    /// Refuses what only this machine has, and a seed's command that cannot be called here.
    ///
    /// # Errors
    /// A usage error that says what to do in its place.
    pub(crate) fn check_in_cluster(&self) -> anyhow::Result<()> {
        if let Some((name, _)) = self.asked.iter().find(|(_, asked)| asked.from.is_some()) {
            return Err(usage(format!(
                "{name}: a snapshot is for servers of this machine, and not for a cluster"
            )))
            .hint("leave out from, or make the run on this machine: --runtime local");
        }
        let mut asked = self.asked.iter();
        let has_command = |asked: &Asked| asked.seed.as_ref().is_some_and(Seed::has_commands);
        if let Some((name, _)) = asked.find(|(_, asked)| has_command(asked) && !Path::new(SHELL).exists()) {
            return Err(usage(format!("{name}: the seed's command needs {SHELL}, which is not here")))
                .hint("it is called where testbed is, and testbed's own image has nothing else: take one with the project's tools, and copy /testbed into it");
        }
        self.refused.check()
    }

    /// Finds the databases again, with what is known in `data` by now.
    ///
    /// # Errors
    /// A usage error, as for [`Plan::make`]; also when a source of a login is still missing.
    pub(crate) fn rediscover(&mut self) -> anyhow::Result<()> {
        self.discovery = discover(&mut self.objects, &self.run_id, &self.data)?;
        Ok(())
    }

    /// Knows the logins' passwords, all values of Secrets, and whatever the objects say to be secret:
    /// variables, arguments, scripts.
    pub(crate) fn redactor(&self) -> Redactor {
        let mut redactor = Redactor::new(self.run_id.as_str());
        for database in &self.discovery.databases {
            redactor.add(database.login.password.reveal());
            database.admin.iter().for_each(|admin| redactor.add(admin.password.reveal()));
        }
        self.data.secrets().for_each(|secret| redactor.add(secret));
        self.objects.iter().for_each(|object| redactor.add_object(&object.body));
        redactor
    }

    /// The entries of the config file in their order, with the host and port that `address` tells for each
    /// server by its index.
    pub(crate) fn entries<'a>(
        &'a self,
        address: impl Fn(usize, &'a Database) -> (&'a str, u16),
    ) -> Vec<Entry<'a>> {
        let databases = &self.discovery.databases;
        let sqlite = |fits: &dyn Fn(usize) -> bool| -> Vec<Entry<'a>> {
            self.sqlite_at.iter().filter(|(at, _)| fits(*at)).map(|(_, name)| Entry::Sqlite(name)).collect()
        };
        let mut entries = Vec::new();
        for (index, database) in databases.iter().enumerate() {
            entries.extend(sqlite(&|at| at == index));
            let (host, port) = address(index, database);
            entries.push(Entry::Server(database, host, port));
        }
        entries.extend(sqlite(&|at| at >= databases.len()));
        entries
    }
}

/// What a server speaks TLS with: signed by the run's authority, which is made for the first one, and noted
/// as something that no two plans have alike. The run is reached by the Service's name, or by this machine's.
fn certificate(
    authority: &mut Option<Authority>,
    host: &str,
    generated: &mut Vec<String>,
) -> anyhow::Result<Signed> {
    let authority = match authority {
        Some(authority) => authority,
        None => authority.insert(Authority::new()?),
    };
    let signed = authority.sign(&[host, "localhost", "127.0.0.1", "::1"])?;
    for text in [&signed.authority, &signed.certificate, &signed.key] {
        generated.push(serde_json::to_string(text)?.trim_matches('"').to_owned());
    }
    Ok(signed)
}

/// Two servers cannot have one port.
fn check_ports(asked: &BTreeMap<String, Asked>) -> anyhow::Result<()> {
    let mut takers = BTreeMap::new();
    for (name, port) in asked.iter().filter_map(|(name, asked)| Some((name, asked.port?))) {
        if let Some(other) = takers.insert(port, name) {
            return Err(usage(format!("the databases {other} and {name} are to have the same port, {port}")))
                .hint(format!(
                    "give one of them another port, or none: --param {name}.port={}",
                    port.checked_add(1).unwrap_or(port - 1)
                ));
        }
    }
    Ok(())
}

/// Says what to do with a file that is something else by its name.
fn no_manifest(name: &str, text: &str, error: anyhow::Error) -> anyhow::Error {
    let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    if file.contains("compose") {
        return error.hint("testbed init takes over the databases of a compose file");
    }
    match NAMES.contains(&&*file) {
        true => error.hint("the project's testbed.yaml is read by itself; another one: --settings FILE"),
        false => foreign::explain(name, text, error),
    }
}

/// What testbed cannot know of an operator's object.
fn operated(object: &Object) -> Option<String> {
    let engine = foreign::operator(object)?;
    Some(format!(
        "{}: {} ({}) is for its operator, whose servers testbed neither waits for nor tells of; --with {engine}={} makes one without it",
        object.origin,
        object.label(),
        object.api_version,
        object.name
    ))
}

/// Finds the databases, and keeps sidecars out of their pods.
fn discover(objects: &mut [Object], run_id: &RunId, data: &Data) -> anyhow::Result<Discovery> {
    let discovery = database::discover(objects, run_id, data).exit(Exit::Usage)?;
    mesh::keep_out(objects, discovery.databases.iter().map(|database| database.workload.as_str()))?;
    Ok(discovery)
}

/// Only what is known of it whole: an owner by a wrong uid would take the objects with it at once.
fn owner(source: &Source) -> Option<Owner> {
    Some(Owner { name: said(&source.pipeline_run.name)?, uid: said(&source.pipeline_run.uid)? })
}

fn databases_before(discovery: &Discovery, objects: &[Object]) -> usize {
    let made_by =
        |workload: &str| objects.iter().any(|object| workload == format!("{}/{}", object.kind, object.name));
    discovery.databases.iter().filter(|database| made_by(&database.workload)).count()
}

/// The built-in databases that are asked for. A pipeline's parameter may have them on lines of their own, or
/// none at all.
pub(crate) fn withs(source: &Source) -> anyhow::Result<Vec<With>> {
    let withs: Vec<With> = source
        .with
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(With::parse)
        .collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    // SQLite has no objects of its name, and most formats tell it apart.
    let mut servers = withs.iter().filter(|with| with.engine != Engine::Sqlite);
    match servers.find(|with| !names.insert(&with.name)) {
        None => Ok(withs),
        Some(With { name, engine, .. }) => Err(usage(format!("--with: two databases are called {name}")))
            .hint(format!("name them apart: --with {engine}=one --with {engine}=two")),
    }
}

/// A random password: 122 random bits as 32 letters and digits, which need no quoting anywhere.
pub(crate) fn password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(crate) fn params(pairs: &[String]) -> anyhow::Result<Params> {
    let mut params = Params::new();
    for pair in pairs {
        // A wrong pair may hold a secret: only its name, if there is one, goes into the message.
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            let wrong = usage("--param needs NAME=VALUE, and one was given without '='");
            match pair.split(':').all(|part| part.parse::<u16>().is_ok()) {
                true => wrong.hint("a port is said with the database: --with postgres@5433"),
                false => wrong,
            }
        })?;
        if !is_param_name(name) {
            return Err(usage(format!(
                "--param {name:?}: a name has letters, digits, '_' and '-', with dots between groups"
            )));
        }
        if params.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(usage(format!("--param {name} is given twice")));
        }
    }
    Ok(params)
}

/// What `--seed` says, as a parameter of its database.
fn seeds(seeds: &[String], withs: &[With], params: &mut Params) -> anyhow::Result<()> {
    let mut given = BTreeSet::new();
    for text in seeds.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let named = text.split_once('=').filter(|(name, _)| is_dns_label(name));
        let (name, seed) = match (named, withs) {
            (Some((name, seed)), _) if withs.iter().any(|with| with.name == name) => (name, seed),
            (None, [only]) => (only.name.as_str(), text),
            _ => {
                let servers = withs.iter().filter(|with| with.engine != Engine::Sqlite);
                let names: Vec<&str> = servers.map(|with| with.name.as_str()).collect();
                let wrong = named.map_or_else(
                    || "--seed is for one database".to_owned(),
                    |(name, _)| format!("--seed {name}=...: there is no built-in database {name}"),
                );
                return Err(usage(wrong)).hint(match names.first() {
                    Some(first) => format!("there is {}; write --seed {first}=...", names.join(", ")),
                    None => "name one: --with postgres; those of a manifest take no seed".to_owned(),
                });
            }
        };
        if !given.insert(name) {
            return Err(usage(format!("--seed is given twice for {name}")))
                .hint("name all files in one, with spaces between them, or use steps");
        }
        if withs.iter().any(|with| with.name == name && with.engine == Engine::Sqlite) {
            return Err(usage(format!("--seed {name}: SQLite is in memory, where nothing is kept")));
        }
        let written = Written::parse(seed).with_context(|| format!("--seed {name}")).exit(Exit::Usage)?;
        params.insert(format!("{name}.seed"), serde_json::to_string(&written)?);
    }
    Ok(())
}

/// What `--from` says, as a parameter of its database, or of each.
fn snapshots(from: &[String], withs: &[With], params: &mut Params) -> anyhow::Result<()> {
    let servers: Vec<&str> =
        withs.iter().filter(|with| with.engine != Engine::Sqlite).map(|with| with.name.as_str()).collect();
    for text in from.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let (named, snapshot) = text.split_once('=').map_or((None, text), |(name, of)| (Some(name), of));
        setup::snapshot(snapshot).with_context(|| format!("--from {text}")).exit(Exit::Usage)?;
        let meant: Vec<&str> =
            servers.iter().copied().filter(|name| named.is_none_or(|named| named == *name)).collect();
        if meant.is_empty() {
            let wrong = named.map_or_else(
                || format!("--from {text}: there is no built-in database to start with it"),
                |name| format!("--from {text}: there is no built-in server {name}"),
            );
            return Err(usage(wrong)).hint(match servers.as_slice() {
                [] => "name one: --with postgres; those of a manifest and SQLite take no snapshot".to_owned(),
                servers => format!("there is {}", servers.join(", ")),
            });
        }
        for name in meant {
            params.insert(format!("{name}.from"), snapshot.to_owned());
        }
    }
    Ok(())
}

/// The manifests' names and texts, in the order given; a folder stands for its YAML and JSON files, in the
/// order of their names, as for kubectl.
fn files(source: &Source) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in source.manifests.iter().chain(&source.filenames) {
        if path.as_os_str() == "-" {
            let text = reading::standard_input(MOST)
                .context("reading the manifest from standard input")
                .exit(Exit::Usage)?;
            texts.push(("standard input".into(), text));
            continue;
        }
        let found = if path.is_dir() {
            in_folder(path, source.recursive)?
        } else {
            foreign::check_file(path)?;
            vec![path.clone()]
        };
        for path in found {
            let name = path.display().to_string();
            let text = reading::text(&path, MOST).with_context(|| format!("reading the manifest {name}"));
            let text = match source.places.get(&name) {
                Some(place) => text.context(place.clone()),
                None => text,
            };
            let text = match (text.exit(Exit::Usage), With::parse(&name)) {
                (Err(error), _) if name.starts_with("/dev/fd/") || name.starts_with("/proc/") => {
                    return Err(error.hint("pipe it in: COMMAND | testbed up -"));
                }
                (Err(error), Ok(with)) => {
                    return Err(error.hint(format!("for a built-in database: --with {}", with.engine)));
                }
                (Err(error), _) if is_dns_label(&name) => {
                    return Err(error.hint(format!(
                        "a manifest is a file; the databases of testbed.yaml are made without a word, and --with postgres={name} makes one of that name"
                    )));
                }
                (text, _) => text?,
            };
            texts.push((name, text));
        }
    }
    Ok(texts)
}

/// The files of a folder, and of those in it.
fn in_folder(folder: &Path, is_recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let is_manifest = |path: &Path| {
        path.extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
    };
    let mut left = vec![folder.to_owned()];
    let mut files = Vec::new();
    let mut has_folders = false;
    while let Some(path) = left.pop() {
        // A link to a folder is no folder here, as for kubectl: it may lead back.
        if path != folder && !path.is_symlink() && path.is_dir() {
            has_folders = true;
            if !is_recursive {
                continue;
            }
        } else if path != folder {
            files.extend(Some(path).filter(|path| is_manifest(path) && !path.is_dir()));
            continue;
        }
        foreign::check_folder(&path)?;
        let context = || format!("reading the manifest {}", path.display());
        let entries = std::fs::read_dir(&path).with_context(context).exit(Exit::Usage)?;
        let entries = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut entries = entries.with_context(context).exit(Exit::Usage)?;
        // The last one is the next one.
        entries.sort_by(|one, other| other.cmp(one));
        left.extend(entries);
    }
    if !files.is_empty() {
        return Ok(files);
    }
    let error = usage(format!("{}: no .yaml, .yml or .json file in this folder", folder.display()));
    Err(if has_folders && !is_recursive {
        error.hint("--recursive looks into its folders as well")
    } else {
        error
    })
}

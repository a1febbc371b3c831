//! Finds the databases in a run's objects: for each container the annotation, else the image's name, else its
//! variables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::{Container, Service};
use serde_json::{Map, Value};

use super::program::{self, Runs};
use super::variables::{Data, Reference, Variables};
use super::workload::TLS_ANNOTATION;
use super::{
    Arguments, Certificate, Database, Engine, Password, Settling, Workload, login, service, workload,
};
use crate::engine::{self, Vendor};
use crate::failure::Advise;
use crate::manifest::Object;
use crate::run_id::RunId;
use crate::trust::{Name, Trust};

/// On a pod or its template: an engine's name, `none`, or `container=engine` pairs with commas between.
const ENGINE_ANNOTATION: &str = "testbed/engine";
/// On a pod or its template: the port that the server listens on.
const PORT_ANNOTATION: &str = "testbed/port";
/// On a pod or its template: how long a server has to stay up to count as the final one, such as `10s`, or
/// `never`.
const SETTLE_ANNOTATION: &str = "testbed/settle";
/// On a pod or its template: a JSON object of extra arguments for the config file.
const CONNARGS_ANNOTATION: &str = "testbed/connargs";

/// On a pod or its template: a JSON list of the further databases that its set-up makes, such as
/// `[{"name": "audit", "user": "alice"}]`.
const DATABASES_ANNOTATION: &str = "testbed/databases";

/// What a manifest holds.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// The servers, in the order of the manifest.
    pub databases: Vec<Database>,
    /// Everything that is or makes pods.
    pub workloads: Vec<Workload>,
    /// Secrets and ConfigMaps that are not in the manifest and that a login needs.
    pub missing: BTreeSet<Reference>,
    /// Others that would tell more, such as whether a container is a database.
    pub telling: BTreeSet<Reference>,
    /// The containers that are none.
    pub others: Vec<Other>,
}

impl Discovery {
    /// The same without copies of other servers, which are made in a cluster alone.
    pub fn without_replicas(mut self) -> Self {
        let replicas = self.databases.extract_if(.., |database| database.is_replica);
        self.others.extend(replicas.map(|database| Other {
            workload: database.workload,
            container: database.container,
            image: database.image,
            why: Not::Replica.to_string(),
            is_server: false,
            is_replica: true,
        }));
        self
    }
}

/// A container that is no database.
#[derive(Debug, Clone)]
pub struct Other {
    /// The workload, as [`Workload::id`] names it.
    pub workload: String,
    /// The container's name.
    pub container: String,
    /// Its image as the manifest names it.
    pub image: String,
    /// What it is instead, or lacks, as the end of a sentence.
    pub why: String,
    /// Whether it is a server that nobody outside its pod reaches.
    pub is_server: bool,
    /// Whether it is a server that copies another one: its logins are not known, or nothing makes it here.
    pub is_replica: bool,
}

/// Finds the databases among the objects of a run.
///
/// # Errors
/// A message with the object's place: a shape that is not its kind's, a Service without pods, a database
/// without a usable login, or a server without a Service.
pub fn discover(objects: &[Object], run_id: &RunId, data: &Data) -> anyhow::Result<Discovery> {
    let workloads: Vec<Workload> =
        objects.iter().filter_map(|object| Workload::read(object).transpose()).collect::<Result<_, _>>()?;
    let mut services = Vec::new();
    for object in objects {
        if let Some(found) = workload::service(object)? {
            check_service(object, &found, &workloads, objects)?;
            services.push(found);
        }
    }
    discover_workloads(workloads, &services, run_id, data)
}

/// Finds the databases among pods and Services of whatever source.
pub fn discover_workloads(
    workloads: Vec<Workload>,
    services: &[Service],
    run_id: &RunId,
    data: &Data,
) -> anyhow::Result<Discovery> {
    let mut found = Discovery { workloads, ..Discovery::default() };
    for workload in &found.workloads {
        let annotated = annotated_engines(workload)?;
        let first = found.databases.len();
        for container in workload.containers() {
            let mut variables = Variables::new(&workload.spec, container, data);
            let image =
                Some(workload.image(container)).filter(|image| !image.is_empty()).unwrap_or("no image");
            let is = engine(container, &annotated, &mut variables, services, workload, data);
            let is = is.and_then(|(engine, vendor)| {
                let is_lost =
                    login::is_replica(&mut variables) && login::read(engine, vendor, &mut variables).is_err();
                if is_lost { Err(Not::Replica) } else { Ok((engine, vendor)) }
            });
            let (engine, vendor) = match is {
                Ok(is) => is,
                Err(not) => {
                    found.others.push(Other {
                        workload: workload.id.clone(),
                        container: container.name.clone(),
                        image: image.to_owned(),
                        is_server: matches!(not, Not::Reached(_)),
                        is_replica: matches!(not, Not::Replica),
                        why: not.to_string(),
                    });
                    if let Not::Told(references) = not {
                        found.telling.extend(references);
                    }
                    continue;
                }
            };
            let database = database(workload, container, engine, vendor, &mut variables, services, run_id);
            found.databases.push(database.with_context(|| {
                format!("{}: the {engine} database in container {} ({image})", workload.place, container.name)
            })?);
            found.missing.append(&mut variables.missing);
            found.telling.append(&mut variables.optional);
        }
        check_ports(workload, &found.databases[first..])?;
    }
    Ok(found)
}

/// Refuses two servers of one pod on one port, which is what two containers with the same variables look like.
fn check_ports(workload: &Workload, databases: &[Database]) -> anyhow::Result<()> {
    for (at, second) in databases.iter().enumerate() {
        let is_first = |first: &&Database| first.server_port == second.server_port;
        let Some(first) = databases[..at].iter().find(is_first) else { continue };
        return Err(anyhow!(
            "{}: the containers {} and {} would both be the server on port {} of their pod",
            workload.place,
            first.container,
            second.container,
            second.server_port
        ))
        .hint(format!(
            "an annotation of the pod says which is none: {ENGINE_ANNOTATION}: {}=none",
            second.container
        ));
    }
    Ok(())
}

/// Why a container is no database.
enum Not {
    /// The annotation says so.
    Meant,
    /// Neither image nor variables tell that it is one.
    Known,
    /// The pod's annotation is about another container.
    Named,
    /// It runs another program.
    Server(String),
    /// It may be one, by variables that are in these.
    Told(BTreeSet<Reference>),
    /// No Service leads to it, and it is not meant to be reached.
    Reached(u16),
    /// This variable leads to another server.
    Client(&'static str),
    /// Its port is that of another container of the pod.
    Beside(u16, String),
    /// It copies another server, whose logins nobody tells.
    Replica,
}

impl fmt::Display for Not {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meant => write!(f, "the annotation {ENGINE_ANNOTATION} says none"),
            Self::Named => write!(f, "the annotation {ENGINE_ANNOTATION} is about another container"),
            Self::Known => f.write_str("neither its image nor its variables are a database's"),
            Self::Server(program) => write!(f, "it runs {program}, which is no server"),
            Self::Told(references) => {
                let names = references.iter().map(|of| format!("{} {}", of.kind.name(), of.name));
                let names = names.collect::<Vec<_>>().join(", ");
                write!(f, "its variables are in {names}, which nobody has looked into")
            }
            Self::Client(variable) => write!(f, "its variable {variable} leads to another server"),
            Self::Beside(port, other) => {
                write!(f, "its variables are a server's, but port {port} is that of the container {other}")
            }
            Self::Replica => f.write_str("it is a replica of another server"),
            Self::Reached(port) => write!(f, "it is a server, and no Service leads to its port {port}"),
        }
    }
}

fn check_service(
    object: &Object,
    found: &Service,
    workloads: &[Workload],
    objects: &[Object],
) -> anyhow::Result<()> {
    let selector = found.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    if selector.is_none_or(BTreeMap::is_empty) {
        return Ok(());
    }
    // Kinds outside the API groups of Kubernetes itself may make pods that the manifest does not show.
    let opaque = |object: &Object| {
        object.api_version.split_once('/').is_some_and(|(group, _)| group.contains('.'))
            && object.pod_template().is_none()
    };
    if workloads.iter().any(|workload| service::selects(found, &workload.labels))
        || objects.iter().any(opaque)
    {
        return Ok(());
    }
    let selector = selector
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",");
    bail!("{}: {} selects no pod of the manifest (selector {selector})", object.origin, object.label())
}

/// Engines by container name; the key `""` stands for all containers of the pod. `None` as value: not a
/// database.
fn annotated_engines(workload: &Workload) -> anyhow::Result<BTreeMap<String, Option<Engine>>> {
    let Some(text) = workload.annotations.get(ENGINE_ANNOTATION) else { return Ok(BTreeMap::new()) };
    text.split(',')
        .map(|pair| {
            let (container, name) = pair.trim().split_once('=').unwrap_or(("", pair.trim()));
            let engine = (name != "none").then(|| Engine::parse(name)).transpose();
            Ok((
                container.to_owned(),
                engine.with_context(|| format!("{}: annotation {ENGINE_ANNOTATION}", workload.place))?,
            ))
        })
        .collect()
}

fn engine(
    container: &Container,
    annotated: &BTreeMap<String, Option<Engine>>,
    variables: &mut Variables,
    services: &[Service],
    workload: &Workload,
    data: &Data,
) -> Result<(Engine, Vendor), Not> {
    let (by_image, vendor) = engine::identify(workload.image(container));
    if let Some(engine) = annotated.get(&container.name) {
        return engine.map(|engine| (engine, login::vendor(engine, vendor, variables))).ok_or(Not::Meant);
    }
    match annotated.get("") {
        Some(None) => return Err(Not::Meant),
        // For a pod with several containers, the annotation means the one that looks like a database, else
        // the first one.
        Some(Some(engine)) => {
            let named = |container: &&Container| engine::identify(workload.image(container)).0.is_some();
            let meant = workload.spec.containers.iter().find(named).or(workload.spec.containers.first());
            let is_meant = meant.is_some_and(|meant| meant.name == container.name);
            return is_meant.then(|| (*engine, login::vendor(*engine, vendor, variables))).ok_or(Not::Named);
        }
        None => {}
    }
    let program = program::of(variables);
    if let Runs::Another(program) = program {
        return Err(match by_image {
            Some(_) => Not::Server(program),
            None => Not::Known,
        });
    }
    let is_sidecar = !workload.spec.containers.iter().any(|own| own.name == container.name);
    let mut reached = |engine: Engine, is_guess: bool| {
        let port = server_port(workload, container, engine, variables).unwrap_or(engine.port());
        let is_reached = service::address(services, workload, container, port, is_guess).is_ok();
        if is_reached && !(is_sidecar && workload.ends) { Ok(port) } else { Err(port) }
    };
    let beside = |port, is_guess| beside(workload, container, annotated, port, is_guess, data);
    if let Some(engine) = by_image {
        return match (reached(engine, false), program) {
            (Err(port), Runs::Server(_)) if is_sidecar || !is_to_be_reached(workload, container) => {
                Err(Not::Reached(port))
            }
            (Err(_), Runs::Unknown(program)) => Err(Not::Server(program)),
            (Ok(port), Runs::Unknown(program)) if beside(port, false).is_some() => Err(Not::Server(program)),
            _ => Ok((engine, login::vendor(engine, vendor, variables))),
        };
    }
    // Clients are given such variables too, so a server is only believed in behind a Service on its port, and
    // neither where a variable names another server nor where another container has the port.
    let engines = [Engine::Mariadb, Engine::Mysql, Engine::Postgres];
    let reached: Vec<(Engine, u16)> =
        engines.into_iter().filter_map(|engine| Some((engine, reached(engine, true).ok()?))).collect();
    let told = reached
        .iter()
        .find(|(engine, _)| login::server_variables(*engine).iter().any(|name| variables.declares(name)));
    let selecting = services.iter().filter(|service| service::selects(service, &workload.labels));
    let own: Vec<&str> = selecting.filter_map(|service| service.metadata.name.as_deref()).collect();
    let client = login::other_server(variables, &own);
    match (told, client) {
        (Some(_), Some(variable)) => Err(Not::Client(variable)),
        (None, Some(_)) => Err(Not::Known),
        (Some((engine, port)), None) => {
            if let Some(other) = beside(*port, true) {
                return Err(Not::Beside(*port, other));
            }
            // MariaDB's image reads MySQL's variables as well.
            let is_mariadb = *engine == Engine::Mysql && workload.image(container).contains("mariadb");
            let engine = if is_mariadb { Engine::Mariadb } else { *engine };
            Ok((engine, login::vendor(engine, vendor, variables)))
        }
        (None, None) => {
            let is_free = reached.iter().any(|(_, port)| beside(*port, true).is_none());
            let untold = variables.untold();
            Err(if is_free && !untold.is_empty() { Not::Told(untold) } else { Not::Known })
        }
    }
}

/// The other container of the pod that has the port, as all of them share one network: a server by its image,
/// or the only one to declare it.
fn beside(
    workload: &Workload,
    container: &Container,
    annotated: &BTreeMap<String, Option<Engine>>,
    port: u16,
    is_guess: bool,
    data: &Data,
) -> Option<String> {
    let serves = |other: &Container| {
        let mut variables = Variables::new(&workload.spec, other, data);
        let engine = match (annotated.get(&other.name), program::of(&variables)) {
            (Some(engine), _) => *engine,
            (None, Runs::Server(_)) => engine::identify(workload.image(other)).0,
            (None, Runs::Unknown(_)) if is_guess => engine::identify(workload.image(other)).0,
            _ => None,
        };
        engine.is_some_and(|engine| {
            server_port(workload, other, engine, &mut variables).is_ok_and(|own| own == port)
        })
    };
    let is_declared = service::declares(container, port);
    let mut others = workload.containers().filter(|other| other.name != container.name);
    let found = others.find(|other| serves(other) || (!is_declared && service::declares(other, port)));
    found.map(|other| other.name.clone())
}

/// Whether a server without a Service is a mistake: not in a pod that is meant to end, nor beside others for
/// which it may be there.
fn is_to_be_reached(workload: &Workload, container: &Container) -> bool {
    let ends = workload.ends
        || workload.id.starts_with("CronJob/")
        || matches!(workload.spec.restart_policy.as_deref(), Some("Never" | "OnFailure"));
    let is_other = |other: &&Container| {
        other.name != container.name && engine::identify(workload.image(other)).0.is_none()
    };
    !ends && !workload.spec.containers.iter().any(|other| is_other(&other))
}

fn database(
    workload: &Workload,
    container: &Container,
    engine: Engine,
    vendor: Vendor,
    variables: &mut Variables,
    services: &[Service],
    run_id: &RunId,
) -> anyhow::Result<Database> {
    let server_port = server_port(workload, container, engine, variables)?;
    let address = service::address(services, workload, container, server_port, false);
    let (host, port) = address.hint(
        "a server that the tests do not use is left to Kubernetes with the annotation testbed/engine: none",
    )?;
    let logins = login::read(engine, vendor, variables).hint(format!(
        "where it is no database, an annotation of the pod says so: {ENGINE_ANNOTATION}: none, or of several containers {ENGINE_ANNOTATION}: {}=none",
        container.name
    ))?;
    let annotation = |key: &str| workload.annotations.get(key);
    let settle = annotation(SETTLE_ANNOTATION)
        .map(|text| {
            Settling::parse(text).map_err(|error| anyhow!("annotation {SETTLE_ANNOTATION} {text:?}: {error}"))
        })
        .transpose()?;
    let connargs: Map<String, Value> = annotation(CONNARGS_ANNOTATION)
        .map(|text| {
            serde_json::from_str(text)
                .with_context(|| format!("annotation {CONNARGS_ANNOTATION} is not a JSON object"))
        })
        .transpose()?
        .unwrap_or_default();
    let tls = annotation(TLS_ANNOTATION).map(|folder| certificate(variables, folder)).transpose()?;
    let further = annotation(DATABASES_ANNOTATION)
        .map(|text| {
            serde_json::from_str(text).with_context(|| {
                format!(
                    "annotation {DATABASES_ANNOTATION} is not a JSON list such as [{{\"name\": \"audit\"}}]"
                )
            })
        })
        .transpose()?
        .unwrap_or_default();
    let image = workload.image(container).to_owned();
    let own_entrypoint = container.command.as_ref().is_none_or(Vec::is_empty);
    let arguments =
        (own_entrypoint && engine::is_official(&image)).then(|| Arguments::of(container)).flatten();
    Ok(Database {
        name: short_name(&host, run_id),
        engine,
        host,
        port,
        server_port,
        workload: workload.id.clone(),
        container: container.name.clone(),
        is_replica: login::is_replica(variables),
        entrypoint_is_known: own_entrypoint
            && vendor != Vendor::RedHat
            && engine::identify(&image).0 == Some(engine),
        becomes_process_1: own_entrypoint && workload.spec.share_process_namespace != Some(true),
        arguments,
        image,
        login: logins.tests,
        admin: logins.admin,
        further,
        settle,
        tls,
        connargs,
    })
}

/// The server's certificate: from the files in a folder of its container, as cert-manager names them.
fn certificate(variables: &mut Variables, folder: &str) -> anyhow::Result<Certificate> {
    let files = variables.files_below(folder)?.files;
    let file = |name: &str| {
        files.get(name).and_then(|bytes| String::from_utf8(bytes.clone()).ok()).ok_or_else(|| {
            anyhow!(
                "annotation {TLS_ANNOTATION} {folder:?}: no Secret of the manifest has {name} for this folder"
            )
        })
    };
    let authority = file("ca.crt")?;
    Trust::in_pem(authority.as_bytes(), Name::Right)
        .with_context(|| format!("annotation {TLS_ANNOTATION} {folder:?}: ca.crt"))?;
    Ok(Certificate { authority, certificate: file("tls.crt")?, key: Password::new(file("tls.key")?) })
}

/// The Service's name without the run id: `mysql-2b5b…` is `mysql`. A run id may be as short as a letter:
/// where it stands as a part between dashes it is meant there, and nowhere else.
fn short_name(host: &str, run_id: &RunId) -> String {
    let id = run_id.as_str();
    let name = match format!("-{host}-").rsplit_once(&format!("-{id}-")) {
        Some((before, after)) => format!("{before}-{after}"),
        None => host.strip_suffix(id).or_else(|| host.strip_prefix(id)).unwrap_or(host).to_owned(),
    };
    let name = name.trim_matches('-').replace("--", "-");
    if name.is_empty() { host.to_owned() } else { name }
}

/// Annotation, else the server's own variable or argument for the port, else the engine's.
fn server_port(
    workload: &Workload,
    container: &Container,
    engine: Engine,
    variables: &mut Variables,
) -> anyhow::Result<u16> {
    let parse = |what: &str, text: &str| {
        text.parse::<u16>().map_err(|_| anyhow!("{what} {text:?} is no port number"))
    };
    if let Some(text) = workload.annotations.get(PORT_ANNOTATION) {
        return parse(PORT_ANNOTATION, text);
    }
    let (short, variable) =
        if engine == Engine::Postgres { ("-p", "PGPORT") } else { ("-P", "MYSQL_TCP_PORT") };
    let what = "the server's argument for the port";
    let mut words = container.command.iter().flatten().chain(container.args.iter().flatten());
    while let Some(raw) = words.next() {
        // Of what the container alone knows, only the port matters.
        let filled = variables.filled(raw);
        let word = filled.as_deref().unwrap_or(raw);
        if word.starts_with("--port=") || word.starts_with("port=") {
            return parse(what, filled.context(what)?.split_once('=').map_or("", |(_, port)| port));
        }
        if ["--port", short].contains(&word)
            && let Some(next) = words.next()
        {
            return parse(what, &variables.filled(next).context(what)?);
        }
    }
    // Bitnami's images have variables of their own.
    let own = match engine {
        Engine::Postgres => ["POSTGRESQL_PORT_NUMBER", variable],
        Engine::Mariadb => ["MARIADB_PORT_NUMBER", variable],
        Engine::Mysql | Engine::Sqlite => ["MYSQL_PORT_NUMBER", variable],
    };
    for variable in own {
        if let Some(text) = variables.get(variable)? {
            return parse(variable, &text);
        }
    }
    Ok(engine.port())
}

#[cfg(test)]
mod tests;

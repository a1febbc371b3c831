//! The services of compose files that are databases.

mod load;

use std::collections::BTreeSet;

use self::load::{Loaded, Loader, ROOTED, as_map};
use super::dockerfile::{self, Built};
use super::dotenv::{self, Variables, interpolate};
use super::project::normal;
use super::service::{self, Role, Service};
use super::{Findings, Place, Port, Purpose, Read, SCRIPTS, SERVICES, command, one_line, one_more};
use crate::manifest::setup;
use crate::yaml::{Content, Node};

/// How deep files may include files.
const DEPTH: usize = 16;

/// Reads one file.
///
/// # Errors
/// The line that is no YAML.
pub fn read(file: &str, text: &str, read: Read) -> anyhow::Result<Findings> {
    let mut loader = Loader::new(read);
    loader.put(file, text)?;
    Ok(found(loader, read, &[file.to_owned()]).0)
}

/// Reads files that `docker compose` merges, the later ones over the first; also tells which others they
/// include.
pub fn read_all(files: &[String], read: Read) -> (Findings, BTreeSet<String>) {
    found(Loader::new(read), read, files)
}

fn found(mut loader: Loader, read: Read, files: &[String]) -> (Findings, BTreeSet<String>) {
    let services = loader.project(files, &Variables::new(), DEPTH);
    let Loader { mut findings, included, .. } = loader;
    let Some(first) = files.first() else { return (findings, included) };
    let mut left = SERVICES;
    for loaded in &services {
        if !one_more(&mut left, first, &mut findings) {
            break;
        }
        take(loaded, read, files, &mut findings);
    }
    (findings, included)
}

fn take(loaded: &Loaded, read: Read, files: &[String], findings: &mut Findings) {
    let (node, variables) = (&loaded.node, &loaded.shared.variables);
    let profiles: Vec<&str> = items(node, "profiles").iter().filter_map(Node::text).collect();
    let with = match profiles.as_slice() {
        [] => String::new(),
        profiles => format!(", profile {}", one_line(&profiles.join(", "))),
    };
    let mut places = loaded
        .places
        .iter()
        .map(|(file, line)| format!("{file}:{line}: service {}{with}", one_line(&loaded.key)));
    let place = places.next().unwrap_or_default();
    let of = |path: &str, key: &str| node.get(path).and_then(|node| node.get(key)).and_then(Node::text);
    if node.get("scale").and_then(Node::text) == Some("0") || of("deploy", "replicas") == Some("0") {
        findings.left.push(format!("{place}: it is not run, for it has 0 replicas"));
        return;
    }
    let Image { name: image, built, note } = match image(node, variables, &place, read) {
        Ok(image) => image,
        Err(reason) => {
            findings.left.push(format!("{place}: {reason}"));
            return;
        }
    };
    let is_known = crate::database::of_image(&image, &[]).is_some();
    if built.is_some() && !is_known && !service::sounds_like(&image) {
        let image = one_line(&image);
        findings
            .left
            .push(format!("{place}: it is built upon {image}, which is no database that testbed has"));
        return;
    }
    let built = built.unwrap_or_default();
    let all = environment(loaded, &built, read);
    let arguments = |key: &str, built: Vec<String>| match node.get(key).map(|node| words(node, variables)) {
        None => built,
        Some(words) => words,
    };
    let entrypoint = arguments("entrypoint", built.entrypoint);
    // The image's own command is for its own entrypoint.
    let is_own = node.get("entrypoint").is_some_and(|node| node.content != Content::Empty);
    let command = arguments("command", if is_own { Vec::new() } else { built.command });
    let purpose = [profiles.join(" "), loaded.key.clone()]
        .iter()
        .filter(|text| Purpose::of(text) == Purpose::Tests)
        .map(|_| Purpose::Tests)
        .chain(files.iter().map(|file| Purpose::of(file)))
        .min();
    let service = Service {
        name: &loaded.key,
        image: &image,
        role: role(node, variables, is_known, &all.names),
        variables: all.relevant,
        entrypoint,
        command: command.clone(),
        purpose: purpose.unwrap_or(Purpose::Development),
        place: Place { group: files.join(" "), text: place.clone() },
    };
    if !service::take(service, findings) {
        return;
    }
    findings.notes.extend(note);
    let mut init = built.scripts;
    init.extend(scripts(loaded, &place, findings));
    if let Some(found) = findings.found.last_mut() {
        let inner = command::port(found.engine, &command).unwrap_or(found.engine.port());
        found.port = port(node, inner, variables).map(Port::Told);
        found.init = init;
        let group = &found.places[0].group.clone();
        found.places.extend(places.map(|text| Place { group: group.clone(), text }));
    }
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map(Node::items).unwrap_or_default()
}

/// The image of a service.
struct Image {
    name: String,
    built: Option<Built>,
    /// What is to be said if it is a database.
    note: Option<String>,
}

/// The image, or the one that the service's Dockerfile builds upon; else why neither is known.
fn image(service: &Node, variables: &Variables, place: &str, read: Read) -> Result<Image, String> {
    if let Some(build) = service.get("build").filter(|build| build.content != Content::Empty) {
        let named = || {
            let name = interpolate(service.get("image")?.text()?, variables)?;
            crate::database::of_image(&name, &[])?;
            let note = format!("{place} is built; its image {} has to be there", one_line(&name));
            Some(Image { name, built: None, note: Some(note) })
        };
        return built(build, variables, place, read).or_else(|wrong| named().ok_or(wrong));
    }
    if service.get("provider").is_some() {
        return Err("it is made by a provider, and no container".into());
    }
    let Some(typed) = service.get("image").and_then(Node::text).filter(|text| !text.is_empty()) else {
        return Err("it has no image".into());
    };
    if let Some(name) = interpolate(typed, variables).filter(|name| !name.is_empty()) {
        return Ok(Image { name, built: None, note: None });
    }
    // Without its tag it may still tell the engine.
    let name = typed.split(':').next().filter(|name| !name.contains('$'));
    let name = name.filter(|name| crate::database::of_image(name, &[]).is_some()).ok_or_else(|| {
        format!("the value of its image {} is not known here; an .env file would tell it", one_line(typed))
    })?;
    Ok(Image {
        name: name.into(),
        built: None,
        note: Some(format!(
            "{place}: the tag of {} is not known here; see to it in the file",
            one_line(typed)
        )),
    })
}

fn built(build: &Node, variables: &Variables, place: &str, read: Read) -> Result<Image, String> {
    let text = |key: &str| {
        let typed = build.get(key)?.text()?;
        Some(interpolate(typed, variables).unwrap_or_else(|| typed.to_owned()))
    };
    let context = text("context").unwrap_or_default();
    let shown = context
        .strip_prefix(ROOTED)
        .map_or(context.clone(), |path| normal(path).unwrap_or_else(|| path.to_owned()));
    let shown = one_line(&shown);
    let folder =
        context.strip_prefix(ROOTED).ok_or_else(|| format!("it is built from {shown}, which is not here"))?;
    let name = text("dockerfile").unwrap_or_else(|| "Dockerfile".into());
    let path = if name.starts_with('/') { name } else { format!("{folder}/{name}") };
    let dockerfile = match text("dockerfile_inline") {
        Some(inline) => inline,
        None => {
            let read = normal(&path).and_then(|path| read(&path));
            read.ok_or_else(|| format!("it is built from {shown}, whose Dockerfile is not here"))?
        }
    };
    let arguments = build.get("args").cloned().map(as_map);
    let arguments: Variables = arguments
        .iter()
        .flat_map(Node::entries)
        .filter_map(|entry| {
            let value = match entry.value.text() {
                Some(text) => interpolate(text, variables)?,
                None => variables.get(&entry.key)?.clone(),
            };
            Some((entry.key.clone(), value))
        })
        .collect();
    let built = dockerfile::read(&dockerfile, &arguments, text("target").as_deref()).map_err(|wrong| {
        format!("it is built from {shown}, and its Dockerfile was not understood: {wrong}")
    })?;
    let scripts = built.scripts.iter().map(|path| format!("{folder}/{path}")).collect::<Vec<_>>();
    let scripts = scripts.iter().filter_map(|path| normal(path)).collect();
    Ok(Image {
        name: built.base.clone(),
        note: Some(format!(
            "{place} is built from {shown}; {} stands in for it: push the built image somewhere and name it with image:",
            one_line(&built.base)
        )),
        built: Some(Built { scripts, ..built }),
    })
}

/// The variables of a service.
struct Environment {
    relevant: Vec<(String, Option<String>)>,
    /// All of them, whether a database reads them or not.
    names: Vec<String>,
}

/// The variables; those of `environment` win over those of files, and these over the image's.
fn environment(loaded: &Loaded, built: &Built, read: Read) -> Environment {
    let variables = &loaded.shared.variables;
    let mut all: Vec<(String, Option<String>)> =
        service::relevant(built.variables.clone()).map(|(name, value)| (name, Some(value))).collect();
    let mut names = Vec::new();
    for node in items(&loaded.node, "env_file") {
        let Some(path) = node.text().or_else(|| node.get("path")?.text()) else { continue };
        let text = read(path.strip_prefix(ROOTED).unwrap_or(path)).unwrap_or_default();
        let own = match node.get("format").and_then(Node::text) {
            Some("raw") => dotenv::parse(&text),
            _ => dotenv::filled(&text, variables),
        };
        names.extend(own.keys().cloned());
        all.extend(service::relevant(own).map(|(name, value)| {
            let is_known = !value.contains("${");
            (name, Some(value).filter(|_| is_known))
        }));
    }
    let node = loaded.node.get("environment").cloned().map(as_map);
    for entry in node.iter().flat_map(Node::entries) {
        names.push(entry.key.clone());
        if service::relevant([(entry.key.clone(), ())]).next().is_none() || all.len() > SERVICES {
            continue;
        }
        let value = match entry.value.text() {
            Some(text) => interpolate(text, variables),
            None => variables.get(&entry.key).cloned(),
        };
        all.push((entry.key.clone(), value));
    }
    let relevant = all.into_iter().map(|(name, value)| in_file(name, value, loaded, read)).collect();
    Environment { relevant, names }
}

/// `POSTGRES_USER_FILE: /run/secrets/NAME`, whose value is in a file of the project. No password is read.
fn in_file(name: String, value: Option<String>, loaded: &Loaded, read: Read) -> (String, Option<String>) {
    let inner = name.strip_suffix("_FILE").filter(|name| !name.ends_with("PASSWORD"));
    let text = inner.zip(value.as_deref()).and_then(|(_, path)| {
        let file = loaded.shared.files.get(path.strip_prefix("/run/secrets/")?)?;
        read(file.strip_prefix(ROOTED)?)
    });
    match (inner, text) {
        (Some(inner), Some(text)) => (inner.to_owned(), Some(text.trim_end().to_owned())),
        (Some(_), None) => (name, None),
        (None, _) => (name, value),
    }
}

/// The words of a command, written as one text or as a list.
fn words(node: &Node, variables: &Variables) -> Vec<String> {
    let fill = |text: &str| interpolate(text, variables).unwrap_or_else(|| text.to_owned());
    match node.text() {
        Some(text) => command::words(&fill(text)),
        None => node.items().iter().filter_map(Node::text).map(fill).collect(),
    }
}

/// What a service has besides its image that only servers have, or only clients.
fn role(service: &Node, variables: &Variables, is_known: bool, names: &[String]) -> Role {
    let is_port = |text: &str| text.contains("5432") || text.contains("3306");
    let texts = |key: &str| {
        items(service, key).iter().filter_map(|node| node.text().or_else(|| node.get("target")?.text()))
    };
    let mut ports = texts("ports").chain(texts("expose"));
    let mut volumes = items(service, "volumes").iter().filter_map(target);
    let test = service.get("healthcheck").and_then(|node| node.get("test"));
    let test = test.map(|node| words(node, variables).join(" ")).unwrap_or_default();
    let checks = ["pg_isready", "mysqladmin", "mariadb-admin", "healthcheck.sh"];
    let is_client =
        names.iter().any(|name| service::names_a_server(name)) || service.get("depends_on").is_some();
    if is_client && !is_known {
        Role::Client
    } else if ports.any(is_port)
        || volumes.any(service::is_data)
        || checks.iter().any(|check| test.contains(check))
    {
        Role::Server
    } else {
        Role::Unknown
    }
}

fn target(volume: &Node) -> Option<&str> {
    match volume.text() {
        Some(text) => {
            let text = text.strip_prefix(ROOTED).unwrap_or(text);
            text.split_once(':').map_or(Some(text), |(_, rest)| rest.split(':').next())
        }
        None => volume.get("target")?.text(),
    }
}

/// The port of this machine that leads to the server: `5433:5432`, or one with an address before it.
fn port(service: &Node, inner: u16, variables: &Variables) -> Option<u16> {
    let fill = |node: &Node| interpolate(node.text()?, variables);
    items(service, "ports").iter().find_map(|node| match node.get("target") {
        Some(target) => mapped(&fill(node.get("published")?)?, &fill(target)?, inner),
        None => published(&fill(node)?, inner),
    })
}

/// `[ADDRESS:]PORT:PORT[/tcp]`, whose ports may be ranges.
pub(super) fn published(text: &str, inner: u16) -> Option<u16> {
    let (before, target) = text.strip_suffix("/tcp").unwrap_or(text).rsplit_once(':')?;
    mapped(before.rsplit(':').next()?, target, inner)
}

fn mapped(published: &str, target: &str, inner: u16) -> Option<u16> {
    let range = |text: &str| -> Option<(u16, u16)> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let ((first, last), (from, to)) = (range(target)?, range(published)?);
    if !(first..=last).contains(&inner) || to < from {
        return None;
    }
    from.checked_add(inner - first).filter(|port| *port <= to && *port > 0)
}

/// The set-up scripts that are mounted from the project, in the order in which the image runs them.
fn scripts(loaded: &Loaded, place: &str, findings: &mut Findings) -> Vec<String> {
    let mut mounts = Vec::new();
    for node in items(&loaded.node, "volumes") {
        let Some(target) = target(node) else { continue };
        let source = match node.text() {
            Some(text) => {
                let path = text.strip_prefix(ROOTED).unwrap_or(text);
                let rooted = if path.len() < text.len() { ROOTED } else { "" };
                format!("{rooted}{}", path.split(':').next().unwrap_or_default())
            }
            None => node.get("source").and_then(Node::text).unwrap_or_default().to_owned(),
        };
        mounts.push((target.to_owned(), source));
    }
    for node in items(&loaded.node, "configs") {
        let text = |key: &str| node.get(key).and_then(Node::text);
        if let Some((name, target)) = text("source").zip(text("target")) {
            mounts.push((target.to_owned(), loaded.shared.files.get(name).cloned().unwrap_or_default()));
        }
    }
    mounted(&mounts, place, findings)
}

/// The set-up scripts among what is mounted: where in the container, and what. What a later one mounts to the
/// same place counts.
pub(super) fn mounted(mounts: &[(String, String)], place: &str, findings: &mut Findings) -> Vec<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for (target, source) in mounts {
        let Some(name) = target.strip_prefix(SCRIPTS) else { continue };
        let path = source.strip_prefix(ROOTED).and_then(normal);
        match path.filter(|path| name.trim_matches('/').is_empty() || is_script(path)) {
            Some(path) => {
                found.retain(|(known, _)| *known != name);
                found.push((name, path));
            }
            None => {
                let source = one_line(source.strip_prefix(ROOTED).unwrap_or(source));
                findings.notes.push(format!(
                    "{place}: the set-up scripts {source}:{} are not taken over; name them with init:, or let the tests load them",
                    one_line(target)
                ));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, source)| source).collect()
}

fn is_script(path: &str) -> bool {
    setup::SCRIPTS.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn services_with_all_forms_of_variables() {
        let text = "\
x-db: &db
  image: postgres:${PG:-16}
services:
  web: {build: ., environment: {POSTGRES_PASSWORD: x}}
  one:
    <<: *db
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: \"${PW}\"}
  two:
    image: 'mysql:${TAG}'
    env_file: [db.env]
    environment:
      - MYSQL_DATABASE=shop
      - MYSQL_USER
";
        let files = |path: &str| match path {
            ".env" => Some("TAG=8.4\nMYSQL_USER=me\n".to_owned()),
            "db.env" => Some("MYSQL_DATABASE=no\nMYSQL_PASSWORD=hush\nMYSQL_ROOT_PASSWORD=hush\n".to_owned()),
            _ => None,
        };
        let Findings { found, notes, .. } = read("c.yml", text, &files).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.name.as_str(),
                    found.tag.as_deref(),
                    found.user.as_deref(),
                    found.database.as_deref(),
                    found.has_password,
                )
            })
            .collect();
        let expected = [
            ("one", Some("16"), Some("app"), Some("app"), false),
            ("two", Some("8.4"), Some("me"), Some("shop"), true),
        ];
        assert_eq!((shown.as_slice(), notes.len()), (&expected[..], 0), "{notes:?}");
        assert_eq!(found[1].places[0].text, "c.yml:8: service two");
    }

    #[test]
    fn what_cannot_be_taken_over_is_noted() {
        let text = "\
services:
  db:
    image: mariadb:${TAG}
    command: --sql-mode=ANSI
    ports: ['33060:33060', '127.0.0.1:3307:3306/tcp']
    volumes: ['./init:/docker-entrypoint-initdb.d:ro', {target: /docker-entrypoint-initdb.d, source: x}]
  built: {build: {context: pg}}
  app: {build: app}
";
        let files = |path: &str| match path {
            "pg/Dockerfile" => Some("FROM rust AS a\nfrom --platform=x postgres:17\nRUN x\n".to_owned()),
            "app/Dockerfile" => Some("FROM python:3\n".to_owned()),
            _ => None,
        };
        let Findings { found, notes, left, .. } = read("c.yml", text, &files).unwrap();
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["db", "built"]);
        for (note, part) in notes.iter().zip(["tag of mariadb:${TAG}", "scripts x:/docker", "built from pg"])
        {
            assert!(note.contains(part), "{part}: {notes:?}");
        }
        assert_eq!((notes.len(), found[0].args.as_slice()), (3, &["--sql-mode=ANSI".to_owned()][..]));
        assert_eq!(left.len(), 1);
        assert_eq!(
            (found[0].port, found[0].init.as_slice()),
            (Some(Port::Told(3307)), &["init".to_owned()][..])
        );
    }

    #[test]
    fn no_compose_file_is_no_finding() {
        assert!(read("c.yml", "[]", &nothing).unwrap().found.is_empty());
        assert!(read("c.yml", "a: [", &nothing).is_err());
    }
}

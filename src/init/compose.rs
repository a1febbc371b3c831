//! The services of compose files that are databases.

pub(super) mod load;

use std::collections::BTreeSet;

use self::load::{Loaded, Loader, ROOTED, as_map, examples};
use super::dockerfile::{self, Built};
use super::dotenv::{self, Variables, interpolate};
use super::project::{folder, normal};
use super::service::{self, Role, Service};
use super::{Findings, Place, Port, Purpose, Read, SERVICES, Script, command, one_line, one_more};
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
    Ok(found(loader, read, &[file.to_owned()]).findings)
}

/// What files that belong together tell.
#[derive(Default)]
pub struct Told {
    pub findings: Findings,
    /// The files that they include.
    pub included: BTreeSet<String>,
    /// The services of other files that theirs extend: the file, and the place as messages have it.
    pub extended: BTreeSet<(String, String)>,
}

/// Reads files that `docker compose` merges, the later ones over the first.
pub fn read_all(files: &[String], read: Read) -> Told {
    found(Loader::new(read), read, files)
}

fn found(mut loader: Loader, read: Read, files: &[String]) -> Told {
    let first = files.first().map_or("", String::as_str);
    let services = loader.project(files, folder(first), &Variables::new(), DEPTH);
    let Loader { mut findings, included, extended, .. } = loader;
    let mut left = SERVICES;
    for loaded in &services {
        if !one_more(&mut left, first, &mut findings) {
            break;
        }
        take(loaded, read, files, &mut findings);
    }
    Told { findings, included, extended }
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
    let is_built = built.is_some();
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
    let is_for_tests =
        [&profiles.join(" "), &loaded.key].iter().any(|text| Purpose::of(text) == Purpose::Tests);
    let purpose = if is_for_tests { Purpose::Tests } else { purpose_of(files) };
    let service = Service {
        name: &loaded.key,
        image: &image,
        role: role(node, variables, is_known, &all.names),
        variables: all.relevant,
        entrypoint,
        command: command.clone(),
        purpose,
        place: Place { group: files.join(" "), text: place.clone() },
    };
    if !service::take(service, findings) {
        return;
    }
    findings.notes.extend(note);
    // The line is one of this file, unless it may be another's.
    let file = loaded.places.first().filter(|_| loaded.places.len() == 1 && node.get("extends").is_none());
    findings.notes.extend(all.missing.iter().map(|(line, missing)| match file {
        Some((file, _)) => format!("{file}:{line}: service {}{with}: {missing}", one_line(&loaded.key)),
        None => format!("{place}: {missing}"),
    }));
    let init = mounted(&mounts(loaded), built.scripts, &place, findings);
    // A folder may have programs in it.
    if init.iter().any(|script| !is_script(&script.path) || script.path.ends_with(".sh")) {
        let needed = all.names.iter().filter(|name| service::is_of_scripts(name));
        findings.notes.extend(needed.map(|name| {
            let name = one_line(name);
            format!("{place}: {name} is not taken over, and its set-up scripts may need it")
        }));
    }
    if let Some(found) = findings.found.last_mut() {
        let inner = command::port(found.engine, &command).or(all.port).unwrap_or(found.engine.port());
        let stands_in = is_built && found.image.is_none();
        let others = if stands_in { command::without_libraries(&mut found.args) } else { Vec::new() };
        if !others.is_empty() {
            let others = one_line(&others.join(", "));
            findings.notes.push(format!(
                "{place}: of its command, shared_preload_libraries is not taken over, for {} may not have {others}",
                one_line(&image)
            ));
        }
        found.port = port(node, inner, variables).map(Port::Told);
        found.init = init;
        let group = &found.places[0].group.clone();
        found.places.extend(places.map(|text| Place { group: group.clone(), text }));
    }
}

/// What files that are merged are for: an overlay for tests or production makes all of it that.
fn purpose_of(files: &[String]) -> Purpose {
    let all = || files.iter().map(|file| Purpose::of(file));
    let least = all().min().filter(|least| *least == Purpose::Tests);
    least.or(all().max()).unwrap_or(Purpose::Development)
}

/// A path for people.
fn shown(path: &str) -> String {
    path.strip_prefix(ROOTED)
        .map_or_else(|| path.to_owned(), |path| normal(path).unwrap_or_else(|| path.to_owned()))
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
    let shown = one_line(&shown(&context));
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
    let rooted = |(name, path): &(String, String)| Some((name.clone(), normal(&format!("{folder}/{path}"))?));
    let scripts = built.scripts.iter().filter_map(rooted).collect();
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
    /// What is to be said of files of variables that are not there, with the line, if it is a database.
    missing: Vec<(usize, String)>,
    /// The port that the server is told to listen on.
    port: Option<u16>,
}

/// The variables; those of `environment` win over those of files, and these over the image's.
fn environment(loaded: &Loaded, built: &Built, read: Read) -> Environment {
    let variables = &loaded.shared.variables;
    let mut all: Vec<(String, Option<String>)> =
        service::relevant(built.variables.clone()).map(|(name, value)| (name, Some(value))).collect();
    let (mut names, mut missing, mut port) = (Vec::new(), Vec::new(), None);
    let is_port = |name: &str| ["PGPORT", "MYSQL_TCP_PORT"].contains(&name);
    for node in items(&loaded.node, "env_file") {
        let Some(typed) = node.text().or_else(|| node.get("path")?.text()) else { continue };
        let typed = typed.strip_prefix(ROOTED).unwrap_or(typed);
        let is_needed = node.get("required").and_then(Node::text) != Some("false");
        let text = read(typed).or_else(|| {
            let example = examples(typed).filter(|_| is_needed).find_map(|path| Some((read(&path)?, path)));
            let path = |path: &str| one_line(&normal(path).unwrap_or_else(|| path.to_owned()));
            let instead = match &example {
                Some((_, example)) => format!("{} is read instead", path(example)),
                None => "write it, or see to the user and the database in the file".to_owned(),
            };
            let wrong = || format!("its env_file {} was not found in the project; {instead}", path(typed));
            missing.extend(is_needed.then(|| (node.line, wrong())));
            Some(example?.0)
        });
        let text = text.unwrap_or_default();
        let own = match node.get("format").and_then(Node::text) {
            Some("raw") => dotenv::parse(&text),
            _ => dotenv::filled(&text, variables),
        };
        names.extend(own.keys().cloned());
        port = own.iter().filter(|(name, _)| is_port(name)).find_map(|(_, port)| port.parse().ok()).or(port);
        all.extend(service::relevant(own).map(|(name, value)| {
            let is_known = !value.contains("${");
            (name, Some(value).filter(|_| is_known))
        }));
    }
    let node = loaded.node.get("environment").cloned().map(as_map);
    for entry in node.iter().flat_map(Node::entries) {
        names.push(entry.key.clone());
        if is_port(&entry.key) {
            let typed = entry.value.text().and_then(|text| interpolate(text, variables));
            port = typed.and_then(|text| text.parse().ok()).or(port);
        }
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
    Environment { relevant, names, missing, port }
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

/// What is mounted into a service: where, and what.
fn mounts(loaded: &Loaded) -> Vec<(String, String)> {
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
    mounts
}

/// The set-up scripts of what an image has and what is mounted, in the order in which the image runs them:
/// that of their names in the container. What a later one mounts to the same place counts. Settings that are
/// mounted are told of.
pub(super) fn mounted(
    mounts: &[(String, String)],
    built: Vec<(String, String)>,
    place: &str,
    findings: &mut Findings,
) -> Vec<Script> {
    let name_of = |target: &str| dockerfile::script(target).map(ToOwned::to_owned);
    // A folder hides what the image has in its place.
    let is_hidden = mounts.iter().any(|(target, _)| name_of(target).is_some_and(|name| name.is_empty()));
    let mut found = if is_hidden { Vec::new() } else { built };
    for (target, source) in mounts {
        let (from, to) = (one_line(&shown(source)), one_line(target));
        if service::is_settings(target) {
            let advice = "they go under args:";
            findings
                .notes
                .push(format!("{place}: the server's settings {from} are not taken over; {advice}"));
        }
        let Some(name) = name_of(target) else { continue };
        let path = source.strip_prefix(ROOTED).and_then(normal);
        if path.as_deref().is_some_and(is_script)
            && !name.is_empty()
            && (name.contains('/') || !is_script(&name))
        {
            let advice = "name it with init:, if it is to be run";
            let why = "which the official images do not run";
            findings.notes.push(format!("{place}: {from} is mounted as {to}, {why}; {advice}"));
            continue;
        }
        match path.filter(|path| name.is_empty() || is_script(path)) {
            Some(path) => {
                found.retain(|(known, _)| *known != name);
                found.push((name, path));
            }
            None => findings.notes.push(format!(
                "{place}: the set-up scripts {from}:{to} are not taken over; name them with init:, or let the tests load them"
            )),
        }
    }
    found.sort();
    found.into_iter().map(|(name, path)| Script { name, path }).collect()
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
        assert_eq!((found[0].port, found[0].init[0].path.as_str()), (Some(Port::Told(3307)), "init"));
    }

    #[test]
    fn no_compose_file_is_no_finding() {
        assert!(read("c.yml", "[]", &nothing).unwrap().found.is_empty());
        assert!(read("c.yml", "a: [", &nothing).is_err());
    }
}

//! The services of a compose file that are databases.

use super::dotenv::{self, Variables, interpolate};
use super::service::{self, Service};
use super::{Findings, Place, Port, SERVICES, one_line, one_more};
use crate::engine::Engine;
use crate::manifest::setup;
use crate::yaml::{Content, Node};

/// Reads a file of the project by its path, as seen from the compose file's folder.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

pub fn read(file: &str, text: &str, read: Read) -> anyhow::Result<Findings> {
    let root = Node::parse(file, text)?.merged();
    let variables = read(".env").map(|text| dotenv::parse(&text)).unwrap_or_default();
    let mut findings = Findings::default();
    let mut left = SERVICES;
    for entry in root.get("services").map(Node::entries).unwrap_or_default() {
        if !one_more(&mut left, file, &mut findings) {
            break;
        }
        let place = format!("{file}:{}: service {}", entry.line, one_line(&entry.key));
        let of = &entry.value;
        let Some(image) = image(of, &variables, &place, read, &mut findings) else { continue };
        let service = Service {
            name: &entry.key,
            image: &image,
            variables: environment(of, &variables, read),
            place: Place { group: file.into(), text: place.clone() },
        };
        if service::take(service, &mut findings) {
            let init = scripts(of, &place, &mut findings);
            if let Some(found) = findings.found.last_mut() {
                found.port = port(of, found.engine, &variables).map(Port::Told);
                found.init = init;
            }
            note_rest(of, &place, &mut findings);
        }
    }
    Ok(findings)
}

/// The image, or the one that the service's Dockerfile builds upon.
fn image(
    service: &Node,
    variables: &Variables,
    place: &str,
    read: Read,
    findings: &mut Findings,
) -> Option<String> {
    if let Some(build) = service.get("build") {
        let folder = build.text().or_else(|| build.get("context")?.text()).unwrap_or(".");
        let name = build.get("dockerfile").and_then(Node::text).unwrap_or("Dockerfile");
        let base = base_image(&read(&format!("{}/{name}", folder.trim_end_matches('/')))?)?;
        crate::database::of_image(&base, &[])?;
        findings.notes.push(format!(
            "{place} is built from {}; {} stands in for it: push the built image somewhere and name it with image:",
            one_line(folder),
            one_line(&base)
        ));
        return Some(base);
    }
    let typed = service.get("image")?.text()?;
    interpolate(typed, variables).or_else(|| {
        // Without its tag it may still tell the engine.
        let name = typed.split(':').next().filter(|name| !name.contains('$'))?;
        crate::database::of_image(name, &[])?;
        findings.notes.push(format!(
            "{place}: the tag of {} is not known here; see to it in the file",
            one_line(typed)
        ));
        Some(name.into())
    })
}

fn base_image(dockerfile: &str) -> Option<String> {
    let mut words = dockerfile.lines().rev().map(str::split_whitespace).find(|words| {
        let mut words = words.clone();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("FROM"))
    })?;
    words.find(|word| !word.eq_ignore_ascii_case("FROM") && !word.starts_with("--")).map(Into::into)
}

/// The variables; those of `environment` win over those of files.
fn environment(service: &Node, variables: &Variables, read: Read) -> Vec<(String, Option<String>)> {
    let mut all: Vec<(String, Option<String>)> = Vec::new();
    let paths = service
        .get("env_file")
        .map(|node| if node.items().is_empty() { std::slice::from_ref(node) } else { node.items() });
    for path in
        paths.unwrap_or_default().iter().filter_map(|node| node.text().or_else(|| node.get("path")?.text()))
    {
        let text = read(path).unwrap_or_default();
        all.extend(
            service::relevant(dotenv::parse(&text))
                .map(|(name, value)| (name, interpolate(&value, variables))),
        );
    }
    all.extend(service.get("environment").map(|node| pairs(node, variables)).unwrap_or_default());
    all
}

/// `NAME: VALUE` or `- NAME=VALUE`; a name alone is taken from the caller's environment.
fn pairs(node: &Node, variables: &Variables) -> Vec<(String, Option<String>)> {
    let value = |name: &str, text: Option<&str>| match text {
        Some(text) => interpolate(text, variables),
        None => variables.get(name).cloned(),
    };
    let typed: Vec<(String, Option<&str>)> = match &node.content {
        Content::List(items) => items
            .iter()
            .filter_map(Node::text)
            .map(|text| {
                text.split_once('=')
                    .map_or((text.to_owned(), None), |(name, text)| (name.to_owned(), Some(text)))
            })
            .collect(),
        _ => node.entries().iter().map(|entry| (entry.key.clone(), entry.value.text())).collect(),
    };
    service::relevant(typed)
        .map(|(name, text)| {
            let value = value(&name, text);
            (name, value)
        })
        .collect()
}

/// The port of this machine that leads to the server: `5433:5432`, or one with an address before it.
fn port(service: &Node, engine: Engine, variables: &Variables) -> Option<u16> {
    let own = engine.port().to_string();
    service.get("ports")?.items().iter().find_map(|node| match node.get("target") {
        Some(target) => (target.text() == Some(&own)).then(|| node.get("published")?.text()?.parse().ok())?,
        None => {
            let text = interpolate(node.text()?, variables)?;
            let (before, inner) = text.rsplit_once(':')?;
            (inner.trim_end_matches("/tcp") == own).then(|| before.rsplit(':').next()?.parse().ok())?
        }
    })
}

/// The set-up scripts that are mounted from the project, in the order in which the image runs them.
fn scripts(service: &Node, place: &str, findings: &mut Findings) -> Vec<String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for node in service.get("volumes").map(Node::items).unwrap_or_default() {
        let part = |key: &str| node.get(key).and_then(Node::text);
        let short = node.text().and_then(|text| text.split_once(':'));
        let target = short.map_or_else(|| part("target"), |(_, rest)| rest.split(':').next());
        let Some(name) = target.and_then(|target| target.strip_prefix(SCRIPTS)) else { continue };
        let source = short.map(|(source, _)| source).or_else(|| part("source")).unwrap_or_default();
        let is_plain = source.starts_with("./") && !source.contains("..") && !source.contains('$');
        if is_plain && (name.trim_matches('/').is_empty() || is_script(source)) {
            found.push((name.to_owned(), source.trim_start_matches("./").to_owned()));
        } else {
            let volume = one_line(node.text().or(target).unwrap_or_default());
            findings.notes.push(format!(
                "{place}: the set-up scripts {volume} are not taken over; name them with init:, or let the tests load them"
            ));
        }
    }
    found.sort();
    found.into_iter().map(|(_, source)| source).collect()
}

const SCRIPTS: &str = "/docker-entrypoint-initdb.d";

fn is_script(path: &str) -> bool {
    setup::SCRIPTS.iter().any(|ending| path.ends_with(ending))
}

/// What a database of testbed does not have by itself.
fn note_rest(service: &Node, place: &str, findings: &mut Findings) {
    if service.get("command").is_some_and(|node| node.content != Content::Empty) {
        findings
            .notes
            .push(format!("{place}: its command is not taken over; the server's flags go under args:"));
    }
    if service.get("extends").is_some() {
        findings.notes.push(format!("{place}: what it extends is not looked at"));
    }
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
        let Findings { found, notes } = read("c.yml", text, &files).unwrap();
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
        let Findings { found, notes } = read("c.yml", text, &files).unwrap();
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["db", "built"]);
        for (note, part) in
            notes.iter().zip(["tag of mariadb:${TAG}", "scripts /docker", "under args", "built from pg"])
        {
            assert!(note.contains(part), "{part}: {notes:?}");
        }
        assert_eq!(notes.len(), 4);
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

//! The built-in databases: what `--with` says, and the templates compiled into the program.

use anyhow::{anyhow, bail};
use serde_json::{Map, Value, json};

use super::render::{self, Params, Template, Variables};
use super::setup::Setup;
use super::{platform, setup};
use crate::authority::Signed;
use crate::engine::Engine;
use crate::failure::{Advise, Exit, usage};
use crate::run_id::{RunId, is_dns_label};
use crate::words;

/// The parameters that the built-in templates take.
pub const PARAMS: [&str; 26] = [
    "image",
    "port",
    "user",
    "password",
    "database",
    "databases",
    "users",
    "extensions",
    "init",
    "seed",
    "from",
    "scram-iterations",
    "cpu",
    "cpu-limit",
    "memory",
    "memory-limit",
    "medium",
    "args",
    "server",
    "pull-secret",
    "node-selector",
    "tolerations",
    "runtime-class",
    "profile",
    "ip-family",
    "tls",
];

/// What the templates have in common.
const PARTS: [(&str, &str); 6] = [
    ("annotations", include_str!("../../templates/parts/annotations.yaml")),
    ("pod", include_str!("../../templates/parts/pod.yaml")),
    ("container", include_str!("../../templates/parts/container.yaml")),
    ("service", include_str!("../../templates/parts/service.yaml")),
    ("mount", include_str!("../../templates/parts/mount.yaml")),
    ("volume", include_str!("../../templates/parts/volume.yaml")),
];

/// What one `--with ENGINE[:TAG][@PORT][=NAME]` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct With {
    pub engine: Engine,
    /// The image's tag; the template has a default.
    pub tag: Option<String>,
    /// The port on this machine, and of the Service in a cluster.
    pub port: Option<u16>,
    /// The database's name, and the prefix of its objects' names.
    pub name: String,
}

/// Whether a text can be an image's tag.
fn is_tag(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether a database can be asked for with this tag.
pub fn is_version(tag: &str) -> bool {
    is_tag(tag) && !is_meant_as_port(tag)
}

/// Whether a tag is one that no version of a server has, and a port of this machine could be.
fn is_meant_as_port(tag: &str) -> bool {
    tag.bytes().all(|byte| byte.is_ascii_digit()) && tag.parse::<u16>().is_ok_and(|port| port > 1023)
}

impl With {
    /// Reads `postgres`, `mysql:9.7`, `postgres:17@5433=orders`.
    ///
    /// # Errors
    /// A usage error for an unknown engine, or a tag, port or name that is not fit.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Self::read(text).map_err(|error| anyhow!("--with {text}: {error}")).exit(Exit::Usage)
    }

    /// Whether neither a tag nor an image says which version it has to be.
    pub fn takes_any_version(&self, params: &Params) -> bool {
        self.tag.is_none() && !self.scopes("image").iter().any(|name| params.contains_key(name))
    }

    /// The names under which a parameter can be given for this database, the nearest first.
    pub fn scopes(&self, param: &str) -> [String; 3] {
        [format!("{}.{param}", self.name), format!("{}.{param}", self.engine.name()), param.to_owned()]
    }

    /// [`With::parse`] for a text from elsewhere than `--with`.
    ///
    /// # Errors
    /// A message that does not say where the text stands.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let (image, name) = text.split_once('=').map_or((text, None), |(image, name)| (image, Some(name)));
        let (image, port) = image.split_once('@').map_or((image, None), |(image, port)| (image, Some(port)));
        if name.is_some_and(|name| name.contains('@')) || port.is_some_and(|port| port.contains(':')) {
            bail!("the port stands after the tag and before the name: postgres:17@5433=orders");
        }
        let (engine, tag) = image.split_once(':').map_or((image, None), |(engine, tag)| (engine, Some(tag)));
        let engine = Engine::parse(engine)?;
        if let Some(port) = tag.and_then(|tag| tag.rsplit(':').next()).filter(|part| is_meant_as_port(part)) {
            let before = image.strip_suffix(port).unwrap_or(image).trim_end_matches(':');
            let name = name.map(|name| format!("={name}")).unwrap_or_default();
            bail!(
                "{port} looks like a port, which is written {before}@{port}{name}; an image with such a tag is named by the parameter image"
            );
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            bail!("the part after ':' is not an image tag, such as 17 or 9.7");
        }
        if engine == Engine::Sqlite && tag.is_some() {
            bail!("sqlite has no image and takes no tag");
        }
        if engine == Engine::Sqlite && port.is_some() {
            bail!("sqlite needs no server and takes no port");
        }
        let port = port.map(setup::port).transpose()?;
        let name = name.unwrap_or(engine.name());
        if !is_dns_label(name) || name.starts_with(|c: char| c.is_ascii_digit()) {
            bail!("the name {name:?} needs lower-case letters, digits and '-', and a letter first");
        }
        Ok(Self { engine, tag: tag.map(Into::into), port, name: name.into() })
    }
}

/// Renders the template of one built-in database. `password` is used where no parameter sets one; `tls` is
/// there where [`wants_tls`] says so.
///
/// # Errors
/// A usage error for a parameter's value that the template cannot take.
pub fn render(
    with: &With,
    run_id: &RunId,
    params: &Params,
    setup: &Setup,
    password: &str,
    tls: Option<&Signed>,
) -> anyhow::Result<String> {
    let text = match with.engine {
        Engine::Mysql => include_str!("../../templates/mysql.yaml"),
        Engine::Mariadb => include_str!("../../templates/mariadb.yaml"),
        Engine::Postgres => include_str!("../../templates/postgres.yaml"),
        Engine::Sqlite => return Ok(String::new()),
    };
    let mut extra = Map::new();
    extra.insert("name".into(), with.name.as_str().into());
    extra.insert("tag".into(), with.tag.as_deref().map_or(Value::Null, Into::into));
    extra.insert("generated_password".into(), password.into());
    let tls = tls.map(
        |signed| json!({"authority": signed.authority, "certificate": signed.certificate, "key": signed.key}),
    );
    extra.insert("tls".into(), tls.unwrap_or(Value::Null));
    extra.insert("platform".into(), serde_json::to_value(platform::read(with, params)?)?);
    let params = own_params(with, params)?;
    let own = |param: &str| params.get(param).map(String::as_str).filter(|value| !value.is_empty());
    let shown = setup.shown(with, run_id, own("user"), own("password").unwrap_or(password));
    extra.insert("setup".into(), serde_json::to_value(shown)?);
    let name = format!("--with {}", with.name);
    render::render(
        &Template { name: &name, text, parts: &PARTS },
        &Variables { run_id, params: &params, extra },
    )
}

/// Whether the parameters ask for a server that takes logins over TLS alone.
///
/// # Errors
/// A usage error for a value that is neither true nor false.
pub fn wants_tls(with: &With, params: &Params) -> anyhow::Result<bool> {
    Ok(with.engine != Engine::Sqlite && platform::read(with, params)?.tls)
}

/// The parameters as one template sees them: `NAME.memory` wins over `ENGINE.memory`, which wins over
/// `memory`.
fn own_params(with: &With, params: &Params) -> anyhow::Result<Params> {
    let mut own = Params::new();
    for param in PARAMS {
        if let Some(value) = with.scopes(param).iter().find_map(|name| params.get(name)) {
            own.insert(param.into(), value.clone());
        }
    }
    if own.get("user").is_some_and(|user| with.engine != Engine::Postgres && user == "root") {
        return Err(usage(format!(
            "--with {}: root exists anyway; leave out --param user to log in as root",
            with.name
        )));
    }
    Ok(own)
}

/// What to say of parameters that no `--with` takes, with what may have been meant.
///
/// No more than that: parameters come from a project's file and from variables as well, where they may be for
/// other databases and manifests than those of this call.
pub fn unknown(withs: &[With], params: &Params) -> Vec<String> {
    let scopes = || withs.iter().flat_map(|with| [with.name.as_str(), with.engine.name()]);
    let told = |name: &String| {
        let (scope, param) = name.split_once('.').map_or((None, name.as_str()), |(a, b)| (Some(a), b));
        if PARAMS.contains(&param) && scope.is_none_or(|scope| scopes().any(|known| known == scope)) {
            return None;
        }
        let scope = match scope {
            Some(scope) => format!("{}.", words::nearest(scope, scopes()).unwrap_or(scope)),
            None => String::new(),
        };
        let meant = words::nearest(param, PARAMS).map(|param| format!("{scope}{param}"));
        let meant = meant.filter(|meant| meant != name).map(|meant| format!("; did you mean {meant}?"));
        Some(format!("no built-in database takes the parameter {name}{}", meant.unwrap_or_default()))
    };
    params.keys().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn with_takes_engine_tag_and_name() {
        let with = With::parse("postgres:17@5433=orders").unwrap();
        assert_eq!(
            (with.engine, with.tag.as_deref(), with.port, with.name.as_str()),
            (Engine::Postgres, Some("17"), Some(5433), "orders")
        );
        let with = With::parse("mysql").unwrap();
        assert_eq!((with.engine, with.tag, with.name.as_str()), (Engine::Mysql, None, "mysql"));
    }

    #[test]
    fn with_refuses_what_is_no_database() {
        for (text, part) in [
            ("oracle", "mysql, mariadb, postgres, sqlite"),
            ("mysql:", "image tag"),
            ("mysql=", "name"),
            ("mysql=Orders", "lower-case"),
            ("mysql=1a", "letter first"),
            ("sqlite:3", "no tag"),
            ("postgres:5433", "postgres@5433"),
            ("postgres:5433=orders", "postgres@5433=orders"),
            ("postgres:17:5433", "postgres:17@5433"),
            ("sqlite@1", "no port"),
            ("postgres@", "no port: a number from 1 to 65535"),
            ("postgres@0", "no port"),
            ("postgres@65536", "no port"),
            (
                "postgres@5433:17",
                "the port stands after the tag and before the name: postgres:17@5433=orders",
            ),
            ("postgres=orders@5433", "before the name"),
        ] {
            let error = format!("{:#}", With::parse(text).unwrap_err());
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn every_template_renders_to_objects_with_and_without_parameters() {
        let run_id = RunId::parse("run-1").unwrap();
        let awkward = "yes: \"x\" # 'y'";
        for engine in ["mysql", "mariadb", "postgres"] {
            for params in [
                &[][..],
                &[
                    ("user", awkward),
                    ("password", awkward),
                    ("database", awkward),
                    ("medium", "Memory"),
                    ("args", "--x=1 --y"),
                ],
            ] {
                let params: Params =
                    params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
                let with = With::parse(engine).unwrap();
                let setup = Setup::read(&with, &params, &render::Places::new()).unwrap();
                let text = render(&with, &run_id, &params, &setup, "generated", None).unwrap();
                let objects = super::super::parse::parse(engine, &text).unwrap();
                let kinds: Vec<_> = objects.iter().map(|object| object.kind.as_str()).collect();
                assert_eq!(kinds, ["Secret", "Service", "Pod"], "{text}");
                let password = if params.is_empty() { "generated" } else { awkward };
                assert_eq!(objects[0].body["stringData"]["password"], password);
            }
        }
    }

    #[test]
    fn the_nearest_parameter_wins() {
        let params: Params = [("memory", "1"), ("postgres.memory", "2"), ("orders.memory", "3")]
            .map(|(a, b)| (a.into(), b.into()))
            .into();
        let memory = |with: &str| own_params(&With::parse(with).unwrap(), &params).unwrap()["memory"].clone();
        assert_eq!([memory("mysql"), memory("postgres"), memory("postgres=orders")], ["1", "2", "3"]);
    }

    #[test]
    fn every_parameter_is_told_of() {
        let cli = crate::cli::Cli::command();
        let mut arguments = cli.find_subcommand("up").unwrap().get_arguments();
        let help = arguments
            .find(|arg| arg.get_id() == "param")
            .and_then(|arg| arg.get_long_help())
            .unwrap()
            .to_string();
        let words: Vec<&str> = help.split(|c: char| !c.is_ascii_lowercase() && c != '-').collect();
        for param in PARAMS {
            assert!(words.contains(&param), "{param} is not in --help");
            assert!(
                include_str!("../../docs/src/reference/manifests.md").contains(&format!("`{param}`")),
                "{param} is not in the reference"
            );
        }
    }

    #[test]
    fn misspelt_parameters_are_found() {
        let params =
            ["memry", "mysql.memory", "other.memory", "mysqll.memory", "mysql.usr", "zzz", "orders.tls"];
        let params: Params = params.map(|name| (name.to_owned(), "1".to_owned())).into();
        let told = unknown(&[With::parse("mysql=orders").unwrap()], &params);
        let told: Vec<&str> = told
            .iter()
            .map(|text| text.trim_start_matches("no built-in database takes the parameter "))
            .collect();
        assert_eq!(
            told,
            [
                "memry; did you mean memory?",
                "mysql.usr; did you mean mysql.user?",
                "mysqll.memory; did you mean mysql.memory?",
                "other.memory; did you mean orders.memory?",
                "zzz",
            ]
        );
    }
}

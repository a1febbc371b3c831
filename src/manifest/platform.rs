//! What the parameters of the built-in databases say about the cluster: where a pod may run, as whom, with
//! how much, where its image may be pulled from, and the addresses of its Service. Values are read here, so
//! that a wrong one is named; the templates only write them down.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::builtin::With;
use super::quantity::Quantity;
use super::render::Params;
use crate::engine::{self, Engine};
use crate::failure::{Advise, Exit};

/// What a pod asks for where nobody says it.
const CPU: &str = "100m";

/// The parameters of one built-in database, as its template writes them down.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Platform {
    pull_secrets: Vec<String>,
    node_selector: Vec<Label>,
    tolerations: Vec<Toleration>,
    runtime_class: Option<String>,
    requests: Resources,
    limits: Resources,
    /// Whether the pod is fit for Pod Security's level "restricted".
    hardened: bool,
    /// The user and group to run as, where the cluster assigns none.
    user: Option<u32>,
    ip_family: Option<&'static str>,
    /// Whether the server takes logins over TLS alone.
    pub tls: bool,
    /// The group of the server's user in the image, which has to read the key of its certificate.
    group: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Resources {
    cpu: Option<String>,
    memory: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Label {
    key: String,
    value: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Toleration {
    key: String,
    /// `None`: whatever the taint's value is.
    value: Option<String>,
    /// `None`: all effects.
    effect: Option<&'static str>,
}

/// Whom a pod runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// The image's own user: for Pod Security.
    Restricted,
    /// A user that the cluster assigns: for OpenShift's security context constraints.
    Openshift,
}

/// Reads the parameters that are for one database.
pub fn read(with: &With, params: &Params) -> anyhow::Result<Platform> {
    let given = Given { with, params };
    given.platform().with_context(|| format!("--with {}", with.name)).exit(Exit::Usage)
}

/// Refuses a value that the parameter cannot have; parameters that can have any are none of this file's.
///
/// # Errors
/// A message that does not name the parameter.
pub fn check(param: &str, value: &str) -> anyhow::Result<()> {
    match param {
        _ if value.trim().is_empty() => Ok(()),
        "pull-secret" => names(value).map(drop),
        "node-selector" => labels(value).map(drop),
        "tolerations" => tolerations(value).map(drop),
        "runtime-class" => name(value).map(drop),
        "cpu" | "cpu-limit" | "memory" | "memory-limit" => quantity(value).map(drop),
        "profile" => profile(value).map(drop),
        "ip-family" => ip_family(value).map(drop),
        "tls" => flag(value).map(drop),
        _ => Ok(()),
    }
}

/// The parameters as one database sees them.
struct Given<'a> {
    with: &'a With,
    params: &'a Params,
}

impl<'a> Given<'a> {
    fn platform(&self) -> anyhow::Result<Platform> {
        let memory = if self.with.engine == Engine::Postgres { "256Mi" } else { "512Mi" };
        let (cpu, cpu_limit) = self.resource("cpu", "cpu-limit", CPU)?;
        let (memory, memory_limit) = self.resource("memory", "memory-limit", memory)?;
        let profile = self.read("profile", profile)?;
        Ok(Platform {
            pull_secrets: self.read("pull-secret", names)?.unwrap_or_default(),
            node_selector: self.read("node-selector", labels)?.unwrap_or_default(),
            tolerations: self.read("tolerations", tolerations)?.unwrap_or_default(),
            runtime_class: self.read("runtime-class", name)?,
            requests: Resources { cpu: Some(cpu), memory: Some(memory) },
            limits: Resources { cpu: cpu_limit, memory: memory_limit },
            hardened: profile.is_some(),
            user: (profile == Some(Profile::Restricted)).then(|| self.user()),
            ip_family: self.read("ip-family", ip_family)?,
            tls: self.read("tls", flag)?.unwrap_or_default(),
            group: self.user(),
        })
    }

    /// The nearest value of a parameter, and the name that it is given under. An empty one says nothing: a
    /// pipeline's param has such a default.
    fn get(&self, param: &str) -> Option<(String, &'a str)> {
        let scope = self.with.scopes(param).into_iter().find(|scope| self.params.contains_key(scope))?;
        let value = self.params.get(&scope).map(|value| value.trim()).filter(|value| !value.is_empty())?;
        Some((scope, value))
    }

    fn read<T>(&self, param: &str, read: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        let Some((name, value)) = self.get(param) else { return Ok(None) };
        read(value).with_context(|| format!("the parameter {name}")).map(Some)
    }

    /// Request and limit. A limit below the usual request lowers that: a request above its limit is refused
    /// by the cluster.
    fn resource(&self, request: &str, limit: &str, usual: &str) -> anyhow::Result<(String, Option<String>)> {
        let most = self.read(limit, quantity)?;
        let asked = self.read(request, quantity)?;
        let text = |param: &str| self.get(param).map(|(_, value)| value.to_owned());
        if let (Some(asked), Some(most)) = (asked, most)
            && asked > most
        {
            bail!("the parameter {request} asks for more than the parameter {limit} allows");
        }
        let lowered = most
            .filter(|most| Quantity::parse(usual).is_some_and(|usual| usual > *most))
            .and_then(|_| text(limit));
        Ok((text(request).or(lowered).unwrap_or_else(|| usual.to_owned()), text(limit)))
    }

    /// The number of the server's user in the official images: 999, and 70 where PostgreSQL's is built on
    /// Alpine.
    fn user(&self) -> u32 {
        let image = self.get("image").map(|(_, image)| image);
        let tag = image.map_or(self.with.tag.as_deref(), engine::tag).unwrap_or_default();
        let is_alpine = tag.split('-').any(|part| part.starts_with("alpine"));
        if self.with.engine == Engine::Postgres && is_alpine { 70 } else { 999 }
    }
}

fn flag(value: &str) -> anyhow::Result<bool> {
    value.parse().map_err(|_| anyhow!("{value:?} is neither true nor false"))
}

fn names(value: &str) -> anyhow::Result<Vec<String>> {
    value.split_whitespace().map(name).collect()
}

/// An object's name: a DNS subdomain.
fn name(value: &str) -> anyhow::Result<String> {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let is_end = |c: char| c.is_ascii_alphanumeric();
    if value.is_empty() || !value.chars().all(fit) || !value.starts_with(is_end) || !value.ends_with(is_end) {
        bail!("{value:?} is no name of an object: lower-case letters, digits, '-' and '.'");
    }
    Ok(value.to_owned())
}

fn labels(value: &str) -> anyhow::Result<Vec<Label>> {
    let mut labels = BTreeMap::new();
    for item in value.split_whitespace() {
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| anyhow!("{item:?} has no '='; write LABEL=VALUE, with spaces between several"))?;
        check_key(key)?;
        check_value(value)?;
        if labels.insert(key, value).is_some() {
            bail!("the label {key} stands twice");
        }
    }
    Ok(labels.into_iter().map(|(key, value)| Label { key: key.into(), value: value.into() }).collect())
}

fn tolerations(value: &str) -> anyhow::Result<Vec<Toleration>> {
    value.split_whitespace().map(toleration).collect()
}

/// `KEY[=VALUE][:EFFECT]`, as `kubectl taint` has it.
fn toleration(item: &str) -> anyhow::Result<Toleration> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let (taint, effect) = item.split_once(':').map_or((item, None), |(taint, effect)| (taint, Some(effect)));
    let effect = match effect {
        None => None,
        Some(effect) => match EFFECTS.iter().find(|known| **known == effect) {
            Some(known) => Some(*known),
            None => bail!("{item:?}: {effect:?} is no effect of a taint; known are {}", EFFECTS.join(", ")),
        },
    };
    let (key, value) = taint.split_once('=').map_or((taint, None), |(key, value)| (key, Some(value)));
    check_key(key)
        .and_then(|()| check_value(value.unwrap_or_default()))
        .context("write KEY[=VALUE][:EFFECT]")?;
    Ok(Toleration { key: key.into(), value: value.map(Into::into), effect })
}

/// A label's or a taint's key: a name with an optional prefix and '/' before it.
fn check_key(key: &str) -> anyhow::Result<()> {
    let (prefix, own) = key.split_once('/').map_or((None, key), |(prefix, own)| (Some(prefix), own));
    if own.is_empty() || !is_word(own) || prefix.is_some_and(|prefix| name(prefix).is_err()) {
        bail!("{key:?} is no key of a label or taint, such as disktype or example.com/pool");
    }
    Ok(())
}

fn check_value(value: &str) -> anyhow::Result<()> {
    if !is_word(value) {
        bail!(
            "{value:?} is no value of a label or taint: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
        );
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let fit = |c: char| is_end(c) || "-_.".contains(c);
    text.len() <= 63
        && text.chars().all(fit)
        && (text.is_empty() || (text.starts_with(is_end) && text.ends_with(is_end)))
}

fn quantity(value: &str) -> anyhow::Result<Quantity> {
    Quantity::parse(value)
        .filter(|quantity| *quantity >= Quantity::default())
        .ok_or_else(|| anyhow!("{value:?} is no quantity, such as 500m, 2 or 1Gi"))
}

fn profile(value: &str) -> anyhow::Result<Profile> {
    match value {
        "restricted" => Ok(Profile::Restricted),
        "openshift" => Ok(Profile::Openshift),
        _ => bail!("{value:?} is no profile; known are restricted, openshift"),
    }
}

fn ip_family(value: &str) -> anyhow::Result<&'static str> {
    match value {
        "ipv4" => Ok("IPv4"),
        "ipv6" => Ok("IPv6"),
        "dual" => Ok("dual"),
        _ => bail!("{value:?} is no family of addresses; known are ipv4, ipv6, dual"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn platform(with: &str, pairs: &[(&str, &str)]) -> Value {
        serde_json::to_value(read(&With::parse(with).unwrap(), &params(pairs)).unwrap()).unwrap()
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        format!("{:#}", read(&With::parse("postgres=orders").unwrap(), &params(pairs)).unwrap_err())
    }

    #[test]
    fn nothing_is_said_where_nothing_is_given() {
        let expected = json!({
            "pull_secrets": [], "node_selector": [], "tolerations": [], "runtime_class": null, "hardened": false, "user": null,
            "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": null, "memory": null}, "ip_family": null,
            "tls": false, "group": 999,
        });
        assert_eq!(platform("postgres", &[]), expected);
        let empty = [
            "pull-secret",
            "node-selector",
            "tolerations",
            "runtime-class",
            "cpu-limit",
            "memory",
            "profile",
            "ip-family",
        ];
        assert_eq!(platform("postgres", &empty.map(|name| (name, " "))), expected);
    }

    #[test]
    fn tolerations_are_spelt_as_taints_are() {
        let found = platform(
            "mysql",
            &[("tolerations", "ci dedicated=tests  example.com/gpu=:NoExecute x:NoSchedule")],
        );
        let expected = json!([
            {"key": "ci", "value": null, "effect": null},
            {"key": "dedicated", "value": "tests", "effect": null},
            {"key": "example.com/gpu", "value": "", "effect": "NoExecute"},
            {"key": "x", "value": null, "effect": "NoSchedule"},
        ]);
        assert_eq!(found["tolerations"], expected);
    }

    #[test]
    fn a_request_stays_below_its_limit() {
        let resources = |pairs: &[(&str, &str)]| {
            let found = platform("mysql", pairs);
            [&found["requests"]["memory"], &found["limits"]["memory"]]
                .map(|value| value.as_str().map(str::to_owned))
        };
        let texts = |request: &str, limit: &str| [request, limit].map(|text| Some(text.to_owned()));
        assert_eq!(resources(&[("memory-limit", "1Gi")]), texts("512Mi", "1Gi"));
        assert_eq!(resources(&[("memory-limit", "300M")]), texts("300M", "300M"));
        assert_eq!(resources(&[("memory-limit", "2Gi"), ("memory", "2Gi")]), texts("2Gi", "2Gi"));
        assert!(
            error(&[("memory-limit", "1Gi"), ("orders.memory", "1.5Gi")])
                .contains("memory asks for more than the parameter memory-limit")
        );
    }

    #[test]
    fn the_user_is_the_images() {
        for (with, pairs, user) in [
            ("postgres", &[][..], 999),
            ("postgres:17-alpine", &[], 70),
            ("postgres:17-alpine3.22", &[], 70),
            ("postgres:alpine", &[], 70),
            ("postgres:17", &[("image", "r.example:5000/postgres:16-alpine@sha256:00")], 70),
            ("postgres:17-alpine", &[("image", "postgis/postgis:17-3.5")], 999),
            ("mysql:9-alpine", &[], 999),
            ("mariadb", &[], 999),
        ] {
            let found = platform(with, &[pairs, &[("profile", "restricted")]].concat());
            assert_eq!(
                (&found["user"], &found["hardened"]),
                (&user.into(), &true.into()),
                "{with} {pairs:?}"
            );
        }
        let found = platform("mysql", &[("profile", "openshift")]);
        assert_eq!((&found["user"], &found["hardened"]), (&Value::Null, &true.into()));
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (name, value, part) in [
            ("pull-secret", "a A", "\"A\" is no name of an object"),
            ("pull-secret", "a,b", "\"a,b\" is no name"),
            ("node-selector", "disktype", "\"disktype\" has no '='"),
            ("node-selector", "a=1 a=2", "the label a stands twice"),
            ("node-selector", "=x", "\"\" is no key"),
            ("node-selector", "a=b c=d,e", "\"d,e\" is no value"),
            (
                "tolerations",
                "a=b:Never",
                "\"a=b:Never\": \"Never\" is no effect of a taint; known are NoSchedule,",
            ),
            ("tolerations", "a:", "\"\" is no effect"),
            ("tolerations", ":NoSchedule", "write KEY[=VALUE][:EFFECT]: \"\" is no key"),
            ("tolerations", "a/b/c", "\"a/b/c\" is no key"),
            ("tolerations", "a=-", "\"-\" is no value"),
            ("runtime-class", "g visor", "\"g visor\" is no name"),
            ("cpu-limit", "2 cores", "\"2 cores\" is no quantity, such as 500m"),
            ("memory-limit", "1GB", "\"1GB\" is no quantity"),
            ("memory", "-1", "\"-1\" is no quantity"),
            ("cpu", "x", "\"x\" is no quantity"),
            ("profile", "root", "\"root\" is no profile; known are restricted, openshift"),
            ("ip-family", "IPv6", "\"IPv6\" is no family of addresses; known are ipv4, ipv6, dual"),
        ] {
            for scope in ["", "postgres.", "orders."] {
                let name = format!("{scope}{name}");
                let message = error(&[(&name, value)]);
                assert!(
                    message.starts_with(&format!("--with orders: the parameter {name}: "))
                        && message.contains(part),
                    "{message}"
                );
            }
            assert!(format!("{:#}", check(name, value).unwrap_err()).contains(part));
            assert!(check(name, "").is_ok());
        }
        assert!(check("user", "any thing").is_ok());
    }
}

//! A container's environment as the image inside will read it: plain values, `valueFrom`, `envFrom`, and the
//! `_FILE` forms that point into mounted Secrets and ConfigMaps.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, KeyToPath, PodSpec, Secret, Volume,
};
use serde_json::Value;

use crate::failure::Advise;
use crate::manifest::Object;

/// The two kinds that hold values for containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataKind {
    /// `v1/Secret`
    Secret,
    /// `v1/ConfigMap`
    ConfigMap,
}

impl DataKind {
    /// How Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// A Secret or ConfigMap that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub kind: DataKind,
    pub name: String,
}

impl Reference {
    fn new(kind: DataKind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// What a container takes all variables from.
    fn of(source: &EnvFromSource) -> Option<Self> {
        match (&source.secret_ref, &source.config_map_ref) {
            (Some(secret), _) => Some(Self::new(DataKind::Secret, &secret.name)),
            (_, Some(map)) => Some(Self::new(DataKind::ConfigMap, &map.name)),
            _ => None,
        }
    }
}

/// The contents of Secrets and ConfigMaps, of the manifest and of the cluster. An entry `None` is known to be
/// absent.
#[derive(Default)]
pub struct Data {
    texts: HashMap<Reference, Option<BTreeMap<String, String>>>,
    /// What is no text: nothing but files.
    binary: HashMap<Reference, BTreeMap<String, Vec<u8>>>,
    /// Whether there is nowhere else to look.
    is_whole: bool,
}

impl Data {
    /// Takes the manifest's Secrets and ConfigMaps in.
    pub fn add_objects(&mut self, objects: &[Object]) -> anyhow::Result<()> {
        // Pods read those of their own namespace: of two with one name, these come last and win.
        let makes_pods = |object: &&Object| object.kind == "Pod" || object.pod_template().is_some();
        let mut own: BTreeSet<Option<&str>> =
            objects.iter().filter(makes_pods).map(Object::namespace).collect();
        own.insert(None);
        let (own, others): (Vec<_>, Vec<_>) =
            objects.iter().partition(|object| own.contains(&object.namespace()));
        for object in others.into_iter().chain(own) {
            let mut value = Value::Object(object.body.clone());
            let context = || format!("{}: {} is not shaped like one", object.origin, object.label());
            match (object.api_version.as_str(), object.kind.as_str()) {
                // The parser's own message would show the value.
                ("v1", "Secret") => {
                    let damaged = join_lines(&mut value);
                    match serde_json::from_value(value) {
                        Ok(secret) => self.add_secret(secret),
                        Err(_) => bail!(
                            "{}: data takes texts in base64, stringData plain texts{}",
                            context(),
                            damaged.map(|key| format!("; that of {key} is no base64")).unwrap_or_default()
                        ),
                    }
                }
                ("v1", "ConfigMap") => {
                    self.add_config_map(serde_json::from_value(value).with_context(context)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a Secret in; `stringData` wins over `data`, as in the API server.
    pub fn add_secret(&mut self, secret: Secret) {
        let name = secret.metadata.name.unwrap_or_default();
        let mut texts = BTreeMap::new();
        let mut binary = BTreeMap::new();
        for (key, ByteString(bytes)) in secret.data.unwrap_or_default() {
            match String::from_utf8(bytes) {
                // No variable holds a NUL.
                Ok(text) if text.contains('\0') => drop(binary.insert(key, text.into_bytes())),
                Ok(text) => drop(texts.insert(key, text)),
                Err(error) => drop(binary.insert(key, error.into_bytes())),
            }
        }
        texts.extend(secret.string_data.unwrap_or_default());
        binary.retain(|key, _| !texts.contains_key(key));
        self.binary.insert(Reference::new(DataKind::Secret, &name), binary);
        self.set(DataKind::Secret, name, Some(texts));
    }

    pub fn add_config_map(&mut self, map: ConfigMap) {
        let name = map.metadata.name.unwrap_or_default();
        if let Some(binary) = map.binary_data {
            let bytes = binary.into_iter().map(|(key, ByteString(bytes))| (key, bytes)).collect();
            self.binary.insert(Reference::new(DataKind::ConfigMap, &name), bytes);
        }
        self.set(DataKind::ConfigMap, name, Some(map.data.unwrap_or_default()));
    }

    /// Notes that there is no cluster to ask for more.
    pub fn close(&mut self) {
        self.is_whole = true;
    }

    /// Notes that the cluster does not have it.
    pub fn add_absent(&mut self, reference: Reference) {
        self.texts.insert(reference, None);
    }

    /// Every value of the Secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets = self.texts.iter().filter(|(reference, _)| reference.kind == DataKind::Secret);
        secrets.filter_map(|(_, map)| map.as_ref()).flat_map(|map| map.values().map(String::as_str))
    }

    /// The names of the Secrets whose contents are known.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let known =
            self.texts.iter().filter(|(reference, map)| reference.kind == DataKind::Secret && map.is_some());
        known.map(|(reference, _)| reference.name.as_str())
    }

    fn set(&mut self, kind: DataKind, name: String, map: Option<BTreeMap<String, String>>) {
        self.texts.insert(Reference { kind, name }, map);
    }
}

/// How many variables may stand one in the other, and how long a text may get by them.
const DEPTH: usize = 20;
const MOST: usize = 128 << 10;

/// The values of a container's own variables that are known by now, by their place in the list.
#[derive(Default)]
struct Known {
    values: HashMap<usize, Option<String>>,
    depth: usize,
}

/// What volumes show in a folder of a container.
#[derive(Debug, Default)]
pub struct Files {
    /// Names and contents, in the order of the names.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Volumes whose content only the cluster knows.
    pub others: Vec<String>,
}

/// Reads one container's variables.
pub struct Variables<'a> {
    spec: &'a PodSpec,
    container: &'a Container,
    data: &'a Data,
    /// Secrets and ConfigMaps that were asked for and are not in `data`.
    pub missing: BTreeSet<Reference>,
    /// Those of them without which the container starts all the same.
    pub optional: BTreeSet<Reference>,
}

impl<'a> Variables<'a> {
    /// The variables of one container of a pod.
    pub fn new(spec: &'a PodSpec, container: &'a Container, data: &'a Data) -> Self {
        Self { spec, container, data, missing: BTreeSet::new(), optional: BTreeSet::new() }
    }

    /// The container.
    pub fn container(&self) -> &'a Container {
        self.container
    }

    /// The text of a file that a Secret or ConfigMap of the manifest shows in the container.
    pub fn file(&self, path: &str) -> Option<String> {
        let (reference, key) = self.mounted(path)?;
        self.data.texts.get(&reference)?.as_ref()?.get(&key).cloned()
    }

    /// What all variables of the container come from and nobody has told yet.
    pub fn untold(&self) -> BTreeSet<Reference> {
        // One that may be missing tells nothing where there is nowhere else to look for it.
        let may_be_there = |source: &&EnvFromSource| !(self.data.is_whole && is_optional(source));
        let sources = self.container.env_from.iter().flatten().filter(may_be_there).filter_map(Reference::of);
        sources.filter(|reference| !self.data.texts.contains_key(reference)).collect()
    }

    /// Whether the variable is set, or may be by something that nobody has told yet. One that is known to be empty
    /// counts for the images as none.
    pub fn may_declare(&mut self, name: &str) -> bool {
        let known = self.before(name, usize::MAX, &mut Known::default());
        let is_empty = matches!(known, Ok(Some(value)) if value.is_empty());
        let is_set = if is_empty { self.declares(&format!("{name}_FILE")) } else { self.declares(name) };
        is_set || !self.untold().is_empty()
    }

    /// Whether the variable is set at all, by its own name or as `NAME_FILE`, wherever its value comes from.
    pub fn declares(&mut self, name: &str) -> bool {
        let file = format!("{name}_FILE");
        let mut own = self.container.env.iter().flatten();
        own.any(|variable| (variable.name == name || variable.name == file) && !self.is_left_unset(variable))
            || matches!(self.bulk_value(name), Ok(Some(_)))
    }

    /// Whether the variable's source is optional, and not there.
    fn is_left_unset(&self, variable: &EnvVar) -> bool {
        let Some((reference, key, true)) = source_of_value(variable) else { return false };
        match self.data.texts.get(&reference) {
            None => self.data.is_whole,
            Some(map) => map.as_ref().is_none_or(|map| !map.contains_key(key)),
        }
    }

    /// The value of a variable, `NAME_FILE` followed. `None` where it is unset or empty, or its source is not
    /// known yet (then the source is in [`Variables::missing`]).
    ///
    /// # Errors
    /// A message that names variable and source when the source lacks the key, both forms are set, or the
    /// file is in no known volume.
    pub fn get(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let plain = self.plain(name)?;
        let file = format!("{name}_FILE");
        let Some(path) = self.plain(&file)? else { return Ok(plain) };
        if plain.is_some() {
            bail!("both {name} and {file} are set, which the image refuses");
        }
        let Some((reference, key)) = self.mounted(&path) else {
            bail!("{file} is {path}, which is in no Secret or ConfigMap volume of the pod");
        };
        self.look_up(&reference, &key, false).with_context(|| format!("reading {file} ({path})")).map(
            |value| {
                // The images read the file in a shell's $(...), which drops line ends.
                value.map(|value| value.trim_end_matches('\n').to_owned())
            },
        )
    }

    /// All variables whose values are known, as the container's processes see them.
    pub fn all(&mut self) -> BTreeMap<String, String> {
        let container = self.container;
        let mut names: BTreeSet<String> =
            container.env.iter().flatten().map(|variable| variable.name.clone()).collect();
        for source in container.env_from.iter().flatten() {
            let Some(reference) = Reference::of(source) else { continue };
            let keys = self.data.texts.get(&reference).and_then(Option::as_ref).into_iter().flatten();
            names.extend(
                keys.map(|(key, _)| format!("{}{key}", source.prefix.as_deref().unwrap_or_default())),
            );
        }
        names.into_iter().filter_map(|name| Some((name.clone(), self.plain(&name).ok()??))).collect()
    }

    /// The files that volumes show below a folder of the container, in the order of their names.
    pub fn files_below(&mut self, folder: &str) -> anyhow::Result<Files> {
        let mut found = Files::default();
        let container = self.container;
        for mount in container.volume_mounts.iter().flatten() {
            let Some(rest) =
                mount.mount_path.strip_prefix(folder).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            else {
                continue;
            };
            let Some(volume) = self.spec.volumes.iter().flatten().find(|volume| volume.name == mount.name)
            else {
                continue;
            };
            let Some(files) = self.files_of(volume) else {
                found.others.push(volume.name.clone());
                continue;
            };
            let inside = rest.trim_matches('/');
            match &mount.sub_path {
                Some(sub) => {
                    let Some(text) = files.get(sub) else {
                        bail!("the volume {} has no file {sub}", volume.name)
                    };
                    let name = if inside.is_empty() { sub.as_str() } else { inside };
                    found.files.insert(name.to_owned(), text.clone());
                }
                None if inside.is_empty() => found.files.extend(files),
                None => {}
            }
        }
        // The images look at the folder's own files only.
        found.files.retain(|name, _| !name.contains('/'));
        Ok(found)
    }

    /// The files of a volume whose content is known: names and contents.
    fn files_of(&self, volume: &Volume) -> Option<BTreeMap<String, Vec<u8>>> {
        let parts = sources(volume)
            .into_iter()
            .map(|source| source.and_then(|(reference, items)| self.keys(&reference, items)));
        parts.collect::<Option<Vec<_>>>().map(|parts| parts.into_iter().flatten().collect())
    }

    fn keys(&self, reference: &Reference, items: Option<&[KeyToPath]>) -> Option<BTreeMap<String, Vec<u8>>> {
        let texts = self.data.texts.get(reference)?.as_ref()?;
        let binary = self.data.binary.get(reference);
        let bytes = |key: &String| {
            let text = texts.get(key).map(|text| text.as_bytes().to_vec());
            text.or_else(|| binary?.get(key).cloned())
        };
        Some(match items {
            None => {
                let keys = texts.keys().chain(binary.into_iter().flat_map(BTreeMap::keys));
                keys.filter_map(|key| Some((key.clone(), bytes(key)?))).collect()
            }
            Some(items) => {
                items.iter().filter_map(|item| Some((item.path.clone(), bytes(&item.key)?))).collect()
            }
        })
    }

    fn plain(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        // The last one wins, as in the kubelet.
        let value = self.before(name, usize::MAX, &mut Known::default())?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// A text of the container, with the values of the variables that it names.
    ///
    /// # Errors
    /// As [`Variables::get`].
    pub fn filled(&mut self, text: &str) -> anyhow::Result<String> {
        self.fill(text, usize::MAX, &mut Known::default())
    }

    /// The value of a variable, as those see it that are so many in the list of the container's own.
    fn before(&mut self, name: &str, count: usize, known: &mut Known) -> anyhow::Result<Option<String>> {
        let container = self.container;
        let own = container.env.as_deref().unwrap_or_default();
        let own = &own[..count.min(own.len())];
        let Some(at) = own.iter().rposition(|variable| variable.name == name) else {
            return self.bulk_value(name);
        };
        if let Some(value) = known.values.get(&at) {
            return Ok(value.clone());
        }
        let value =
            self.value(&own[at], at, known).with_context(|| format!("reading the variable {name}"))?;
        known.values.insert(at, value.clone());
        Ok(value)
    }

    /// Fills in as the kubelet does: what nobody knows stays as it is.
    fn fill(&mut self, text: &str, count: usize, known: &mut Known) -> anyhow::Result<String> {
        let (mut filled, mut rest) = (String::new(), text);
        known.depth += 1;
        while let Some((before, after)) = rest.split_once('$') {
            filled += before;
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                if known.depth > DEPTH {
                    bail!("more than {DEPTH} variables stand one in the other");
                }
                if let Some(value) = self.before(name, count, known)? {
                    filled += &value;
                    rest = after;
                    if filled.len() > MOST {
                        bail!("with the variables in it, it has more than {MOST} bytes");
                    }
                    continue;
                }
            }
            filled.push('$');
        }
        known.depth -= 1;
        Ok(filled + rest)
    }

    fn value(&mut self, variable: &EnvVar, at: usize, known: &mut Known) -> anyhow::Result<Option<String>> {
        if let Some(value) = &variable.value {
            return self.fill(value, at, known).map(Some);
        }
        if variable.value_from.is_none() {
            return Ok(Some(String::new()));
        }
        let Some((reference, key, is_optional)) = source_of_value(variable) else {
            bail!(
                "it comes from a field of the pod, which is known to the container only; use a value or a Secret"
            );
        };
        if is_optional && !self.data.texts.contains_key(&reference) {
            self.optional.insert(reference);
            return Ok(None);
        }
        self.look_up(&reference, key, is_optional)
    }

    fn bulk_value(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let container = self.container;
        for source in container.env_from.iter().flatten().rev() {
            let Some(key) = name.strip_prefix(source.prefix.as_deref().unwrap_or_default()) else { continue };
            let Some(reference) = Reference::of(source) else { continue };
            if is_optional(source) && !self.data.texts.contains_key(&reference) {
                self.optional.insert(reference);
                continue;
            }
            if let Some(value) = self.look_up(&reference, key, true)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn look_up(
        &mut self,
        reference: &Reference,
        key: &str,
        optional: bool,
    ) -> anyhow::Result<Option<String>> {
        match self.data.texts.get(reference) {
            None => {
                self.missing.insert(reference.clone());
                Ok(None)
            }
            Some(None) if optional => Ok(None),
            Some(None) => bail!("{:?} {} does not exist", reference.kind, reference.name),
            Some(Some(map)) => match map.get(key) {
                None if self.is_no_text(reference, key) => Err(anyhow!(
                    "the value of {key} in Secret {} is no text once decoded from base64",
                    reference.name
                ))
                .hint("data has values in base64; one that is written as it is belongs in stringData"),
                None if !optional => bail!("{:?} {} has no key {key}", reference.kind, reference.name),
                value => Ok(value.cloned()),
            },
        }
    }

    fn is_no_text(&self, reference: &Reference, key: &str) -> bool {
        let binary = || self.data.binary.get(reference).is_some_and(|binary| binary.contains_key(key));
        reference.kind == DataKind::Secret && binary()
    }

    /// The Secret or ConfigMap, and the key in it, that a path inside the container shows.
    fn mounted(&self, path: &str) -> Option<(Reference, String)> {
        let mounts = self.container.volume_mounts.iter().flatten();
        let below = |mount: &str| {
            path.strip_prefix(mount.trim_end_matches('/'))
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let (mount, rest) = mounts
            .filter_map(|mount| Some((mount, below(&mount.mount_path)?)))
            .max_by_key(|(mount, _)| mount.mount_path.len())?;
        let file = match (&mount.sub_path, rest.trim_start_matches('/')) {
            (Some(sub), "") => sub.clone(),
            (Some(sub), rest) => format!("{sub}/{rest}"),
            (None, rest) => rest.to_owned(),
        };
        let volume = self.spec.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
        source_of(volume, &file)
    }
}

/// Where a variable's value comes from: a key, and whether the container does without.
fn source_of_value(variable: &EnvVar) -> Option<(Reference, &str, bool)> {
    let source = variable.value_from.as_ref()?;
    if let Some(of) = &source.secret_key_ref {
        return Some((Reference::new(DataKind::Secret, &of.name), &of.key, of.optional == Some(true)));
    }
    let of = source.config_map_key_ref.as_ref()?;
    Some((Reference::new(DataKind::ConfigMap, &of.name), &of.key, of.optional == Some(true)))
}

/// Takes the line breaks out of a Secret's values in base64, as the API server does, which `base64` makes. Tells the
/// first key whose value is none.
fn join_lines(secret: &mut Value) -> Option<String> {
    let mut damaged = None;
    for (key, value) in secret.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Value::String(text) = value {
            text.retain(|c| !matches!(c, '\r' | '\n'));
        }
        if !value.is_null() && serde_json::from_value::<ByteString>(value.clone()).is_err() {
            damaged = damaged.or_else(|| Some(key.clone()));
        }
    }
    damaged
}

fn is_optional(source: &EnvFromSource) -> bool {
    let secret = source.secret_ref.as_ref().and_then(|secret| secret.optional);
    let map = source.config_map_ref.as_ref().and_then(|map| map.optional);
    secret.or(map) == Some(true)
}

/// A Secret or ConfigMap that a volume shows, and those of its keys that it is for; all where none are named.
type Source<'a> = (Reference, Option<&'a [KeyToPath]>);

/// What a volume shows. `None` stands for what only the cluster knows.
fn sources(volume: &Volume) -> Vec<Option<Source<'_>>> {
    let secret = |name: &str, items| (Reference::new(DataKind::Secret, name), items);
    let map = |name: &str, items| (Reference::new(DataKind::ConfigMap, name), items);
    if let Some(sources) = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref()) {
        let of = sources.iter().map(|source| match (&source.secret, &source.config_map) {
            (Some(own), _) => Some(secret(&own.name, own.items.as_deref())),
            (_, Some(own)) => Some(map(&own.name, own.items.as_deref())),
            _ => None,
        });
        return of.collect();
    }
    vec![match (&volume.secret, &volume.config_map) {
        (Some(own), _) => own.secret_name.as_deref().map(|name| secret(name, own.items.as_deref())),
        (_, Some(own)) => Some(map(&own.name, own.items.as_deref())),
        _ => None,
    }]
}

/// The Secret or ConfigMap, and the key in it, that a file of a volume shows.
fn source_of(volume: &Volume, file: &str) -> Option<(Reference, String)> {
    sources(volume).into_iter().flatten().find_map(|(reference, items)| match items {
        None => Some((reference, file.to_owned())),
        Some(items) => items.iter().find(|item| item.path == file).map(|item| (reference, item.key.clone())),
    })
}

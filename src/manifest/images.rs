//! Images from another place than the manifest names: what `--image-prefix` does to every pod of a run.
//!
//! Names are compared in full, as registries have them: `mysql:9.7` is `docker.io/library/mysql:9.7`. Tags
//! and digests stay as they are.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};

use super::{Object, stamp};
use crate::failure::{Advise, Exit, usage};

/// On pods whose images come from elsewhere: what the manifest names for each container, `container=image`
/// with commas between. It tells engine and version where the new name does not.
pub const ORIGINALS_ANNOTATION: &str = "testbed/images";

/// The registry of names that have none.
const HUB: &str = "docker.io";
/// Another name of the same registry.
const HUB_INDEX: &str = "index.docker.io";

const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Where images come from instead: what one `--image-prefix` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The leading part of full names that it is for; `None`: for all that no other mirror is for.
    from: Option<String>,
    /// What takes its place.
    to: String,
}

impl Mirror {
    /// Reads `registry.example/mirror` or `docker.io/library=registry.example/mirror`.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Commas between several may have spaces behind them.
        let text = text.trim();
        let (from, to) = text.split_once('=').map_or((None, text), |(from, to)| (Some(from), to));
        let from = from.map(place).transpose()?.map(|from| match below(&from, HUB_INDEX) {
            Some(rest) => format!("{HUB}{rest}"),
            None => from,
        });
        Ok(Self { from, to: place(to)? })
    }
}

/// A registry, and perhaps a path on it, as it stands in the names of images.
fn place(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err("the names of images have no scheme; write registry.example/mirror".into());
    }
    let text = text.trim_end_matches('/');
    let (registry, path) =
        text.split_once('/').map_or((text, None), |(registry, path)| (registry, Some(path)));
    if !is_registry(registry) {
        return Err(format!(
            "{registry:?} is no registry's name, which has a '.' or a port, such as registry.example or localhost:5000"
        ));
    }
    if !is_host(registry) || !path.is_none_or(is_path) {
        return Err(format!(
            "{text:?} cannot be a part of an image's name: lower-case letters, digits, '.', '_', '-' and '/' can"
        ));
    }
    Ok(text.to_owned())
}

/// Whether the first part of a name is a registry, by the rule that all container engines share.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c));
    let is_address = || {
        host.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
    };
    (is_name || is_address()) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_path(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    text.split('/').all(|part| !part.is_empty() && part.chars().all(fit))
}

/// What follows a leading part of a name that ends where a part of the name does: nothing, or `/` and the
/// rest.
fn below<'a>(name: &'a str, leading: &str) -> Option<&'a str> {
    name.strip_prefix(leading).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name without tag and digest, and these as they stand.
fn split(image: &str) -> (&str, &str) {
    let end = image.find('@').unwrap_or(image.len());
    // A colon before the last slash is a registry's port.
    let last = image[..end].rfind('/').map_or(0, |slash| slash + 1);
    image.split_at(image[last..end].find(':').map_or(end, |colon| last + colon))
}

/// Registry and path of a name without tag and digest; `None` if it cannot be one, which the cluster says
/// better.
fn full(name: &str) -> Option<(&str, String)> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (HUB, name),
    };
    if !is_path(path) {
        return None;
    }
    let registry = if registry == HUB_INDEX { HUB } else { registry };
    let library = if registry == HUB && !path.contains('/') { "library/" } else { "" };
    Some((registry, format!("{library}{path}")))
}

/// An image's name as registries have it, such as `docker.io/library/mysql:9.7`; as it stands where it cannot
/// be one.
pub fn in_full(image: &str) -> String {
    let (name, suffix) = split(image);
    full(name).map_or_else(|| image.to_owned(), |(registry, path)| format!("{registry}/{path}{suffix}"))
}

/// The image's name at its mirror; `None` where it stays as it is.
fn mirrored(image: &str, mirrors: &[Mirror]) -> anyhow::Result<Option<String>> {
    let (name, suffix) = split(image);
    let Some((registry, path)) = full(name) else { return Ok(None) };
    let name = format!("{registry}/{path}");
    // Whatever is at a mirror already: a manifest that was printed with a prefix is made with it too.
    if mirrors.iter().any(|mirror| below(&name, &mirror.to).is_some()) {
        return Ok(None);
    }
    let from =
        |mirror: &&Mirror| mirror.from.as_deref().filter(|from| below(&name, from).is_some()).map(str::len);
    if let Some(mirror) = mirrors.iter().filter(|mirror| from(mirror).is_some()).max_by_key(from) {
        let rest = below(&name, mirror.from.as_deref().unwrap_or_default()).unwrap_or_default();
        return Ok(Some(format!("{}{rest}{suffix}", mirror.to)));
    }
    let Some(Mirror { to, .. }) = mirrors.iter().find(|mirror| mirror.from.is_none()) else {
        return Ok(None);
    };
    match registry {
        HUB => Ok(Some(format!("{to}/{path}{suffix}"))),
        registry if registry.contains(':') => {
            Err(anyhow!("the image {image}: a registry's port cannot stand behind the prefix {to}")).hint(format!(
                "say where this registry's images are: --image-prefix {registry}=PREFIX, or {registry}={registry} to leave them where they are"
            ))
        }
        _ => Ok(Some(format!("{to}/{name}{suffix}"))),
    }
}

/// Takes the images of every pod and pod template from the mirrors, and notes on it what the manifest names.
///
/// # Errors
/// A usage error: two mirrors for the same names, or with the object's place an image that a prefix cannot be
/// put in front of.
pub fn rewrite(objects: &mut [Object], mirrors: &[Mirror]) -> anyhow::Result<()> {
    for (index, mirror) in mirrors.iter().enumerate() {
        if let Some(first) = mirrors[..index].iter().find(|first| first.from == mirror.from) {
            let which = mirror.from.as_deref().unwrap_or("all other images");
            return Err(usage(format!(
                "--image-prefix names two places for {which}: {} and {}",
                first.to, mirror.to
            )));
        }
    }
    if mirrors.is_empty() {
        return Ok(());
    }
    for object in objects {
        let place = format!("{}: {}", object.origin, object.label());
        if let Some(pod) = object.pod_mut() {
            rewrite_pod(pod, mirrors).with_context(|| place).exit(Exit::Usage)?;
        }
    }
    Ok(())
}

fn rewrite_pod(pod: &mut Map<String, Value>, mirrors: &[Mirror]) -> anyhow::Result<()> {
    let mut moved = Vec::new();
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return Ok(()) };
    for list in LISTS {
        for container in mappings(spec, list) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(original) =
                container.get_mut("image").map(|image| replace(image, mirrors)).transpose()?.flatten()
            {
                moved.push((name, original));
            }
        }
    }
    // A volume can show the files of an image.
    for volume in mappings(spec, "volumes") {
        let reference = volume.get_mut("image").and_then(|image| image.get_mut("reference"));
        reference.map(|reference| replace(reference, mirrors)).transpose()?;
    }
    if moved.is_empty() { Ok(()) } else { note(pod, moved) }
}

fn mappings<'a>(
    spec: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Puts the name at the mirror in; returns the name that was there.
fn replace(image: &mut Value, mirrors: &[Mirror]) -> anyhow::Result<Option<String>> {
    let Value::String(text) = image else { return Ok(None) };
    Ok(mirrored(text, mirrors)?.map(|mirrored| std::mem::replace(text, mirrored)))
}

fn note(pod: &mut Map<String, Value>, moved: Vec<(String, String)>) -> anyhow::Result<()> {
    let annotations = stamp::mapping(stamp::metadata(pod)?, "annotations")?;
    let noted = annotations.get(ORIGINALS_ANNOTATION).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut originals: BTreeMap<&str, &str> =
        noted.split(',').filter_map(|pair| pair.split_once('=')).collect();
    for (container, image) in &moved {
        // From one mirror to the next: the first name still tells what it is.
        if original(&noted, container, image).is_none() {
            originals.insert(container, image);
        }
    }
    let text = originals
        .iter()
        .map(|(container, image)| format!("{container}={image}"))
        .collect::<Vec<_>>()
        .join(",");
    annotations.insert(ORIGINALS_ANNOTATION.into(), text.into());
    Ok(())
}

/// What the manifest named for a container whose image is `image` now, as the annotation tells it. `None` if
/// it tells nothing, or of another version: then the image was changed by hand since.
pub fn original<'a>(annotation: &'a str, container: &str, image: &str) -> Option<&'a str> {
    let noted =
        annotation.split(',').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == container))?.1;
    (split(noted).1 == split(image).1).then_some(noted)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn mirrors(texts: &str) -> Vec<Mirror> {
        texts.split(',').map(|text| Mirror::parse(text).unwrap()).collect()
    }

    /// The image as a pod gets it.
    fn named(image: &str, texts: &str) -> String {
        mirrored(image, &mirrors(texts)).unwrap().unwrap_or_else(|| image.to_owned())
    }

    #[test]
    fn a_plain_prefix_stands_for_docker_hub_and_before_all_others() {
        for (image, expected) in [
            ("mysql", "r.example/m/library/mysql"),
            ("mysql:9.7", "r.example/m/library/mysql:9.7"),
            ("docker.io/mysql:9.7", "r.example/m/library/mysql:9.7"),
            ("docker.io/library/mysql:9.7", "r.example/m/library/mysql:9.7"),
            ("index.docker.io/library/mysql:9.7", "r.example/m/library/mysql:9.7"),
            ("bitnami/postgresql:16", "r.example/m/bitnami/postgresql:16"),
            ("mysql@sha256:00ff", "r.example/m/library/mysql@sha256:00ff"),
            ("mysql:9.7@sha256:00ff", "r.example/m/library/mysql:9.7@sha256:00ff"),
            ("ghcr.io/x/y:1", "r.example/m/ghcr.io/x/y:1"),
            ("ghcr.io/x/y@sha256:00ff", "r.example/m/ghcr.io/x/y@sha256:00ff"),
            ("localhost/x:1", "r.example/m/localhost/x:1"),
            ("local/x:1", "r.example/m/local/x:1"),
            // What is there already.
            ("r.example/m/library/mysql:9.7", "r.example/m/library/mysql:9.7"),
            ("r.example/m/ghcr.io/x/y:1", "r.example/m/ghcr.io/x/y:1"),
            // Beside it, and not below it.
            ("r.example/more/x:1", "r.example/m/r.example/more/x:1"),
        ] {
            assert_eq!(named(image, "r.example/m"), expected, "{image}");
            assert_eq!(named(expected, "r.example/m/"), expected, "twice is once");
        }
        assert_eq!(named("mysql:9.7", "localhost:5000"), "localhost:5000/library/mysql:9.7");
        assert_eq!(named("mysql:9.7", "[::1]:5000"), "[::1]:5000/library/mysql:9.7");
    }

    #[test]
    fn the_longest_leading_part_decides() {
        let texts = "r.example/all,docker.io/library=r.example/mirror,docker.io/bitnami=r.example/b,ghcr.io=r.example/ghcr,\
                     ghcr.io/x=r.example/x,docker.io/library/mysql=r.example/database,other.example:5000=r.example/other";
        for (image, expected) in [
            ("postgres:17", "r.example/mirror/postgres:17"),
            ("docker.io/postgres:17@sha256:00", "r.example/mirror/postgres:17@sha256:00"),
            ("mysql:9.7", "r.example/database:9.7"),
            ("bitnami/mysql", "r.example/b/mysql"),
            ("percona/percona-server:8.0", "r.example/all/percona/percona-server:8.0"),
            ("ghcr.io/y/z", "r.example/ghcr/y/z"),
            ("ghcr.io/x/z", "r.example/x/z"),
            ("ghcr.io/xx/z", "r.example/ghcr/xx/z"),
            ("ghcr.io.example/x/z", "r.example/all/ghcr.io.example/x/z"),
            ("other.example:5000/a/b:1", "r.example/other/a/b:1"),
        ] {
            assert_eq!(named(image, texts), expected, "{image}");
            assert_eq!(named(expected, texts), expected, "twice is once");
        }
        assert_eq!(named("quay.io/x:1", "docker.io=r.example"), "quay.io/x:1", "nothing is for it");
        assert_eq!(named("a.example/x:1", "index.docker.io=r.example,a.example=docker.io"), "docker.io/x:1");
        assert_eq!(named("x/y:1", "index.docker.io/x=r.example"), "r.example/y:1");
    }

    #[test]
    fn what_is_no_image_is_left_to_the_cluster() {
        for image in ["", "Mysql:9.7", "my sql", "$(IMAGE)", "docker.io/", "a//b", "https://r.example/x"] {
            assert_eq!(named(image, "r.example/m"), image);
        }
    }

    #[test]
    fn a_port_behind_a_prefix_is_refused_with_the_remedy() {
        let error = mirrored("other.example:5000/x:1", &mirrors("r.example/m")).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "the image other.example:5000/x:1: a registry's port cannot stand behind the prefix r.example/m"
        );
        assert!(crate::failure::hints_of(&error)[0].contains("--image-prefix other.example:5000=PREFIX"));
        assert_eq!(
            named("other.example:5000/x:1", "r.example/m,other.example:5000=other.example:5000"),
            "other.example:5000/x:1"
        );
    }

    #[test]
    fn prefixes_that_are_none() {
        for (text, part) in [
            ("https://r.example/m", "no scheme"),
            ("", "no registry's name"),
            ("mirror", "no registry's name"),
            ("library=r.example/m", "\"library\" is no registry's name"),
            ("=r.example", "no registry's name"),
            ("docker.io=", "no registry's name"),
            ("r.example/Mirror", "lower-case"),
            ("R.example", "lower-case"),
            ("r.example/a b", "lower-case"),
            ("r.example/m:1", "lower-case"),
            ("r.example/m@sha256:00", "lower-case"),
            ("r.example//m", "lower-case"),
            ("r.example:http", "lower-case"),
            ("a.example=b.example=c.example", "lower-case"),
        ] {
            let error = Mirror::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    const POD: &str = "\
metadata: {name: a}
spec:
  initContainers: [{name: i, image: busybox}]
  containers: [{name: c, image: 'mysql:9.7'}, {name: d, image: quay.io/x/y}, {name: e}, {name: f, image: 7}]
  ephemeralContainers: [{name: g, image: busybox}]
  volumes: [{name: v, image: {reference: 'x/files:1'}}, {name: w, emptyDir: {}}]
";

    #[test]
    fn every_image_of_every_kind_of_pod_is_found() {
        let indented = |by: &str| POD.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        let template = |by: &str| format!("template:\n{}", indented(by));
        let deployment = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: b}}\nspec:\n  {}",
            template("    ")
        );
        let cron = format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: b}}\nspec:\n  jobTemplate:\n    spec:\n      {}",
            template("        ")
        );
        let custom = deployment.replace("apps/v1", "example.com/v1").replace("Deployment", "Widget");
        for text in [format!("apiVersion: v1\nkind: Pod\n{POD}"), deployment, cron, custom] {
            let mut objects = parse("m.yaml", &text).unwrap();
            rewrite(&mut objects, &mirrors("docker.io=r.example")).unwrap();
            let pod = Value::Object(objects[0].pod_mut().unwrap().clone());
            let spec = &pod["spec"];
            assert_eq!(spec["initContainers"][0]["image"], "r.example/library/busybox");
            assert_eq!(spec["containers"][0]["image"], "r.example/library/mysql:9.7");
            assert_eq!(spec["containers"][1]["image"], "quay.io/x/y");
            assert_eq!(spec["ephemeralContainers"][0]["image"], "r.example/library/busybox");
            assert_eq!(spec["volumes"][0]["image"]["reference"], "r.example/x/files:1");
            assert_eq!(
                pod["metadata"]["annotations"][ORIGINALS_ANNOTATION],
                "c=mysql:9.7,g=busybox,i=busybox"
            );
            // A second time, and on from there to another place.
            let once = objects[0].body.clone();
            rewrite(&mut objects, &mirrors("docker.io=r.example")).unwrap();
            assert_eq!(objects[0].body, once);
            rewrite(&mut objects, &mirrors("r.example=s.example,quay.io=s.example")).unwrap();
            let pod = Value::Object(objects[0].pod_mut().unwrap().clone());
            assert_eq!(pod["spec"]["containers"][0]["image"], "s.example/library/mysql:9.7");
            assert_eq!(
                pod["metadata"]["annotations"][ORIGINALS_ANNOTATION],
                "c=mysql:9.7,d=quay.io/x/y,g=busybox,i=busybox"
            );
        }
    }

    #[test]
    fn the_note_counts_as_long_as_the_version_is_the_same() {
        let noted = "db=bitnami/postgresql:16,other=x";
        assert_eq!(original(noted, "db", "r.example/m/postgresql:16"), Some("bitnami/postgresql:16"));
        assert_eq!(original(noted, "db", "r.example/m/postgresql:17"), None);
        assert_eq!(original(noted, "d", "r.example/m/postgresql:16"), None);
    }

    #[test]
    fn two_places_for_the_same_names_are_refused() {
        for (texts, which) in [
            ("a.example,b.example", "all other images"),
            ("docker.io=a.example,index.docker.io=b.example", "docker.io"),
        ] {
            let error = format!("{:#}", rewrite(&mut [], &mirrors(texts)).unwrap_err());
            assert_eq!(
                error,
                format!("--image-prefix names two places for {which}: a.example and b.example")
            );
        }
    }
}

//! Files and objects that are made for other tools: what each is, and the command that makes a manifest of it.

use std::path::{Path, PathBuf};

use super::Object;
use crate::engine::Engine;
use crate::failure::{Advise, usage};
use crate::words::quoted;

const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const CHART: &str = "Chart.yaml";
/// What is in Helm's templates and in hardly anything else.
const HELM: [&str; 7] =
    [".Values", ".Release", ".Chart", ".Capabilities", "include \"", "template \"", "toYaml"];

/// API groups of operators that make databases, and the engine.
const OPERATORS: [(&str, Engine); 18] = [
    ("k8s.mariadb.com", Engine::Mariadb),
    ("mariadb.mmontes.io", Engine::Mariadb),
    ("postgresql.cnpg.io", Engine::Postgres),
    ("acid.zalan.do", Engine::Postgres),
    ("postgres-operator.crunchydata.com", Engine::Postgres),
    ("pgv2.percona.com", Engine::Postgres),
    ("stackgres.io", Engine::Postgres),
    ("kubegres.reactive-tech.io", Engine::Postgres),
    ("postgresql.k8s.enterprisedb.io", Engine::Postgres),
    ("sql.tanzu.vmware.com", Engine::Postgres),
    ("pxc.percona.com", Engine::Mysql),
    ("ps.percona.com", Engine::Mysql),
    ("mysql.oracle.com", Engine::Mysql),
    ("mysql.presslabs.org", Engine::Mysql),
    ("moco.cybozu.com", Engine::Mysql),
    ("mysql.radondb.com", Engine::Mysql),
    ("planetscale.com", Engine::Mysql),
    ("kubedb.com", Engine::Postgres),
];

/// Refuses a folder that another tool makes manifests of.
///
/// # Errors
/// What it is, with the command that pipes it in.
pub fn check_folder(folder: &Path) -> anyhow::Result<()> {
    let shown = quoted(folder);
    if KUSTOMIZATIONS.iter().any(|name| folder.join(name).is_file()) {
        return Err(kustomization(&folder.display().to_string(), &shown));
    }
    if folder.join(CHART).is_file() {
        return Err(usage(format!("{} is a Helm chart, whose templates Helm renders", folder.display())))
            .hint(format!("pipe it in: helm template {shown} | testbed up -"));
    }
    Ok(())
}

/// The same of a file that is named.
pub fn check_file(file: &Path) -> anyhow::Result<()> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if KUSTOMIZATIONS.contains(&name) || name == CHART {
        return check_folder(match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        });
    }
    if name.ends_with(".tgz") {
        let shown = quoted(file);
        return Err(usage(format!("{} is an archive, such as a Helm chart", file.display())))
            .hint(format!("pipe a chart in: helm template {shown} | testbed up -"));
    }
    match file.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://")) {
        Some(url) => Err(usage(format!("{url} is no file, and testbed fetches none")))
            .hint(format!("pipe it in: curl -fsSL '{url}' | testbed up -")),
        None => Ok(()),
    }
}

fn kustomization(what: &str, folder: &str) -> anyhow::Error {
    usage(format!("{what} is a kustomization, which Kustomize makes a manifest of"))
        .hint(format!("pipe it in: kubectl kustomize {folder} | testbed up -"))
}

/// Refuses a document that is no object but something to make objects of.
pub fn check_kind(file: &str, place: &str, api_version: &str, kind: &str) -> anyhow::Result<()> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if group == "kustomize.config.k8s.io" {
        let folder = Path::new(file).parent().filter(|folder| *folder != Path::new(""));
        return Err(kustomization(place, &quoted(folder.unwrap_or(Path::new(".")))));
    }
    if kind == "Template" && ["template.openshift.io", ""].contains(&group) {
        let file = if Path::new(file).exists() { quoted(Path::new(file)) } else { "FILE".into() };
        return Err(usage(format!("{place} is an OpenShift Template, whose parameters oc fills in")))
            .hint(format!("pipe it in: oc process --local -f {file} | testbed up -"));
    }
    Ok(())
}

/// Says what to do with a text that is no manifest, by its contents.
pub fn explain(file: &str, text: &str, error: anyhow::Error) -> anyhow::Error {
    let path = Path::new(file);
    let tags = || text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest));
    if tags().any(|tag| HELM.iter().any(|word| tag.contains(word))) {
        let chart = path.ancestors().find(|folder| folder.join(CHART).is_file()).map(Path::to_owned);
        let chart = quoted(&chart.unwrap_or_else(|| PathBuf::from("CHART")));
        return error.hint(format!(
            "this is a template of Helm's; pipe the chart in: helm template {chart} | testbed up -"
        ));
    }
    if tags().next().is_some() || text.contains("{%") {
        return error.hint(
            "{{ }} and {% %} stay as they are in a document that names no variable of testbed's: context, params or generated_password",
        );
    }
    error
}

/// The engine of the database that an operator would make of an object.
pub fn operator(object: &Object) -> Option<Engine> {
    let group = object.api_version.split_once('/')?.0;
    let (_, engine) = OPERATORS.iter().find(|(known, _)| *known == group)?;
    let kind = object.kind.to_lowercase();
    let by_kind = [
        ("maria", Engine::Mariadb),
        ("postgres", Engine::Postgres),
        ("mysql", Engine::Mysql),
        ("percona", Engine::Mysql),
    ];
    let named = by_kind.iter().find(|(part, _)| kind.contains(part)).map(|(_, engine)| *engine);
    let is_database = named.is_some()
        || ["cluster", "instance"].iter().any(|part| kind.ends_with(part))
        || kind == "kubegres";
    // Beside the servers there are users, backups and the like.
    let is_other =
        ["backup", "restore", "user", "database", "pool", "schedule", "grant", "connection", "catalog"]
            .iter()
            .any(|part| kind.contains(part));
    (is_database && !is_other).then(|| named.unwrap_or(*engine))
}

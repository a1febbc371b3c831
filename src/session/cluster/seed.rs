//! A seed in a cluster. Its files are further set-up scripts of the image; its commands are called here, once all
//! databases are ready, and before anybody hears of them.
//!
//! A Secret notes for a pod, by its uid, that they have ended well: every run of a built-in database has Secrets, so that
//! this needs no other right. A pod of an earlier call that lacks it may have half a seed, and is handed to nobody.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout_at};

use crate::database::{Database, Engine};
use crate::failure::{Advise, Exit};
use crate::manifest::Object;
use crate::manifest::seed::Seed;
use crate::manifest::stamp::HASH_ANNOTATION;
use crate::output::Model;
use crate::pool;
use crate::probe::{Found, Target};
use crate::progress::{Progress, READY};
use crate::run_id::RUN_LABEL;
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::diagnose::run::Finding;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::serving;
use crate::runtime::kubernetes::{Cluster, FIELD_MANAGER, explain, logs};
use crate::runtime::local::processes;
use crate::runtime::seeding;
use crate::session::config::Config;
use crate::session::plan::Plan;

/// As many lines of a log are searched for the script that has failed.
const LINES: usize = 100;

/// Where the images look for set-up scripts.
const SCRIPTS: &str = "ing /docker-entrypoint-initdb.d/";

/// How the images' set-up says that all scripts have ended.
const DONE: &str = "init process";

/// The databases that a seed is in, files alone included, once all is up.
pub(super) fn names(plan: &Plan) -> BTreeSet<String> {
    plan.asked.iter().filter(|(_, asked)| asked.seed.is_some()).map(|(name, _)| name.clone()).collect()
}

fn of<'a>(plan: &'a Plan, database: &Database) -> Option<&'a Seed> {
    plan.asked.get(&database.name)?.seed.as_ref()
}

/// The name of the Secret that notes the end of a pod's seed: no other pod of this name is meant.
fn note_name(pod: &str, uid: &str) -> String {
    format!("{pod}--seeded-{uid}")
}

/// The databases of which an earlier call has made the pod, and put in the seed.
///
/// # Errors
/// A pod of an earlier call that may have half a seed; a failed request, explained.
pub(super) async fn earlier(
    plan: &Plan,
    cluster: &Cluster,
    created: &Created,
) -> anyhow::Result<BTreeSet<String>> {
    let mut seeded = BTreeSet::new();
    for database in &plan.discovery.databases {
        let Some(seed) = of(plan, database) else { continue };
        let is_pod = |object: &&DynamicObject| {
            let kind = object.types.as_ref().map_or("", |types| &types.kind);
            database.workload == format!("{kind}/{}", object.name_any())
        };
        let Some(pod) = created.adopted.iter().find(is_pod) else { continue };
        seeded.insert(database.name.clone());
        if !seed.has_commands() {
            continue;
        }
        let name = note_name(&pod.name_any(), &pod.uid().unwrap_or_default());
        let note = cluster.api::<Secret>().get_metadata_opt(&name).await;
        let note = note.map_err(|error| explain(cluster, error, &format!("reading Secret {name}")))?;
        let run_id = plan.run_id.as_str();
        if note.is_none_or(|note| note.labels().get(RUN_LABEL).is_none_or(|label| label != run_id)) {
            return Err(anyhow!(
                "{}: run {run_id} is there already, and this database may have half of its seed: the testbed that was to put it in was ended, or is still at work",
                database.name
            ))
            .hint(format!("once it is not, remove the run: {}", cluster.down_command(&plan.run_id)));
        }
    }
    Ok(seeded)
}

/// What the commands of seeds are called with.
pub(super) struct Filling<'a> {
    pub plan: &'a Plan,
    pub cluster: &'a Cluster,
    pub config: &'a Config,
    /// The run's own folder, where it has one.
    pub folder: Option<&'a Path>,
    pub targets: &'a [Target],
    pub found: &'a [Found],
    pub observer: &'a Observer,
    pub progress: &'a Progress,
    pub deadline: Instant,
    /// The time that this is, as the user said it.
    pub timeout: Duration,
}

impl Filling<'_> {
    /// Calls the commands of all databases that are not among these, side by side.
    ///
    /// # Errors
    /// The command that failed, with what it said last.
    pub(super) async fn fill(&self, seeded: &BTreeSet<String>) -> anyhow::Result<()> {
        let databases = self.plan.discovery.databases.iter().zip(self.targets).zip(self.found);
        let fills = databases.filter_map(|((database, target), found)| {
            let seed = of(self.plan, database).filter(|_| !seeded.contains(&database.name))?;
            Some(self.fill_one(database, seed, target, found))
        });
        try_join_all(fills).await.map(drop)
    }

    async fn fill_one(
        &self,
        database: &Database,
        seed: &Seed,
        target: &Target,
        found: &Found,
    ) -> anyhow::Result<()> {
        let name = &database.name;
        // One that stands in its place later has not had all of it.
        let pod = serving(&self.observer.pods().borrow(), &database.workload).map(|pod| pod.metadata.clone());
        let pod = pod.with_context(|| format!("{name}: its pod is gone"))?;
        let folder = self.folder.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new().prefix("seed-").tempdir_in(folder);
        let folder = folder.context("making a folder for what the seed's command reads");
        let folder = match folder.hint("set TMPDIR to a folder that can be written") {
            Ok(folder) => Some(folder),
            Err(error) if seed.has_commands() => return Err(error),
            Err(_) => None,
        };
        let (address, there) = ((target.host.as_str(), target.port), folder.as_ref().map(TempDir::path));
        let model = self.config.model_of_seed(self.plan, database, address, found.over_tls, there)?;
        if let Some(folder) = there {
            let called = self.call(name, seed, &model, folder).await;
            let redactor = self.plan.redactor();
            called.map_err(|error| seeding::redacted(&redactor, &error, "seed-failed", name))?;
        }
        // As on this machine: it can be copied at once.
        let own = model.databases.first().filter(|_| database.engine == Engine::Postgres);
        if let Some(own) = own
            && let Ok(Err(error)) = timeout_at(self.deadline, pool::leave_nobody(own)).await
        {
            self.progress.explain(&format!("{name}: who is logged in stays: {error:#}"));
        }
        if seed.has_commands() {
            self.note(pod).await?;
            self.progress.stage(name, READY, "with its seed");
        }
        Ok(())
    }

    /// Calls the commands of one database.
    async fn call(&self, name: &str, seed: &Seed, model: &Model, folder: &Path) -> anyhow::Result<()> {
        let mark = processes::seeding(folder);
        for command in seed.commands() {
            self.progress.stage(name, "seeding", &self.plan.redactor().redact(command));
            let environment = self.config.for_a_seed(model, folder)?;
            let work = seeding::run(command, &seed.folder, environment, &mark);
            let outcome = timeout_at(self.deadline, work).await;
            let too_late = || anyhow!("it still runs after {}", humantime::format_duration(self.timeout));
            outcome
                .unwrap_or_else(|_| Err(too_late()).exit(Exit::NotReady))
                .with_context(|| format!("{name}: the seed's command `{command}`"))?;
        }
        Ok(())
    }

    /// Notes that the seed in a pod is whole.
    async fn note(&self, pod: ObjectMeta) -> anyhow::Result<()> {
        let Self { plan, cluster, .. } = self;
        let (pod, uid) = (pod.name.unwrap_or_default(), pod.uid.unwrap_or_default());
        let name = note_name(&pod, &uid);
        // It belongs to the run as the login's Secret does.
        let is_model = |object: &&Object| object.kind == "Secret" && object.name == pod;
        let model = plan.objects.iter().find(is_model).and_then(|object| object.body.get("metadata"));
        let mut metadata = model.cloned().with_context(|| format!("there is no Secret {pod}"))?;
        metadata["name"] = Value::from(name.as_str());
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(HASH_ANNOTATION);
        }
        let note = Secret { metadata: serde_json::from_value(metadata)?, ..Secret::default() };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match cluster.api::<Secret>().create(&params, &note).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(explain(cluster, error, &format!("creating Secret {name}"))),
        }
    }
}

/// Which set-up script or file of a seed a server has ended with, by its log, in the user's own words; its advice goes
/// to the finding. `None` where the log cannot be read, or tells of something else.
pub(super) async fn script_that_failed(
    plan: &Plan,
    cluster: &Cluster,
    lost: &mut [Finding],
) -> Option<String> {
    let finding = lost.first_mut()?;
    let (log, container) = (finding.cause.log?, finding.cause.container.clone()?);
    let is_it =
        |database: &&Database| database.workload == finding.workload && database.container == container;
    let database = plan.discovery.databases.iter().find(is_it)?;
    let asked = plan.asked.get(&database.name)?;
    let lines = logs::tail(cluster, &finding.pod, &container, log, LINES).await.ok()?;
    let (script, error) = in_log(&lines)?;
    let path = asked.scripts.get(script)?;
    let what = if asked.of_seed.contains(script) { "seed's" } else { "set-up script" };
    finding.cause.advice = format!("correct {path}, or what it needs");
    let error = plan.redactor().redact(&error.map(|error| format!(": {error}")).unwrap_or_default());
    Some(format!("{}: the {what} {path}{error}", database.name))
}

/// The script that the images' set-up was at when the log ended, by its name in the container, and the error with its
/// line, which psql does not tell of a packed one.
fn in_log(lines: &[String]) -> Option<(&str, Option<String>)> {
    let at = lines.iter().rposition(|line| line.contains(SCRIPTS))?;
    let (_, script) = lines[at].split_once(SCRIPTS)?;
    let after = &lines[at + 1..];
    if after.iter().any(|line| line.contains(DONE)) {
        return None;
    }
    let located = |line: &String| {
        let (line, message) = seeding::located(line)?;
        Some(format!("line {line}: {message}"))
    };
    let plain = || after.iter().find(|line| line.starts_with("ERROR:  ")).cloned();
    Some((script.trim_end(), after.iter().find_map(located).or_else(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_and_the_line_are_found_in_a_log() {
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let begin = "/usr/local/bin/docker-entrypoint.sh: running /docker-entrypoint-initdb.d/001-a.sql\nCREATE TABLE\n\n";
        let second = "2026-01-01 [Note] [Entrypoint]: /usr/local/bin/docker-entrypoint.sh: running /docker-entrypoint-initdb.d/002-b.sql.gz\n";
        let of_psql = "psql:/docker-entrypoint-initdb.d/001-a.sql:2: ERROR:  no\nLINE 1: x\n";
        for (text, expected) in [
            (format!("{begin}{of_psql}"), Some(("001-a.sql", Some("line 2: ERROR:  no".to_owned())))),
            (
                format!("{begin}{second}ERROR 1054 (42S22) at line 3: Unknown"),
                Some(("002-b.sql.gz", Some("line 3: Unknown".to_owned()))),
            ),
            (
                format!("{begin}{second}x\nERROR:  no\n"),
                Some(("002-b.sql.gz", Some("ERROR:  no".to_owned()))),
            ),
            (format!("{begin}{second}killed"), Some(("002-b.sql.gz", None))),
            (format!("{begin}\nPostgreSQL init process complete; ready for start up.\nFATAL: x"), None),
            ("FATAL: x".to_owned(), None),
        ] {
            assert_eq!(in_log(&lines(&text)), expected, "{text}");
        }
        // Sourced, as those are that may not be run.
        let sourced = begin.replace("running", "sourcing");
        assert_eq!(in_log(&lines(&sourced)), Some(("001-a.sql", None)));
    }
}

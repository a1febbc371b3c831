//! Snapshots: what was in a server at some time, kept by a name until somebody removes it. They are folders like those
//! that are prepared, beside the data of runs: nobody could make them again.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::area::Area;
use super::find::Installed;
use super::prepared::{self, Entry, Placed, Prepared};
use super::sealed::Sealing;
use crate::database::Database;
use crate::failure::{Advise, usage};
use crate::files;
use crate::state::STATE_HINT;
use crate::time::Time;

/// In the folder of a snapshot.
pub(super) const FILE: &str = "snapshot.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: String,
    /// Whose data it is.
    pub database: String,
    /// The folder of the project that both names are of.
    pub project: PathBuf,
    /// The server that has written it.
    pub installed: Installed,
    /// The tests' user, the administrator and the tests' database in it.
    pub user: String,
    pub administrator: Option<String>,
    pub main: Option<String>,
    pub made: Time,
    pub run_id: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Noted {
    pub snapshot: Snapshot,
    /// The logins that each run gives its own password besides the usual ones.
    pub logins: Vec<Sealing>,
}

impl Noted {
    fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&files::read(&folder.join(FILE), files::MOST).ok()?).ok()
    }
}

/// A snapshot that is there.
pub struct Kept {
    pub snapshot: Snapshot,
    /// In bytes.
    pub size: u64,
}

/// All snapshots of all projects in their folder, the newest first.
pub fn all(cache: &Path) -> Vec<Kept> {
    let kept = |(_, key): (PathBuf, String)| {
        let folder = cache.join(key);
        Some(Kept { snapshot: Noted::read(&folder)?.snapshot, size: Entry::read(&folder)?.size.bytes })
    };
    let mut all: Vec<Kept> = prepared::names(cache, ".lock").into_iter().filter_map(kept).collect();
    all.sort_by_key(|kept| std::cmp::Reverse(kept.snapshot.made));
    all
}

/// The snapshot of a database of a project.
///
/// # Errors
/// A usage error with those that there are.
pub fn find(area: &Area, project: &Path, database: &str, name: &str) -> anyhow::Result<Snapshot> {
    let mut own = all(&area.snapshots());
    own.retain(|kept| kept.snapshot.project == project);
    if let Some(found) = own.iter().find(|kept| kept.snapshot.is(database, name)) {
        return Ok(found.snapshot.clone());
    }
    let there: Vec<String> = own.iter().map(|kept| kept.snapshot.called()).collect();
    Err(usage(format!("{database} has no snapshot {name} in this project"))).hint(match there.as_slice() {
        [] => format!(
            "testbed snapshot {database} {name} takes one of a run that is up; `from` in testbed.yaml, or --from, asks for it"
        ),
        there => format!("there are {}; `from` in testbed.yaml, or --from, asks for one", there.join(", ")),
    })
}

impl Snapshot {
    /// What a server holds by now, under a name.
    pub fn of(
        (asked, installed): (&Database, &Installed),
        (database, name): (&str, &str),
        project: &Path,
        run_id: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            database: database.to_owned(),
            project: project.to_owned(),
            installed: installed.clone(),
            user: asked.login.user.clone(),
            administrator: asked.admin.as_ref().map(|admin| admin.user.clone()),
            main: asked.login.database.clone(),
            made: Time::now(),
            run_id: run_id.to_owned(),
        }
    }

    fn is(&self, database: &str, name: &str) -> bool {
        self.database == database && self.name == name
    }

    /// As `--from` takes it.
    pub fn called(&self) -> String {
        format!("{}={}", self.database, self.name)
    }

    /// Refuses a server that could not start with it as it is.
    ///
    /// # Errors
    /// A usage error that says what differs.
    pub fn check(&self, database: &Database, installed: &Installed) -> anyhow::Result<()> {
        let (name, called) = (&database.name, self.called());
        if self.installed.build != installed.build {
            let (was, is) = (self.installed.to_string(), installed.to_string());
            let is = if was == is { format!("another build of {is}") } else { is };
            return Err(usage(format!(
                "{name}: the snapshot {called} was written by {was}, and {is} would serve it"
            )))
            .hint(format!("make {name} without it, and take another one: testbed snapshot {name} NAME"));
        }
        let login = &database.login;
        let administrator = database.admin.as_ref().map(|admin| &admin.user);
        let (was, is) = ((&self.user, &self.main), (&login.user, &login.database));
        if was == is && self.administrator.as_ref() == administrator {
            return Ok(());
        }
        let told = |(user, main): (&String, &Option<String>)| match main {
            Some(main) => format!("the user {user} and the database {main}"),
            None => format!("the user {user} and no database"),
        };
        Err(usage(format!("{name}: the snapshot {called} has {}, and {} are asked for", told(was), told(is))))
            .hint("ask for those of the snapshot, or take another one")
    }

    pub(super) fn entry<'a>(&self, cache: &'a Path) -> Prepared<'a> {
        Prepared::new(cache, &format!("snapshot {:?}", (&self.project, &self.database, &self.name)))
    }

    /// Puts a copy at `to`.
    pub(super) async fn place(
        &self,
        area: &Area,
        to: &Path,
        account: Option<&Account>,
    ) -> anyhow::Result<Placed> {
        let (cache, called) = (area.snapshots(), self.called());
        let prepared = self.entry(&cache);
        let gone = || anyhow!("the snapshot {called} is there no more, or is another one by now");
        files::make_folder(&cache).hint(STATE_HINT)?;
        let _lock = prepared.lock(false).await?;
        let (entry, noted) = (prepared.entry(), Noted::read(&prepared.folder()));
        let (Some(entry), Some(noted)) = (entry, noted) else { return Err(gone()) };
        if noted.snapshot != *self {
            return Err(gone());
        }
        if !prepared.is_sound(&entry).await? || prepared.copy(to, account).await? != entry.size {
            return Err(anyhow!(
                "the snapshot {called} in {} was changed since it was made",
                prepared.folder().display()
            ))
            .hint(format!("remove it: testbed snapshot rm {called}"));
        }
        Ok(Placed { password: entry.password, source: None, logins: Some(noted.logins) })
    }

    /// Removes it, once nobody copies it.
    ///
    /// # Errors
    /// The system's reason.
    pub async fn remove(&self, area: &Area) -> anyhow::Result<()> {
        let cache = area.snapshots();
        let prepared = self.entry(&cache);
        let _lock = prepared.lock(true).await?;
        prepared::remove(&prepared.folder())
    }
}

//! Which records go, and in what steps: whoever writes meanwhile waits for one of them at most.

use std::time::Duration;

use super::Backend;
use super::value::{Statement, Value, number};
use crate::history::query::{Pruned, Retention};
use crate::time::Time;

const STEP: i64 = 100;

/// How long a run that is not over is spared: it may be up, and whoever removes it writes its end.
const SPARED: Duration = Duration::from_secs(24 * 60 * 60);

/// The records that go are those before this one in the order of a list, without those that are spared.
struct Doomed {
    began: i64,
    id: String,
    spared: i64,
}

pub(super) async fn prune(backend: &Backend, retention: &Retention, dry_run: bool) -> anyhow::Result<Pruned> {
    let bytes_before = Some(backend.size().await?);
    let doomed = Doomed::new(backend, retention, Time::now()).await?;
    if dry_run {
        let records = count(backend, WHERE, doomed.values()).await?;
        let left = count(backend, "", Vec::new()).await?.saturating_sub(records);
        return Ok(Pruned { records, left, bytes_before, bytes_after: None });
    }
    let records = backend.delete(&doomed.step()).await?;
    if records > 0 {
        backend.give_back().await?;
    }
    Ok(Pruned {
        records,
        left: count(backend, "", Vec::new()).await?,
        bytes_before,
        bytes_after: Some(backend.size().await?),
    })
}

impl Doomed {
    async fn new(backend: &Backend, retention: &Retention, now: Time) -> anyhow::Result<Self> {
        let by_age = retention.older_than.map(|age| (now.before(age).millis(), String::new()));
        let by_count = match retention.keep {
            Some(keep) => oldest_kept(backend, keep).await?,
            None => None,
        };
        // All before the later one.
        let (began, id) = by_age.max(by_count).unwrap_or((i64::MIN, String::new()));
        Ok(Self { began, id, spared: now.before(SPARED).millis() })
    }

    /// Asks for those that go next, by their ids.
    fn step(&self) -> Statement {
        let sql = format!("SELECT id FROM testbed.runs {WHERE} ORDER BY began, id LIMIT $4");
        Statement::new(sql, [self.values(), vec![STEP.into()]].concat())
    }

    fn values(&self) -> Vec<Value> {
        vec![self.began.into(), self.id.as_str().into(), self.spared.into()]
    }
}

const WHERE: &str = "WHERE (began, id) < ($1, $2) AND (ended IS NOT NULL OR began < $3)";

/// The oldest of the newest so many, `None` where there are fewer; of none at all, one after all others.
async fn oldest_kept(backend: &Backend, keep: u64) -> anyhow::Result<Option<(i64, String)>> {
    let Some(skipped) = keep.checked_sub(1) else { return Ok(Some((i64::MAX, String::new()))) };
    let sql = "SELECT began, id FROM testbed.runs ORDER BY began DESC, id DESC LIMIT 1 OFFSET $1";
    let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
    let mut rows = backend.read(Statement::new(sql, vec![skipped.into()])).await?;
    rows.pop().map(|mut row| Ok((row.number(0)?, row.text(1)?))).transpose()
}

async fn count(backend: &Backend, condition: &str, values: Vec<Value>) -> anyhow::Result<u64> {
    let sql = format!("SELECT count(*) FROM testbed.runs {condition}");
    Ok(number(backend.read(Statement::new(sql, values)).await?)?.try_into()?)
}

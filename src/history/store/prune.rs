//! Which records go, and in what steps: whoever writes meanwhile waits for one of them at most.

use std::time::Duration;

use super::Database;
use super::value::{Row, Statement, Value};
use crate::history::query::{Pruned, Retention};
use crate::time::Time;

/// How many records go in one step.
const STEP: i64 = 100;

/// How long a run that is not over is spared: it may be up, and whoever removes it writes its end.
const SPARED: Duration = Duration::from_secs(24 * 60 * 60);

/// The records that go are those before this one in the order of a list, without those that are spared.
struct Doomed {
    began: i64,
    id: String,
    spared: i64,
}

/// Prunes, or tells what would go.
///
/// # Errors
/// Those of the database. What is deleted by then stays so.
pub(super) async fn prune(database: &Database, retention: &Retention, dry_run: bool) -> anyhow::Result<Pruned> {
    let bytes_before = Some(database.size().await?);
    let doomed = Doomed::new(database, retention, Time::now()).await?;
    if dry_run {
        let records = doomed.count(database).await?;
        let left = count(database).await?.saturating_sub(records);
        return Ok(Pruned { records, left, bytes_before, bytes_after: None });
    }
    let records = database.delete(&doomed.step()).await?;
    if records > 0 {
        database.give_back().await?;
    }
    Ok(Pruned { records, left: count(database).await?, bytes_before, bytes_after: Some(database.size().await?) })
}

impl Doomed {
    async fn new(database: &Database, retention: &Retention, now: Time) -> anyhow::Result<Self> {
        let by_age = retention.older_than.map(|age| (now.before(age).millis(), String::new()));
        let by_count = match retention.keep {
            Some(keep) => oldest_kept(database, keep).await?,
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

    async fn count(&self, database: &Database) -> anyhow::Result<u64> {
        number(database.read(Statement::new(format!("SELECT count(*) FROM testbed.runs {WHERE}"), self.values())).await?)
    }

    fn values(&self) -> Vec<Value> {
        vec![self.began.into(), self.id.as_str().into(), self.spared.into()]
    }
}

const WHERE: &str = "WHERE (began, id) < ($1, $2) AND (ended IS NOT NULL OR began < $3)";

/// The oldest of the newest so many; `None` where there are fewer. For none at all it is one after all others.
async fn oldest_kept(database: &Database, keep: u64) -> anyhow::Result<Option<(i64, String)>> {
    let Some(skipped) = keep.checked_sub(1) else { return Ok(Some((i64::MAX, String::new()))) };
    let sql = "SELECT began, id FROM testbed.runs ORDER BY began DESC, id DESC LIMIT 1 OFFSET $1";
    let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
    let mut rows = database.read(Statement::new(sql, vec![skipped.into()])).await?;
    rows.pop().map(|mut row| Ok((row.number(0)?, row.text(1)?))).transpose()
}

async fn count(database: &Database) -> anyhow::Result<u64> {
    number(database.read(Statement::new("SELECT count(*) FROM testbed.runs", Vec::new())).await?)
}

fn number(rows: Vec<Row>) -> anyhow::Result<u64> {
    let number = rows.into_iter().next().map(|mut row| row.number(0)).transpose()?;
    Ok(number.unwrap_or_default().try_into()?)
}

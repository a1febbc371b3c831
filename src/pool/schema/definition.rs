//! All that is in a database, as the server itself writes it, and the same made anew in another one.
//!
//! Read in the database it is about, a definition has that name in it only where somebody or the server has written it
//! out. The server does so in views of several databases and for sequences, in a form that can be told from all else;
//! what users have written is left alone, and refused where it would lead a copy back.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, anyhow};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::grants::Grants;
use super::names::{self, Quotes};
use super::sql::{self, identifier, literal, pattern, rows, run};
use crate::pool::names::PREFIX;

/// Engines whose tables have their rows elsewhere, or none.
const WITHOUT_ROWS: [&str; 7] =
    ["mrg_myisam", "blackhole", "federated", "connect", "spider", "oqgraph", "sphinx"];
/// What a small table takes on disk besides what the server counts, in bytes.
const TABLE: u64 = 96 << 10;
/// Character sets in which a byte of ASCII can be part of something else.
const AMBIGUOUS: [&str; 5] = ["sjis", "cp932", "big5", "gbk", "gb18030"];

/// What a session has to have set so that a statement means what it meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    sql_mode: String,
    client: String,
    connection: String,
    /// What the database's own collation was when it was made; `None` where that does not matter.
    database: Option<String>,
    time_zone: String,
    /// When it is made, in seconds of Unix; `None` is now.
    at: Option<u64>,
}

/// A definition with the database's name left out where it is that of the server's making.
#[derive(Debug)]
struct Text(Vec<Vec<u8>>);

impl Text {
    fn of(&self, database: &str) -> Vec<u8> {
        self.0.join(identifier(database).as_bytes())
    }
}

#[derive(Debug)]
struct Table {
    name: String,
    text: Text,
    /// The columns to fill, and what comes behind the name of the table that they are read from; `None` where there
    /// are no rows.
    rows: Option<(String, &'static str)>,
}

#[derive(Debug)]
struct Object {
    what: String,
    is_event: bool,
    text: Text,
    context: Setting,
}

#[derive(Debug)]
pub(super) struct Definition {
    /// What follows the name in `CREATE DATABASE`.
    database: String,
    collation: String,
    tables: Vec<Table>,
    /// In an order in which each finds what it needs.
    objects: Vec<Object>,
    grants: Grants,
    /// What it takes on disk, in bytes.
    pub size: u64,
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A template: nothing happens in it by itself, and nobody has rights in it.
    Passive,
    Copy,
}

/// Sets what definitions are read with and tables made with.
pub(super) async fn settle(session: &mut Conn) -> anyhow::Result<()> {
    run(session, "USE information_schema").await?;
    set(session, &usual()).await
}

fn usual() -> Setting {
    Setting {
        sql_mode: "NO_AUTO_VALUE_ON_ZERO".to_owned(),
        client: "utf8mb4".to_owned(),
        connection: "utf8mb4_general_ci".to_owned(),
        database: None,
        time_zone: "+00:00".to_owned(),
        at: None,
    }
}

async fn set(session: &mut Conn, context: &Setting) -> anyhow::Result<()> {
    let Setting { sql_mode, client, connection, time_zone, at, .. } = context;
    let at = at.map_or_else(|| "DEFAULT".to_owned(), |at| at.to_string());
    let sql = format!(
        "SET sql_mode = {}, character_set_client = {}, collation_connection = {}, time_zone = {}, timestamp = {at}",
        literal(sql_mode),
        literal(client),
        literal(connection),
        literal(time_zone),
    );
    run(session, sql).await
}

/// What follows the name in the statement that would make a database.
pub(super) async fn creation(session: &mut Conn, database: &str) -> anyhow::Result<String> {
    let name = identifier(database);
    let text = sql::row(session, &format!("SHOW CREATE DATABASE {name}")).await?.text(1)?;
    let rest = text.strip_prefix("CREATE DATABASE ").and_then(|rest| rest.strip_prefix(&name));
    rest.map(str::to_owned).context("the server does not tell how the database was made")
}

impl Definition {
    /// Reads what is in a database. `has_history` says whether rows of the past can be written.
    pub(super) async fn read(session: &mut Conn, database: &str, has_history: bool) -> anyhow::Result<Self> {
        run(session, format!("USE {}", identifier(database))).await?;
        let name = literal(database);
        let collation = format!(
            "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name}"
        );
        let mut definition = Self {
            database: creation(session, database).await?,
            collation: sql::row(session, &collation).await?.text(0)?,
            tables: Vec::new(),
            objects: Vec::new(),
            grants: Grants::read(session, database).await?,
            size: 0,
        };
        let mut reading = Reading { session, database, has_history, names: Vec::new() };
        let views = reading.tables(&mut definition).await?;
        let routines = reading.routine_names().await?;
        let all = routines.iter().map(|(_, name)| name).chain(&views);
        reading.names.extend(all.map(|name| name.to_lowercase()));
        // Views need functions, and events and triggers may need any of them.
        for (kind, name) in &routines {
            definition.objects.push(reading.routine(kind, name).await?);
        }
        for view in &views {
            definition.objects.push(reading.view(view).await?);
        }
        definition.objects.extend(reading.triggers().await?);
        definition.objects.extend(reading.events().await?);
        Ok(definition)
    }

    /// Makes the same in a new database, with the rows that are in another one of this definition. Where that has not been
    /// done before, an order is found in which it can be.
    pub(super) async fn make(
        &self,
        session: &mut Conn,
        database: &str,
        source: &str,
        extent: Extent,
    ) -> anyhow::Result<Vec<usize>> {
        let (new, old) = (identifier(database), identifier(source));
        run(session, format!("CREATE DATABASE {new}{}", self.database)).await?;
        run(session, format!("USE {new}")).await?;
        for table in &self.tables {
            let name = identifier(&table.name);
            let what = || format!("making table {name}");
            run(session, table.text.of(database)).await.with_context(what)?;
            if let Some((columns, behind)) = &table.rows {
                let fill =
                    format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {old}.{name}{behind}");
                run(session, fill).await.with_context(|| format!("filling table {name}"))?;
            }
        }
        let made = self.make_objects(session, database, extent).await?;
        if extent == Extent::Copy {
            self.grants
                .give(session, &pattern(database), database)
                .await
                .context("giving the rights of the template")?;
        }
        Ok(made)
    }

    async fn make_objects(
        &self,
        session: &mut Conn,
        database: &str,
        extent: Extent,
    ) -> anyhow::Result<Vec<usize>> {
        let mut waiting: VecDeque<usize> = (0..self.objects.len()).collect();
        let (mut made, mut late) = (Vec::new(), 0);
        let mut current = usual();
        while let Some(index) = waiting.pop_front() {
            let object = &self.objects[index];
            if object.is_event && extent == Extent::Passive {
                made.push(index);
                continue;
            }
            if object.context != current {
                set(session, &object.context).await?;
                current.clone_from(&object.context);
            }
            let other = object.context.database.as_ref().filter(|other| **other != self.collation);
            if let Some(other) = other {
                self.collate(session, database, other).await?;
            }
            let outcome = session.query_drop(object.text.of(database)).await;
            if other.is_some() {
                self.collate(session, database, &self.collation).await?;
            }
            match outcome {
                Ok(()) => {
                    made.push(index);
                    late = 0;
                }
                // It may need one that comes later, unless all have been tried since the last that was made.
                Err(error) if is_for_later(&error) && late < waiting.len() => {
                    waiting.push_back(index);
                    late += 1;
                }
                Err(error) => {
                    return Err(sql::explain(&error)).with_context(|| format!("making {}", object.what));
                }
            }
        }
        Ok(made)
    }

    async fn collate(&self, session: &mut Conn, database: &str, collation: &str) -> anyhow::Result<()> {
        run(session, format!("ALTER DATABASE {} COLLATE {}", identifier(database), literal(collation))).await
    }

    /// The order that has been found.
    pub(super) fn put_in_order(&mut self, made: &[usize]) {
        let mut objects: BTreeMap<usize, Object> =
            std::mem::take(&mut self.objects).into_iter().enumerate().collect();
        self.objects = made.iter().filter_map(|index| objects.remove(index)).collect();
    }

    pub(super) fn has_grants(&self) -> bool {
        !self.grants.is_empty()
    }
}

fn is_for_later(error: &mysql_async::Error) -> bool {
    let missing = [sql::NO_SUCH_TABLE, sql::SP_DOES_NOT_EXIST, sql::VIEW_INVALID];
    sql::code(error).is_some_and(|code| missing.contains(&code))
}

struct Reading<'a> {
    session: &'a mut Conn,
    database: &'a str,
    has_history: bool,
    /// What objects are called, in small letters.
    names: Vec<String>,
}

impl Reading<'_> {
    /// Reads all tables and sequences, and tells the names of the views.
    async fn tables(&mut self, definition: &mut Definition) -> anyhow::Result<Vec<String>> {
        let name = literal(self.database);
        let columns = format!(
            "SELECT TABLE_NAME, COLUMN_NAME, EXTRA, GENERATION_EXPRESSION, DATA_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = {name} ORDER BY TABLE_NAME, ORDINAL_POSITION"
        );
        let mut columns_of: BTreeMap<String, Columns> = BTreeMap::new();
        for row in rows(self.session, &columns).await? {
            let of = columns_of.entry(row.text(0)?).or_default();
            of.add(&row.text(1)?, &row.text_if_any(2)?, &row.text_if_any(3)?, &row.text(4)?);
        }
        let tables = format!(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA = {name} ORDER BY TABLE_NAME"
        );
        let mut views = Vec::new();
        for row in rows(self.session, &tables).await? {
            let (table, kind) = (row.text(0)?, row.text(1)?);
            self.names.push(table.to_lowercase());
            let columns = columns_of.remove(&table).unwrap_or_default();
            let is_here = !WITHOUT_ROWS.contains(&row.text_if_any(2)?.to_lowercase().as_str());
            definition.size += row.number(3)? + TABLE;
            let (show, rows) = match kind.as_str() {
                "VIEW" => {
                    views.push(table);
                    continue;
                }
                "BASE TABLE" => ("TABLE", is_here.then(|| (columns.stored.join(", "), ""))),
                "SEQUENCE" => ("SEQUENCE", Some((columns.stored.join(", "), ""))),
                "SYSTEM VERSIONED" => ("TABLE", Some(self.with_history(&table, columns).await?)),
                // A session's own.
                "TEMPORARY" | "LOCAL TEMPORARY" => continue,
                other => {
                    return Err(anyhow!("{} is a {other}, which testbed cannot copy", identifier(&table)));
                }
            };
            let shown = identifier(&table);
            let text = row_of(self.session, show, &table).await?.bytes(1)?.to_vec();
            let rows = match rows {
                Some((columns, behind)) if !columns.is_empty() => {
                    let any = format!("SELECT EXISTS (SELECT 1 FROM {shown}{behind})");
                    (sql::row(self.session, &any).await?.number(0)? > 0).then_some((columns, behind))
                }
                _ => None,
            };
            let made = Table { text: Text(names::cut(&text, self.database)), name: table, rows };
            // Columns of tables may have their next number.
            let at = if show == "SEQUENCE" { 0 } else { definition.tables.len() };
            definition.tables.insert(at, made);
        }
        Ok(views)
    }

    /// The columns of a table with a history, and where the rows of the past are.
    async fn with_history(
        &mut self,
        table: &str,
        columns: Columns,
    ) -> anyhow::Result<(String, &'static str)> {
        const PAST: &str = " FOR SYSTEM_TIME ALL";
        if self.has_history && !columns.counts_transactions {
            // Those that nobody has named are called so.
            let period = if columns.period.is_empty() {
                vec!["`row_start`".to_owned(), "`row_end`".to_owned()]
            } else {
                columns.period
            };
            return Ok(([columns.stored, period].concat().join(", "), PAST));
        }
        let table = identifier(table);
        let past = format!("SELECT (SELECT COUNT(*) FROM {table}{PAST}) > (SELECT COUNT(*) FROM {table})");
        if sql::row(self.session, &past).await?.number(0)? > 0 {
            return Err(anyhow!(
                "{table} has rows of the past, and this server lets nobody write them: MariaDB before 10.11, or a \
                 history by transactions"
            ));
        }
        Ok((columns.stored.join(", "), ""))
    }

    async fn view(&mut self, name: &str) -> anyhow::Result<Object> {
        let row = row_of(self.session, "VIEW", name).await?;
        let context = Setting { client: row.text(2)?, connection: row.text(3)?, ..usual() };
        let (what, text) = (format!("view {}", identifier(name)), row.bytes(1)?);
        let cannot_be_cut =
            AMBIGUOUS.contains(&context.client.as_str()) && names::contains(text, self.database);
        if cannot_be_cut {
            return Err(self.refusal(&what));
        }
        let text = Text(names::cut(text, self.database));
        Ok(Object { what, is_event: false, text, context })
    }

    async fn routine_names(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let sql = format!(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {} \
             ORDER BY FIELD(ROUTINE_TYPE, 'PACKAGE BODY', 'PACKAGE', 'PROCEDURE', 'FUNCTION') DESC, ROUTINE_NAME",
            literal(self.database)
        );
        let all = rows(self.session, &sql).await?;
        all.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
    }

    async fn routine(&mut self, kind: &str, name: &str) -> anyhow::Result<Object> {
        if !["FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY"].contains(&kind) {
            return Err(anyhow!("{} is a {kind}, which testbed cannot copy", identifier(name)));
        }
        let what = format!("{} {}", kind.to_lowercase(), identifier(name));
        let row = row_of(self.session, kind, name).await?;
        let context = Setting {
            sql_mode: row.text(1)?,
            client: row.text(3)?,
            connection: row.text(4)?,
            database: Some(row.text(5)?),
            ..usual()
        };
        self.body(what, row.bytes(2)?, context)
    }

    async fn triggers(&mut self) -> anyhow::Result<Vec<Object>> {
        let sql = format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {} \
             ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
            literal(self.database)
        );
        let mut names: Vec<String> = Vec::new();
        for row in rows(self.session, &sql).await? {
            // One of several events is there several times.
            let name = row.text(0)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut triggers = Vec::new();
        for name in names {
            let row = row_of(self.session, "TRIGGER", &name).await?;
            let context = Setting {
                sql_mode: row.text(1)?,
                client: row.text(3)?,
                connection: row.text(4)?,
                database: Some(row.text(5)?),
                ..usual()
            };
            triggers.push(self.body(format!("trigger {}", identifier(&name)), row.bytes(2)?, context)?);
        }
        Ok(triggers)
    }

    async fn events(&mut self) -> anyhow::Result<Vec<Object>> {
        let sql = format!(
            "SELECT EVENT_NAME, FLOOR(UNIX_TIMESTAMP(CREATED)) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {} \
             ORDER BY EVENT_NAME",
            literal(self.database)
        );
        let mut events = Vec::new();
        for event in rows(self.session, &sql).await? {
            let name = event.text(0)?;
            let row = row_of(self.session, "EVENT", &name).await?;
            let context = Setting {
                sql_mode: row.text(1)?,
                time_zone: row.text(2)?,
                client: row.text(4)?,
                connection: row.text(5)?,
                database: Some(row.text(6)?),
                // A server does not make one whose time is past.
                at: Some(event.number(1)?),
            };
            let event = self.body(format!("event {}", identifier(&name)), row.bytes(3)?, context)?;
            events.push(Object { is_event: true, ..event });
        }
        Ok(events)
    }

    /// What somebody has written, which is run as it is.
    fn body(&self, what: String, text: &[u8], context: Setting) -> anyhow::Result<Object> {
        // Nothing else is called like a template.
        let means_it = self.database.starts_with(PREFIX) || AMBIGUOUS.contains(&context.client.as_str());
        let is_named = match means_it {
            true => names::contains(text, self.database),
            false => names::mentions(text, self.database, Quotes::of(&context.sql_mode), &self.names),
        };
        if is_named {
            return Err(self.refusal(&what));
        }
        Ok(Object { what, is_event: false, text: Text(vec![text.to_vec()]), context })
    }

    fn refusal(&self, what: &str) -> anyhow::Error {
        let name = self.database;
        anyhow!(
            "{what} names its own database, {name}, and in a copy would read and write there: leave that name out, names \
             without one are looked for where the object is"
        )
    }
}

/// What `SHOW CREATE` tells of an object of the database that the session is in.
async fn row_of(session: &mut Conn, kind: &str, name: &str) -> anyhow::Result<sql::Values> {
    let name = identifier(name);
    let shown = sql::row(session, &format!("SHOW CREATE {kind} {name}")).await;
    shown.with_context(|| format!("reading {} {name}", kind.to_lowercase()))
}

/// Of a table.
#[derive(Debug, Default)]
struct Columns {
    /// Those that have values of their own.
    stored: Vec<String>,
    /// Those that say from when on and until when a row holds.
    period: Vec<String>,
    counts_transactions: bool,
}

impl Columns {
    fn add(&mut self, name: &str, extra: &str, expression: &str, kind: &str) {
        let (name, extra) = (identifier(name), extra.to_uppercase());
        if ["ROW START", "ROW END"].contains(&expression.to_uppercase().as_str()) {
            self.counts_transactions |= kind.eq_ignore_ascii_case("bigint");
            self.period.push(name);
        } else if !["VIRTUAL GENERATED", "STORED GENERATED"].iter().any(|generated| extra.contains(generated))
        {
            self.stored.push(name);
        }
    }
}

//! Who may do what in one database alone: `CREATE DATABASE` gives no rights to anybody, and `DROP DATABASE` takes none.

use std::collections::BTreeMap;

use mysql_async::Conn;

use super::sql::{identifier, literal, pattern, rows, run};

/// What rights are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    All,
    Table(String),
    /// Its kind, and its name.
    Routine(String, String),
}

impl On {
    fn sql(&self, pattern: &str, database: &str) -> String {
        match self {
            Self::All => format!("{}.*", identifier(pattern)),
            Self::Table(name) => format!("{}.{}", identifier(database), identifier(name)),
            Self::Routine(kind, name) => format!("{kind} {}.{}", identifier(database), identifier(name)),
        }
    }
}

/// Rights of users and roles.
#[derive(Debug, Default)]
pub(super) struct Grants(BTreeMap<(On, String, bool), Vec<String>>);

impl Grants {
    /// What is said of exactly this database.
    pub(super) async fn read(session: &mut Conn, database: &str) -> anyhow::Result<Self> {
        let mut grants = Self::default();
        let name = literal(database);
        let schema = format!("TABLE_SCHEMA IN ({name}, {})", literal(&pattern(database)));
        grants.add_all(session, &schema).await?;
        let tables = format!(
            "SELECT GRANTEE, IS_GRANTABLE, PRIVILEGE_TYPE, TABLE_NAME FROM information_schema.TABLE_PRIVILEGES \
             WHERE TABLE_SCHEMA = {name} AND PRIVILEGE_TYPE <> 'USAGE'"
        );
        for row in rows(session, &tables).await? {
            grants.add(On::Table(row.text(3)?), &row.text(0)?, &row.text(1)?, row.text(2)?);
        }
        let columns = format!(
            "SELECT GRANTEE, IS_GRANTABLE, PRIVILEGE_TYPE, TABLE_NAME, COLUMN_NAME \
             FROM information_schema.COLUMN_PRIVILEGES WHERE TABLE_SCHEMA = {name}"
        );
        for row in rows(session, &columns).await? {
            let right = format!("{} ({})", row.text(2)?, identifier(&row.text(4)?));
            grants.add(On::Table(row.text(3)?), &row.text(0)?, &row.text(1)?, right);
        }
        let routines = format!(
            "SELECT User, Host, Routine_type, Routine_name, Proc_priv FROM mysql.procs_priv WHERE Db = {name}"
        );
        // Who may not look there has given none of them.
        for row in rows(session, &routines).await.unwrap_or_default() {
            let to = format!("{}@{}", literal(&row.text(0)?), literal(&row.text(1)?));
            let all = row.text(4)?;
            let grantable = if all.contains("Grant") { "YES" } else { "NO" };
            for right in all.split(',').filter(|right| !right.is_empty() && *right != "Grant") {
                let on = On::Routine(row.text(2)?, row.text(3)?);
                grants.add(on, &to, grantable, right.to_owned());
            }
        }
        Ok(grants)
    }

    /// What holds in a whole database, whether it is said of that alone or of more.
    pub(super) async fn in_effect(session: &mut Conn, database: &str) -> anyhow::Result<Self> {
        let mut grants = Self::default();
        grants.add_all(session, &format!("{} LIKE TABLE_SCHEMA", literal(database))).await?;
        Ok(grants)
    }

    async fn add_all(&mut self, session: &mut Conn, schemas: &str) -> anyhow::Result<()> {
        let sql = format!(
            "SELECT GRANTEE, IS_GRANTABLE, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE {schemas}"
        );
        for row in rows(session, &sql).await? {
            self.add(On::All, &row.text(0)?, &row.text(1)?, row.text(2)?);
        }
        Ok(())
    }

    fn add(&mut self, on: On, grantee: &str, grantable: &str, right: String) {
        self.0.entry((on, spelt(grantee), grantable == "YES")).or_default().push(right);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the same rights in another database; those in all of it in all whose names fit a pattern.
    pub(super) async fn give(&self, session: &mut Conn, pattern: &str, database: &str) -> anyhow::Result<()> {
        for ((on, to, is_grantable), rights) in &self.0 {
            let option = if *is_grantable { " WITH GRANT OPTION" } else { "" };
            let on = on.sql(pattern, database);
            run(session, format!("GRANT {} ON {on} TO {to}{option}", rights.join(", "))).await?;
        }
        Ok(())
    }

    /// Takes them away. What is not there any more need not be taken.
    pub(super) async fn take(&self, session: &mut Conn, pattern: &str, database: &str) {
        for (on, to, is_grantable) in self.0.keys() {
            // Without backslashes a name has been taken for a pattern, and is kept as it was spelt.
            let spellings = [on.sql(pattern, database), on.sql(database, database)];
            for on in spellings.iter().take(if *on == On::All && !database.is_empty() { 2 } else { 1 }) {
                let _ = run(session, format!("REVOKE ALL PRIVILEGES ON {on} FROM {to}")).await;
                if *is_grantable {
                    let _ = run(session, format!("REVOKE GRANT OPTION ON {on} FROM {to}")).await;
                }
            }
        }
    }
}

/// `'user'@'host'` as the server tells it, with its quotes doubled; a role of MariaDB has no host.
fn spelt(grantee: &str) -> String {
    let inner = grantee.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(grantee);
    match inner.rsplit_once("'@'") {
        Some((role, "")) => literal(role),
        Some((user, host)) => format!("{}@{}", literal(user), literal(host)),
        None => literal(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grantee_is_spelt_as_one_whatever_is_in_its_name() {
        assert_eq!(spelt("'app'@'%'"), "'app'@'%'");
        assert_eq!(spelt("'reader'@''"), "'reader'");
        assert_eq!(spelt("'o'b'@'%'"), "'o''b'@'%'");
        assert_eq!(spelt("'a'@'b'@'%'"), "'a''@''b'@'%'");
    }
}

//! The databases as environment variables: for a command that testbed starts, and for the format `dotenv`.

use std::path::Path;

use super::{Connection, Model};
use crate::failure::{Advise, usage};

/// The run's id, which `testbed down` reads as well.
const RUN_ID: &str = "TESTBED_RUN_ID";
/// Where the config file is.
const CONFIG: &str = "TESTBED_CONFIG";
/// What many frameworks read by themselves, if there is one database only.
const ONLY_URL: &str = "DATABASE_URL";
/// How libpq's variables begin; a database's own have an underscore after its name, so that `pg` does not get in their way.
const LIBPQ: &str = "PG";

/// The variables that tell a command where its databases are, each name once. A value that a server has none of (MySQL's database where
/// the manifest names none) is empty, so that one from outside does not stay in force.
///
/// `config` is the config file's absolute path; one that is not UTF-8 is left out, for a variable would tell it wrong. The names
/// have to have passed [`check_names`].
pub fn environment(model: &Model, config: Option<&Path>) -> Vec<(String, String)> {
    let mut variables = vec![(RUN_ID.to_owned(), model.run_id.clone())];
    variables.extend(config.and_then(Path::to_str).map(|path| (CONFIG.to_owned(), path.to_owned())));
    for connection in &model.databases {
        let prefix = prefix(&connection.name);
        variables.extend(own(connection).map(|(suffix, value)| (format!("{prefix}_{suffix}"), value)));
    }
    if let [only] = model.databases.as_slice()
        && !variables.iter().any(|(name, _)| name == ONLY_URL)
    {
        variables.push((ONLY_URL.into(), only.url.clone()));
    }
    let mut postgres = model.databases.iter().filter(|connection| connection.driver == "postgres");
    if let (Some(only), None) = (postgres.next(), postgres.next()) {
        variables.extend(own(only).filter(|(suffix, _)| *suffix != "URL").map(|(suffix, value)| (format!("{LIBPQ}{suffix}"), value)));
    }
    variables
}

/// A database's own variables, without its name in front. SQLite has a URL and a database only.
fn own(connection: &Connection) -> impl Iterator<Item = (&'static str, String)> {
    let is_server = connection.host.is_some();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let port = connection.port.map(|port| port.to_string());
    [
        ("URL", connection.url.clone()),
        ("HOST", text(&connection.host)),
        ("PORT", text(&port)),
        ("USER", text(&connection.user)),
        ("PASSWORD", text(&connection.password)),
        ("DATABASE", text(&connection.database)),
    ]
    .into_iter()
    .filter(move |(suffix, _)| is_server || ["URL", "DATABASE"].contains(suffix))
}

/// `orders-db` to `ORDERS_DB`.
fn prefix(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Refuses databases whose variables would be those of another one, or testbed's own, or none that a shell takes.
///
/// No other two can meet: a database's variables differ from another's in what stands before the last underscore, libpq's have none, and
/// `DATABASE_URL` is that of a database called `database` where there is one.
pub fn check_names(names: &[&str]) -> anyhow::Result<()> {
    for (index, name) in names.iter().enumerate() {
        check_name(name, &names[..index]).map_err(usage).hint(super::RENAME)?;
    }
    Ok(())
}

fn check_name(name: &str, others: &[&str]) -> Result<(), String> {
    let prefix = prefix(name);
    if prefix == "TESTBED" || prefix.starts_with("TESTBED_") {
        return Err(format!("the variables of the database {name} would begin with TESTBED_, as testbed's own do"));
    }
    if prefix.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("the variables of the database {name} would begin with a digit, which no shell takes"));
    }
    match others.iter().find(|other| self::prefix(other) == prefix) {
        Some(other) => Err(format!("the databases {other} and {name} would share the variables {prefix}_URL and so on")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed, model, named};
    use super::*;
    use crate::database::Engine;
    use crate::failure::{Exit, exit_of};

    fn lines(model: &Model) -> Vec<String> {
        environment(model, None).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn one_postgresql_also_goes_by_the_usual_names() {
        let expected = [
            "TESTBED_RUN_ID=run-1",
            "ORDERS_DB_URL=postgresql://striv:p%22w@orders-db-run-1:5432/striv_test",
            "ORDERS_DB_HOST=orders-db-run-1",
            "ORDERS_DB_PORT=5432",
            "ORDERS_DB_USER=striv",
            "ORDERS_DB_PASSWORD=p\"w",
            "ORDERS_DB_DATABASE=striv_test",
            "DATABASE_URL=postgresql://striv:p%22w@orders-db-run-1:5432/striv_test",
            "PGHOST=orders-db-run-1",
            "PGPORT=5432",
            "PGUSER=striv",
            "PGPASSWORD=p\"w",
            "PGDATABASE=striv_test",
        ];
        assert_eq!(lines(&model(&[&named(Engine::Postgres, "orders-db")])), expected);
    }

    #[test]
    fn sqlite_has_a_url_and_a_database_and_counts_as_one() {
        assert_eq!(lines(&mixed(&[]))[1..], ["SQLITE_URL=sqlite::memory:", "SQLITE_DATABASE=:memory:", "DATABASE_URL=sqlite::memory:"]);
        let lines = lines(&mixed(&[&database(Engine::Postgres)]));
        assert!(!lines.iter().any(|line| line.starts_with("DATABASE_URL=")), "{lines:?}");
        assert!(lines.contains(&"PGHOST=postgres-run-1".into()), "{lines:?}");
    }

    #[test]
    fn of_two_postgresql_none_is_the_usual_one() {
        let (a, b) = (named(Engine::Postgres, "a"), named(Engine::Postgres, "b"));
        assert!(!lines(&model(&[&a, &b])).iter().any(|line| line.starts_with("PG") || line.starts_with("DATABASE")));
    }

    #[test]
    fn no_database_is_an_empty_variable() {
        let mut mysql = database(Engine::Mysql);
        mysql.login.database = None;
        assert!(lines(&model(&[&mysql])).contains(&"MYSQL_DATABASE=".into()));
    }

    #[test]
    fn the_config_file_is_told_by_its_path() {
        let variables = environment(&mixed(&[]), Some(Path::new("/project/x.json")));
        assert_eq!(variables[1], ("TESTBED_CONFIG".into(), "/project/x.json".into()));
    }

    #[test]
    fn names_that_pass_make_no_variable_twice() {
        for names in [&["database"][..], &["database", "pg"], &["pg"], &["a", "a-url", "a-database-url"], &["p-g", "database-url"]] {
            check_names(names).unwrap();
            let databases: Vec<_> = names.iter().map(|name| named(Engine::Postgres, name)).collect();
            let variables = environment(&model(&databases.iter().collect::<Vec<_>>()), Some(Path::new("/x")));
            let mut seen: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), variables.len(), "{names:?}");
        }
    }

    #[test]
    fn a_database_called_database_has_its_url_beside_others() {
        let (named, other) = (named(Engine::Mysql, "database"), database(Engine::Postgres));
        assert!(lines(&model(&[&named, &other])).contains(&"DATABASE_URL=mysql://striv:p%22w@database-run-1:3306/striv_test".into()));
    }

    #[test]
    fn names_that_would_meet_are_refused() {
        for (names, part) in [
            (&["a-b", "x", "a.b"][..], "the databases a-b and a.b would share the variables A_B_URL"),
            (&["db", "db"], "the databases db and db would share"),
            (&["testbed"], "the database testbed would begin with TESTBED_"),
            (&["testbed-run"], "the database testbed-run would begin with TESTBED_"),
            (&["9lives"], "begin with a digit"),
        ] {
            let error = check_names(names).unwrap_err();
            assert!(format!("{error:#}").contains(part) && exit_of(&error) == Exit::Usage, "{error:#}");
        }
        check_names(&["testbeds", "test-bed"]).unwrap();
    }
}

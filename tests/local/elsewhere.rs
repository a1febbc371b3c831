//! A command never reaches a server that is not the run's, whatever the caller's environment says: real
//! clients, with every variable in it that could lead them elsewhere.

use std::process::Command;

use crate::examples::{copy, is_missing, is_without_packages, of_go, packages};
use crate::harness::Local;
use crate::support::Folder;

/// Prints from which port each server answers, by clients that are told nothing.
const CLIENTS: &str = r#"
psql -Atc "SELECT 'psql ' || inet_server_port()"
psql "$DATABASE_URL" -Atc "SELECT 'url ' || inet_server_port()"
/usr/bin/python3 -c 'import psycopg2
cursor = psycopg2.connect("").cursor()
cursor.execute("SELECT inet_server_port()")
print("psycopg2", cursor.fetchone()[0])'
"#;

/// A caller whose own servers are elsewhere: no connection to any of these places can succeed.
pub fn hostile(local: Folder) -> Folder {
    let service = local.file("services.conf", "[mine]\nhost=127.9.9.9\nport=1\nuser=me\ndbname=mine\n");
    std::fs::create_dir(local.path().join("mysql")).expect("a folder");
    local.file("mysql/my.cnf", "[client]\nhost=127.9.9.9\nport=1\nuser=me\n");
    let folder = local.path().join("mysql").display().to_string();
    let variables = [
        ("DATABASE_URL", "postgresql://me@127.9.9.9:1/mine"),
        ("PRIMARY_DATABASE_URL", "postgresql://me@127.9.9.9:1/mine"),
        ("BOOKS_DATABASE_URL", "mysql2://me@127.9.9.9:1/mine"),
        ("PGSERVICE", "mine"),
        ("PGSERVICEFILE", service.to_str().expect("a path")),
        ("PGSYSCONFDIR", "/nowhere"),
        ("PGHOST", "127.9.9.9"),
        ("PGHOSTADDR", "127.9.9.9"),
        ("PGPORT", "1"),
        ("PGUSER", "me"),
        ("PGPASSFILE", "/nowhere"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/nowhere"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREAUTH", "gss"),
        ("PGREQUIREPEER", "nobody"),
        ("PGREALM", "mine"),
        ("PGREPLICATION", "database"),
        ("PGSSLPASSWORD", "wrong"),
        ("PGSSLCOMPRESSION", "1"),
        ("PGGSSENCMODE", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGOPTIONS", "-c search_path=nowhere -c default_transaction_read_only=on"),
        ("MYSQL_HOST", "127.9.9.9"),
        ("MYSQL_TCP_PORT", "1"),
        ("MYSQL_UNIX_PORT", "/nowhere"),
        ("MYSQL_PWD", "wrong"),
        ("MARIADB_USER", "me"),
        ("MARIADB_PWD", "wrong"),
        ("MARIADB_UNIX_PORT", "/nowhere"),
        ("MYSQL_GROUP_SUFFIX", "_mine"),
        ("MYSQL_HOME", folder.as_str()),
        ("MARIADB_HOME", folder.as_str()),
    ];
    variables.into_iter().fold(local, |local, (name, value)| local.env(name, value))
}

#[test]
fn the_callers_variables_lead_no_client_of_postgresql_elsewhere() {
    let local = Local::of(hostile(Folder::local()));
    let run = local
        .call(&["run", "--with", "postgres=pg", "--", "sh", "-ec", &format!("echo $PGPORT; {CLIENTS}")])
        .ok();
    let mut lines = run.stdout.lines();
    let port = lines.next().expect("a port");
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [format!("psql {port}"), format!("url {port}"), format!("psycopg2 {port}")]
    );
    run.says("note: the command does not get PGCHANNELBINDING, ")
        .says("PGSERVICE, PGSERVICEFILE")
        .says(", which could lead it to another server");
    local.assert_nothing_left();
}

/// The same of drivers that read libpq's variables by themselves, told nothing and told a URL.
const GO: &str = r#"package main

import (
	"database/sql"
	"fmt"
	"os"

	_ "github.com/lib/pq"
)

func main() {
	for _, source := range []string{"", os.Getenv("DATABASE_URL")} {
		db, err := sql.Open("postgres", source)
		if err != nil {
			panic(err)
		}
		var port int
		if err := db.QueryRow("SELECT inet_server_port()").Scan(&port); err != nil {
			panic(err)
		}
		fmt.Println("lib/pq", port)
	}
}
"#;
const NODE: &str = r#"
const { Client } = require("pg");
(async () => {
  for (const source of [undefined, process.env.DATABASE_URL]) {
    const client = new Client(source);
    await client.connect();
    const { rows } = await client.query("SELECT inet_server_port() AS port");
    console.log("pg", rows[0].port);
    await client.end();
  }
})();
"#;

#[test]
fn the_callers_variables_lead_no_driver_of_go_and_node_elsewhere() {
    if is_without_packages("go", "go.sum") || is_without_packages("node", "node_modules") {
        return;
    }
    let modules = packages("node").join("node_modules").display().to_string();
    let local = Local::of(of_go(hostile(Folder::local()).env("NODE_PATH", modules)));
    // Beside the example, whose modules it takes.
    let told_nothing = copy(&local, "go").join("told-nothing");
    std::fs::create_dir(&told_nothing).expect("a folder");
    std::fs::write(told_nothing.join("main.go"), GO).expect("a file");
    let node = local.file("told-nothing.js", NODE).display().to_string();
    let script = format!("echo $PGPORT; node {node}; cd examples/go; go run ./told-nothing");
    let run = local.call(&["run", "--with", "postgres=pg", "--", "sh", "-ec", &script]).ok();
    let mut lines = run.stdout.lines();
    let port = lines.next().expect("a port");
    let answers = ["pg", "pg", "lib/pq", "lib/pq"].map(|driver| format!("{driver} {port}"));
    assert_eq!(lines.collect::<Vec<_>>(), answers);
    local.assert_nothing_left();
}

#[test]
fn the_callers_variables_lead_no_client_of_mariadb_elsewhere() {
    let local = Local::of(hostile(Folder::local()));
    let script = "echo $SHOP_PORT $SHOP_DATABASE; mariadb -NBe 'SELECT @@port, database()'";
    let run = local.call(&["run", "--with", "mariadb=shop", "--", "sh", "-ec", script]).ok();
    let (told, answered) = run.stdout.trim().split_once('\n').expect("two lines");
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), answered.split_whitespace().collect::<Vec<_>>());
    run.says("note: the command does not get MARIADB_HOME, MARIADB_PWD, MARIADB_UNIX_PORT, MARIADB_USER, ")
        .says(", MYSQL_GROUP_SUFFIX, MYSQL_UNIX_PORT, PRIMARY_DATABASE_URL, which could lead it");
    local.assert_nothing_left();
}

/// Not of the machine's own servers either, to which they go where nobody names one.
#[test]
fn with_several_databases_clients_that_are_told_none_find_none() {
    let local = Local::of(hostile(Folder::local()));
    let script = "env | grep -cE '^(DATABASE_URL|PG[A-Z]+|MYSQL_(HOST|PWD|TCP_PORT|UNIX_PORT))='
        for client in 'psql -c' 'mariadb -e'; do
            $client 'SELECT 1' && echo found
        done
        psql \"$B_URL\" -Atc 'SELECT 42'
        mariadb -h$D_HOST -P$D_PORT -u$D_USER -p$D_PASSWORD $D_DATABASE -NBe 'SELECT 43'";
    let with = ["--with", "postgres=a", "--with", "postgres=b", "--with", "mariadb=c", "--with", "mariadb=d"];
    let args: Vec<&str> = ["run"].into_iter().chain(with).chain(["--", "sh", "-c", script]).collect();
    let run = local.call(&args).ok();
    assert_eq!(run.stdout, "2\n42\n43\n", "{}", run.transcript());
    let run = run.says("DATABASE_URL").says("PGHOSTADDR, ").says("MYSQL_PWD, ");
    let several = "this-run-has-several-servers-of-this-kind-say-which-as-with-";
    for host in
        [format!("\"/{several}A_HOST/.s.PGSQL.5432\" failed"), format!("server host '{several}C_HOST'")]
    {
        assert!(run.stderr.contains(&host), "{host}: {}", run.transcript());
    }
    local.assert_nothing_left();
}

#[test]
fn what_has_nothing_to_do_with_the_run_stays() {
    let local = Local::of(hostile(Folder::local()).env("PGTZ", "UTC").env("PGAPPNAME", "mine"));
    let run =
        local.call(&["run", "--with", "mariadb", "--", "sh", "-c", "echo $PGHOST $PGSERVICE $PGTZ"]).ok();
    assert_eq!(run.stdout, "127.9.9.9 mine UTC\n");
    let run = local
        .call(&["run", "--with", "postgres", "--", "sh", "-c", "echo $MYSQL_HOST $PGTZ $PGAPPNAME"])
        .ok();
    assert_eq!(run.stdout, "127.9.9.9 UTC mine\n");
}

#[test]
fn an_option_file_that_leads_elsewhere_is_told() {
    let folder = Folder::local();
    let home = folder.path().display().to_string();
    let local = Local::of(folder.env("HOME", &home));
    local.file(".my.cnf", "[mysqldump]\nhost=127.9.9.9\n[client]\nconnect_timeout=9\n");
    let args = ["run", "--with", "mariadb", "--", "true"];
    assert!(!local.call(&args).ok().stderr.contains(".my.cnf"));
    local.file(".my.cnf", "[client]\nuser=me\nhost = 127.9.9.9\n");
    local
        .call(&args)
        .ok()
        .says(&format!("warning: {home}/.my.cnf counts for more than the run's server and login"));
}

/// A database in the login would be for all programs, and most know no such option.
#[test]
fn the_client_of_mariadb_gets_to_the_database_and_other_programs_still_start() {
    let local = Local::new();
    let mut script = "\
        mariadb -NBe 'CREATE TABLE t (n int); SELECT database()'
        mariadb -NBe 'SELECT database()' mysql
        mariadb-check \"$SHOP_DATABASE\" | grep -o 'OK'\n"
        .to_owned();
    let mut expected = "my \"shop\"\nmysql\nOK\n".to_owned();
    if !is_missing("mariadb-client", Command::new("mariadb-admin").arg("--version")) {
        script += "\
            mariadb-dump --no-data --skip-comments \"$SHOP_DATABASE\" | grep -o 'CREATE TABLE .t.'
            mariadb-show \"$SHOP_DATABASE\" | grep -c ' t '
            mariadb-admin ping";
        expected += "CREATE TABLE `t`\n1\nmysqld is alive\n";
    }
    let with = ["run", "--with", "mariadb=shop", "--param", "database=my \"shop\""];
    let run = local.call(&[&with[..], &["--", "bash", "-eo", "pipefail", "-c", &script]].concat()).ok();
    assert_eq!(run.stdout, expected, "{}", run.transcript());
}

/// An outer run's file is not this one's.
#[test]
fn the_config_file_of_an_outer_run_is_not_told() {
    let local = Local::of(Folder::local().env("TESTBED_CONFIG", "/outer/testing-databases.json"));
    let script = "echo \"${TESTBED_CONFIG-none}\"";
    let run = local.call(&["run", "-q", "--with", "sqlite", "--output", "-", "--", "sh", "-c", script]).ok();
    assert!(run.stdout.ends_with("none\n"), "{}", run.transcript());
}

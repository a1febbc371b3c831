//! What a project has in its databases before the tests: set-up scripts, further databases, users, extensions
//! and arguments.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Database, Local, is_alive};

/// What a program makes of a text.
pub fn packed(program: &str, text: &str) -> Vec<u8> {
    let child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// A project with a script of each kind, whose names say nothing about their order.
fn project(settings: &str) -> Local {
    let local = Local::new();
    std::fs::create_dir(local.path().join("seeds")).unwrap();
    local.file("testbed.yaml", settings);
    local.file("z.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\n");
    for (name, program, text) in [
        ("seeds/1.sql.gz", "gzip", "INSERT INTO a VALUES (20);\n"),
        ("seeds/2.sql.xz", "xz", "INSERT INTO a VALUES (300);\n"),
        ("seeds/3.sql.zst", "zstd", "INSERT INTO a VALUES (4000);\n"),
    ] {
        std::fs::write(local.path().join(name), packed(program, text)).unwrap();
    }
    local.file("seeds/README.md", "no script\n");
    local.file("seeds/.hidden.sql", "no SQL;\n");
    // Sees what came before it, and is seen by what comes after it.
    local.file("a.sql", "CREATE TABLE last AS SELECT sum(n) AS sum FROM a;\n");
    local
}

fn named<'a>(databases: &'a [Database], driver: &str, name: &str) -> &'a Database {
    let is_it = |one: &&Database| one.driver == driver && one.database.as_deref() == Some(name);
    databases.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {databases:?}"))
}

const SETTINGS: &str = "\
databases:
  orders:
    use: postgres
    init: [z.sql, seeds/, a.sql]
    extensions: [hstore, uuid-ossp]
    users: [bob]
    databases:
      - {name: audit, owner: alice, extensions: citext}
      - plain
    args: [-c, application_name=a b, -c, max_connections=17]
  shop:
    use: mariadb
    user: app
    init: [z.sql, seeds/1.sql.gz, seeds/2.sql.xz, seeds/3.sql.zst, m.sh, a.sql]
    users: bob
    databases: [{name: au_dit, owner: alice}, plain]
    args: --max-connections=17  --sql-mode=ANSI
";

#[test]
fn a_projects_scripts_databases_users_and_extensions_are_there() {
    let local = project(SETTINGS);
    local.file("seeds/4.sh", "psql -c 'INSERT INTO a VALUES (50000)'\n");
    local.file("m.sh", "mariadb -uroot \"$MARIADB_DATABASE\" -e 'INSERT INTO a VALUES (50000)'\n");
    let (_, databases) = local.up(&["--run-id", "r"]);
    assert_eq!(databases.len(), 6);

    let orders = named(&databases, "postgres", "test");
    assert_eq!(orders.value("SELECT sum FROM public.last"), "54321");
    let extensions = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";
    assert_eq!(orders.query(extensions).unwrap(), ["hstore", "uuid-ossp"]);
    assert_eq!(
        (
            orders.value("SELECT reset_val FROM pg_settings WHERE name = 'application_name'"),
            orders.value("SHOW max_connections")
        ),
        ("a b".into(), "17".into())
    );
    orders.as_user("bob", &orders.password).assert_takes_logins();
    let audit = named(&databases, "postgres", "audit");
    assert_eq!((audit.user.as_str(), audit.port), ("alice", orders.port));
    // The owner may do as she likes in it, and is no superuser.
    audit.query("CREATE TABLE public.own (n int)").unwrap();
    assert_eq!(audit.query(extensions).unwrap(), ["citext"]);
    assert_eq!(audit.value("SELECT usesuper FROM pg_user WHERE usename = current_user"), "f");
    assert_eq!(named(&databases, "postgres", "plain").user, "postgres");

    let shop = named(&databases, "mysql", "test");
    assert_eq!((shop.user.as_str(), shop.value("SELECT sum FROM last").as_str()), ("app", "54321"));
    assert_eq!(shop.value("SELECT @@max_connections"), "17");
    assert!(shop.value("SELECT @@sql_mode").contains("ANSI_QUOTES"));
    let audit = named(&databases, "mysql", "au_dit");
    assert_eq!((audit.user.as_str(), audit.port), ("alice", shop.port));
    audit.query("CREATE TABLE own (n int)").unwrap();
    // Hers alone: `_` in the name of her database stands for no other character.
    assert!(audit.query("CREATE DATABASE auXdit").is_err());
    let plain = named(&databases, "mysql", "plain");
    assert_eq!(plain.user, "app");
    plain.query("CREATE TABLE own (n int)").unwrap();
    let bob = Database { database: None, ..shop.as_user("bob", &shop.password) };
    bob.assert_takes_logins();

    // A second `up` finds the same.
    local.up(&["--run-id", "r"]);
    assert_eq!(local.databases("testing-databases.json"), databases);
    let log = local.record("r").unwrap()["place"]["local"]["servers"][0]["log"].as_str().unwrap().to_owned();
    assert!(!std::fs::read_to_string(log).unwrap().contains(&orders.password));
    local.call(&["down"]).ok();
    local.call(&["history", "show", "r"]).ends(0).keeps(&orders.password).keeps(&shop.password);
}

/// As `docker_process_sql` and the images' own variables have it.
#[test]
fn a_shell_script_is_logged_in_and_knows_the_data_folder() {
    let local = Local::new();
    local.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, user: app, init: p.sh}, shop: {use: mariadb, user: app, init: m.sh}}\n",
    );
    local.file(
        "p.sh",
        "test -w \"$PGDATA/pg_hba.conf\"
         psql -c 'CREATE TABLE seen AS SELECT current_user::text AS who, current_database()::text AS \"where\"'
         psql -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\" -c 'INSERT INTO seen VALUES (1, 2)'\n",
    );
    local.file(
        "m.sh",
        "mariadb -e 'CREATE TABLE seen AS SELECT user() AS who, database() AS `where`'
         mariadb -uroot -p\"$MARIADB_ROOT_PASSWORD\" \"$MARIADB_DATABASE\" -e 'INSERT INTO seen VALUES (1, 2)'
         mariadb -uapp -p\"$MARIADB_PASSWORD\" -e 'INSERT INTO seen VALUES (3, 4)'
         mariadb-check \"$MARIADB_DATABASE\"\n",
    );
    let (_, databases) = local.up(&["--run-id", "r"]);
    let all = "SELECT concat(who, ' ', \"where\") FROM seen";
    assert_eq!(databases[0].query(all).unwrap(), ["app test", "1 2"]);
    let all = all.replace('"', "`");
    assert_eq!(databases[1].query(&all).unwrap(), ["root@localhost test", "1 2", "3 4"]);
    local.call(&["down"]).ok();
}

#[test]
fn a_command_gets_each_database_by_its_name() {
    let local = Local::new();
    local.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, database: main, databases: [{name: audit-log, owner: alice}]}}\n",
    );
    let shown = "echo $ORDERS_DATABASE $ORDERS_AUDIT_LOG_DATABASE $ORDERS_AUDIT_LOG_USER $PGDATABASE; \
                 test \"$DATABASE_URL\" = \"$ORDERS_URL\" && psql -XAt \"$ORDERS_AUDIT_LOG_URL\" -c 'SELECT current_user'";
    let run = local.call(&["run", "--", "sh", "-c", shown]).ok();
    assert_eq!(run.stdout, "main audit-log alice main\nalice\n");
    local.file(
        "testbed.yaml",
        "databases: {a: {use: postgres, databases: b-c}, a-b: {use: postgres, databases: c}}\n",
    );
    local
        .call(&["run", "--", "true"])
        .fails(2)
        .says("the databases a-b-c and a-b-c would share the variables A_B_C_URL");
    // What is large for a ConfigMap is nothing on this machine.
    local.file("testbed.yaml", "databases: {orders: {use: postgres, init: large.sql}}\n");
    let large =
        format!("CREATE TABLE a (n int);\n-- {}\nINSERT INTO a VALUES (1);\n", "filler ".repeat(160_000));
    local.file("large.sql", &large);
    let run = local.call(&["run", "--run-id", "large", "--", "psql", "-XAtc", "SELECT n FROM a"]).ok();
    assert_eq!(run.stdout, "1\n");
    // Nor does the history keep it.
    let shown = local.call(&["history", "show", "large", "-o", "json"]).ok().stdout;
    assert!(
        shown.contains(&format!("({} bytes, which are not kept)", large.len())) && !shown.contains("filler")
    );
}

#[test]
fn a_script_that_fails_is_named_with_its_line_and_the_servers_message() {
    let local = project("");
    local.file("seeds/5.sql", "SELECT 1;\n\nSELECT no_such_column;\nSELECT 'never';\n");
    std::fs::write(local.path().join("seeds/1.sql.gz"), b"no gzip").unwrap();
    std::fs::write(local.path().join("seeds/2.sql.xz"), packed("xz", "\n\nSELECT no_such_column;\n"))
        .unwrap();
    let cut = packed("zstd", "CREATE TABLE c (n int);\n");
    std::fs::write(local.path().join("seeds/3.sql.zst"), &cut[..cut.len() - 3]).unwrap();
    local.file("seeds/6.sh", "echo first\nno-such-command\n");
    for (engine, script, message) in [
        ("postgres", "seeds/5.sql", "line 3: ERROR:  column \"no_such_column\" does not exist"),
        ("mariadb", "seeds/5.sql", "line 3: Unknown column 'no_such_column' in"),
        ("postgres", "seeds/2.sql.xz", "line 3: ERROR:  column \"no_such_column\" does not exist"),
        ("postgres", "seeds/1.sql.gz", "gzip failed"),
        ("postgres", "seeds/3.sql.zst", "zstd failed"),
        ("postgres", "seeds/6.sh", "bash failed"),
    ] {
        let with = format!("{engine}=db");
        let param = format!("init={script}");
        let up = local.call(&["up", "--with", &with, "--param", &param, "--run-id", "r"]).fails(4);
        up.says(&format!("error: db: the set-up script {script}: ")).says(message).keeps("never");
        assert!(!local.has("testing-databases.json"));
        local.assert_nothing_left();
    }
}

/// The processes that were called like this.
fn called(title: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ").trim_end() == title
    };
    pids.filter(|pid| is_it(pid) && is_alive(*pid)).collect()
}

/// A process that a script leaves in the background has its standard output and error.
#[test]
fn a_script_ends_with_itself_and_what_it_leaves_ends_with_the_run() {
    let local = Local::new();
    let time = fastrand::u32(100_000..1_000_000_000);
    let title = format!("sleep {time}");
    local.file("fails.sh", &format!("sleep {time} &\necho first >&2\nexit 7\n"));
    let with = ["up", "--with", "postgres=db", "--run-id", "r", "--timeout", "30s"];
    let up = local.call(&[&with[..], &["--param", "init=fails.sh"]].concat()).fails(4);
    up.says("the set-up script fails.sh: /bin/bash failed (exit status: 7)").says("first");
    assert_eq!(called(&title).len(), 0);
    local.assert_nothing_left();
    // As one does that is to go on by itself.
    local.file("leaves.sh", &format!("cd /\nsetsid sleep {time} &\n"));
    local.call(&[&with[..], &["--param", "init=leaves.sh"]].concat()).ok();
    assert_eq!(called(&title).len(), 1);
    local.call(&["down"]).ok();
    assert_eq!(called(&title).len(), 0);
    local.assert_nothing_left();
}

/// Whether this machine's package manager knows a package.
fn is_known(package: &str) -> bool {
    let output = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn an_extension_that_the_server_does_not_have_names_its_package() {
    let local = Local::new();
    let server =
        local.call(&["run", "--with", "postgres", "--", "psql", "-XAtc", "SHOW server_version_num"]).ok();
    let major = server.stdout.trim().parse::<u32>().unwrap() / 10000;
    let postgis = format!("postgresql-{major}-postgis-3");
    let vector = format!("postgresql-{major}-pgvector");
    for (extension, package) in [("postgis", postgis.as_str()), ("vector", &vector)] {
        let param = format!("extensions={extension}");
        let up = local.call(&["up", "--with", "postgres", "--param", &param, "--run-id", "r"]);
        if up.code == Some(0) {
            // The machine has it.
            local.call(&["down"]).ok();
            continue;
        }
        let up = up.fails(2).says(&format!(" does not have the extension {extension}\n")).keeps("preparing");
        if is_known(package) {
            up.says(&format!("hint: install what the extension {extension} is in: apt install {package}\n"));
        } else {
            up.says(&format!("share/extension/{extension}.control")).keeps("apt install");
        }
        local.assert_nothing_left();
    }
    // Also in a further database of the server, and for who only looks ahead.
    let param = r#"databases=[{"name": "a", "extensions": "no_such"}]"#;
    let of_other = local.call(&["up", "--with", "postgres", "--param", param]).fails(2);
    let _ = of_other.says(" does not have the extension no_such\n").keeps("preparing");
    let doctor = local.call(&["doctor", "--with", "postgres", "--param", param]).ends(1);
    assert!(doctor.stdout.contains("does not have the extension no_such"), "{}", doctor.stdout);
}

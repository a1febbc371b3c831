//! `tls: true`: servers that take logins over TLS alone, whose certificates clients verify by an authority of
//! the run.

use serde_json::Value;

use crate::harness::Local;

/// Real clients, by the run's variables and config file. `OTHER` is the certificate of another run's
/// authority.
const CLIENTS: &str = r#"
ask='SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
echo "psql $PGSSLMODE $(psql -Atc "$ask")"
echo "url $(psql "$ORDERS_URL" -Atc "$ask")"
mariadb -NBe "SHOW STATUS LIKE 'Ssl_version'"
/usr/bin/python3 - <<'PYTHON'
import json, os, psycopg2, pymysql
for driver, arguments in json.load(open(os.environ["TESTBED_CONFIG"])):
    module = {"mysql": pymysql, "postgres": psycopg2}[driver]
    cursor = module.connect(**arguments).cursor()
    cursor.execute("SELECT 6 * 7")
    print(driver, arguments.get("sslmode", arguments.get("ssl_verify_cert")), cursor.fetchone()[0])
    other = dict(arguments, **{"ssl_ca" if "ssl_ca" in arguments else "sslrootcert": os.environ["OTHER"]})
    try:
        module.connect(**other)
        print("another authority is believed")
    except module.OperationalError as error:
        print(driver, "certificate verify failed" in str(error))
PYTHON
PGSSLMODE=disable psql -Atc 'SELECT 1' 2>&1 | grep -o 'no encryption'
PGSSLROOTCERT=$OTHER psql -Atc 'SELECT 1' 2>&1 | grep -o 'certificate verify failed'
login="-h $SHOP_HOST -P $SHOP_PORT -u $SHOP_USER"
MYSQL_PWD=$SHOP_PASSWORD mariadb --no-defaults $login --skip-ssl -e 'SELECT 1' > refused 2>&1 || echo no TLS, no login
MYSQL_PWD=$SHOP_PASSWORD mariadb --no-defaults $login --ssl-ca="$OTHER" --ssl-verify-server-cert -e 'SELECT 1' 2>&1 | grep -o 'ERROR 2026'
find "$XDG_STATE_HOME" -name tls.key -path "*/r.*" -printf '%m\n'
find "$XDG_STATE_HOME" -name tls.key -path "*/r.*" -exec sed -n 2p {} ';' > keys
"#;

#[test]
fn clients_verify_the_servers_and_get_in_over_tls_alone() {
    let local = Local::new();
    let (other, _) =
        local.up(&["--with", "postgres", "--param", "tls=true", "--run-id", "other", "-o", "json"]);
    let other: Value = serde_json::from_str(&other.stdout).expect("JSON");
    let other = other["databases"][0]["ca"].as_str().expect("a file").to_owned();
    local.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, tls: true}, shop: {use: mariadb, tls: true}}\n",
    );
    let script = format!("OTHER='{other}'; export OTHER\n{CLIENTS}");
    let run = local.call(&["run", "--strict", "--run-id", "r", "--", "sh", "-c", &script]).ok();
    let expected = "psql verify-full TLSv1.3\nurl TLSv1.3\nSsl_version\tTLSv1.3\n\
                    postgres verify-full 42\npostgres True\nmysql True 42\nmysql True\n\
                    no encryption\ncertificate verify failed\nno TLS, no login\nERROR 2026\n600\n600\n";
    assert_eq!(run.stdout, expected, "{}", run.transcript());
    assert!(!run.stderr.contains("unknown variable"), "{}", run.transcript());
    // No archive has a key.
    let keys = local.read("keys");
    assert_eq!(keys.lines().count(), 2);
    let archive = std::fs::read(local.state().join("history.db")).expect("the history");
    assert!(!keys.lines().any(|key| archive.windows(key.len()).any(|part| part == key.as_bytes())));
    local.call(&["down", "--run-id", "other"]).ok();
    assert!(!std::path::Path::new(&other).exists());
    local.assert_nothing_left();
}

#[test]
fn an_up_again_keeps_the_authority() {
    let local = Local::new();
    let args = ["--with", "postgres", "--param", "tls=true", "--run-id", "r"];
    let (_, first) = local.up(&args);
    let (_, second) = local.up(&args);
    assert_eq!(first[0].port, second[0].port);
    let config = local.read("testing-databases.json");
    let ca =
        config.split("\"sslrootcert\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a file");
    let url = format!(
        "host=127.0.0.1 port={} user=postgres password={} dbname=test sslmode=verify-full sslrootcert={ca}",
        second[0].port, second[0].password
    );
    let psql =
        std::process::Command::new("psql").args([&url, "-Atc", "SELECT 6 * 7"]).output().expect("psql");
    assert_eq!(psql.stdout, b"42\n", "{psql:?}");
    local.call(&["down"]).ok();
    local
        .call(&["up", "--with", "postgres", "--param", "tls=perhaps"])
        .fails(2)
        .says("\"perhaps\" is neither true nor false");
    local
        .call(&["render", "--with", "postgres", "--param", "tls=true", "--template"])
        .fails(2)
        .says("each run makes postgres's certificates");
}

#[test]
fn a_manifest_of_ones_own_says_it_by_an_annotation() {
    let local = Local::new();
    let render = ["render", "--with", "postgres=orders", "--param", "tls=true", "--run-id", "r"];
    // A version that every machine with PostgreSQL has.
    let rendered = local.call(&render).ok().stdout.replace("image: postgres:17", "image: postgres");
    let run = |manifest: &str| {
        local.file("databases.yaml", manifest);
        let ask = "psql -Atc 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'";
        local.call(&["run", "databases.yaml", "--run-id", "r", "--", "sh", "-c", ask])
    };
    assert_eq!(run(&rendered).ok().stdout, "t\n");
    for (from, to, part) in [
        ("ca.crt: |", "other.crt: |", "no Secret of the manifest has ca.crt for this folder"),
        ("BEGIN CERTIFICATE", "BEGIN NOTHING", "ca.crt: "),
        ("mountPath: /etc/testbed-tls", "mountPath: /elsewhere", "no Secret of the manifest has ca.crt"),
    ] {
        run(&rendered.replace(from, to)).fails(2).says("annotation testbed/tls").says(part);
    }
    local.assert_nothing_left();
}

//! `tls: true` in a cluster: the server has its certificate from the run's Secret, and clients verify it.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use crate::harness::{Namespace, run_id};

const SCRIPT: &str = r#"
psql -Atc "SELECT 'psql ' || version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
PGSSLMODE=disable psql -Atc 'SELECT 1' 2>&1 | grep -o 'no encryption'
mariadb -NBe "SHOW STATUS LIKE 'Ssl_version'"
login="-h $SHOP_HOST -P $SHOP_PORT -u $SHOP_USER"
MYSQL_PWD=$SHOP_PASSWORD mariadb --no-defaults $login --skip-ssl -e 'SELECT 1' > /dev/null 2>&1 || echo no TLS, no login
cat "$ORDERS_CA" "$SHOP_CA" | sort -u | grep -c BEGIN
"#;

#[test]
fn clients_verify_the_servers_of_a_cluster() {
    let namespace = Namespace::new("tls");
    let id = run_id();
    let args = [
        "run",
        "--with",
        "postgres=orders",
        "--with",
        "mariadb=shop",
        "--param",
        "tls=true",
        "--run-id",
        &id,
    ];
    let run = namespace.folder.call(&[&args[..], &["--", "sh", "-c", SCRIPT]].concat()).ok();
    let expected = "psql TLSv1.3\nno encryption\nSsl_version\tTLSv1.3\nno TLS, no login\n1\n";
    assert_eq!(run.stdout, expected, "{}", run.transcript());
    assert_eq!(namespace.of_run(&id), Vec::<String>::new());
}

#[test]
fn an_up_in_a_cluster_keeps_the_certificates_of_the_first_one() {
    let namespace = Namespace::new("tls-again");
    let id = run_id();
    let args = [
        "up",
        "--with",
        "postgres=orders",
        "--param",
        "tls=true",
        "--param",
        "profile=restricted",
        "--run-id",
        &id,
    ];
    let secret =
        || -> Value { namespace.json(&["secret", &format!("orders-{id}")])["data"]["ca.crt"].clone() };
    namespace.folder.call(&args).ok();
    let first = secret();
    // The login of the second `up` is verified by what the cluster has.
    namespace.folder.call(&args).ok();
    assert_eq!(secret(), first);
    // The authority is known on this machine as well, until the run is gone; the config file is for the tests
    // inside, and does not name it.
    let folder = namespace.folder.path().join("state/testbed/runs").join(&id);
    let known = std::fs::read(folder.join("orders.ca.crt")).unwrap();
    assert_eq!(BASE64_STANDARD.encode(&known), first.as_str().unwrap());
    assert!(!namespace.folder.read("testing-databases.json").contains("ca.crt"));
    let script = "echo $PGSSLMODE; test \"$ORDERS_CA\" = \"$PGSSLROOTCERT\" && cat $ORDERS_CA | grep -c BEGIN; \
                  psql -Atc 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'";
    let exec = namespace.folder.call(&["exec", "--run-id", &id, "--", "sh", "-c", script]).ok();
    assert_eq!(exec.stdout, "verify-full\n1\nt\n", "{}", exec.transcript());
    let status = namespace.folder.call(&["status", "--run-id", &id]).ok();
    assert!(status.stdout.contains(" orders ") && status.stdout.contains(" postgres "), "{}", status.stdout);
    namespace.folder.call(&["down", "--run-id", &id]).ok();
    assert!(!folder.exists());
}

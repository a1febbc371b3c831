//! `up --format`: what cannot be written is refused before any cluster is asked. Calls that are fine so far
//! find no cluster.

use crate::support::{Called, Folder};

fn up(folder: &Folder, args: &[&str]) -> Called {
    folder.call(&[&["up", "--run-id", "run-1"], args].concat()).fails(2)
}

const FINE: &str = "no cluster is named";

#[test]
fn a_format_that_is_none() {
    let folder = Folder::new();
    for format in ["json", "tera", "tera:"] {
        up(&folder, &["--with", "mysql", "--format", format])
            .says(&format!("invalid value '{format}' for '--format <FORMAT>'"));
    }
    up(&folder, &["--with", "mysql", "--format", "json"])
        .says("known are testing-databases, dotenv, urls and tera:FILE");
    let folder = folder.env("TESTBED_FORMAT", "json");
    up(&folder, &["--with", "mysql"]).says("known are testing-databases");
}

#[test]
fn a_format_that_fits() {
    let folder = Folder::new();
    folder.file("x.yml.j2", "{% for d in databases %}{{ d.url }}{% endfor %}{{ database.mysql.port }}{{ database['my-lite'].database }}");
    for format in ["testing-databases", "dotenv", "urls", "tera:x.yml.j2"] {
        up(&folder, &["--with", "mysql", "--with", "sqlite=my-lite", "--format", format]).says(FINE);
    }
}

#[test]
fn a_template_that_cannot_be_used() {
    let folder = Folder::new();
    let tera = |text: &str| {
        folder.file("x.tera", text);
        up(&folder, &["--with", "mysql", "--param", "password=hush", "--format", "tera:x.tera"]).keeps("hush")
    };
    up(&folder, &["--with", "mysql", "--format", "tera:no.tera"])
        .says("--format tera: reading the template no.tera: No such file");
    tera("\n{{ database.mysql.url").says("x.tera:2: ");
    tera("\n{{ run_id | shout }}").says("x.tera:2: ");
    tera("\n\n{{ database.mysql.urll }}").says("x.tera:3: ").says("in: {{ database.mysql.urll }}");
    tera("{{ database.orders.url }}").says("x.tera:1: the field orders is not defined");
    tera("{{ database.mysql.password | int }}").says("x.tera:1: ");
    tera("{% include \"/etc/passwd\" %}").says("x.tera");
    assert!(!folder.has("x"));
    // A link in somebody's checkout would bring a pod's token, or the environment, to where the tests read
    // it.
    std::os::unix::fs::symlink("/proc/self/environ", folder.path().join("linked.tera")).unwrap();
    let up = up(&folder, &["--with", "mysql", "--format", "tera:linked.tera"]);
    up.says("--format tera:linked.tera: /proc/").says("environ is no template").keeps("TESTBED_RUNTIME");
}

#[test]
fn results_that_cannot_be_written() {
    let folder = Folder::new();
    for result in ["password=f", "config", "databases="] {
        up(&folder, &["--with", "mysql", "--result", result]).says("for '--result <NAME=FILE>'");
    }
    up(&folder, &["--with", "mysql", "--output", "-", "--result", "config=f"]).says("--output - writes none");
}

#[test]
fn a_template_whose_name_does_not_tell_the_files() {
    let folder = Folder::new();
    folder.file("x.yml", "{{ run_id }}");
    let args = ["--with", "mysql", "--format", "tera:x.yml"];
    up(&folder, &args)
        .says("the template's name does not tell the config file's")
        .says("hint: name the config file with --output");
    up(&folder, &[&args[..], &["--output", "x.yml"]].concat())
        .says("--output x.yml is the template of --format");
    up(&folder, &[&args[..], &["--output", "y.yml"]].concat()).says(FINE);
    assert!(folder.has("x.yml"));
}

#[test]
fn names_that_a_format_cannot_tell_apart() {
    let folder = Folder::new();
    let up = |format: &str, names: [&str; 2]| {
        up(
            &folder,
            &[
                "--with",
                &format!("mysql={}", names[0]),
                "--with",
                &format!("sqlite={}", names[1]),
                "--format",
                format,
            ],
        )
    };
    up("urls", ["a", "a"])
        .says("--format urls: two databases are called a")
        .says("hint: a database is called what --with ENGINE=NAME says");
    up("dotenv", ["a", "a"]).says("the databases a and a would share the variables A_URL and so on");
    up("dotenv", ["testbed-x", "a"])
        .says("the variables of the database testbed-x would begin with TESTBED_");
    up("testing-databases", ["a", "a"]).says(FINE);
}

#[test]
fn a_value_that_dotenv_cannot_hold() {
    let folder = Folder::new();
    let up = |password: &str| {
        up(&folder, &["--with", "mysql", "--format", "dotenv", "--param", &format!("password={password}")])
    };
    up("hush'\"").says("--format dotenv: MYSQL_PASSWORD holds a single quote beside").keeps("hush");
    up("hush's #1").says(FINE);
}

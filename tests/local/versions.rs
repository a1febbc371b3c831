//! Which server serves what is asked for, and what is said where none does.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{Local, is_alive, until};
use crate::support::Folder;

#[test]
fn a_version_that_is_not_there_is_refused_with_what_is() {
    let local = Local::new();
    for (with, parts) in [
        (
            "postgres:99",
            [
                "PostgreSQL 99 is asked for (image postgres:99), and this machine has PostgreSQL ",
                "PostgreSQL 99; its makers have packages of their own",
            ],
        ),
        (
            "mysql:9.7",
            [
                "MySQL 9.7 is asked for (image mysql:9.7), and this machine has MariaDB ",
                "a plain mysql, without a version, is served by MariaDB",
            ],
        ),
        (
            "mariadb:12.9",
            [
                "MariaDB 12.9 is asked for (image mariadb:12.9), and this machine has MariaDB ",
                "or ask for what is there: mariadb:",
            ],
        ),
    ] {
        let up = local.call(&["up", "--with", with, "--run-id", "r"]).fails(4);
        parts.iter().fold(up, |up, part| up.says(part)).says("hint: install it");
    }
    assert!(!local.has("testing-databases.json"));
}

/// Another release of the same series serves, which is told, and refused where nothing may differ.
#[test]
fn a_release_that_is_not_there_is_told() {
    let local = Local::new();
    let refused = local.call(&["up", "--with", "postgres:99"]).fails(4).stderr;
    let (_, found) = refused.split_once("this machine has PostgreSQL ").expect("a PostgreSQL");
    let series = found.split('.').next().expect("a number");
    let with = format!("postgres:{series}.999");
    let told = format!("postgres: {series}.999 is asked for (image {with}), and PostgreSQL {series}.");
    local.call(&["run", "--with", &with, "--", "true"]).ok().says(&format!("note: {told}"));
    local.call(&["run", "--with", &with, "--strict", "--", "true"]).fails(2).says(&told);
    local.call(&["run", "--with", &format!("postgres:{series}"), "--strict", "--", "true"]).ok();
}

#[test]
fn mariadb_serves_a_plain_mysql_and_says_so() {
    let local = Local::new();
    let run = local.call(&["run", "--with", "mysql", "--", "sh", "-c", "echo $MYSQL_URL"]).ok();
    assert!(run.stdout.starts_with("mysql://root:"), "{}", run.stdout);
    run.says("note: mysql: there is no MySQL on this machine; MariaDB ");
}

/// What is installed knows nothing of registries.
#[test]
fn a_mirror_changes_nothing_about_which_server_serves() {
    let local = Local::new();
    let prefix = ["--image-prefix", "docker.io/library/postgres=r.example/database"];
    local.call(&[&["run", "--with", "postgres", "--strict"][..], &prefix, &["--", "true"]].concat()).ok();
    let up = local.call(&[&["up", "--with", "postgres:99", "--run-id", "r"][..], &prefix].concat()).fails(4);
    up.says("PostgreSQL 99 is asked for (image postgres:99)");
}

#[test]
fn a_path_to_a_server_counts_for_what_is_there() {
    let local = Local::new();
    let script = |name: &str, says: &str| {
        let path = local.file(name, &format!("#!/bin/sh\necho '{says}'\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let other = script("other", "hello");
    let mysql = script("mysqld", "mysqld  Ver 9.7.0 for Linux on x86_64");
    for (param, path, part) in [
        (
            "postgres.server",
            "/no/such/file",
            "--param postgres.server points to the server: /no/such/file is no program",
        ),
        ("postgres.server", other.as_str(), "is no database server: \"hello\""),
        (
            "postgres.server",
            mysql.as_str(),
            "PostgreSQL is asked for, and --param postgres.server points to MySQL 9.7.0",
        ),
    ] {
        local
            .call(&["up", "--with", "postgres", "--run-id", "r", "--param", &format!("{param}={path}")])
            .fails(2)
            .says(part);
    }
    let by_variable =
        Local::of(crate::support::Folder::local().env("TESTBED_POSTGRES_SERVER", "/no/such/file"));
    by_variable
        .call(&["up", "--with", "postgres"])
        .fails(2)
        .says("TESTBED_POSTGRES_SERVER points to the server: /no/such/file is no program");
}

/// Neither for ever, nor deaf: it is one of several.
#[test]
fn a_program_that_does_not_say_its_version_is_passed_over_and_named() {
    let folder = Folder::local();
    let (bin, mark) = (folder.path().join("bin"), folder.path().join("mark"));
    std::fs::create_dir(&bin).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let local = Local::of(folder.env("PATH", path));
    let silent =
        local.file("bin/postgres", &format!("#!/bin/sh\nsleep 1000 &\necho $! > {}\nwait\n", mark.display()));
    std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sleeping = || std::fs::read_to_string(&mark).ok()?.trim().parse::<u32>().ok();

    local.call(&["run", "--with", "postgres", "--", "true"]).ok();
    let refused = local.call(&["run", "--with", "postgres:99", "--", "true"]).fails(4);
    let _ = refused.says(&format!("hint: no version is said by {}: mend or remove it", silent.display()));
    assert!(!is_alive(sleeping().unwrap()), "it ends with the question");

    std::fs::remove_file(&mark).unwrap();
    let asking = local.start(&["run", "--with", "postgres", "--", "true"]);
    let pid = until("the program is asked", sleeping);
    let told = Instant::now();
    asking.signal("TERM");
    assert_eq!(asking.wait().code, Some(143));
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    until("the program's end", || (!is_alive(pid)).then_some(()));
}

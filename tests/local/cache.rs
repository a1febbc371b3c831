//! Prepared data folders that somebody or something has damaged are made anew, without a word of the user's.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::harness::Local;
use crate::support::{Folder, open_for_passing};

fn entry(local: &Local) -> PathBuf {
    let prepared = local.path().join("cache/testbed/prepared");
    let folders: Vec<PathBuf> = std::fs::read_dir(prepared)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    let (spares, mut entries): (Vec<_>, Vec<_>) =
        folders.into_iter().partition(|path| path.display().to_string().contains(".spare-"));
    // A run that takes a spare copies nothing, and would not notice.
    spares.iter().for_each(|spare| std::fs::remove_dir_all(spare).unwrap());
    entries.pop().expect("a prepared folder")
}

/// Damages the prepared folder of an engine; the next run has to work, and the last one finds a sound folder.
fn repairs_itself(engine: &str, damages: &[&dyn Fn(&Path)]) {
    let local = Local::with_cold_cache();
    let run = || local.call(&["run", "-v", "--with", engine, "--", "true"]).ok().stderr;
    run();
    for damage in damages {
        damage(&entry(&local));
        let said = run();
        assert!(said.contains("a data folder for the first time"), "{said}");
    }
    assert!(!run().contains("for the first time"), "it was repaired");
}

#[test]
fn a_damaged_prepared_folder_of_postgresql_is_made_anew() {
    repairs_itself(
        "postgres",
        &[
            &|entry| {
                File::options().write(true).open(entry.join("data/PG_VERSION")).unwrap().set_len(0).unwrap();
            },
            &|entry| std::fs::remove_file(entry.join("entry.json")).unwrap(),
            // Of the same size, so that only the server notices.
            &|entry| {
                let path = entry.join("data/global/pg_control");
                let size = std::fs::metadata(&path).unwrap().len();
                std::fs::write(path, vec![0xAA; usize::try_from(size).unwrap()]).unwrap();
            },
            // And what not even the server would notice.
            &|entry| {
                let path = entry.join("data/postgresql.auto.conf");
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("# "), "{text}");
                std::fs::write(path, text.replacen("# ", "#-", 1)).unwrap();
            },
        ],
    );
}

#[test]
fn a_damaged_prepared_folder_of_mariadb_is_made_anew() {
    repairs_itself(
        "mariadb",
        &[
            &|entry| std::fs::remove_file(entry.join("data/mysql/db.frm")).unwrap(),
            &|entry| std::fs::write(entry.join("entry.json"), "{").unwrap(),
            &|entry| std::fs::remove_dir_all(entry.join("data")).unwrap(),
            // A table that no server reads at its start, with another byte at its end.
            &|entry| {
                let path = entry.join("data/mysql/help_topic.MAD");
                let mut bytes = std::fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(path, bytes).unwrap();
            },
        ],
    );
}

#[test]
fn the_next_run_takes_the_folder_of_the_last_one_without_its_data() {
    let local = Local::with_cold_cache();
    let tables = "psql -Atc 'SELECT count(*) FROM pg_tables' -c 'CREATE TABLE t AS SELECT generate_series(1, 100000) AS n'";
    let count = || local.call(&["run", "--with", "postgres", "--", "sh", "-c", tables]).ok().stdout;
    let first = count();
    let spares = || {
        let prepared = std::fs::read_dir(local.path().join("cache/testbed/prepared")).unwrap().flatten();
        prepared
            .filter(|entry| entry.file_name().to_string_lossy().contains(".spare-"))
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let spare = spares();
    assert_eq!(spare.len(), 1, "{spare:?}");
    assert_eq!(count(), first, "the table of the first run is not there");
    assert_eq!(spares().len(), 1);
    assert_ne!(spares(), spare, "it was taken, and another one was left");
}

#[test]
fn folders_may_have_spaces_and_backslashes_in_their_names() {
    let folder = Folder::local();
    let odd = folder.path().join("John Doe\\s");
    std::fs::create_dir(&odd).unwrap();
    open_for_passing(&odd);
    let local = Local::of(folder.env("XDG_CACHE_HOME", odd.display().to_string()));
    for engine in ["mariadb", "postgres"] {
        local.call(&["run", "--with", engine, "--", "true"]).ok();
    }
}

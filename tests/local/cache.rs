//! Prepared data folders that somebody or something has damaged are made anew, without a word of the user's.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::harness::Local;

fn entry(local: &Local) -> PathBuf {
    let prepared = local.path().join("cache/testbed/prepared");
    let mut folders = std::fs::read_dir(prepared).unwrap().flatten().map(|entry| entry.path());
    folders.find(|path| path.is_dir()).expect("a prepared folder")
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
            &|entry| File::options().write(true).open(entry.join("data/PG_VERSION")).unwrap().set_len(0).unwrap(),
            &|entry| std::fs::remove_file(entry.join("entry.json")).unwrap(),
            // Of the same size, so that only the server notices.
            &|entry| {
                let path = entry.join("data/global/pg_control");
                let size = std::fs::metadata(&path).unwrap().len();
                std::fs::write(path, vec![0xAA; usize::try_from(size).unwrap()]).unwrap();
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
        ],
    );
}

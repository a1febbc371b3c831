//! The keys of a compose file, which people write by habit, and what they are in `testbed.yaml`.

use anyhow::anyhow;

/// At the top of the file.
const OF_FILE: [(&[&str], &str); 3] = [
    (
        &["services"],
        "its databases belong below `databases`, such as databases: {orders: postgres:17}; testbed init writes them from a compose file",
    ),
    (
        &["environment", "variables", "vars"],
        "that is `env` here, such as env: {DB_NAME: '{{ orders.database }}'}",
    ),
    (
        &["volumes", "networks", "secrets", "configs"],
        "testbed has no need of it: the data goes with the run, and servers are where the tests reach them",
    ),
];

/// Below a database, which is a service there.
const OF_SERVICE: [(&[&str], &str); 6] = [
    (
        &["environment", "env", "env_file"],
        "user, password and database are keys of their own here, such as user: shop; variables for the tests stand in `env` at the top of the file",
    ),
    (
        &["volumes"],
        "set-up scripts are named by `init`, such as init: [schema.sql]; the data goes with the run",
    ),
    (&["healthcheck"], "testbed itself waits until the database is ready: leave it out"),
    (&["container_name", "hostname"], "a database is called what its key says: leave it out"),
    (&["build"], "an image that is there already is named by `image`"),
    (
        &["depends_on", "networks", "network_mode", "links", "expose", "restart", "deploy", "logging"],
        "testbed has no need of it: leave it out",
    ),
];

/// Whether a key says that the file is a compose file.
pub(super) fn is_services(key: &str) -> bool {
    OF_FILE[0].0.contains(&key)
}

/// The error of a key at the top of the file, or below a database, that is a compose file's.
pub(super) fn unknown(key: &str, is_of_database: bool) -> Option<anyhow::Error> {
    let known = if is_of_database { &OF_SERVICE[..] } else { &OF_FILE[..] };
    let (_, tip) = known.iter().find(|(keys, _)| keys.contains(&key))?;
    Some(anyhow!("unknown key {key:?}: {tip}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::settings::{keys, read};

    #[test]
    fn what_is_to_be_written_instead_is_taken() {
        let cli = Cli::command();
        for text in [
            "databases: {orders: postgres:17}",
            "env: {DB_NAME: '{{ orders.database }}'}",
            "databases: {orders: {use: postgres, init: [schema.sql]}}",
            "databases: {orders: {use: postgres, user: shop}}",
        ] {
            read::read("testbed.yaml", text, Path::new(""), &cli).expect(text);
        }
        for key in OF_FILE.iter().flat_map(|(keys, _)| *keys) {
            assert!(!keys::known(&cli).contains(key), "{key}");
        }
    }
}

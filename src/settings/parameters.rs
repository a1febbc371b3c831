//! What people call the parameters of a database, and how each is said here: on the command line, and below its
//! database in `testbed.yaml`.

use std::fmt;

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Its key below a database, and all the words that other tools have for it.
    words: &'static [&'static str],
    /// What to type.
    typed: &'static str,
    /// What to write below which database.
    written: (&'static str, &'static str),
}

const PARAMETERS: [Parameter; 28] = [
    parameter(&["use", "tag", "version"], "--with postgres:17", "use: postgres:17"),
    Parameter { words: &["name"], typed: "--with postgres=orders", written: ("orders", "use: postgres") },
    parameter(&["port", "ports", "publish"], "--with postgres@5433", "port: 5433"),
    parameter(&["image"], "--param image=postgis/postgis:17-3.5", "image: postgis/postgis:17-3.5"),
    parameter(&["database", "db", "dbname", "db-name"], "--param database=shop", "database: shop"),
    parameter(&["databases", "dbs"], "--param databases='shop audit'", "databases: [shop, audit]"),
    parameter(&["user", "username"], "--param user=shop", "user: shop"),
    parameter(&["users"], "--param users='alice bob'", "users: [alice, bob]"),
    // Without one, each run makes random ones.
    parameter(&["password", "passwd", "pass"], "--param password=test", "password: test"),
    parameter(&["init", "schema", "sql", "script", "scripts"], "--param init=schema.sql", "init: schema.sql"),
    parameter(&["seed", "seeds", "fixtures"], "--seed schema.sql", "seed: {files: schema.sql}"),
    parameter(&["from", "snapshot"], "--from loaded", "from: loaded"),
    parameter(&["scram-iterations"], "--param scram-iterations=1000", "scram-iterations: 1000"),
    parameter(&["extensions", "extension"], "--param extensions=hstore", "extensions: hstore"),
    parameter(&["tls", "ssl"], "--param tls=true", "tls: true"),
    parameter(
        &["args", "arguments", "command"],
        "--param args='-c max_connections=200'",
        "args: [-c, max_connections=200]",
    ),
    parameter(&["server"], "--param server=/opt/postgres/bin/postgres", "server: /opt/postgres/bin/postgres"),
    parameter(&["cpu", "cpus"], "--param cpu=500m", "cpu: 500m"),
    parameter(&["cpu-limit"], "--param cpu-limit=1", "cpu-limit: 1"),
    parameter(&["memory", "ram"], "--param memory=1Gi", "memory: 1Gi"),
    parameter(&["memory-limit"], "--param memory-limit=1Gi", "memory-limit: 1Gi"),
    parameter(&["medium", "tmpfs"], "--param medium=Memory", "medium: Memory"),
    parameter(&["pull-secret"], "--param pull-secret=registry", "pull-secret: registry"),
    parameter(&["node-selector"], "--param node-selector=disk=ssd", "node-selector: disk=ssd"),
    parameter(
        &["tolerations", "toleration"],
        "--param tolerations=ci=true:NoSchedule",
        "tolerations: ci=true:NoSchedule",
    ),
    parameter(&["runtime-class"], "--param runtime-class=gvisor", "runtime-class: gvisor"),
    parameter(&["profile"], "--param profile=restricted", "profile: restricted"),
    parameter(&["ip-family"], "--param ip-family=ipv6", "ip-family: ipv6"),
];

const fn parameter(words: &'static [&'static str], typed: &'static str, written: &'static str) -> Parameter {
    Parameter { words, typed, written: ("postgres", written) }
}

impl Parameter {
    /// The one that somebody means by a flag or key.
    pub(super) fn meant(word: &str) -> Option<&'static Self> {
        let word = word.to_lowercase().replace('_', "-");
        PARAMETERS.iter().find(|parameter| parameter.words.contains(&&*word))
    }

    /// Its key below a database.
    pub(super) fn key(&self) -> &'static str {
        self.written.1.split(':').next().unwrap_or_default()
    }

    /// A `testbed.yaml` with it.
    pub(super) fn example(&self) -> String {
        let (database, written) = self.written;
        format!("databases:\n  {database}:\n    {written}")
    }
}

/// What to type, and what to write.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, written) = self.written;
        write!(f, "`{}` here, in testbed.yaml `databases: {{{database}: {{{written}}}}}`", self.typed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::manifest::builtin::{PARAMS, With};
    use crate::settings::read;

    #[test]
    fn all_parameters_have_examples_that_can_be_used() {
        for param in PARAMS {
            assert_eq!(Parameter::meant(param).map(Parameter::key), Some(param));
        }
        for parameter in &PARAMETERS {
            let shown = parameter.to_string();
            let flow = shown.rsplit('`').nth(1).expect("what to write");
            for text in [parameter.example(), flow.to_owned()] {
                read::read("testbed.yaml", &text, Path::new(""), &Cli::command()).expect(&text);
            }
            if let Some(with) = parameter.typed.strip_prefix("--with ") {
                With::parse(with).expect(with);
            } else if !["seed", "from"].contains(&parameter.key()) {
                let name = parameter.typed.strip_prefix("--param ").and_then(|pair| pair.split('=').next());
                assert_eq!(name, Some(parameter.key()));
            }
        }
    }
}

//! The commands that work with a run that is up, as typed.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::{Archiving, OwnNames, Pooling};
use crate::deadline;
use crate::output::Shell;

/// Which run, of those that are up.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The run's id, or its first letters [default: the run of `up` in this folder]
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,
}

pub(super) const EXEC_EXAMPLES: &str = "\
Examples:
  testbed exec -- pytest                  in the run of this folder
  testbed exec orders -- psql             on one of its databases
  testbed exec --run-id pr-17 -- make integration-test

The run stays up, and several commands can use it at the same time. testbed ends
with the command's own exit code (127 where there is no such command, 126 where
it cannot be started, 128 + N where signal N has ended it), and ends what the
command has left running. A run in a cluster is reached through port-forwards
for as long as the command runs.";

/// `testbed exec`
#[derive(Debug, Args)]
pub struct Exec {
    /// Only these databases [default: all]
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    #[command(flatten)]
    pub which: Which,

    #[command(flatten)]
    pub own: OwnNames,

    #[command(flatten)]
    pub pooling: Pooling,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<OsString>,
}

pub(super) const CONNECT_EXAMPLES: &str = "\
Examples:
  testbed connect                         psql, mariadb, mysql or sqlite3
  testbed connect orders                  where the run has several databases
  testbed connect orders -- -c 'SELECT 1'
  testbed connect < schema.sql

The client is that of the database's engine: psql; mysql for MySQL and mariadb
for MariaDB, or the other where there is only that one; sqlite3. No password is
in its arguments. A run in a cluster is reached through a port-forward.";

/// `testbed connect`
#[derive(Debug, Args)]
pub struct Connect {
    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    pub which: Which,

    /// Further arguments for the client
    #[arg(value_name = "ARGUMENT", last = true)]
    pub arguments: Vec<OsString>,
}

pub(super) const ENV_EXAMPLES: &str = "\
Examples:
  eval \"$(testbed env)\"                   what exec gives: sh, bash, zsh
  testbed env --format fish | source
  (umask 077; testbed env --format dotenv > .env.testbed)
  testbed env -o json | jq -r .environment.DATABASE_URL

Variables that could lead a client to another server are unset, unless the
format has no word for that (dotenv). The passwords are in it. A run in a
cluster is told by its addresses inside: from outside `testbed exec` reaches it.";

/// `testbed env`
#[derive(Debug, Args)]
pub struct Env {
    /// Only these databases [default: all]
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    #[command(flatten)]
    pub which: Which,

    #[command(flatten)]
    pub own: OwnNames,

    /// How the variables are written
    #[arg(
        short = 'o',
        long,
        visible_alias = "output",
        value_name = "FORMAT",
        env = "TESTBED_ENV_FORMAT",
        default_value = "sh"
    )]
    pub format: Shell,
}

pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  testbed logs                            of the run of this folder
  testbed logs -f orders                  until Ctrl-C or the run's end
  testbed logs --tail 20 -o json | jq -r .line

Passwords are masked, as in the history. `testbed history logs` has those of
runs that are gone.";

/// `testbed logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// Only those of these databases [default: all]
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    #[command(flatten)]
    pub which: Which,

    /// Go on with what is written from now on, until Ctrl-C or the end of the run
    #[arg(short, long, env = "TESTBED_FOLLOW", value_parser = FalseyValueParser::new())]
    pub follow: bool,

    /// Only the last lines of what each has written so far
    #[arg(long, value_name = "N", env = "TESTBED_TAIL")]
    pub tail: Option<u32>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_LOGS_FORMAT", default_value = "text")]
    pub output: LogsFormat,
}

/// A format for `logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogsFormat {
    /// Lines, with the database's name in front where there are several.
    Text,
    /// A JSON object a line: `{"database", "line"}`.
    Json,
}

pub(super) const ATTACH_EXAMPLES: &str = "\
Examples:
  testbed attach                          what the container writes from now on
  testbed attach -it orders               its terminal, where it has one
  testbed attach -i orders < input.txt

As kubectl attach. Without -t, Ctrl-C leaves the container as it is (exit code
130), and known passwords are masked. With -it every key is the container's, and
nothing is masked; Ctrl-P Ctrl-Q leaves it. Input needs `stdin: true` in the
pod's manifest, a terminal `tty: true` as well. On this machine there are no
containers: `testbed logs -f` follows a server there. It needs the rights create
and get on pods/attach.";

/// `testbed attach`
#[derive(Debug, Args)]
pub struct Attach {
    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    pub which: Which,

    /// Pass standard input on to the container
    #[arg(short = 'i', long)]
    pub stdin: bool,

    /// Let this terminal be the container's own
    #[arg(short, long, requires = "stdin")]
    pub tty: bool,
}

pub(super) const RESTART_EXAMPLES: &str = "\
Examples:
  testbed restart orders                  the server, with its data
  testbed restart                         where the run has one database only

Port, login and data stay. It ends once the server takes the tests' login again.
In a cluster the container is restarted within its pod, which needs the
restartPolicy Always, a volume for the data, and the rights create and get on
pods/exec.";

/// `testbed restart`
#[derive(Debug, Args)]
pub struct Restart {
    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    pub which: Which,

    /// How long it may take until the server is ready again
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "1m", value_parser = deadline::parse)]
    pub timeout: Duration,

    #[command(flatten)]
    pub archiving: Archiving,
}

pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  testbed restore orders                  empty, or with its seed and scripts
  testbed restore                         where the run has one database only

All of the server's databases become what they were when `up` had made them:
with the seed and the set-up scripts of then, whatever has become of the files.
Port and logins stay. Whoever is connected is ended. The new data is made beside
the server, which goes on until it is whole. It is for databases of this machine.";

/// `testbed restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    pub which: Which,

    /// How long it may take until the server is ready again
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "2m", value_parser = deadline::parse)]
    pub timeout: Duration,

    #[command(flatten)]
    pub archiving: Archiving,
}

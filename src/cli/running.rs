//! The commands that work with a run that is up, as typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{Archiving, OwnNames, Pooling, StatusFormat};
use crate::deadline;
use crate::manifest::setup;
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
  testbed restore orders --from loaded    what `testbed snapshot` has kept

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

    /// A snapshot of it, instead of what `up` had made
    #[arg(long, value_name = "NAME", value_parser = setup::snapshot)]
    pub from: Option<String>,

    /// How long it may take until the server is ready again
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "2m", value_parser = deadline::parse)]
    pub timeout: Duration,

    #[command(flatten)]
    pub archiving: Archiving,
}

pub(super) const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  testbed snapshot orders loaded          keeps what is in orders now as loaded
  testbed up --from orders=loaded         a run that starts with it
  testbed restore orders --from loaded    puts it into the run that is up
  testbed snapshot                        what is kept; -o json for programs
  testbed snapshot rm loaded

It has all databases and users of the server. The server is stopped for the
copy, and whoever is connected is ended. A snapshot belongs to the database of
that name of this project, is for the very build of the server that has written
it, and stays until it is removed. Each run gives it its own passwords.";

const SNAPSHOT_LIST_EXAMPLES: &str = "\
Examples:
  testbed snapshot list
  testbed snapshot list -o json | jq -r '.[].name'";

const SNAPSHOT_RM_EXAMPLES: &str = "\
Examples:
  testbed snapshot rm loaded
  testbed snapshot rm orders=loaded        where several databases have one";

/// `testbed snapshot`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Snapshot {
    /// What is done with those that are there.
    #[command(subcommand)]
    pub command: Option<Snapshots>,

    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    /// What it is called [default: list what is kept]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Take the place of one of that name
    #[arg(long)]
    pub replace: bool,

    #[command(flatten)]
    pub which: Which,

    /// How long all of it may take
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "5m", value_parser = deadline::parse)]
    pub timeout: Duration,

    #[command(flatten)]
    pub listing: SnapshotList,

    #[command(flatten)]
    pub archiving: Archiving,
}

/// What is done with snapshots.
#[derive(Debug, Subcommand)]
pub enum Snapshots {
    /// List what is kept, the newest first
    #[command(visible_alias = "ls", after_help = SNAPSHOT_LIST_EXAMPLES)]
    List(SnapshotList),
    /// Remove snapshots
    #[command(after_help = SNAPSHOT_RM_EXAMPLES)]
    Rm(SnapshotRm),
}

/// `testbed snapshot list`
#[derive(Debug, Args)]
pub struct SnapshotList {
    /// Those of all projects
    #[arg(short, long)]
    pub all: bool,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_STATUS_FORMAT", default_value = "table")]
    pub output: StatusFormat,
}

/// `testbed snapshot rm`
#[derive(Debug, Args)]
pub struct SnapshotRm {
    /// Which
    #[arg(value_name = "[DATABASE=]NAME", required = true)]
    pub snapshots: Vec<String>,

    /// The folder of the project [default: the current one]
    #[arg(long, value_name = "FOLDER")]
    pub project: Option<PathBuf>,
}

pub(super) const FORK_EXAMPLES: &str = "\
Examples:
  testbed fork orders                     one more database, as orders is now
  testbed fork orders --count 4           four: orders-1 to orders-4
  testbed fork -o json | jq -r '.databases[].url'

Each is a server of its own, with all databases and users of the other one, at a
port of its own with the same logins. It belongs to the run: status shows it,
exec, connect and restart take its name, and down removes it. The server is
stopped for the copy, which is refused while somebody is connected. It is for
databases of this machine. The passwords are in what is printed.";

/// `testbed fork`
#[derive(Debug, Args)]
pub struct Fork {
    /// The database [default: the only one]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    pub which: Which,

    /// How many
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub count: u8,

    /// End whoever is connected to the database
    #[arg(long)]
    pub force: bool,

    /// How long it may take until all are ready
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "2m", value_parser = deadline::parse)]
    pub timeout: Duration,

    /// What is printed
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_FORK_FORMAT", default_value = "urls")]
    pub output: ForkFormat,

    #[command(flatten)]
    pub archiving: Archiving,
}

/// A format for `fork`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ForkFormat {
    /// One URL a line.
    Urls,
    /// The object that `up -o json` prints, of the new databases.
    Json,
}

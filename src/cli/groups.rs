//! The flags that several commands have, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{CLUSTER, CONFIG_FILE, DATABASES, HISTORY, OnFailure, TEKTON};
use crate::database::Settling;
use crate::deadline;
use crate::manifest::images::Mirror;
use crate::manifest::lifetime::Lifetime;
use crate::manifest::policy::Allowance;
use crate::manifest::render::Places;
use crate::output::{self, Chosen};
use crate::pool::Size;
use crate::runtime::local::prepared::SeedLimit;

/// What to create, and under which run id.
#[derive(Debug, Args)]
pub struct Source {
    /// Manifest files or folders; - reads standard input
    #[arg(value_name = "MANIFEST", env = "TESTBED_MANIFEST", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,

    /// The same as MANIFEST, as kubectl spells it
    #[arg(short, long = "filename", value_name = "MANIFEST", value_delimiter = ',', help_heading = DATABASES, hide_short_help = true)]
    pub filenames: Vec<PathBuf>,

    /// Look into the folders of a manifest's folder as well, as kubectl does
    #[arg(short = 'R', long, env = "TESTBED_RECURSIVE", value_parser = FalseyValueParser::new(), help_heading = DATABASES, hide_short_help = true)]
    pub recursive: bool,

    /// mysql, mariadb, postgres or sqlite.
    ///
    /// A built-in database, with an image tag, a port and a name if needed.
    #[arg(
        short,
        long,
        value_name = "ENGINE[:TAG][@PORT][=NAME]",
        env = "TESTBED_WITH",
        value_delimiter = ',',
        help_heading = DATABASES
    )]
    pub with: Vec<String>,

    /// A template parameter.
    ///
    /// Built-in databases take image, port, user, password, database, databases, users, extensions, init (set-up
    /// scripts), seed, from (a snapshot), scram-iterations, args, tls (true), cpu, cpu-limit, memory, memory-limit, medium, profile (restricted, openshift), pull-secret,
    /// node-selector, tolerations, runtime-class and ip-family (ipv4, ipv6, dual), for one of them as
    /// NAME.memory=1Gi; NAME.server=PATH names the server program on this machine
    #[arg(
        help_heading = DATABASES,
        short,
        long,
        value_name = "NAME=VALUE",
        env = "TESTBED_PARAM",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub param: Vec<String>,

    /// What is put into a database once: kept on this machine, and in a cluster put into each run.
    ///
    /// Files and folders with SQL, or {files: [...], run: COMMAND, inputs: [GLOB, ...]} or {steps: [...]} as in
    /// testbed.yaml; for one of several databases as NAME=...
    #[arg(
        long,
        value_name = "[DATABASE=]SEED",
        env = "TESTBED_SEED",
        value_delimiter = '\n',
        help_heading = DATABASES,
        hide_short_help = true
    )]
    pub seed: Vec<String>,

    /// Start with a snapshot, in the place of scripts and seed.
    ///
    /// One that `testbed snapshot` has kept of the project's database of the same name; NAME alone is for every
    /// database
    #[arg(
        long,
        value_name = "[DATABASE=]NAME",
        env = "TESTBED_FROM",
        value_delimiter = ',',
        help_heading = DATABASES,
        hide_short_help = true
    )]
    pub from: Vec<String>,

    /// The run's id [default: a fresh one].
    ///
    /// A lower-case DNS label of at most 52 characters. In a PipelineRun its uid is the default, and for `up` the id
    /// of the run that is up in this folder.
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    /// How long the run may live.
    ///
    /// In a cluster its pods stop then, and testbed gc removes what is left; on this machine the next up, run,
    /// seed, status, down or gc does; none for no end [default: 2h in a cluster, none on this machine]
    #[arg(long, value_name = "DURATION", env = "TESTBED_LIFETIME", value_parser = Lifetime::parse, hide_short_help = true)]
    pub lifetime: Option<Lifetime>,

    /// Take the images from a mirror.
    ///
    /// PREFIX in the place of docker.io, and in front of every other registry; or in the place of FROM, a leading
    /// part of full names (docker.io/library, ghcr.io), the longest one first
    #[arg(long, value_name = "[FROM=]PREFIX", env = "TESTBED_IMAGE_PREFIX", value_delimiter = ',', value_parser = Mirror::parse, help_heading = CLUSTER)]
    pub image_prefix: Vec<Mirror>,

    /// What a manifest may do in a cluster.
    ///
    /// It is refused otherwise: privileged, host-path, ... (the error names it)
    #[arg(long, value_name = "NAME", env = "TESTBED_ALLOW", value_delimiter = ',', value_parser = Allowance::parse, help_heading = CLUSTER)]
    pub allow: Vec<Allowance>,

    #[command(flatten)]
    pub pipeline_run: PipelineRun,

    /// Where the project's settings say what was not typed.
    #[arg(skip)]
    pub places: Places,
}

/// The PipelineRun whose task this is, as its pod's labels tell it.
#[derive(Debug, Clone, Default, Args)]
pub struct PipelineRun {
    /// The PipelineRun's name.
    ///
    /// From the pod's label tekton.dev/pipelineRun. With its uid it becomes the owner of the objects
    #[arg(long = "pipeline-run", value_name = "NAME", env = "TESTBED_PIPELINE_RUN", help_heading = TEKTON, hide_short_help = true)]
    pub name: Option<String>,

    /// Its uid: the run id unless one is given.
    ///
    /// From the label tekton.dev/pipelineRunUID.
    #[arg(
        long = "pipeline-run-uid",
        value_name = "UID",
        env = "TESTBED_PIPELINE_RUN_UID",
        help_heading = TEKTON,
        hide_short_help = true
    )]
    pub uid: Option<String>,
}

/// What `up` and `run` have in common: databases that become ready, and a config file.
#[derive(Debug, Args)]
pub struct Making {
    #[command(flatten)]
    pub source: Source,

    /// dotenv, urls or tera:FILE.
    ///
    /// How the config file is written: testing-databases (JSON for Python's drivers), dotenv (variables), urls
    /// (JSON), or a template of your own
    #[arg(long, value_name = "FORMAT", env = "TESTBED_FORMAT", default_value = "testing-databases", value_parser = output::Format::parse, help_heading = CONFIG_FILE)]
    pub format: output::Format,

    /// Where to write it; - for standard output.
    ///
    /// An older one of testbed's is removed first: its presence means ready. Any other is refused [default:
    /// testing-databases.json, .env.testbed, testing-databases.urls.json, or the template's name without .tera or .j2]
    #[arg(long, value_name = "FILE", env = "TESTBED_OUTPUT", help_heading = CONFIG_FILE)]
    pub output: Option<PathBuf>,

    /// The permissions of the config file, in octal
    #[arg(long, value_name = "MODE", env = "TESTBED_MODE", default_value = "600", value_parser = parse_mode, help_heading = CONFIG_FILE, hide_short_help = true)]
    pub mode: u32,

    /// An extra connection argument for the config file; the value is JSON or a text
    #[arg(
        help_heading = CONFIG_FILE,
        hide_short_help = true,
        long,
        value_name = "[DATABASE.]KEY=VALUE",
        env = "TESTBED_CONNARG",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub connarg: Vec<String>,

    #[command(flatten)]
    pub own: OwnNames,

    /// How much the seeds that are kept on this machine may take, such as 500Mi; those go first that nobody has
    /// used for the longest time
    #[arg(long, value_name = "SIZE", env = "TESTBED_SEED_LIMIT", default_value = "10Gi", value_parser = SeedLimit::parse, help_heading = DATABASES, hide_short_help = true)]
    pub seed_limit: SeedLimit,

    /// How long until all are ready.
    ///
    /// All requests to the API server included.
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "5m", value_parser = deadline::parse)]
    pub timeout: Duration,

    /// How long a registry may fail.
    ///
    /// In a way that can pass, from the first failure that is seen.
    #[arg(long, value_name = "DURATION", env = "TESTBED_PULL_TIMEOUT", default_value = "2m", value_parser = deadline::parse, help_heading = CLUSTER)]
    pub pull_timeout: Duration,

    /// How long the cluster or a quota may be full.
    ///
    /// Unless a node is being added.
    #[arg(long, value_name = "DURATION", env = "TESTBED_CAPACITY_TIMEOUT", default_value = "1m", value_parser = deadline::parse, help_heading = CLUSTER)]
    pub capacity_timeout: Duration,

    /// Whether what was created stays for a look when it does not become ready (exit codes 3 and 4)
    /// [default: keep in a cluster, delete on this machine and for `run`]
    #[arg(long, value_name = "WHAT", env = "TESTBED_ON_FAILURE", hide_short_help = true)]
    pub on_failure: Option<OnFailure>,

    /// Refuse what would differ on this machine from the same run in a cluster: containers that are left out,
    /// another engine's server
    #[arg(long, env = "TESTBED_STRICT", value_parser = FalseyValueParser::new(), hide_short_help = true)]
    pub strict: bool,

    /// Take a manifest without a database, whose config file is empty
    #[arg(long, env = "TESTBED_ALLOW_NONE", value_parser = FalseyValueParser::new(), help_heading = DATABASES, hide_short_help = true)]
    pub allow_none: bool,

    /// How long a server has to stay up to count as the final one where nothing proves that it is; never to
    /// believe only a proof [default: 6s, where the server does not tell its process id]
    #[arg(long, value_name = "DURATION", env = "TESTBED_SETTLE", value_parser = Settling::parse, hide_short_help = true)]
    pub settle: Option<Settling>,

    #[command(flatten)]
    pub archiving: Archiving,
}

/// Fresh databases for single tests.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pooling {
    /// Serve fresh copies of databases.
    ///
    /// By IntegreSQL's interface, for the command's tests: so many are kept ready of each template, and auto is one
    /// a processor, at least two. The address is in INTEGRESQL_CLIENT_BASE_URL
    #[arg(
        long,
        value_name = "N",
        env = "TESTBED_POOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        value_parser = Size::parse,
        help_heading = DATABASES
    )]
    pub pool: Option<Size>,
}

/// What the project calls the variables of its databases.
#[derive(Debug, Clone, Default, Args)]
pub struct OwnNames {
    /// A variable of the project's own.
    ///
    /// For the command and the format dotenv: a template over the databases, such as
    /// DB_NAME={{ orders.database }}
    #[arg(
        long,
        value_name = "NAME=TEMPLATE",
        env = "TESTBED_ENV",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub env: Vec<String>,

    /// The variables of a framework.
    ///
    /// For the run's database or the one that is named: spring, rails, django, laravel, prisma, go, jdbc or
    /// dotnet
    #[arg(long, value_name = "PRESET[=DATABASE]", env = "TESTBED_PRESET", value_delimiter = ',', value_parser = Chosen::parse)]
    pub preset: Vec<Chosen>,

    /// What the project's settings say where the command may get other databases than theirs.
    #[arg(skip)]
    pub of_project: OfProject,
}

/// What the project's settings say of its databases. For a command that may get some of them, or those that
/// somebody has typed in their place, what is about others is left out.
#[derive(Debug, Clone, Default)]
pub struct OfProject {
    pub presets: Vec<Chosen>,
    /// As for `--env`.
    pub env: Vec<String>,
    /// As for `--connarg`.
    pub connargs: Vec<String>,
}

/// Where a run's story is kept, and how long that may take.
#[derive(Debug, Clone, Args)]
pub struct Archiving {
    /// Where to keep what became of the run: sqlite:PATH, postgres://USER@HOST/DATABASE, or none. In a URL on
    /// the command line others can see a password in the process list [default: history.db in the state
    /// folder; none in a pod]
    #[arg(
        long,
        value_name = "PLACE",
        env = "TESTBED_HISTORY",
        hide_env_values = true,
        help_heading = HISTORY,
        hide_short_help = true
    )]
    pub history: Option<String>,

    /// How long the run may wait for its story to be collected and written; it is removed then all the same
    #[arg(long, value_name = "DURATION", env = "TESTBED_ARCHIVE_TIMEOUT", default_value = "10s", value_parser = deadline::parse, help_heading = HISTORY, hide_short_help = true)]
    pub archive_timeout: Duration,

    /// Also write the story of a PipelineRun's run to this Tekton Results API, as a record of the type
    /// testbed/v1.Run
    #[arg(long, value_name = "URL", env = "TESTBED_RESULTS_API", help_heading = HISTORY, hide_short_help = true)]
    pub results_api: Option<String>,

    /// The file with the token for it [default: that of the pod's ServiceAccount]
    #[arg(long, value_name = "FILE", env = "TESTBED_RESULTS_TOKEN_FILE", help_heading = HISTORY, hide_short_help = true)]
    pub results_token_file: Option<PathBuf>,

    /// The certificates that its own is held against: a file, or PEM text [default: those of the system]
    #[arg(long, value_name = "FILE", env = "TESTBED_RESULTS_CA", help_heading = HISTORY, hide_short_help = true)]
    pub results_ca: Option<String>,
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write permissions in octal, such as 600 or 644".into()),
    }
}

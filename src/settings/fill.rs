//! Puts the file's settings below what was typed.
//!
//! The command line is read twice: once to see which file counts, and once with the file's values as the
//! defaults of the flags, so that clap itself lets flag and variable win. What merges instead of giving way,
//! and the databases, are put into the result.

use std::env::current_dir;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use super::meant::{check_number, meant};
use super::reach::{self, Reach};
use super::{Arguments, Settings, find, keys, read};
use crate::cli::{self, Cli, Source};
use crate::environment::{Naming, is_in_pod, is_set, naming};
use crate::failure::{Advise, Exit, usage};
use crate::registry::Registry;
use crate::{files, reading, state};

/// Commands that have to work whatever the file says: nothing may keep a teardown from its work.
const LENIENT: [&str; 2] = ["down", "gc"];

/// Those that read nothing but a place or a time out of a file: they go on without one that happens to be broken,
/// but not without one that was named.
const ASKING: [&str; 3] = ["status", "wait", "history"];

/// Commands that make something in a cluster, or tell of it alone.
const MAKING: [&str; 4] = ["up", "run", "doctor", "status"];

/// A variable of the environment by its name.
type Variable<'a> = &'a dyn Fn(&OsStr) -> Option<OsString>;

/// Reads the command line and the project's settings.
///
/// # Errors
/// A [`clap::Error`] for the command line, which knows how to print itself and how to end; else a usage error
/// about the file.
pub fn arguments(args: &[OsString]) -> anyhow::Result<Arguments> {
    let variable = |name: &OsStr| std::env::var_os(name);
    let typed = command_line(&variable).try_get_matches_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            help(error, args, &variable)
        }
        _ => meant(error, args),
    })?;
    check_number(&typed, args)?;
    let command = typed.subcommand_name().unwrap_or_default().to_owned();
    let plain = Cli::command();
    let loaded = match keys::are_for(&plain, &command) && !is_noted(&typed) {
        true => load_own(&typed, &plain).and_then(|own| Ok((own, load(&typed, &plain)?))),
        false => Ok((None, (None, None))),
    };
    let (own, (found, ignored)) = match loaded {
        Err(error) if is_lenient(&typed) => (None, (None, Some(error))),
        outcome => outcome?,
    };
    let (own_file, own) = own.unzip();
    let (file, mut settings) = found.unzip();
    let says_runtime = |settings: &Settings| settings.values.iter().any(|(key, _)| key.name == "runtime");
    let is_users = own.as_ref().is_some_and(says_runtime) && !settings.as_ref().is_some_and(says_runtime);
    // The project's come later, and so count for more.
    if let Some(own) = own {
        settings.get_or_insert_default().values.splice(0..0, own.values);
    }
    let checked = file.as_deref().filter(|_| !is_users);
    let cli = fill(args, &command, settings.unwrap_or_default(), &variable, checked, &plain)?;
    Ok(Arguments { cli, files: own_file.into_iter().chain(file).collect(), ignored })
}

/// The user's own settings, for whatever project: what flags say, and no databases. Not those of a pod, whose files
/// may come from anywhere.
fn load_own(typed: &ArgMatches, cli: &clap::Command) -> anyhow::Result<Option<(String, Settings)>> {
    if is_in_pod() || named_file(typed).is_some_and(|name| name == find::NONE) {
        return Ok(None);
    }
    let Some(folder) = state::config_folder() else { return Ok(None) };
    let path = folder.join(find::NAMES[0]);
    let context = || format!("reading {}", path.display());
    let read = match reading::text(&path, reading::MOST) {
        // As of accounts whose home is /dev/null.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        read => files::if_there(read),
    };
    let Some(text) = read.with_context(context).exit(Exit::Usage)? else { return Ok(None) };
    let file = path.display().to_string();
    let settings = read::read(&file, &text, &folder, cli)?;
    let (values, places) = (settings.values.clone(), settings.places.clone());
    let only_flags = Settings { values, places, ..Settings::default() };
    // One config file for all projects would be each one's to overwrite.
    if settings != only_flags || settings.values.iter().any(|(key, _)| key.name == "output") {
        return Err(usage(format!("{file}: output, {} are a project's", keys::OTHERS.join(", "))))
            .hint("write them into the project's testbed.yaml");
    }
    Ok(Some((file, settings)))
}

/// What `--settings` says.
fn named_file(typed: &ArgMatches) -> Option<&OsString> {
    let (_, matches) = typed.subcommand()?;
    matches.get_one::<OsString>("settings").filter(|name| !name.is_empty())
}

/// The help that was asked for, with what is of use where it was asked for.
fn help(plain: clap::Error, args: &[OsString], variable: Variable) -> clap::Error {
    // What else was typed: read with the two flags as ordinary ones, and whatever is missing.
    let flag = |name: &'static str| clap::Arg::new(name).long(name).action(ArgAction::SetTrue).global(true);
    let command = command_line(variable).disable_help_flag(true).ignore_errors(true);
    let typed = command.args([flag("help"), flag("h").short('h')]).try_get_matches_from(args);
    // `testbed help COMMAND` is the long one.
    let (is_long, is_cluster) =
        typed.map_or((true, true), |typed| (typed.get_flag("help"), has_cluster(&typed)));
    let laid_out = cli::laid_out(command_line(variable), is_long, is_cluster);
    laid_out.try_get_matches_from(args).err().unwrap_or(plain)
}

/// Whether a cluster is in play: by a flag, a variable, settings or the place where this is.
fn has_cluster(typed: &ArgMatches) -> bool {
    let (command, matches) = typed.subcommand().unwrap_or(("", typed));
    let names_one = matches.contains_id("kubeconfig") || matches.contains_id("context");
    let wants_one = matches.get_one("runtime") == Some(&cli::Runtime::Kubernetes);
    let says_so = || {
        let plain = Cli::command();
        let projects = load(typed, &plain).ok().and_then(|(found, _)| found);
        let found = [load_own(typed, &plain).ok().flatten(), projects];
        found.iter().flatten().flat_map(|(_, settings)| &settings.values).any(|(key, value)| match key.name {
            "runtime" => value == "kubernetes",
            name => name == "context" || name == "kubeconfig",
        })
    };
    command == "lock" || is_in_pod() || names_one || wants_one || says_so()
}

fn is_lenient(typed: &ArgMatches) -> bool {
    typed.subcommand().is_some_and(|(command, matches)| match (command, matches.subcommand_name()) {
        ("lock", Some("release")) => true,
        // It would remove what is kept in another place.
        ("history", Some("prune")) => false,
        _ => LENIENT.contains(&command) || (ASKING.contains(&command) && named_file(typed).is_none()),
    })
}

/// All flags. A variable that is there and empty is as good as none: a pipeline's parameter with an empty
/// default says nothing.
fn command_line(variable: Variable) -> clap::Command {
    // Clap cannot take a variable away, but can look at none instead.
    let unset = |arg: clap::Arg| match arg.get_env().and_then(variable) {
        Some(value) if value.is_empty() => arg.env("").hide_env(true),
        _ => arg,
    };
    let all = |command: clap::Command| command.mut_args(unset);
    Cli::command().mut_args(unset).mut_subcommands(|command| all(command).mut_subcommands(all))
}

/// The file's name and what it says; nothing without a file; or why the file that is there is not used.
type Loaded = (Option<(String, Settings)>, Option<anyhow::Error>);

fn load(typed: &ArgMatches, cli: &clap::Command) -> anyhow::Result<Loaded> {
    let named = named_file(typed);
    let here = std::env::current_dir().context("finding the current folder")?;
    let Some(path) = find::find(named.map(Path::new), &here)? else { return Ok((None, None)) };
    if named.is_none()
        && let Some(why) = find::stranger(&path, &here)
    {
        return Ok((None, Some(why)));
    }
    let file = path.display().to_string();
    let reach = is_in_pod().then(|| Reach::of(&file)).transpose()?;
    let text = reading::text(&path, reading::MOST)
        .with_context(|| format!("reading {}", path.display()))
        .exit(Exit::Usage)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut settings = read::read(&file, &text, folder, cli)?;
    match reach {
        Some(reach) => reach.check(&settings)?,
        None if reach::names_files(&settings) => {
            let reach = Reach::of_any(&file)?;
            reach.check_scripts(&settings)?;
            reach.check_output(&settings)?;
        }
        None => {}
    }
    if has_no_contexts() {
        settings.values.retain(|(key, _)| key.name != "context");
    }
    Ok((Some((file, settings)), None))
}

/// A project may ask for a cluster, and has to say which: whatever cluster the user happens to work on would get
/// the tests' objects. A namespace alone asks for none.
fn check_cluster(
    file: &str,
    command: &str,
    global: &mut cli::Global,
    matches: &ArgMatches,
) -> anyhow::Result<()> {
    let is_users = |id: &str| {
        matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    if global.choice().context.is_some() || is_users("kubeconfig") || is_in_pod() {
        return Ok(());
    }
    let is_asked_for = global.runtime == Some(cli::Runtime::Kubernetes);
    if is_asked_for && !is_users("runtime") {
        if MAKING.contains(&command) {
            return Err(usage(format!("{file}: runtime: kubernetes needs the name of a cluster, context: NAME")))
                .hint("or leave out runtime, and say --context NAME or --runtime kubernetes where a cluster is wanted");
        }
        // The others do what they can without one.
        global.runtime = None;
    }
    if global.runtime != Some(cli::Runtime::Kubernetes) && !is_users("namespace") {
        global.namespace = None;
    }
    Ok(())
}

/// Whether this is a pod, in which the project's context means nothing: nobody has put a kubeconfig there.
fn has_no_contexts() -> bool {
    let is_home = || std::env::home_dir().is_some_and(|home| home.join(".kube/config").exists());
    naming(is_set("TESTBED_KUBECONFIG"), false) == Some(Naming::Pod) && !is_home()
}

fn fill(
    args: &[OsString],
    command: &str,
    mut settings: Settings,
    variable: Variable,
    file: Option<&str>,
    plain: &clap::Command,
) -> anyhow::Result<Cli> {
    let mut filled = command_line(variable);
    for (key, value) in std::mem::take(&mut settings.values) {
        let Some(flag) = key.flag(plain, command) else { continue };
        let id = flag.get_id().as_str();
        let default = |arg: clap::Arg| arg.default_value(value);
        // `testbed history` has one for all of its own commands, which is not one of testbed's.
        let is_everybodys = plain.get_arguments().any(|arg| arg.get_id() == flag.get_id());
        filled = match is_everybodys {
            true => filled.mut_arg(id, default),
            false => filled.mut_subcommand(command, |subcommand| subcommand.mut_arg(id, default)),
        };
    }
    let matches = filled.try_get_matches_from(args).map_err(|error| meant(error, args))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    take_run_id(&mut cli.command, variable)?;
    take_namespace(&mut cli, &matches);
    let Some((_, matches)) = matches.subcommand() else { return Ok(cli) };
    if let Some(file) = file.filter(|_| MAKING.contains(&command) || LENIENT.contains(&command)) {
        check_cluster(file, command, &mut cli.global, matches)?;
    }
    let (source, connargs) = creating(&mut cli.command);
    // Whether the run's databases are those of the settings.
    let is_own = source.is_some() && !["manifests", "filenames", "with"].iter().any(|id| says(matches, id));
    if let Some(source) = source {
        let variable = |id: &str| from_variable(plain, command, id, variable);
        fill_source(source, matches, is_own, settings.clone(), &variable);
    }
    if let Some(connargs) = connargs {
        let typed = merged(from_variable(plain, command, "connarg", variable), std::mem::take(connargs));
        let below = if is_own { std::mem::take(&mut settings.connargs) } else { Vec::new() };
        *connargs = merged(below, typed);
    }
    if let Some(own) = own_names(&mut cli.command) {
        let typed = merged(from_variable(plain, command, "env", variable), std::mem::take(&mut own.env));
        let presets = if says(matches, "preset") { Vec::new() } else { settings.presets };
        if is_own {
            own.env = merged(settings.env, typed);
            own.preset.extend(presets);
        } else {
            own.env = typed;
            own.of_project = cli::OfProject { presets, env: settings.env, connargs: settings.connargs };
        }
    }
    Ok(cli)
}

/// The PipelineRun's uid is the run id of its tasks, unless they are given another one.
fn take_run_id(command: &mut cli::Command, variable: Variable) -> anyhow::Result<()> {
    let tasks = if matches!(command, cli::Command::Lock(_)) {
        "testbed-lock-acquire and testbed-lock-release"
    } else {
        "testbed-up and testbed-down"
    };
    let (run_id, pipeline_run, needs_one) = match command {
        cli::Command::Up(up) => (&mut up.making.source.run_id, &up.making.source.pipeline_run, true),
        cli::Command::Run(run) => (&mut run.making.source.run_id, &run.making.source.pipeline_run, false),
        cli::Command::Render(render) => (&mut render.source.run_id, &render.source.pipeline_run, false),
        cli::Command::Doctor(doctor) => (&mut doctor.source.run_id, &doctor.source.pipeline_run, false),
        cli::Command::Down(down) => (&mut down.run_id, &down.pipeline_run, true),
        cli::Command::Lock(cli::Lock::Acquire(acquire)) => {
            (&mut acquire.run_id, &acquire.locking.pipeline_run, true)
        }
        cli::Command::Lock(cli::Lock::Release(release)) => (&mut release.run_id, &release.pipeline_run, true),
        cli::Command::Lock(cli::Lock::Run(run)) => (&mut run.run_id, &run.locking.pipeline_run, false),
        _ => return Ok(()),
    };
    if run_id.is_none() {
        run_id.clone_from(&pipeline_run.uid);
    }
    // The label of a pod without a PipelineRun is an empty variable. No other task would know an id that is
    // made up here.
    let is_alone = variable(OsStr::new("TESTBED_PIPELINE_RUN_UID")).is_some_and(|uid| uid.is_empty());
    if needs_one && run_id.is_none() && is_alone {
        return Err(usage("this TaskRun belongs to no PipelineRun, whose uid would be the run id")).hint(
            format!("give the TaskRun the param run-id (--run-id, TESTBED_RUN_ID): the same for {tasks}"),
        );
    }
    Ok(())
}

/// Among runs of the past a namespace chooses only where it was typed: the project's own says where runs are
/// made.
fn take_namespace(cli: &mut Cli, matches: &ArgMatches) {
    let is_choice = matches!(&cli.command, cli::Command::History(history) if matches!(history.command, cli::Asking::List(_) | cli::Asking::Report(_)));
    if is_choice && matches.value_source("namespace") != Some(ValueSource::CommandLine) {
        cli.global.namespace = None;
    }
}

/// What a command calls the variables of its databases by.
fn own_names(command: &mut cli::Command) -> Option<&mut cli::OwnNames> {
    match command {
        cli::Command::Up(up) => Some(&mut up.making.own),
        cli::Command::Run(run) => Some(&mut run.making.own),
        cli::Command::Seed(seed) => Some(&mut seed.making.own),
        cli::Command::Exec(exec) => Some(&mut exec.own),
        cli::Command::Env(env) => Some(&mut env.own),
        _ => None,
    }
}

/// What a command takes databases, manifests and parameters from, and its extra connection arguments.
fn creating(command: &mut cli::Command) -> (Option<&mut Source>, Option<&mut Vec<String>>) {
    match command {
        cli::Command::Up(up) => (Some(&mut up.making.source), Some(&mut up.making.connarg)),
        cli::Command::Run(run) => (Some(&mut run.making.source), Some(&mut run.making.connarg)),
        cli::Command::Seed(seed) => (Some(&mut seed.making.source), Some(&mut seed.making.connarg)),
        cli::Command::Render(render) => (Some(&mut render.source), None),
        cli::Command::Doctor(doctor) => (Some(&mut doctor.source), None),
        // Named one by one, so that a new command has to say whether it is one of these.
        cli::Command::Down(_) | cli::Command::Wait(_) | cli::Command::Status(_) => (None, None),
        cli::Command::Gc(_) | cli::Command::Lock(_) | cli::Command::History(_) => (None, None),
        cli::Command::Exec(_) | cli::Command::Connect(_) | cli::Command::Env(_) => (None, None),
        cli::Command::Logs(_) | cli::Command::Attach(_) | cli::Command::Restart(_) => (None, None),
        cli::Command::Restore(_) | cli::Command::Snapshot(_) | cli::Command::Fork(_) => (None, None),
        cli::Command::Init(_) | cli::Command::Completions { .. } | cli::Command::Man { .. } => (None, None),
    }
}

fn fill_source(
    source: &mut Source,
    matches: &ArgMatches,
    is_own: bool,
    settings: Settings,
    variable: &dyn Fn(&str) -> Vec<String>,
) {
    let typed = merged(variable("param"), std::mem::take(&mut source.param));
    let mut params = settings.params;
    let mut places = settings.places;
    // Databases and manifests are one choice: a `testbed up --with mysql` means this one, not this one too.
    if is_own {
        source.with = settings.with;
        source.manifests = settings.manifests.into_iter().map(Into::into).collect();
        params = merged(settings.database_params, params);
    } else {
        let is_param = |name: &str| {
            params.iter().any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name))
        };
        places.retain(|name, _| name.starts_with("--") || is_param(name));
    }
    places.retain(|name, _| match name.strip_prefix("--") {
        Some(flag) => !matches.try_contains_id(flag).unwrap_or_default() || !says(matches, flag),
        None => !typed.iter().any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name)),
    });
    source.places = places;
    source.param = merged(params, typed);
}

/// Whether flag or variable say something: an empty variable does not.
fn says(matches: &ArgMatches, id: &str) -> bool {
    let given = matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue);
    given && matches.get_raw(id).is_some_and(|mut values| values.any(|value| !value.is_empty()))
}

/// The values that the variable of a flag has, one a line: clap forgets them when the flag is there as well.
fn from_variable(cli: &clap::Command, command: &str, id: &str, variable: Variable) -> Vec<String> {
    let arg = cli
        .find_subcommand(command)
        .and_then(|command| command.get_arguments().find(|arg| arg.get_id() == id));
    let value =
        arg.and_then(|arg| arg.get_env()).and_then(variable).and_then(|value| value.into_string().ok());
    value.iter().flat_map(|value| value.split('\n')).filter(|line| !line.is_empty()).map(Into::into).collect()
}

/// `NAME=VALUE` pairs: those above win over those below with the same name. A text that ends with a line
/// break, as YAML's blocks do, has no pair behind it.
fn merged(below: Vec<String>, above: Vec<String>) -> Vec<String> {
    fn name(pair: &str) -> &str {
        pair.split_once('=').map_or(pair, |(name, _)| name)
    }
    let mut pairs: Vec<String> =
        below.into_iter().filter(|pair| !above.iter().any(|other| name(other) == name(pair))).collect();
    pairs.extend(above);
    pairs.retain(|pair| !pair.is_empty());
    pairs
}

/// Whether this is a `down` of runs that are noted on this machine: it goes to where they were made, whatever the
/// file says by now.
fn is_noted(typed: &ArgMatches) -> bool {
    let Some(("down", matches)) = typed.subcommand() else { return false };
    let Some(registry) = Registry::find() else { return false };
    match matches.get_one::<String>("run_id").filter(|id| !id.is_empty()) {
        Some(given) => registry.folder(given).exists(),
        None => current_dir().is_ok_and(|here| {
            registry.of_folders(&find::folders(None, &here)).is_ok_and(|found| !found.is_empty())
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    fn filled(args: &[&str], text: &str, variables: &[(&str, &str)]) -> cli::Command {
        let settings = read::read("testbed.yaml", text, Path::new("project"), &Cli::command()).unwrap();
        let args: Vec<OsString> = std::iter::once(&"testbed").chain(args).map(Into::into).collect();
        let variable = |name: &OsStr| {
            variables.iter().find(|(known, _)| name == *known).map(|(_, value)| (*value).into())
        };
        fill(&args, args[1].to_str().unwrap(), settings, &variable, None, &Cli::command()).unwrap().command
    }

    const TEXT: &str = "timeout: 7m\nsettle: never\noutput: o.json\nmode: 0640\nmanifest: m.yaml\nconnargs: {a: 1, b: 1, c: 1}\n";

    #[test]
    fn what_was_not_typed_comes_from_the_file() {
        let cli::Command::Up(cli::Up { making: up, .. }) = filled(&["up", "--timeout", "1m"], TEXT, &[])
        else {
            panic!("no up")
        };
        assert_eq!(
            (up.timeout, up.pull_timeout, up.mode),
            (Duration::from_mins(1), Duration::from_mins(2), 0o640)
        );
        assert_eq!(
            (up.output.as_deref(), up.source.manifests.as_slice()),
            (Some(Path::new("project/o.json")), &["project/m.yaml".into()][..])
        );
        let cli::Command::Wait(wait) = filled(&["wait", "mysql://root@h"], TEXT, &[]) else {
            panic!("no wait")
        };
        assert_eq!(
            (wait.timeout, wait.settle),
            (Duration::from_mins(7), Some(crate::database::Settling::Never))
        );
        let cli::Command::Down(down) = filled(&["down"], TEXT, &[]) else { panic!("no down") };
        assert_eq!(down.timeout, Duration::from_mins(1), "a teardown's time is another one");
    }

    #[test]
    fn every_key_of_the_documented_example_fills_its_flag() {
        let cli::Command::Up(cli::Up { making: up, .. }) = filled(&["up"], read::documented_example(), &[])
        else {
            panic!("no up")
        };
        assert_eq!(
            (up.on_failure, up.source.with.len(), up.connarg.len()),
            (Some(cli::OnFailure::Delete), 5, 2)
        );
        assert!(matches!(filled(&["render"], read::documented_example(), &[]), cli::Command::Render(_)));
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        let empty = [
            "TIMEOUT",
            "FORMAT",
            "WITH",
            "MODE",
            "STRICT",
            "RUN_ID",
            "LIFETIME",
            "ALLOW",
            "ON_CANCEL",
            "IMAGE_PREFIX",
        ];
        let names: Vec<String> = empty.iter().map(|name| format!("TESTBED_{name}")).collect();
        let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        // Clap looks at the process' own environment, in which none of them is: this tells that nothing of it
        // is looked for any more.
        let variable = |name: &OsStr| {
            variables.iter().find(|(known, _)| name == *known).map(|(_, value)| OsString::from(value))
        };
        let command = command_line(&variable);
        let up = command.find_subcommand("up").unwrap();
        let looked_for = |name: &str| up.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new(name)));
        assert!(names.iter().all(|name| !looked_for(name)) && looked_for("TESTBED_SETTLE"));
    }

    #[test]
    fn a_task_runs_under_the_pipeline_runs_uid() {
        let id = |args: &[&str], variables: &[(&str, &str)]| {
            let variable = |name: &OsStr| {
                variables.iter().find(|(known, _)| name == *known).map(|(_, value)| OsString::from(value))
            };
            let mut command = Cli::try_parse_from(std::iter::once(&"testbed").chain(args)).unwrap().command;
            take_run_id(&mut command, &variable).map(|()| match command {
                cli::Command::Up(up) => up.making.source.run_id,
                cli::Command::Down(down) => down.run_id,
                _ => panic!("neither up nor down"),
            })
        };
        let flags = ["--pipeline-run-uid", "uid-1"];
        assert_eq!(id(&[&["up"][..], &flags].concat(), &[]).unwrap().as_deref(), Some("uid-1"));
        assert_eq!(
            id(&[&["down", "--run-id", "mine"][..], &flags].concat(), &[]).unwrap().as_deref(),
            Some("mine")
        );
        assert_eq!(id(&["up"], &[]).unwrap(), None);
        for command in ["up", "down"] {
            let error = id(&[command], &[("TESTBED_PIPELINE_RUN_UID", "")]).unwrap_err();
            assert!(format!("{error:#}").contains("belongs to no PipelineRun"), "{error:#}");
        }
    }

    #[test]
    fn connection_arguments_merge_by_name() {
        let args = ["up", "--connarg", "a=flag"];
        let cli::Command::Up(cli::Up { making: up, .. }) =
            filled(&args, TEXT, &[("TESTBED_CONNARG", "a=variable\nb=variable\n")])
        else {
            panic!("no up")
        };
        assert_eq!(up.connarg, ["c=1", "b=variable", "a=flag"]);
    }
}

//! The flags of other tools, by the command at which people type them, and what they are told: what to type
//! instead, or that it is so already.

/// What a word of another tool is told at some commands.
struct Habit {
    commands: &'static [&'static str],
    flags: &'static [&'static str],
    tip: &'static str,
}

const MAKING: &[&str] = &["up", "run", "seed"];
const REMOVING: &[&str] = &["down", "gc"];
/// The commands that start a program.
const STARTING: &[&str] = &["run", "exec"];

const HABITS: [Habit; 37] = [
    habit(
        &["up"],
        &["-d", "--detach"],
        "`up` ends once the databases are ready, and leaves them up: leave it out",
    ),
    habit(&["up", "run", "restart"], &["--wait"], "databases are waited for anyway: leave it out"),
    habit(&["up", "run", "restart"], &["--wait-timeout"], "that is `--timeout 2m` here"),
    habit(&["down"], &["--wait"], "`down` waits anyway until all of the run is gone: leave it out"),
    habit(
        MAKING,
        &["--build", "--no-build", "--pull", "--quiet-pull"],
        "testbed builds and pulls no image: leave it out",
    ),
    habit(
        MAKING,
        &["--scale", "--replicas"],
        "each database is one server, and another one has a name of its own: --with postgres=one --with postgres=two",
    ),
    habit(
        &["up"],
        &["--force-recreate", "--recreate", "--renew-anon-volumes", "-V"],
        "`testbed down` and then `testbed up` makes it anew",
    ),
    habit(&["up"], &["--no-recreate"], "what is up already stays as it is anyway: leave it out"),
    habit(
        &["up"],
        &["--abort-on-container-exit", "--exit-code-from"],
        "that is `testbed run -- COMMAND` here, which ends with the command's exit code",
    ),
    habit(&["up", "down"], &["--remove-orphans"], "`testbed down` removes all of a run anyway: leave it out"),
    habit(&["run"], &["--rm"], "`run` removes the databases anyway: leave it out"),
    habit(
        &["up"],
        &["--rm"],
        "`testbed run` removes the databases after its command, and `testbed up --forward` on Ctrl-C",
    ),
    habit(
        &["up", "run"],
        &["--volume", "--mount"],
        "set-up scripts are `--param init=FOLDER` here; the data goes with the run",
    ),
    habit(
        &["up", "run"],
        &["--network", "--net", "--link"],
        "the servers are where the tests reach them: leave it out",
    ),
    habit(
        &["run", "exec", "connect"],
        &["-i", "-t", "-T", "--interactive", "--tty", "--no-tty", "--no-TTY"],
        "what is started has this terminal anyway: leave it out",
    ),
    habit(&["up", "run", "seed", "exec", "env"], &["-e"], "that is `--env NAME=VALUE` here"),
    habit(STARTING, &["--env-file"], "the command has the variables of this shell anyway: set -a; . ./FILE"),
    habit(STARTING, &["--workdir"], OWN_FOLDER),
    habit(&["exec"], &["-w"], OWN_FOLDER),
    habit(
        &["exec"],
        &["-u", "--user"],
        "the command runs on this machine, as you; databases are logged in to as the run says",
    ),
    habit(&["exec"], &["-d", "--detach"], "a `&` behind the whole line runs it in the background"),
    habit(
        &["exec", "logs", "restart", "attach"],
        &["-c", "--container"],
        "a database is told by its name alone, such as orders",
    ),
    habit(
        &["init"],
        &["-f", "--force", "--overwrite", "-y", "--yes"],
        "a testbed.yaml that is there stays as it is: remove it first, or --output FILE writes another one",
    ),
    habit(
        &["down"],
        &["-t", "--time"],
        "that is `--timeout 10s` here, for all of it; in a cluster --grace-period 10 is what pods get to stop",
    ),
    habit(&["restart"], &["-t", "--time"], "that is `--timeout 10s` here"),
    habit(REMOVING, &["--volumes"], "the data goes with the databases anyway: leave it out"),
    habit(REMOVING, &["--rmi"], "testbed keeps no images: leave it out"),
    habit(REMOVING, &["-f", "--force", "--now", "-y", "--yes"], "nothing is asked anyway: leave it out"),
    habit(
        &["gc"],
        &["-a", "--all"],
        "all that is left behind goes anyway: leave it out; `testbed down` removes a run",
    ),
    habit(
        &["gc"],
        &["--older-than", "--filter"],
        "what goes is what nobody needs any more: `testbed up --lifetime 2h` says how long that is",
    ),
    habit(
        &["logs"],
        &["--since", "--since-time", "--until"],
        "`--tail 100` shows the last lines, and `-f` those from now on; their times are the server's",
    ),
    habit(
        &["logs"],
        &["-t", "--timestamps"],
        "the lines are as the server writes them, with its own times: leave it out",
    ),
    habit(&["logs"], &["-1"], ALL_LINES),
    habit(
        &["logs"],
        &["--all-containers", "--all"],
        "the lines of all databases are shown anyway: leave it out",
    ),
    habit(
        &["status"],
        &["-a", "--all"],
        "all runs of this machine, or of the namespace, are shown anyway: leave it out",
    ),
    habit(&["status"], &["-w", "--watch"], "`watch testbed status` shows it again and again"),
    habit(
        &["up", "run", "down"],
        &["--dry-run"],
        "`testbed render` shows what `up` would create, and `testbed doctor` what would fail",
    ),
];

/// For a number of lines that stands for all of them.
pub(super) const ALL_LINES: &str = "without --tail all lines are shown";

const OWN_FOLDER: &str = "the command runs in the folder in which testbed is called: leave it out";

const fn habit(
    commands: &'static [&'static str],
    flags: &'static [&'static str],
    tip: &'static str,
) -> Habit {
    Habit { commands, flags, tip }
}

/// What somebody is told who types a flag of another tool.
pub(super) fn tip(command: &str, flag: &str) -> Option<&'static str> {
    let found = HABITS.iter().find(|habit| habit.commands.contains(&command) && habit.flags.contains(&flag));
    found.map(|habit| habit.tip)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_habit_is_a_flag_of_testbeds_own() {
        let mut cli = Cli::command();
        cli.build();
        for Habit { commands, flags, .. } in &HABITS {
            for command in *commands {
                let command = cli.find_subcommand(command).expect("a command");
                let known = |flag: &str| {
                    command.get_arguments().any(|arg| match flag.strip_prefix("--") {
                        Some(long) => {
                            arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long))
                        }
                        None => arg.get_short().is_some_and(|short| flag == format!("-{short}")),
                    })
                };
                for flag in *flags {
                    assert!(!known(flag), "{} {flag}", command.get_name());
                }
            }
        }
    }
}

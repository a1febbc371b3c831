//! The variables of a run as a shell takes them over, or as JSON: `testbed env`.

use clap::ValueEnum;

use super::environment::RUN_ID;
use super::json::Told;
use super::{Environment, dotenv};

/// How `testbed env` writes variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// For sh, bash and zsh: eval "$(testbed env)".
    Sh,
    /// For fish: testbed env --format fish | source.
    Fish,
    /// NAME=value lines.
    Dotenv,
    /// The object that `up -o json` prints.
    Json,
}

impl Shell {
    /// The text that sets the variables of a command, and takes away those that it must not see.
    ///
    /// # Errors
    /// A value that `dotenv` cannot hold.
    pub fn text(self, environment: &Environment, told: &Told<'_>) -> anyhow::Result<String> {
        let Environment { set, removed } = environment;
        // In a shell that goes on it would choose the run of other folders too.
        let set: Vec<_> = set.iter().filter(|(name, _)| name != RUN_ID).cloned().collect();
        match self {
            Self::Sh => {
                let unset: String = removed.iter().map(|name| format!(" {name}")).collect();
                let unset = if unset.is_empty() { unset } else { format!("unset{unset}\n") };
                Ok(unset + &lines(&set, |name, value| format!("export {name}={}", in_sh(value))))
            }
            Self::Fish => {
                let erased: String = removed.iter().map(|name| format!("set -e {name}\n")).collect();
                Ok(erased + &lines(&set, |name, value| format!("set -gx {name} {}", in_fish(value))))
            }
            Self::Dotenv => dotenv::lines(&set),
            Self::Json => told.json(environment),
        }
    }
}

fn lines(set: &[(String, String)], line: impl Fn(&str, &str) -> String) -> String {
    set.iter().map(|(name, value)| line(name, value) + "\n").collect()
}

/// In single quotes nothing but their end means anything.
fn in_sh(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// In fish's single quotes a backslash escapes these two.
fn in_fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::Model;
    use super::*;

    #[test]
    fn a_shell_reads_back_every_value() {
        let values: Vec<String> = (1..=127u8)
            .map(char::from)
            .map(|c| format!("{c}x{c}{c} y\\{c}'$(no)`no`\"${c}"))
            .chain(["".into(), "größe\n\nend\n".into()])
            .collect();
        let set: Vec<(String, String)> =
            values.iter().enumerate().map(|(index, value)| (format!("V{index}"), value.clone())).collect();
        let environment = Environment { set, removed: vec!["HOME".into()] };
        let model = Model { run_id: "r".into(), databases: Vec::new() };
        let told = Told { model: &model, location: None, config: None };
        let text = Shell::Sh.text(&environment, &told).unwrap();
        // As it is meant to be used: by way of a command's output.
        let script = r#"eval "$TEXT"; test -z "${HOME+x}" && env -0 | grep -z '^V' | sort -zV"#;
        let output = Command::new("sh").args(["-c", script]).env("TEXT", text).output().unwrap();
        let expected: String =
            values.iter().enumerate().map(|(index, value)| format!("V{index}={value}\0")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn fish_has_its_own_quotes() {
        let set = vec![("A".to_owned(), r"it's \n".to_owned())];
        let environment = Environment { set, removed: vec!["PGSERVICE".into()] };
        let model = Model { run_id: "r".into(), databases: Vec::new() };
        let told = Told { model: &model, location: None, config: None };
        let text = Shell::Fish.text(&environment, &told).unwrap();
        assert_eq!(text, "set -e PGSERVICE\nset -gx A 'it\\'s \\\\n'\n");
    }
}

//! The format `dotenv`: the variables as `NAME=value` lines that a POSIX shell (`set -a; . FILE`), docker
//! compose, python-dotenv and Node's dotenv all read in the same way.
//!
//! They agree on less than it seems. Node's dotenv leaves the backslashes of escaped characters in double
//! quotes alone, so that nothing can be escaped at all; python-dotenv takes `\\` for one backslash and
//! `${NAME}` for a variable in single quotes too; compose and python-dotenv take `\'` for a quote there. A
//! value that would need any of these is refused.

use super::{Model, Names, environment};
use crate::failure::{Advise, usage};

/// The text of the file.
pub(super) fn dotenv(model: &Model, names: &Names) -> anyhow::Result<String> {
    lines(&environment::variables(model, names, None)?)
}

/// A line for each variable.
pub(super) fn lines(variables: &[(String, String)]) -> anyhow::Result<String> {
    let line = |(name, value): &(String, String)| {
        let quoted = quote(value)
            .map_err(|what| {
                usage(format!(
                    "--format dotenv: {name} holds {what}, which shells and dotenv libraries read differently"
                ))
            })
            .hint(
                "take a format that is not read by shells: --format testing-databases, urls or tera:FILE",
            )?;
        Ok(format!("{name}={quoted}\n"))
    };
    variables.iter().map(line).collect()
}

/// The value as it stands behind the equals sign, or what stands in the way.
fn quote(value: &str) -> Result<String, &'static str> {
    let holds = |c: &[char]| value.contains(c);
    if holds(&['\n', '\r', '\0']) {
        return Err("a line break");
    }
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c)) {
        return Ok(value.to_owned());
    }
    if holds(&['\'']) {
        return if holds(&['"', '\\', '$', '`']) {
            Err("a single quote beside a double quote, a backslash, a dollar sign or a backtick")
        } else {
            Ok(format!("\"{value}\""))
        };
    }
    if value.contains(r"\\") || value.ends_with('\\') {
        return Err("two backslashes in a row or one at its end");
    }
    if value.contains("${") {
        return Err("a dollar sign before a brace");
    }
    Ok(format!("'{value}'"))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed, model};
    use super::*;
    use crate::database::{Engine, Password};
    use std::process::Command;

    #[test]
    fn quotes_are_those_that_are_needed() {
        for (value, quoted) in [
            ("", ""),
            ("mysql://a:b%20@h:1/x_y-z", "mysql://a:b%20@h:1/x_y-z"),
            ("a b", "'a b'"),
            ("~#$x`!\"\\d;&|<>(){}[]*?", "'~#$x`!\"\\d;&|<>(){}[]*?'"),
            ("it's #1 of $", "no"),
            ("it's #1 = é!", "\"it's #1 = é!\""),
        ] {
            assert_eq!(quote(value).unwrap_or("no".into()), quoted);
        }
    }

    #[test]
    fn a_shell_reads_back_every_value_that_is_not_refused() {
        let awkward: Vec<String> = (1..=127u8).map(char::from).map(String::from).collect();
        let pairs = awkward
            .iter()
            .flat_map(|a| ["'", "\"", "\\", "$", "{", "a", " "].map(|b| format!("{a}{b}x{b}{a}")));
        let values: Vec<String> = awkward.iter().cloned().chain(pairs).collect();
        let written: Vec<(&String, String)> =
            values.iter().filter_map(|value| Some((value, quote(value).ok()?))).collect();
        assert!(written.len() > values.len() / 2, "{} of {}", written.len(), values.len());
        let file: String =
            written.iter().enumerate().map(|(index, (_, quoted))| format!("V{index}={quoted}\n")).collect();
        let print: String =
            (0..written.len()).map(|index| format!("printf '%s\\n' \"$V{index}\"\n")).collect();
        let output = Command::new("sh").args(["-c", &(file + &print)]).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let expected: String = written.iter().map(|(value, _)| format!("{value}\n")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn the_file_has_the_variables_of_a_command() {
        let text = dotenv(&mixed(&[&database(Engine::Mysql)]), &Names::default()).unwrap();
        let expected = "TESTBED_RUN_ID=run-1\nSQLITE_URL=sqlite::memory:\nSQLITE_DATABASE=:memory:\n\
                        SQLITE_JDBC_URL=jdbc:sqlite::memory:\nSQLITE_DSN='file::memory:?cache=shared'\n\
                        MYSQL_URL=mysql://striv:p%22w@mysql-run-1:3306/striv_test\nMYSQL_HOST=mysql-run-1\nMYSQL_PORT=3306\n\
                        MYSQL_USER=striv\nMYSQL_PASSWORD='p\"w'\nMYSQL_DATABASE=striv_test\n\
                        MYSQL_JDBC_URL='jdbc:mysql://mysql-run-1:3306/striv_test?sslMode=DISABLED&allowPublicKeyRetrieval=true'\n\
                        MYSQL_DSN='striv:p\"w@tcp(mysql-run-1:3306)/striv_test'\nMYSQL_TCP_PORT=3306\nMYSQL_PWD='p\"w'\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_value_that_cannot_be_written_is_named_and_not_shown() {
        for password in ["hush\nhush", "hush'\"", "hush'$x", "hush\\\\hush", "hush\\", "${hush}"] {
            let mut mysql = database(Engine::Mysql);
            mysql.login.password = Password::new(password);
            let error = format!("{:#}", dotenv(&model(&[&mysql]), &Names::default()).unwrap_err());
            assert!(
                error.contains("--format dotenv: MYSQL_PASSWORD holds ") && !error.contains("hush"),
                "{error}"
            );
        }
    }
}

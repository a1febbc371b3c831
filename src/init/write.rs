//! The text of a new `testbed.yaml`.

use super::migrations::Migrations;
use super::{Found, Port, one_line};
use crate::database::Engine;
use crate::yaml;

const HEAD: &str = "\
# The databases of this project's tests. Other keys are called like the flags of `testbed up`; flags and TESTBED_* variables win.

databases:
";

const PASSWORDS: &str = "
# No password was copied: each run makes random ones, which the tests find in testing-databases.json beside the addresses.
# If tests have one of their own written down, give it to the database above: `password: ...`
";

const REST: &str = "
# Where the tests find addresses and logins, and how long to wait for the databases:
# output: testing-databases.json
# timeout: 5m
";

/// The file's text, with the command that is to be typed next. It says nothing that the sources keep secret.
pub fn write(found: &[Found], migrations: Option<&Migrations>, next: &str) -> String {
    let databases: Vec<String> = found.iter().map(database).collect();
    let passwords = if found.iter().any(|found| found.has_password) { PASSWORDS } else { "" };
    // SQLite is in memory, where nothing is kept.
    let server = found.iter().find(|found| found.engine != Engine::Sqlite);
    let seed =
        migrations.zip(server).map(|(migrations, server)| seed(migrations, server)).unwrap_or_default();
    format!("{HEAD}{}{seed}{passwords}{REST}\n# Next: {next}\n", databases.join(""))
}

/// A proposal, which nobody is made to take: the command may need more than the database.
fn seed(Migrations { file, run, inputs }: &Migrations, server: &Found) -> String {
    let inputs = inputs.join(", ");
    let seed = format!("    seed: {{run: {run}, inputs: [{inputs}]}}\n");
    let text = database(&Found { places: Vec::new(), ..server.clone() });
    // A database that is one word is a mapping then.
    let text = match text.strip_suffix(&format!(": {}\n", image(server))) {
        Some(name) => format!("{name}:\n    use: {}\n", image(server)),
        None => text,
    };
    let entry: String = text.lines().chain(seed.lines()).map(|line| format!("#{line}\n")).collect();
    format!(
        "
# The migrations of {file} can be put in once, and are there from the next run on (testbed seed --help). Their command has to take
# its database from the environment (DATABASE_URL, PGHOST and so on), or it changes the one that {file} names. Instead of the above:
{entry}"
    )
}

fn database(found: &Found) -> String {
    let (name, image) = (scalar(&found.name), image(found));
    let mut text: String =
        found.places.iter().map(|place| format!("  # {}\n", one_line(&place.text))).collect();
    let params = [("image", &found.image), ("user", &found.user), ("database", &found.database)];
    let params: Vec<_> = params
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref().filter(|value| !value.is_empty())?)))
        .collect();
    if params.is_empty() && found.port.is_none() && found.init.is_empty() && found.args.is_empty() {
        return text + &format!("  {name}: {image}\n");
    }
    text += &format!("  {name}:\n    use: {image}\n");
    params.iter().for_each(|(key, value)| text += &format!("    {key}: {}\n", scalar(value)));
    let init: Vec<String> = found.init.iter().map(|script| script.path.clone()).collect();
    for (key, items) in [("init", &init), ("args", &found.args)] {
        if !items.is_empty() {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            text += &format!("    {key}: [{}]\n", items.join(", "));
        }
    }
    match found.port {
        Some(Port::Asked(port)) => text += &format!("    port: {port}\n"),
        Some(Port::Told(port)) => {
            let why = "where tests have it written down; without it, a free one is taken";
            text += &format!("    # port: {port}    # {why}\n");
        }
        None => {}
    }
    text
}

/// What was found, for people: the image, the user and the database.
pub fn summary(found: &Found) -> String {
    let image = found.image.as_ref().map_or_else(|| image(found), |image| one_line(image));
    let user = found.user.as_ref().map(|user| format!(", user {user:?}"));
    let database = found.database.as_ref().map(|database| format!(", database {database:?}"));
    format!("{image}{}{}", user.unwrap_or_default(), database.unwrap_or_default())
}

/// As `use` has it.
pub fn image(found: &Found) -> String {
    match &found.tag {
        Some(tag) if found.engine != Engine::Sqlite => format!("{}:{tag}", found.engine),
        _ => found.engine.to_string(),
    }
}

/// A text as YAML: without quotes where it cannot mean anything else.
fn scalar(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-./:@".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(inner)
        && !text.ends_with(':');
    let means_something =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if plain && !means_something { text.into() } else { quoted(text) }
}

/// JSON's texts are YAML's.
fn quoted(text: &str) -> String {
    yaml::as_json(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use crate::cli::Cli;
    use crate::settings::read;
    use clap::CommandFactory;
    use proptest::prelude::*;

    fn found(user: &str) -> Found {
        Found {
            tag: Some("17".into()),
            image: Some("postgis/postgis:17".into()),
            user: Some(user.into()),
            has_password: true,
            ..Found::new(
                "db".into(),
                Engine::Postgres,
                Place { group: String::new(), text: "compose.yaml:3: service db".into() },
            )
        }
    }

    #[test]
    fn what_yaml_does_not_print_is_escaped() {
        let text = write(&[found("a\u{7f}\u{85}\u{2028}\u{feff}")], None, "testbed run");
        let settings = read::read("testbed.yaml", &text, std::path::Path::new(""), &Cli::command()).unwrap();
        assert_eq!(settings.database_params[1], "db.user=a\u{7f}\u{85}\u{2028}\u{feff}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_meant(user in any::<String>().prop_filter("a name", |user| !user.is_empty())) {
            let text = write(&[found(&user)], None, "testbed run");
            let settings = read::read("testbed.yaml", &text, std::path::Path::new(""), &Cli::command()).unwrap();
            prop_assert_eq!(settings.with, ["postgres:17=db"]);
            prop_assert_eq!(settings.database_params, ["db.image=postgis/postgis:17".to_owned(), format!("db.user={user}")]);
        }
    }
}

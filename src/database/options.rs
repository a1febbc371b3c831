//! What a server's command line tells: the official images start their set-up server with options of its own,
//! and the final server with the container's arguments and no others. Pure.
//!
//! Such an option proves a set-up server. That there is none proves nothing: an image that is not what its
//! name says may start its set-up server without any.

use k8s_openapi::api::core::v1::Container;

use super::Engine;

/// What the images' own set-up adds, and what home-made copies of it put in its place so that the set-up
/// server shows its port. The names are those of the servers' variables.
const MYSQL_FAMILY: [&str; 10] = [
    "skip_networking",
    "bind_address",
    "socket",
    "port",
    "time_zone",
    "wsrep_on",
    "expire_logs_days",
    "skip_slave_start",
    "skip_replica_start",
    "innodb_buffer_pool_load_at_startup",
];
const POSTGRES: [&str; 3] = ["listen_addresses", "port", "unix_socket_directories"];

/// Options of one letter, by the variable that they set.
const LETTERS: [(&str, &[&str]); 4] = [
    ("socket", &["-S"]),
    ("port", &["-P", "-p"]),
    ("listen_addresses", &["-h", "-i"]),
    ("unix_socket_directories", &["-k"]),
];

/// The arguments that the final server of a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// A container's arguments, where they are all that an official image's final server gets: none where
    /// they are the image's affair, or say another command.
    pub fn of(container: &Container) -> Option<Self> {
        let args = container.args.as_deref().unwrap_or_default();
        let program = |word: &str| ["mysqld", "mariadbd", "postgres"].contains(&word);
        let begins_well = args.first().is_none_or(|first| first.starts_with('-') || program(first));
        // The kubelet fills these in, with what is not looked up here.
        let is_known = !args.iter().any(|word| word.contains("$("));
        (begins_well && is_known)
            .then(|| Self(args.iter().filter(|word| !program(word)).map(|word| variable(word)).collect()))
    }

    /// The first of the options on a server's command line, by the names of its variables, that only a set-up
    /// server has.
    pub fn set_up_option<'a>(&self, engine: Engine, options: &'a [String]) -> Option<&'a str> {
        let known: &[&str] = if engine == Engine::Postgres { &POSTGRES } else { &MYSQL_FAMILY };
        options.iter().map(String::as_str).find(|option| {
            let option = variable(option);
            // An argument may set a variable of another name; without arguments there is no such doubt.
            (self.0.is_empty() || known.contains(&option.as_str())) && !self.name(&option)
        })
    }

    /// Whether the arguments set the variable, however they spell it.
    fn name(&self, option: &str) -> bool {
        let letters =
            LETTERS.iter().find(|(name, _)| *name == option).map_or(&[][..], |(_, letters)| letters);
        self.0
            .iter()
            .any(|word| word.contains(option) || letters.iter().any(|letter| word.starts_with(letter)))
    }
}

/// An option in the spelling of variables. Options of one letter keep their case.
fn variable(word: &str) -> String {
    let is_letter = word.starts_with('-') && !word.starts_with("--");
    if is_letter { word.to_owned() } else { word.trim_start_matches('-').replace('-', "_").to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(args: &[&str]) -> Option<Arguments> {
        Arguments::of(&Container {
            args: Some(args.iter().map(|word| (*word).to_owned()).collect()),
            ..Container::default()
        })
    }

    fn found(engine: Engine, args: &[&str], options: &[&str]) -> Option<String> {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        arguments(args).unwrap().set_up_option(engine, &options).map(str::to_owned)
    }

    #[test]
    fn without_arguments_any_option_tells() {
        assert_eq!(found(Engine::Mysql, &[], &[]), None);
        assert_eq!(
            found(Engine::Mysql, &["mysqld"], &["max_connections"]).as_deref(),
            Some("max_connections")
        );
        assert_eq!(found(Engine::Postgres, &[], &["listen_addresses"]).as_deref(), Some("listen_addresses"));
    }

    #[test]
    fn with_arguments_only_what_the_set_up_adds_tells() {
        // `--transaction-isolation` sets a variable of another name.
        let args = ["--transaction-isolation=READ-COMMITTED", "--max-conn=5"];
        assert_eq!(found(Engine::Mariadb, &args, &["TX_ISOLATION", "MAX_CONNECTIONS"]), None);
        assert_eq!(
            found(Engine::Mariadb, &args, &["TX_ISOLATION", "BIND_ADDRESS"]).as_deref(),
            Some("BIND_ADDRESS")
        );
    }

    #[test]
    fn an_option_that_the_arguments_name_tells_nothing() {
        for (engine, args, option) in [
            (Engine::Mysql, &["--bind-address=0.0.0.0"][..], "bind_address"),
            (Engine::Mysql, &["mysqld", "--Bind_Address", "0.0.0.0"], "bind_address"),
            (Engine::Mysql, &["-P", "3307"], "port"),
            (Engine::Mysql, &["--default-time-zone=+00:00"], "time_zone"),
            (Engine::Mariadb, &["-S/run/other.sock"], "SOCKET"),
            (Engine::Postgres, &["-c", "listen_addresses=*"], "listen_addresses"),
            (Engine::Postgres, &["postgres", "-h", "*"], "listen_addresses"),
            (Engine::Postgres, &["-p6000"], "port"),
        ] {
            assert_eq!(found(engine, args, &[option]), None, "{args:?}");
        }
    }

    #[test]
    fn arguments_that_nobody_knows_prove_nothing() {
        assert_eq!(arguments(&["--port=$(PORT)"]), None);
        assert_eq!(arguments(&["bash", "-c", "exec mysqld --port=3307"]), None);
    }
}

//! A login and an address as one URL, as database drivers take it, and the format that has nothing else.

use serde_json::Map;

use super::Model;
use crate::console;
use crate::database::Login;
pub(super) use crate::template::url_encoded as escape;

/// `scheme://user:password@host:port/database`, without the parts that are empty.
pub(super) fn url(scheme: &str, login: &Login, host: &str, port: u16) -> String {
    let password = match login.password.reveal() {
        "" => String::new(),
        password => format!(":{}", escape(password)),
    };
    let path = login.database.as_deref().map_or_else(String::new, |name| format!("/{}", escape(name)));
    format!("{scheme}://{}{password}@{}{path}", escape(&login.user), authority(host, port))
}

/// `host:port`, with brackets around an address of version 6: its colons would read as a port.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The format `urls`: a JSON object of the databases' URLs by their names, in the databases' order. The names
/// have to be unique.
pub(super) fn urls(model: &Model) -> anyhow::Result<String> {
    let urls =
        model.databases.iter().map(|connection| (connection.name.clone(), connection.url.as_str().into()));
    console::json(&Map::from_iter(urls))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed};
    use super::*;
    use crate::database::{Engine, Password};

    fn login(user: &str, password: &str, database: Option<&str>) -> Login {
        Login { user: user.into(), password: Password::new(password), database: database.map(Into::into) }
    }

    #[test]
    fn every_part_is_escaped_and_the_empty_ones_are_left_out() {
        for (login, host, expected) in [
            (login("app", "hush", Some("shop")), "db", "mysql://app:hush@db:3306/shop"),
            (
                login("a@b:c", "p/w?#[]%", Some("my shop/1")),
                "db",
                "mysql://a%40b%3Ac:p%2Fw%3F%23%5B%5D%25@db:3306/my%20shop%2F1",
            ),
            (
                login("größe", "'\"\\+&=;!*~-._", Some("x")),
                "db",
                "mysql://gr%C3%B6%C3%9Fe:%27%22%5C%2B%26%3D%3B%21%2A~-._@db:3306/x",
            ),
            (login("root", "", None), "::1", "mysql://root@[::1]:3306"),
        ] {
            assert_eq!(url("mysql", &login, host, 3306), expected);
        }
    }

    #[test]
    fn a_reader_of_urls_gets_back_what_went_in() {
        let awkward: String = (1..=127).map(char::from).chain("äß€".chars()).collect();
        let text = url("postgresql", &login(&awkward, &awkward, Some(&awkward)), "fe80::1", 5432);
        let read = ::url::Url::parse(&text).unwrap();
        let decode =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        assert_eq!(decode(read.username()), awkward);
        assert_eq!(decode(read.password().unwrap()), awkward);
        assert_eq!(decode(read.path().strip_prefix('/').unwrap()), awkward);
        assert_eq!((read.host_str(), read.port()), (Some("[fe80::1]"), Some(5432)));
    }

    #[test]
    fn the_file_is_an_object_of_names_and_urls() {
        let expected = "{\n  \"sqlite\": \"sqlite::memory:\",\n  \"mysql\": \"mysql://striv:p%22w@mysql-run-1:3306/striv_test\"\n}\n";
        assert_eq!(urls(&mixed(&[&database(Engine::Mysql)])).unwrap(), expected);
    }
}

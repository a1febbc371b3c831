//! Where the archive is: what `--history` says, and what counts when it says nothing.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::environment::is_in_pod;
use crate::failure::{Advise, usage};
use crate::state;

/// The file's name below the state folder.
const FILE: &str = "history.db";

/// What `--history` can say.
const FORMS: &str = "--history is sqlite:PATH, postgres://USER@HOST/DATABASE or none";

/// Where records are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    Sqlite(PathBuf),
    /// Its password included.
    Postgres(Box<Url>),
}

impl Place {
    /// Reads `sqlite:PATH`, `postgres://...` or `none`. A value never gets into an error: it may hold a
    /// password.
    pub fn parse(text: &str) -> anyhow::Result<Option<Self>> {
        if ["none", "off"].contains(&text) {
            return Ok(None);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(usage(format!("{FORMS}, and the path of this one is empty"))),
                path => Ok(Some(Self::Sqlite(path.into()))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let url =
                Url::parse(text).map_err(|error| usage(format!("{FORMS}, and this is no URL: {error}")))?;
            // A password with one of these characters is cut, and its beginning is taken for host or port.
            if url.fragment().is_some()
                || [url.path(), url.query().unwrap_or_default()].iter().any(|part| part.contains('@'))
            {
                return Err(usage(format!(
                    "{FORMS}, and a character in this one's password or at its end is not encoded"
                )))
                .hint("in a URL, @ is written %40, / is %2F, ? is %3F and # is %23");
            }
            return Ok(Some(Self::Postgres(Box::new(url))));
        }
        Err(usage(FORMS)).hint("a file of your own is sqlite:./history.db")
    }

    /// The place that a flag, a variable or the settings name: `None` where none does, and `Some(None)` for
    /// `none`.
    /// An error also where everybody on the machine can read a password in the process list.
    pub fn named(history: Option<&str>) -> anyhow::Result<Option<Option<Self>>> {
        let Some(text) = history.filter(|text| !text.is_empty()) else { return Ok(None) };
        let place = Self::parse(text)?;
        let is_visible = || std::env::args().any(|arg| arg.contains(text));
        if place.as_ref().is_some_and(Self::has_password) && is_visible() {
            return Err(usage(
                "--history: others can see a password on the command line in the process list",
            ))
            .hint(
                "set TESTBED_HISTORY to the URL, or leave out the password and set PGPASSWORD or PGPASSFILE",
            );
        }
        Ok(Some(place))
    }

    /// The default of a developer's machine; in a pod, whose files end with it, there is none.
    pub fn usual() -> Option<Self> {
        if is_in_pod() {
            return None;
        }
        Some(Self::Sqlite(state::folder()?.join(FILE)))
    }

    pub fn has_password(&self) -> bool {
        matches!(self, Self::Postgres(url) if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password"))
    }
}

/// Without the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let user =
                    if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "postgres://{user}{}{port}{}", url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_a_url_or_none() {
        assert_eq!(Place::parse("sqlite:a/b.db").unwrap(), Some(Place::Sqlite("a/b.db".into())));
        assert_eq!(Place::parse("none").unwrap(), None);
        let postgres = Place::parse("postgres://u:hush@h:5433/d?sslmode=require").unwrap().unwrap();
        assert!(postgres.has_password());
        assert_eq!(
            (postgres.to_string(), format!("{postgres:?}")),
            ("postgres://u@h:5433/d".into(), "postgres://u@h:5433/d".into())
        );
        assert!(Place::parse("postgres://u:1%3Fhush@h/d?password=a%40b").unwrap().is_some());
        let cut = ["postgres://u:1?hush@h/d", "postgres://u:1/hush@h/d", "postgres://u:1#hush@h/d"];
        for wrong in cut.into_iter().chain([
            "",
            "sqlite:",
            "mysql://u:hush@h/d",
            "history.db",
            "postgres://u:hush@h:x/d",
        ]) {
            let error = format!("{:#}", Place::parse(wrong).unwrap_err());
            assert!(error.starts_with("--history is ") && !error.contains("hush"), "{error}");
        }
    }
}

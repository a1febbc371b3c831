//! Passwords in a file, as libpq keeps them: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password for the first server in the file that `PGPASSFILE` names, or else in `~/.pgpass`. Like libpq,
/// reads no file that others may read.
pub(super) fn from_file(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let path = variable("PGPASSFILE").or_else(|| Some(variable("HOME")? + "/.pgpass")).map(PathBuf::from)?;
    if std::fs::metadata(&path).ok()?.mode() & 0o077 != 0 {
        return None;
    }
    let user = config.get_user().map(str::to_owned).or_else(|| variable("USER"))?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(_)) => "localhost".into(),
        None => config.get_hostaddrs().first()?.to_string(),
    };
    let port = config.get_ports().first().unwrap_or(&5432).to_string();
    find(
        &crate::reading::text(&path, crate::reading::MOST).ok()?,
        [&host, &port, config.get_dbname().unwrap_or(&user), &user],
    )
}

/// The password on the first line whose fields are these, or `*`.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [known @ .., password] = fields.as_slice() else { return None };
        let fits = known.len() == wanted.len()
            && known.iter().zip(wanted).all(|(known, wanted)| known == "*" || known == wanted);
        fits.then(|| password.clone())
    })
}

/// The fields between colons; a backslash makes the next character one like any other.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, fields.last_mut()) {
            (':', _) => fields.push(String::new()),
            ('\\', Some(field)) => field.extend(characters.next()),
            (_, Some(field)) => field.push(character),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text =
            "# h:5432:d:u:comment\nother:5432:d:u:no\nh:5432:d:u:a\\:b\\\\c\n*:*:*:u:any\nshort:1:hush\n";
        assert_eq!(find(text, ["h", "5432", "d", "u"]).as_deref(), Some("a:b\\c"));
        assert_eq!(find(text, ["x", "1", "y", "u"]).as_deref(), Some("any"));
        assert_eq!(find(text, ["h", "5432", "d", "v"]), None);
    }
}

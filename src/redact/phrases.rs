//! Finds secrets in a line of text by what stands around them: nobody has to know them beforehand.
//!
//! One function for each way in which programs write them, which tells where in a line they stand.

use std::ops::Range;

use super::names::{Called, called, can_be_secret};

/// Before a password that an image's entrypoint made up, which may hold anything: the rest of the line goes.
const GENERATED: [&str; 2] = ["generated root password:", "a temporary password is generated for"];

/// Without one of these in a name, it is not called like a secret.
const STEMS: [&str; 7] = ["pass", "pw", "secret", "token", "key", "credential", "masterauth"];

/// Where in a line secrets stand, in no order. Ranges may overlap.
pub(super) fn find(line: &str) -> Vec<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    let mut found: Vec<Range<usize>> = generated(&lower).into_iter().collect();
    if STEMS.iter().any(|stem| lower.contains(stem)) {
        found.extend(named(line, &lower));
    }
    found.extend(identified(line, &lower));
    found.extend(authorization(line, &lower));
    found.extend(urls(line));
    found.extend(data_source(line));
    found.extend(web_tokens(line));
    found.extend(client_flags(line, &lower));
    found.retain(|range| !range.is_empty());
    found
}

fn generated(lower: &str) -> Option<Range<usize>> {
    let end = GENERATED.iter().find_map(|words| Some(lower.find(words)? + words.len()))?;
    let gap = lower[end..].len() - lower[end..].trim_start().len();
    Some(end + gap..lower.len())
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

/// `password=x`, `"token": "x"`, `PASSWORD 'x'`, `--password x`, `Key (password)=(x)`.
fn named(line: &str, lower: &str) -> Vec<Range<usize>> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !in_name(bytes[at]) {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| in_name(**byte)).count();
        let name = &line[at..end];
        if !STEMS.iter().any(|stem| lower[at..end].contains(stem)) {
            at = end;
            continue;
        }
        if let Some(called) = called(name)
            && let Some(value) = value_after(line, at..end, called)
            && can_be_secret(name, &line[value.clone()])
        {
            // A value that looks like a name is none.
            at = value.end.max(end);
            found.push(value);
            continue;
        }
        at = end;
    }
    found
}

fn value_after(line: &str, name: Range<usize>, called: Called) -> Option<Range<usize>> {
    let is_first =
        line[..name.start].chars().all(|c| c.is_whitespace() || matches!(c, '-' | '"' | '\'' | '{'));
    let rest = &line[name.end..];
    // What ends the name: the quote around it, the bracket around a column.
    let closed = rest.trim_start_matches(['\\', '"', '\'', '`', ')', ']']);
    let (spaces, after) = gap(closed);
    let separator = ["=>", ":=", "=", ":", "("].into_iter().find(|separator| after.starts_with(separator));
    let from = |text: &str| line.len() - text.len();
    match separator {
        Some(separator) => {
            let (gap_after, value) = gap(&after[separator.len()..]);
            let value = if separator == "=" { value.strip_prefix('(').unwrap_or(value) } else { value };
            if let Some(quoted) = quoted(line, from(value)) {
                return Some(quoted);
            }
            let is_field = is_first && separator != "(" && !line[name.clone()].starts_with('-');
            let end =
                if is_field && !value.starts_with(['{', '[']) { value.trim_end().len() } else { bare(value) };
            let word = &value[..end];
            let is_prose = separator == ":" && gap_after > 0 && !is_field;
            let can_be = !is_prose
                || called == Called::Password
                || word.len() >= 16
                || word.bytes().any(|byte| byte.is_ascii_digit());
            can_be.then(|| from(value)..from(value) + end)
        }
        // `PASSWORD 'x'` of SQL, and flags and settings that take the next word.
        None if spaces > 0 && closed.len() == rest.len() => {
            let text = &line[name.clone()];
            let takes_word = text.starts_with("--")
                || ["requirepass", "masterauth"].contains(&text.to_lowercase().as_str());
            match quoted(line, from(after)) {
                Some(quoted) if called == Called::Password || takes_word => Some(quoted),
                None if takes_word && !after.starts_with('-') => Some(from(after)..from(after) + bare(after)),
                _ => None,
            }
        }
        None => None,
    }
}

/// The spaces that a text begins with, and the rest.
fn gap(text: &str) -> (usize, &str) {
    let rest = text.trim_start();
    (text.len() - rest.len(), rest)
}

fn bare(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || ",;&)]}\"'<>|`".contains(c)).unwrap_or(text.len())
}

/// What stands in the quotes that begin here; where they are not closed, the rest of the line.
fn quoted(line: &str, at: usize) -> Option<Range<usize>> {
    let text = &line[at..];
    // PostgreSQL's E'...' and $$...$$, and the quotes of a text in a text.
    if let Some(rest) = text.strip_prefix("$$") {
        return Some(at + 2..at + 2 + rest.find("$$").unwrap_or(rest.len()));
    }
    let text = text.strip_prefix(['E', 'e', 'N', 'n']).filter(|rest| rest.starts_with('\'')).unwrap_or(text);
    let escaped = text.strip_prefix('\\');
    let text = escaped.unwrap_or(text);
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let begin = line.len() - text.len() + 1;
    let mut rest = line[begin..].char_indices().peekable();
    while let Some((index, c)) = rest.next() {
        match c {
            '\\' if escaped.is_some() && rest.peek().is_some_and(|(_, next)| *next == quote) => {
                return Some(begin..begin + index);
            }
            '\\' => drop(rest.next()),
            _ if c == quote && rest.peek().is_some_and(|(_, next)| *next == quote) && quote == '\'' => {
                rest.next();
            }
            _ if c == quote => return Some(begin..begin + index),
            _ => {}
        }
    }
    Some(begin..line.len())
}

/// `IDENTIFIED BY 'x'`, `IDENTIFIED WITH plugin AS 'x'`.
fn identified(line: &str, lower: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (start, word) in lower.match_indices("identified") {
        let mut at = start + word.len();
        // A few words at most, which are the plugin's name and the like.
        for _ in 0..6 {
            at += gap(&lower[at..]).0;
            let length = lower[at..]
                .find(|c: char| c.is_whitespace() || c == '\'' || c == '"')
                .unwrap_or(lower.len() - at);
            let word = &lower[at..at + length];
            let is_last = ["by", "as"].contains(&word);
            at += length;
            let value = at + gap(&lower[at..]).0;
            let value =
                lower[value..].strip_prefix("password ").map_or(value, |rest| line.len() - gap(rest).1.len());
            match quoted(line, value) {
                Some(range) if is_last => {
                    at = (range.end + 1).min(line.len());
                    found.push(range);
                }
                // The plugin's name.
                Some(range) => at = (range.end + 1).min(line.len()),
                None => {}
            }
        }
    }
    found
}

/// `Authorization: Basic x`, `Bearer x`.
fn authorization(line: &str, lower: &str) -> Vec<Range<usize>> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "._~+/=-".contains(c);
    let words = lower.match_indices("bearer ").chain(lower.match_indices("authorization: basic "));
    let tokens = words
        .map(|(at, word)| at + word.len())
        .map(|at| at..at + line[at..].find(|c| !is_token(c)).unwrap_or(line.len() - at));
    tokens.filter(|range| range.len() >= 8).collect()
}

/// `postgres://user:x@host`.
fn urls(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, scheme) in line.match_indices("://") {
        let begin = at + scheme.len();
        let all = &line[begin..];
        let all = &all[..all.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(all.len())];
        let authority = &all[..all.find(['/', '?', '#']).unwrap_or(all.len())];
        // A password that should have been percent-encoded is one as well.
        let port = authority.split_once(':').map(|(_, port)| port);
        let is_cut = !authority.contains('@')
            && port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()));
        let userinfo = if is_cut { all } else { authority }.rsplit_once('@').map(|(userinfo, _)| userinfo);
        if let Some((user, password)) = userinfo.and_then(|userinfo| userinfo.split_once(':')) {
            let begin = begin + user.len() + 1;
            found.push(begin..begin + password.len());
        }
    }
    found
}

/// `user:x@tcp(host:3306)/database`, as programs in Go have it.
fn data_source(line: &str) -> Vec<Range<usize>> {
    let ends = line.match_indices("@tcp(").chain(line.match_indices("@unix("));
    let passwords = ends.filter_map(|(end, _)| {
        let before = &line[..end];
        let begin = before.rfind(|c: char| c.is_whitespace() || "\"'`=".contains(c)).map_or(0, |at| at + 1);
        let (user, _) = before[begin..].split_once(':')?;
        Some(begin + user.len() + 1..end)
    });
    passwords.collect()
}

/// JSON Web Tokens: three parts of base64, the first of which begins with `{"`.
fn web_tokens(line: &str) -> Vec<Range<usize>> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let tokens = line
        .match_indices("eyJ")
        .map(|(at, _)| at..at + line[at..].find(|c| !in_token(c)).unwrap_or(line.len() - at));
    tokens.filter(|range| range.len() >= 24 && line[range.clone()].matches('.').count() >= 2).collect()
}

/// `mysql -uroot -px`: the flag that MySQL's programs take the password right behind.
fn client_flags(line: &str, lower: &str) -> Vec<Range<usize>> {
    if !lower.contains("mysql") && !lower.contains("mariadb") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, flag) in line.match_indices("-p") {
        let stands_first =
            line[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'[,".contains(c));
        let begin = at + flag.len();
        let end = quoted(line, begin).unwrap_or_else(|| begin..begin + bare(&line[begin..]));
        if stands_first {
            found.push(end);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `hush` in these lines is found, and nothing else.
    #[test]
    fn what_stands_around_a_secret_tells_it() {
        for line in [
            "password=hush",
            "  password: hush",
            "- MYSQL_ROOT_PASSWORD: 'hush'",
            r#"{"user": "root", "password": "hush", "port": 3306}"#,
            r#"{"args": "{\"password\": \"hush\", \"x\": 1}"}"#,
            "export DB_PASS=hush; run",
            "Server=h;Uid=u;Pwd=hush;Database=d",
            "with api_token => hush, user",
            "aws_secret_access_key := hush",
            "--password=hush --user=root",
            "mysqladmin ping --password hush -h localhost",
            "requirepass hush",
            "CREATE USER 'app'@'%' IDENTIFIED BY 'hush';",
            "create user a identified with 'caching_sha2_password' by 'hush' require none",
            "ALTER USER a IDENTIFIED WITH mysql_native_password AS 'hush', b IDENTIFIED BY \"hush\"",
            "GRANT ALL ON *.* TO r IDENTIFIED BY PASSWORD 'hush'",
            "ALTER ROLE app WITH LOGIN PASSWORD 'hush' VALID UNTIL '2030-01-01'",
            "STATEMENT:  CREATE USER a PASSWORD E'hush'",
            "CREATE USER a PASSWORD $$hush$$ SUPERUSER",
            "SET PASSWORD FOR a = PASSWORD('hush')",
            "DETAIL:  Key (password)=(hush) already exists.",
            "login failed, password: hush, user: root",
            "postgres://u:hush@h:5432/d?sslmode=require",
            "jdbc:mysql://h/d?user=u&password=hush&x=y",
            "see http://u:hush@h/ and https://v:hush@h",
            "app:hush@tcp(127.0.0.1:3306)/shop?parseTime=true",
            "mysql -uroot -phush -e 'SELECT 1'",
            r#"["mariadb-admin", "ping", "-phush"]"#,
            "[Entrypoint]: GENERATED ROOT PASSWORD: hush",
            "A temporary password is generated for hush",
            "password: \"hush",
        ] {
            let mut ranges = find(line);
            ranges.sort_by_key(|range| (range.start, range.end));
            let mut shown = line.to_owned();
            ranges.dedup();
            for range in ranges.iter().rev() {
                shown.replace_range(range.clone(), "*");
            }
            assert_eq!(shown, line.replace("hush", "*"));
        }
    }

    #[test]
    fn longer_secrets_are_found_whole() {
        for (line, secret) in [
            ("password: correct horse battery", "correct horse battery"),
            ("PASSWORD 'it''s \\'hush'", "it''s \\'hush"),
            ("mongodb://u:p/w@h/d", "p/w"),
            ("http://u:p:w@x@h/", "p:w@x"),
            ("Authorization: Bearer abc.def-123456", "abc.def-123456"),
            ("authorization: basic cm9vdDpodXNo", "cm9vdDpodXNo"),
            (
                "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl from",
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            ),
            ("failed with token: ghp_0123456789", "ghp_0123456789"),
        ] {
            assert!(find(line).iter().any(|range| &line[range.clone()] == secret), "{line}");
        }
    }

    /// What people need to read when something has failed.
    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "FATAL:  password authentication failed for user \"striv\"",
            "Access denied for user 'root'@'172.17.0.1' (using password: YES)",
            "ERROR:  relation \"tokens\" does not exist at character 15",
            "ERROR 1146 (42S02): Table 'shop.passwords' doesn't exist",
            "column \"password\" of relation \"users\" does not exist",
            "MountVolume.SetUp failed for volume \"x\" : secret \"mysql-root\" not found",
            "couldn't find key password in Secret default/mysql",
            "failed to fetch anonymous token: unexpected status: 403 Forbidden",
            "Plugin 'mysql_native_password' reported: ''mysql_native_password' is deprecated'",
            "root@localhost is created with an empty password ! Please consider switching off the --initialize-insecure option.",
            "psql -p5432 -h localhost",
            "mkdir -p /var/lib/mysql",
            "mysqld: ready for connections. Version: '9.7.0'  socket: '/run/mysqld/mysqld.sock'  port: 3306",
            "http://h:8080/path@x",
            "LOG:  database system is ready to accept connections",
            "{secretKeyRef: {name: db, key: password}}",
            "tokenExpirationSeconds: 3607",
        ] {
            assert!(find(line).is_empty(), "{line}: {:?}", find(line));
        }
    }
}

//! Scripts of SQL that have their client or the server read another file, which a seed's key would not know.
//!
//! Only as much of SQL is read as tells a literal and a comment from the rest.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::MultiGzDecoder;

use crate::engine::Engine;

/// How much of a packed script is looked at.
const MOST_UNPACKED: u64 = 64 << 20;

/// How many words of a statement are kept: what tells a `COPY` from others stands at its beginning.
const MOST_WORDS: usize = 10_000;

/// The commands of psql that read a file, besides `\copy`.
const OF_PSQL: [&str; 5] = ["\\i", "\\ir", "\\include", "\\include_relative", "\\lo_import"];

/// The line and the command by which a script reads another file, the first one.
pub(super) fn first(name: &str, path: &Path, bytes: &[u8], engine: Engine) -> Option<(usize, &'static str)> {
    let text = match name.rsplit_once('.')?.1 {
        "sql" => Cow::from(bytes),
        "gz" => Cow::from(some_of(MultiGzDecoder::new(bytes))),
        "xz" => Cow::from(unpacked("xz", path)),
        "zst" => Cow::from(unpacked("zstd", path)),
        _ => return None,
    };
    let script = Script { rest: &text, line: 1, is_postgres: engine == Engine::Postgres };
    if script.is_postgres { script.of_psql() } else { script.of_mysql() }
}

/// What is damaged is told by whoever unpacks it for the server.
fn some_of(packed: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = packed.take(MOST_UNPACKED).read_to_end(&mut text);
    text
}

/// By a program, which is missed where the script is run.
fn unpacked(program: &str, path: &Path) -> Vec<u8> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut command = Command::new(program);
    command.arg("-dc").stdin(file).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Vec::new() };
    let text = child.stdout.take().map(some_of).unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    text
}

/// What of a script is not read yet.
struct Script<'a> {
    rest: &'a [u8],
    /// Counted from 1.
    line: usize,
    is_postgres: bool,
}

/// What stands outside of comments.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Word(&'a [u8]),
    Literal,
    Other(u8),
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Script<'a> {
    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (skipped, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.line += skipped.iter().filter(|byte| **byte == b'\n').count();
        self.rest = rest;
        skipped
    }

    /// Behind the next of these, or to the script's end.
    fn skip_past(&mut self, end: &[u8]) {
        let found = self.rest.windows(end.len()).position(|window| window == end);
        self.skip(found.map_or(self.rest.len(), |at| at + end.len()));
    }

    fn line_left(&self) -> &'a [u8] {
        self.rest.split(|byte| *byte == b'\n').next().unwrap_or_default()
    }

    fn word(&mut self) -> &'a [u8] {
        self.skip(self.rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(self.rest.len()))
    }

    /// Behind the literal that begins here.
    fn skip_literal(&mut self, has_escapes: bool) {
        let quote = self.rest.first().copied();
        let mut length = 1;
        while let Some(byte) = self.rest.get(length).copied() {
            length += if has_escapes && byte == b'\\' { 2 } else { 1 };
            if Some(byte) == quote {
                break;
            }
        }
        self.skip(length);
    }

    /// Behind the comment that begins here. Those of PostgreSQL may hold others.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.rest.is_empty() {
            depth = match self.rest {
                [b'/', b'*', ..] if depth == 0 || self.is_postgres => depth + 1,
                [b'*', b'/', ..] => depth - 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            };
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    /// The `$tag$` that begins here.
    fn tag(&self) -> Option<&'a [u8]> {
        let end = self.rest.iter().skip(1).take(64).position(|byte| *byte == b'$')? + 1;
        self.rest[1..end].iter().all(|byte| is_of_word(*byte)).then(|| &self.rest[..=end])
    }

    /// The next piece; comments and spaces are passed over.
    fn piece(&mut self) -> Option<Piece<'a>> {
        loop {
            let rest = self.rest;
            match rest {
                [] => return None,
                [byte, ..] if byte.is_ascii_whitespace() => {
                    self.skip(1);
                }
                [b'-', b'-', after @ ..]
                    if self.is_postgres || after.first().is_none_or(u8::is_ascii_whitespace) =>
                {
                    self.skip(self.line_left().len());
                }
                [b'#', ..] if !self.is_postgres => {
                    self.skip(self.line_left().len());
                }
                // The servers of MySQL and MariaDB execute what stands in some.
                [b'/', b'*', after @ ..]
                    if self.is_postgres || !(after.starts_with(b"!") || after.starts_with(b"M!")) =>
                {
                    self.skip_comment();
                }
                [quote @ (b'\'' | b'"' | b'`'), ..] if !(self.is_postgres && *quote == b'`') => {
                    self.skip_literal(!self.is_postgres && *quote != b'`');
                    return Some(Piece::Literal);
                }
                [b'$', ..] if self.is_postgres && self.tag().is_some() => {
                    let tag = self.tag().unwrap_or_default();
                    self.skip(tag.len());
                    self.skip_past(tag);
                    return Some(Piece::Literal);
                }
                [byte, ..] if is_of_word(*byte) => {
                    let word = self.word();
                    if self.is_postgres && word.eq_ignore_ascii_case(b"e") && self.rest.starts_with(b"'") {
                        self.skip_literal(true);
                        return Some(Piece::Literal);
                    }
                    // A name may have a dollar in it, which begins no literal.
                    while self.is_postgres && self.rest.starts_with(b"$") {
                        self.skip(1);
                        self.word();
                    }
                    return Some(Piece::Word(word));
                }
                [byte, ..] => {
                    self.skip(1);
                    return Some(Piece::Other(*byte));
                }
            }
        }
    }

    /// Behind the rows that stand in the script itself, from the next line on.
    fn skip_rows(&mut self) {
        self.skip_past(b"\n");
        while !self.rest.is_empty() && self.line_left().trim_ascii() != b"\\." {
            self.skip_past(b"\n");
        }
        self.skip(self.line_left().len());
    }

    fn of_psql(mut self) -> Option<(usize, &'static str)> {
        // Its words, apart from those in brackets.
        let mut statement: Vec<String> = Vec::new();
        let (mut depth, mut begin) = (0_usize, 1);
        loop {
            let piece = self.piece();
            match piece {
                Some(Piece::Other(b'(')) => depth += 1,
                Some(Piece::Other(b')')) => depth = depth.saturating_sub(1),
                Some(Piece::Other(b'\\')) => {
                    let line = self.line;
                    if let Some(command) = self.psqls_own() {
                        return Some((line, command));
                    }
                }
                None | Some(Piece::Other(b';')) => {
                    let copied = statement.first().filter(|word| word.as_str() == "COPY");
                    match copied.and_then(|_| source(&statement)) {
                        Some("STDIN") => self.skip_rows(),
                        Some(_) => return Some((begin, "COPY ... FROM")),
                        None => {}
                    }
                    piece?;
                    statement.clear();
                    depth = 0;
                }
                Some(piece) => {
                    if statement.is_empty() {
                        begin = self.line;
                    }
                    note(&mut statement, piece, depth);
                }
            }
        }
    }

    /// The first of psql's own commands on the rest of a line that reads a file, from behind its backslash on.
    fn psqls_own(&mut self) -> Option<&'static str> {
        let line = self.line_left();
        self.skip(line.len());
        let mut left = line;
        while !left.is_empty() {
            let name = left.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let arguments = &left[name.len()..];
            if name == b"!" {
                return None;
            }
            if name == b"copy" {
                let mut inner = Script { rest: arguments, line: 1, is_postgres: true };
                let (mut words, mut depth) = (Vec::new(), 0_usize);
                while let Some(piece) = inner.piece() {
                    match piece {
                        Piece::Other(b'(') => depth += 1,
                        Piece::Other(b')') => depth = depth.saturating_sub(1),
                        piece => note(&mut words, piece, depth),
                    }
                }
                match source(&words) {
                    Some("STDIN") => self.skip_rows(),
                    Some("PSTDIN") | None => {}
                    Some(_) => return Some("\\copy"),
                }
                return None;
            }
            let found = OF_PSQL.iter().find(|known| name == &known.as_bytes()[1..]);
            if let Some(found) = found.filter(|_| !arguments.trim_ascii().is_empty()) {
                return Some(found);
            }
            left = behind_backslash(arguments);
        }
        None
    }

    fn of_mysql(mut self) -> Option<(usize, &'static str)> {
        let mut delimiter: &[u8] = b";";
        let (mut is_begin, mut last): (bool, [&[u8]; 4]) = (true, [b""; 4]);
        loop {
            let before = self.rest;
            let piece = self.piece()?;
            let was_begin = std::mem::replace(&mut is_begin, false);
            let line_left = self.line_left();
            let has_argument = !line_left.trim_ascii().is_empty();
            match piece {
                Piece::Other(b';') => is_begin = true,
                Piece::Other(b'\\') if line_left.starts_with(b".") && line_left.len() > 1 => {
                    return Some((self.line, "\\."));
                }
                Piece::Other(b'\\') => {
                    self.skip(1);
                    is_begin = was_begin;
                }
                Piece::Other(_) if before.trim_ascii_start().starts_with(delimiter) => {
                    self.skip(delimiter.len() - 1);
                    is_begin = true;
                }
                Piece::Word(word) if was_begin && word.eq_ignore_ascii_case(b"delimiter") && has_argument => {
                    delimiter = line_left.trim_ascii();
                    self.skip(line_left.len());
                    is_begin = true;
                }
                Piece::Word(word) => {
                    let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
                    let is_alone = line_left.first().is_some_and(u8::is_ascii_whitespace);
                    if was_begin && is("source") && is_alone && has_argument {
                        return Some((self.line, "source"));
                    }
                    if is("infile") && last.iter().any(|word| word.eq_ignore_ascii_case(b"load")) {
                        return Some((self.line, "LOAD ... INFILE"));
                    }
                    if is("load_file") && line_left.trim_ascii_start().starts_with(b"(") {
                        return Some((self.line, "LOAD_FILE"));
                    }
                    last.rotate_left(1);
                    last[3] = word;
                }
                _ => {}
            }
        }
    }
}

/// Notes a word in upper case, and a literal as a quote, unless it stands in brackets.
fn note(words: &mut Vec<String>, piece: Piece<'_>, depth: usize) {
    if depth > 0 || words.len() >= MOST_WORDS {
        return;
    }
    match piece {
        Piece::Word(word) => words.push(String::from_utf8_lossy(word).to_ascii_uppercase()),
        Piece::Literal => words.push("'".to_owned()),
        Piece::Other(_) => {}
    }
}

/// Where a `COPY` reads from; `None` for one that writes.
fn source(words: &[String]) -> Option<&str> {
    let from = words.iter().position(|word| word == "FROM")?;
    words.get(from + 1).map(String::as_str)
}

/// What stands behind the next backslash outside of quotes.
fn behind_backslash(line: &[u8]) -> &[u8] {
    let (mut quote, mut at) = (None, 0);
    while let Some(byte) = line.get(at).copied() {
        at += 1;
        match quote {
            Some(b'\'') if byte == b'\\' => at += 1,
            Some(open) if open == byte => quote = None,
            Some(_) => {}
            None if byte == b'\\' => return &line[at..],
            None if matches!(byte, b'\'' | b'"' | b'`') => quote = Some(byte),
            None => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn found(engine: Engine, name: &str, bytes: &[u8]) -> Option<(usize, &'static str)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        first(name, &path, bytes, engine)
    }

    #[test]
    fn what_has_psql_or_postgresql_read_another_file_is_found() {
        for (text, expected) in [
            ("\\i x.sql", Some((1, "\\i"))),
            ("SELECT 1;\n\n  \\ir x.sql\n", Some((3, "\\ir"))),
            ("SELECT 1; \\i x", Some((1, "\\i"))),
            ("select 1 \\g /dev/null \\i x", Some((1, "\\i"))),
            ("\\if true \\include x", Some((1, "\\include"))),
            ("\\echo 'it\\'s' \\i x", Some((1, "\\i"))),
            ("\\lo_import x", Some((1, "\\lo_import"))),
            ("\n\\copy t (a, b) from '/x.csv' csv", Some((2, "\\copy"))),
            ("\\copy t FROM x.csv", Some((1, "\\copy"))),
            ("\\copy t from program 'cat x'", Some((1, "\\copy"))),
            ("SELECT 1;\nCOPY t (a)\n FROM '/x.csv' WITH (FORMAT csv);", Some((2, "COPY ... FROM"))),
            ("copy t from $$/x$$", Some((1, "COPY ... FROM"))),
            ("COPY t FROM PROGRAM 'cat x';", Some((1, "COPY ... FROM"))),
            ("SELECT 'a''b' /* '\n/* */ ' */; \\i x", Some((2, "\\i"))),
            ("COPY t FROM stdin;\n1\tit's\n\\.\n\\i x", Some((4, "\\i"))),
            ("SELECT E'it\\'s'; \\i x", Some((1, "\\i"))),
        ] {
            assert_eq!(found(Engine::Postgres, "a.sql", text.as_bytes()), expected, "{text}");
        }
        for text in [
            "CREATE TABLE a (\n  source text,\n  infile text\n);",
            "COPY a FROM stdin;\n1\n\\i x\n\\.\nSELECT 1;",
            "\\copy a from stdin\n\\i x\n\\.\nSELECT 1;",
            "\\copy (SELECT * FROM a) to '/x'",
            "COPY (SELECT * FROM a) TO '/x';",
            "COPY a TO STDOUT;",
            "\\set x 1\n\\if true\n",
            "SELECT 'C:\\i x';\n-- \\i x\n/* \\i x */\nSELECT \"\\i x\"",
            "DO $x$ BEGIN PERFORM '\\i x'; END $x$; SELECT $1, a$b, $2",
            "\\echo 'a \\i x'",
            "\\i",
        ] {
            assert_eq!(found(Engine::Postgres, "a.sql", text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_has_the_clients_or_servers_of_mysql_read_another_file_is_found() {
        for (text, expected) in [
            ("-- first\nsource x.sql;", Some((2, "source"))),
            ("SELECT 1;\n\\. x.sql", Some((2, "\\."))),
            ("SELECT 1; \\. x.sql", Some((1, "\\."))),
            ("LOAD DATA INFILE '/x' INTO TABLE t;", Some((1, "LOAD ... INFILE"))),
            (
                "SELECT 'it\\'s';\nload data low_priority local\ninfile 'x' into table t",
                Some((3, "LOAD ... INFILE")),
            ),
            ("/*!50000 LOAD XML LOCAL INFILE 'x' INTO TABLE t */", Some((1, "LOAD ... INFILE"))),
            ("INSERT INTO t VALUES (LOAD_FILE('/x'))", Some((1, "LOAD_FILE"))),
            ("DELIMITER //\nSELECT 1 //\nsource x", Some((3, "source"))),
        ] {
            assert_eq!(found(Engine::Mariadb, "a.sql", text.as_bytes()), expected, "{text}");
        }
        for text in [
            "CREATE TABLE a (\n  source text,\n  infile text\n);",
            "INSERT INTO a VALUES ('it\\'s \\. x', \"source x\"); # source x\n-- source x",
            "SELECT `source` FROM a; /* source x; LOAD DATA INFILE */",
            "/*M!999999\\- enable the sandbox mode */\n/*!40101 SET NAMES utf8mb4 */;",
            "DELIMITER $$\nCREATE TRIGGER a BEFORE INSERT ON b FOR EACH ROW BEGIN SET @x = 1; END$$\nDELIMITER ;",
            "SELECT 5--1;",
        ] {
            assert_eq!(found(Engine::Mysql, "a.sql", text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn packed_scripts_are_looked_into() {
        let text = b"SELECT 1;\n\\i x.sql\n";
        for (name, program) in [("a.sql.gz", "gzip"), ("a.sql.xz", "xz"), ("a.sql.zst", "zstd")] {
            let child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut child = child.unwrap_or_else(|error| panic!("{program}: {error}"));
            child.stdin.take().unwrap().write_all(text).unwrap();
            let bytes = child.wait_with_output().unwrap().stdout;
            assert_eq!(found(Engine::Postgres, name, &bytes), Some((2, "\\i")), "{name}");
            assert_eq!(found(Engine::Postgres, name, &bytes[..4]), None, "{name}: damaged");
        }
        assert_eq!(found(Engine::Postgres, "a.sh", b"psql -c '\\i x'"), None);
    }
}

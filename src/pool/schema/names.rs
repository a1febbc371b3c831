//! Where a text of SQL names the database that it was read from, written out: a copy that ran it as it is would
//! reach into another database.

/// How a server reads quotes, as its `sql_mode` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quotes {
    /// A double quote is that of a name.
    pub ansi: bool,
    /// A backslash stands for itself.
    pub plain_backslash: bool,
}

impl Quotes {
    pub(super) const USUAL: Self = Self { ansi: false, plain_backslash: false };

    pub(super) fn of(sql_mode: &str) -> Self {
        let has = |mode: &str| sql_mode.split(',').any(|one| one.eq_ignore_ascii_case(mode));
        Self { ansi: has("ANSI_QUOTES"), plain_backslash: has("NO_BACKSLASH_ESCAPES") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A name or a keyword; of a quoted one what is between the quotes.
    Word {
        text: Vec<u8>,
        is_quoted: bool,
    },
    Text(Vec<u8>),
    Sign(u8),
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Token {
    fn is_sign(&self, sign: u8) -> bool {
        self.kind == Kind::Sign(sign)
    }

    fn word(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Word { text, .. } => Some(text),
            _ => None,
        }
    }

    fn is_keyword(&self, keywords: &[&str]) -> bool {
        match &self.kind {
            Kind::Word { text, is_quoted: false } => {
                keywords.iter().any(|keyword| text.eq_ignore_ascii_case(keyword.as_bytes()))
            }
            _ => false,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.word().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Without comments, but with what is in comments that a server executes.
fn tokens(text: &[u8], quotes: Quotes) -> Vec<Token> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let start = at;
        let kind = match byte {
            b'`' | b'"' | b'\'' => {
                let is_name = byte == b'`' || byte == b'"' && quotes.ansi;
                let (inner, length) = quoted(rest, !is_name && !quotes.plain_backslash);
                at += length;
                if is_name { Kind::Word { text: inner, is_quoted: true } } else { Kind::Text(inner) }
            }
            b'#' => {
                at += line(rest);
                continue;
            }
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(|next| *next <= b' ') => {
                at += line(rest);
                continue;
            }
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                at += if rest[2] == b'!' { 3 } else { 4 };
                at += text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                let end = rest[2..].windows(2).position(|two| two == b"*/");
                at += end.map_or(rest.len(), |end| end + 4);
                continue;
            }
            _ if is_of_word(byte) => {
                at += rest.iter().take_while(|byte| is_of_word(**byte)).count();
                Kind::Word { text: text[start..at].to_vec(), is_quoted: false }
            }
            _ => {
                at += 1;
                if byte.is_ascii_whitespace() {
                    continue;
                }
                Kind::Sign(byte)
            }
        };
        tokens.push(Token { kind, start, end: at });
    }
    tokens
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

fn line(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
}

/// What is between the quotes that the text begins with, and how long it is with them.
fn quoted(text: &[u8], has_escapes: bool) -> (Vec<u8>, usize) {
    let quote = text[0];
    let (mut inner, mut at) = (Vec::new(), 1);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match text.get(at) {
            Some(next) if byte == b'\\' && has_escapes => {
                inner.push(*next);
                at += 1;
            }
            Some(next) if byte == quote && *next == quote => {
                inner.push(quote);
                at += 1;
            }
            _ if byte == quote => break,
            _ => inner.push(byte),
        }
    }
    (inner, at)
}

/// Whether a text has a name in it anywhere, as a word of its own or not.
pub(super) fn contains(text: &[u8], name: &str) -> bool {
    text.windows(name.len().max(1)).any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
}

/// A text that a server has spelt out, cut where it names the database: what stands between the parts is the quoted
/// name. An alias or a table of the same name is not meant, which is never qualified any further.
pub(super) fn cut(text: &[u8], database: &str) -> Vec<Vec<u8>> {
    if !contains(text, database) {
        return vec![text.to_vec()];
    }
    let tokens = tokens(text, Quotes::USUAL);
    let (mut parts, mut from) = (Vec::new(), 0);
    for (index, token) in tokens.iter().enumerate() {
        let is_quoted = matches!(token.kind, Kind::Word { is_quoted: true, .. });
        let follows =
            |offset: usize, sign: u8| tokens.get(index + offset).is_some_and(|next| next.is_sign(sign));
        let is_named = is_quoted && token.word() == Some(database.as_bytes()) && follows(1, b'.');
        if !is_named || index > 0 && tokens[index - 1].is_sign(b'.') {
            continue;
        }
        // Three parts, a function, or what comes where a table does.
        let before = tokens[..index].iter().rev().find(|token| !token.is_sign(b'('));
        let is_table =
            before.is_some_and(|token| token.is_keyword(&TABLES)) && !is_in_function(&tokens[..index]);
        if is_table || follows(3, b'.') || follows(3, b'(') {
            parts.push(text[from..token.start].to_vec());
            from = token.end;
        }
    }
    parts.push(text[from..].to_vec());
    parts
}

/// Whether the last `FROM` is that of `EXTRACT(YEAR FROM column)`, `TRIM` or `SUBSTRING`: with a parenthesis before it, and
/// no `SELECT` in between.
fn is_in_function(tokens: &[Token]) -> bool {
    let mut depth = 0_usize;
    let Some(from) = tokens.iter().rposition(|token| !token.is_sign(b'(')) else { return false };
    if !tokens[from].is_keyword(&["from"]) {
        return false;
    }
    for token in tokens[..from].iter().rev() {
        if token.is_sign(b')') {
            depth += 1;
        } else if token.is_sign(b'(') {
            let Some(less) = depth.checked_sub(1) else { return true };
            depth = less;
        } else if depth == 0 && token.is_keyword(&["select"]) {
            return false;
        }
    }
    false
}

/// Behind which a server names a table or a sequence.
const TABLES: [&str; 7] = ["from", "join", "straight_join", "references", "nextval", "lastval", "setval"];
/// Behind which users do.
const OBJECTS: [&str; 10] =
    ["from", "join", "straight_join", "into", "update", "table", "call", "exists", "trigger", "view"];
const DATABASES: [&str; 3] = ["use", "database", "schema"];

/// Whether a body that somebody has written names the database, itself or in a text that it may make a statement of.
/// `objects` are the names of what is in it, in small letters: `orders.id` is a column as long as there is no table
/// of that name.
pub(super) fn mentions(text: &[u8], database: &str, quotes: Quotes, objects: &[String]) -> bool {
    if !contains(text, database) {
        return false;
    }
    let tokens = tokens(text, quotes);
    tokens.iter().enumerate().any(|(index, token)| {
        if let Kind::Text(inner) = &token.kind {
            return mentions(inner, database, Quotes::USUAL, objects);
        }
        let before = index.checked_sub(1).map(|before| &tokens[before]);
        if !token.is_called(database) || before.is_some_and(|before| before.is_sign(b'.')) {
            return false;
        }
        if before.is_some_and(|before| before.is_keyword(&DATABASES)) {
            return true;
        }
        let is_qualifier = tokens.get(index + 1).is_some_and(|next| next.is_sign(b'.'));
        let object = tokens.get(index + 2).and_then(Token::word);
        let Some(object) = object.filter(|_| is_qualifier) else { return false };
        let object = String::from_utf8_lossy(object).to_lowercase();
        before.is_some_and(|before| before.is_keyword(&OBJECTS)) || objects.contains(&object)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str) -> String {
        let parts = cut(text.as_bytes(), "shop");
        parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join("NEW")
    }

    #[test]
    fn a_server_names_the_database_where_it_has_to() {
        for (text, expected) in [
            (
                "select `f`.`id` AS `id`,`shop`.`doubled`(`f`.`id`) from (`x`.`far` `f` join `shop`.`a` `a` on(`a`.`e` = 'shop'))",
                "select `f`.`id` AS `id`,NEW.`doubled`(`f`.`id`) from (`x`.`far` `f` join NEW.`a` `a` on(`a`.`e` = 'shop'))",
            ),
            ("`n` int DEFAULT nextval(`shop`.`numbers`)", "`n` int DEFAULT nextval(NEW.`numbers`)"),
            (
                "select extract(year from `shop`.`made`),trim(leading 'x' from `shop`.`name`),(select 1 from `shop`.`a`) from `shop`.`b`",
                "select extract(year from `shop`.`made`),trim(leading 'x' from `shop`.`name`),(select 1 from NEW.`a`) from NEW.`b`",
            ),
            // A table of the same name.
            ("select `shop`.`id` AS `id` from `shop`", "select `shop`.`id` AS `id` from `shop`"),
            (
                "select (`shop`.`shop`.`id` + 1) AS `shop` from (`shop`.`shop` join `x`.`y`)",
                "select (NEW.`shop`.`id` + 1) AS `shop` from (NEW.`shop` join `x`.`y`)",
            ),
            ("select `x`.`shop`.`id` from `x`.`shop`", "select `x`.`shop`.`id` from `x`.`shop`"),
            (
                "COMMENT 'from `shop`.`x`', 'it''s from \\' `shop`.`x`'",
                "COMMENT 'from `shop`.`x`', 'it''s from \\' `shop`.`x`'",
            ),
        ] {
            assert_eq!(renamed(text), expected);
        }
    }

    #[test]
    fn what_a_body_says_of_the_database_is_found() {
        let objects = ["item".to_owned(), "shop".to_owned()];
        let mentioned = |text: &str, quotes| mentions(text.as_bytes(), "shop", quotes, &objects);
        for text in [
            "INSERT INTO shop.item VALUES (1)",
            "insert into `shop` . `new` values (1)",
            "SELECT Shop.item.id FROM item",
            "PREPARE s FROM 'DELETE FROM shop.item'",
            "PREPARE s FROM 'DELETE FROM `shop`.x'",
            "CREATE TRIGGER t BEFORE INSERT ON shop.item FOR EACH ROW SET @a = 1",
            "/*!50000 CALL shop.p() */",
            "CREATE DATABASE shop",
        ] {
            assert!(mentioned(text, Quotes::USUAL), "{text}");
        }
        for text in [
            "UPDATE shop SET n = 1 WHERE shop.id = 2",
            "SELECT x.shop.item, 'https://shop.example/item' -- shop.item",
            "/* FROM shop.item */ SELECT 'my shop'",
            "INSERT INTO workshop.item VALUES (1)",
        ] {
            assert!(!mentioned(text, Quotes::USUAL), "{text}");
        }
        let ansi = Quotes::of("ANSI_QUOTES,NO_BACKSLASH_ESCAPES");
        assert!(mentioned("SELECT '\\' FROM \"shop\".\"x\"", ansi));
        assert!(!mentioned("SELECT '\\' FROM \"shop\".\"x\"", Quotes::USUAL));
    }
}

//! Takes secrets out of what is shown and kept: log lines, Kubernetes' words about a pod, whole objects.
//!
//! Pure. Secrets are found in two ways: [`known`] ones, which are put in beforehand, wherever they stand and
//! in whatever form; and others by the words around them, in [`phrases`] of text and in the fields of
//! [`objects`] that are called like secrets ([`names`]).

mod known;
mod lines;
mod names;
mod objects;
mod phrases;
mod stream;

use std::ops::Range;

use k8s_openapi::api::core::v1::PodSpec;

use known::Known;
pub use stream::Stream;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// The lines around a private key.
const KEY: [&str; 2] = ["-----BEGIN ", "PRIVATE KEY-----"];
const END_OF_KEY: &str = "-----END ";

#[derive(Debug, Clone)]
pub struct Redactor {
    known: Known,
    public: String,
}

impl Redactor {
    /// `public` is a text that is no secret, whoever uses it as one: the run id, which names every object.
    pub fn new(public: &str) -> Self {
        Self { known: Known::default(), public: public.to_owned() }
    }

    /// Takes a secret in. One of several lines is known by each of them, because logs are shown by the line.
    pub fn add(&mut self, secret: &str) {
        for line in secret.lines().map(str::trim).filter(|line| !line.is_empty() && *line != self.public) {
            self.known.add(line);
        }
    }

    /// Takes a secret in that may be no text.
    pub fn add_bytes(&mut self, secret: &[u8]) {
        match std::str::from_utf8(secret) {
            Ok(text) => self.add(text),
            Err(_) => self.known.add_bytes(secret),
        }
    }

    /// All texts that it looks for, to be noted for one that comes later: [`Redactor::with_texts`].
    pub fn texts(&self) -> &[String] {
        self.known.texts()
    }

    /// Looks for what another one has looked for.
    pub fn with_texts(public: &str, texts: &[String]) -> Self {
        let mut redactor = Self::new(public);
        texts.iter().for_each(|text| redactor.known.add_text(text));
        redactor
    }

    /// Takes the value of a container's variable in, if the name says that it is a secret.
    pub fn add_variable(&mut self, name: &str, value: &str) {
        if names::called(name).is_some() && names::can_be_secret(name, value) {
            self.add(value);
        }
    }

    /// Takes in the variables of a pod's containers that are called like secrets.
    pub fn add_pod(&mut self, spec: &PodSpec) {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        for variable in containers.flat_map(|container| container.env.iter().flatten()) {
            self.add_variable(&variable.name, variable.value.as_deref().unwrap_or_default());
        }
    }

    /// Takes in what a text says to be secret, such as a script that makes users.
    pub fn add_text(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for (line, ranges) in lines.iter().zip(lines::find(&lines)) {
            for range in ranges {
                let secret = line[range].replace("''", "'");
                // A reference to a secret is none, and what is as short as this is a word like any other.
                if secret.len() > 2 && !secret.starts_with(['$', '*']) {
                    self.add(&secret);
                }
            }
        }
    }

    pub fn redact_lines(&self, lines: &str) -> String {
        self.redact_text(lines).trim_end_matches('\n').to_owned()
    }

    /// A text of any number of lines without the secrets, private keys among them.
    pub fn redact_text(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut in_key = false;
        let contents: Vec<&str> =
            text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line)).collect();
        for ((content, found), line) in
            contents.iter().zip(lines::find(&contents)).zip(text.split_inclusive('\n'))
        {
            let end = &line[content.len()..];
            let begins = KEY.iter().all(|part| content.contains(part));
            if in_key || begins {
                in_key = !content.contains(END_OF_KEY);
                shown.push_str(MASK);
            } else {
                shown.push_str(&self.mask_with(content, found));
            }
            shown.push_str(end);
        }
        shown
    }

    pub fn redact(&self, line: &str) -> String {
        self.mask_with(line, phrases::find(line))
    }

    fn mask_with(&self, line: &str, mut found: Vec<Range<usize>>) -> String {
        found.extend(self.known.find(line));
        found.retain(|range| !range.is_empty());
        mask(line, found)
    }
}

/// The line with a mask in the place of each of these parts of it; what overlaps is one.
fn mask(line: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut shown = String::with_capacity(line.len());
    let mut done = 0;
    for range in ranges {
        if range.start >= done {
            shown.push_str(&line[done..range.start]);
            shown.push_str(MASK);
        }
        done = done.max(range.end);
    }
    shown.push_str(&line[done..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let mut redactor = Redactor::new("run-1");
        secrets.iter().for_each(|secret| redactor.add(secret));
        redactor
    }

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        for (secrets, line, shown) in [
            (&["hush"][..], "password hush, and 'hush'hush", "password ***, and '***'***"),
            (&["hush", "hushhush"], "hushhush hush", "*** ***"),
            (&["a\nlong secret\n"], "a long secret", "*** ***"),
            (&["abc"], "abc abcd _abc 'abc'", "*** abcd _abc '***'"),
            (&["", "  ", "run-1"], "run-1 is public", "run-1 is public"),
            (&["größe"], "die größe zählt", "die *** zählt"),
            (&[], "[Entrypoint]: GENERATED ROOT PASSWORD: x y", "[Entrypoint]: GENERATED ROOT PASSWORD: ***"),
            (
                &[],
                "A temporary password is generated for root@localhost: x",
                "A temporary password is generated for ***",
            ),
        ] {
            assert_eq!(redactor(secrets).redact(line), shown, "{secrets:?}");
        }
    }

    /// Pieces of the lines in which people and programs put secrets, in any order.
    fn lines() -> impl Strategy<Value = String> {
        let pieces = [
            "password",
            "=",
            ":",
            " ",
            "'",
            "''",
            "\"",
            "\\",
            "identified",
            " by ",
            "://",
            "u",
            "@",
            "@tcp(",
            "-p",
            "mysql ",
            "eyJ",
            ".",
            "--",
            "(",
            "é",
            "%C3",
            "$$",
            "Bearer ",
            "\n",
            "-----BEGIN ",
            "PRIVATE KEY-----",
            "-----END ",
            "generated root password:",
            "E'",
            "{",
            "+",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Nor does anything panic, whatever the text.
        #[test]
        fn a_known_secret_is_never_left(secret in "[a-zé%'\"+/]{4,12}", before in lines(), after in lines(), form in 0..4) {
            let form = match form {
                0 => secret.clone(),
                1 => utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string(),
                2 => serde_json::to_string(&secret).unwrap().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap().to_owned(),
                _ => secret.replace('\'', "''"),
            };
            let shown = redactor(&[&secret]).redact_text(&format!("{before}{form}{after}"));
            prop_assert!(!shown.contains(&secret), "{shown}");
            prop_assert!(!shown.contains(&form), "{shown}");
        }
    }

    /// A value may stand on the line after its name, and go over several lines.
    #[test]
    fn a_secret_may_stand_on_another_line_than_its_name() {
        for text in [
            "CREATE ROLE x LOGIN PASSWORD\n\t  'hush';\nSELECT 1",
            "ALTER USER a PASSWORD -- a new one\n\n  'hush' VALID UNTIL 'infinity'",
            "CREATE USER a IDENTIFIED BY\n'hush';",
            "CREATE USER a IDENTIFIED\n  WITH mysql_native_password\n  BY\n  'hush' REQUIRE NONE;",
            "SET PASSWORD FOR a =\n  PASSWORD(\n  'hush')",
            "CREATE USER a PASSWORD\r\n$$hush$$;",
            "{\"password\":\n  \"hush\", \"port\": 1}",
            "mysqladmin --password \\\n  hush ping",
            "password: |\n  hush\nuser: a",
            "PASSWORD 'hush\nhush' SUPERUSER",
            "CREATE ROLE a PASSWORD\n'hush\nhush\nhush';\nSELECT 'b'",
        ] {
            let shown = redactor(&[]).redact_text(text);
            assert_eq!(shown, text.replace("hush", "***"), "{text}");
        }
        // What a script says to be secret is known wherever it stands afterwards.
        let mut learned = redactor(&[]);
        learned.add_text(
            "CREATE ROLE x LOGIN PASSWORD\n  'quiet99';\nCREATE ROLE y PASSWORD 'over\ntwo lines';\n",
        );
        assert_eq!(learned.redact("quiet99, over, and two lines"), "***, ***, and ***");
    }

    #[test]
    fn what_follows_a_line_about_a_password_stays() {
        for text in [
            "FATAL:  password authentication failed for user \"app\"\nLOG:  'x' follows",
            "Enter password:\nWelcome to the MariaDB monitor.",
            "password:\n  secretKeyRef: {name: db}",
            "  --password\n          The password of the user",
            "there is no password\nand nobody's token",
            "identified\nthe cause: it's 'x'",
        ] {
            assert_eq!(redactor(&[]).redact_text(text), text);
        }
    }

    #[test]
    fn variables_are_secrets_by_their_names() {
        let mut redactor = redactor(&[]);
        redactor.add_variable("MYSQL_ROOT_PASSWORD", "hush");
        redactor.add_variable("api_token", "quiet");
        redactor.add_variable("MYSQL_ALLOW_EMPTY_PASSWORD", "yes");
        redactor.add_variable("MYSQL_ROOT_PASSWORD_FILE", "/run/password");
        redactor.add_variable("MYSQL_DATABASE", "shop");
        assert_eq!(redactor.redact("hush quiet yes /run/password shop"), "*** *** yes /run/password shop");
    }
}

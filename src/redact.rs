//! Takes secrets out of what is shown: of log lines and of what Kubernetes says about a pod.
//!
//! Pure. What counts as a secret is put in beforehand; what a server makes up by itself is recognised by the words in front of it.

use k8s_openapi::api::core::v1::PodSpec;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Secrets shorter than this are replaced as whole words only: a password `1` must not take every digit away.
const SHORT: usize = 4;

/// The words before a password that an image's entrypoint made up.
const GENERATED: [&str; 2] = ["generated root password:", "a temporary password is generated for"];

/// Values of variables that are switches, whatever the variable is called (`MYSQL_ALLOW_EMPTY_PASSWORD=yes`).
const SWITCHES: [&str; 8] = ["yes", "no", "true", "false", "on", "off", "1", "0"];

/// The texts that may not be shown.
pub struct Redactor {
    secrets: Vec<String>,
    public: String,
}

impl Redactor {
    /// Knows no secret yet. `public` is a text that is none, whoever uses it as one: the run id, which names every object.
    pub fn new(public: &str) -> Self {
        Self { secrets: Vec::new(), public: public.to_owned() }
    }

    /// Takes a secret in. One of several lines is known by each of them, because logs are shown by the line.
    pub fn add(&mut self, secret: &str) {
        for line in secret.lines().map(str::trim).filter(|line| !line.is_empty() && *line != self.public) {
            if !self.secrets.iter().any(|known| known == line) {
                self.secrets.push(line.to_owned());
            }
        }
        // The longest first: a secret may be a part of another one.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The secrets that were taken in.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Takes the value of a container's variable in, if the name says that it is a secret.
    pub fn add_variable(&mut self, name: &str, value: &str) {
        let name = name.to_uppercase();
        let is_secret = ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| name.contains(word));
        if is_secret && !name.ends_with("_FILE") && !SWITCHES.contains(&value.to_lowercase().as_str()) {
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

    /// Several lines without the secrets.
    pub fn redact_lines(&self, lines: &str) -> String {
        lines.lines().map(|line| self.redact(line)).collect::<Vec<_>>().join("\n")
    }

    /// The line without the secrets.
    pub fn redact(&self, line: &str) -> String {
        let (mut rest, generated) = cut_generated(line);
        let mut shown = String::with_capacity(line.len());
        while let Some(c) = rest.chars().next() {
            let fits =
                |secret: &&String| rest.starts_with(secret.as_str()) && (secret.len() >= SHORT || stands_alone(&shown, rest, secret));
            match self.secrets.iter().find(fits) {
                Some(secret) => {
                    shown.push_str(MASK);
                    rest = &rest[secret.len()..];
                }
                None => {
                    shown.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if generated {
            shown.push(' ');
            shown.push_str(MASK);
        }
        shown
    }
}

/// Whether the secret at the start of `rest` is a word of its own.
fn stands_alone(before: &str, rest: &str, secret: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    !before.chars().next_back().is_some_and(in_word) && !rest[secret.len()..].chars().next().is_some_and(in_word)
}

/// The line up to the words before a password that was made up, and whether there are such words.
fn cut_generated(line: &str) -> (&str, bool) {
    let lower = line.to_ascii_lowercase();
    let end = GENERATED.iter().find_map(|words| Some(lower.find(words)? + words.len()));
    end.map_or((line, false), |end| (&line[..end], true))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (&[], "A temporary password is generated for root@localhost: x", "A temporary password is generated for ***"),
        ] {
            assert_eq!(redactor(secrets).redact(line), shown, "{secrets:?}");
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

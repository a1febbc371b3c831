//! What is called like a secret: variables, keys of JSON and YAML, flags.

/// Words that make a name one of a password's, or of another secret's, with no separators in them.
const PASSWORDS: [&str; 3] = ["password", "passwd", "passphrase"];
const SECRETS: [&str; 6] = ["secret", "token", "apikey", "accesskey", "privatekey", "credential"];

/// Whole parts of a name that do so: `DB_PASS`, `Pwd`.
const PARTS: [&str; 5] = ["pass", "pwd", "pw", "requirepass", "masterauth"];

/// Ends of names that tell where a secret is, or something about it, and not the secret:
/// `MYSQL_ROOT_PASSWORD_FILE`, `secretName`.
const ENDS: [&str; 8] = ["file", "path", "name", "namespace", "ref", "seconds", "policy", "length"];

/// Values that are switches, whatever the variable is called (`MYSQL_ALLOW_EMPTY_PASSWORD=yes`).
const SWITCHES: [&str; 10] = ["yes", "no", "true", "false", "on", "off", "1", "0", "null", "none"];

/// How surely a name is one of a secret's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// Like a password: prose that says `password: x` means x.
    Password,
    /// Like something that prose says as well: `failed to fetch the token: forbidden`.
    Secret,
}

pub(super) fn called(name: &str) -> Option<Called> {
    let lower = name.to_lowercase();
    let parts: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let joined = parts.concat();
    if parts.last().is_some_and(|last| ENDS.iter().any(|end| last.ends_with(end))) {
        return None;
    }
    let is_part = parts.iter().any(|part| PARTS.contains(part));
    if is_part || PASSWORDS.iter().any(|word| joined.contains(word)) {
        return Some(Called::Password);
    }
    SECRETS.iter().any(|word| joined.contains(word)).then_some(Called::Secret)
}

/// Whether the value of something that is called like a secret can be one.
pub(super) fn can_be_secret(name: &str, value: &str) -> bool {
    // The shell's own variable for the folder that one is in.
    let is_folder = ["pwd", "oldpwd"].contains(&name.to_lowercase().as_str()) && value.starts_with('/');
    !value.is_empty() && !is_folder && !SWITCHES.contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_names_of_their_own() {
        for name in [
            "password",
            "MYSQL_ROOT_PASSWORD",
            "rootPassword",
            "--password",
            "db.passwd",
            "DB_PASS",
            "Pwd",
            "ROOT-PW",
            "passwords",
            "requirepass",
        ] {
            assert_eq!(called(name), Some(Called::Password), "{name}");
        }
        for name in [
            "api_token",
            "API-KEY",
            "aws.secret_access_key",
            "secretKey",
            "clientSecret",
            "PRIVATE_KEY",
            "credentials",
        ] {
            assert_eq!(called(name), Some(Called::Secret), "{name}");
        }
        for name in [
            "MYSQL_ROOT_PASSWORD_FILE",
            "secretName",
            "secretKeyRef",
            "tokenExpirationSeconds",
            "passing",
            "compass",
            "key",
            "user",
            "",
            "validate_password.policy",
            "tokenPath",
        ] {
            assert_eq!(called(name), None, "{name}");
        }
    }

    #[test]
    fn a_switch_is_no_secret() {
        assert!(
            !can_be_secret("ALLOW_EMPTY_PASSWORD", "Yes")
                && !can_be_secret("PWD", "/root")
                && !can_be_secret("password", "")
        );
        assert!(can_be_secret("Pwd", "hush") && can_be_secret("password", "/hush"));
    }
}

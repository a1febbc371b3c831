//! The files by which a server takes logins over TLS alone: its key, its certificate, and for PostgreSQL the
//! rules of who may log in how. They are beside the data, for the server's user alone, and go with the run.

use std::path::{Path, PathBuf};

use super::account;
use super::planned::Planned;
use super::program::Setting;
use crate::database::{Certificate, Engine};

/// The words of a container's arguments that say the same, with the container's paths.
const WORDS: [&str; 9] = [
    "hba_file",
    "loose_require_secure_transport",
    "require_secure_transport",
    "ssl",
    "ssl_ca",
    "ssl_ca_file",
    "ssl_cert",
    "ssl_cert_file",
    "ssl_key",
];
/// The other one, which PostgreSQL has.
const KEY_FILE: &str = "ssl_key_file";

pub(super) const KEY: &str = "tls.key";
pub(super) const CERTIFICATE: &str = "tls.crt";
const AUTHORITY: &str = "ca.crt";
pub(super) const RULES: &str = "pg_hba.conf";

/// Whether a word of a container's arguments is about what is made here anew.
pub(super) fn is_about(word: &str) -> bool {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default().replace('-', "_");
    word.starts_with("--") && (WORDS.contains(&name.as_str()) || name == KEY_FILE)
}

/// A file of the server whose data this is.
pub(super) fn file(data: &Path, name: &str) -> PathBuf {
    data.with_file_name("tls").join(name)
}

/// What has signed the certificate of the server whose data this is, as PEM; `None` where it has none.
pub(super) fn authority(data: &Path) -> Option<String> {
    String::from_utf8(crate::files::read(&file(data, AUTHORITY), crate::files::MOST).ok()?).ok()
}

/// Writes them. The folder is handed over once it is whole: what is written into it later could be led
/// elsewhere.
pub(super) fn write(
    planned: &Planned,
    data: &Path,
    certificate: &Certificate,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    let folder = data.with_file_name("tls");
    account::make_folder(&folder, None)?;
    let mut texts = vec![
        (KEY, certificate.key.reveal().to_owned()),
        (CERTIFICATE, certificate.certificate.clone()),
        (AUTHORITY, certificate.authority.clone()),
    ];
    if planned.installed.engine == Engine::Postgres {
        let method = planned.postgres.auth_method.as_deref().unwrap_or("scram-sha-256");
        let rule = |what: &str| format!("hostssl {what} all 127.0.0.1/32 {method}\n");
        texts.push((RULES, rule("all") + &rule("replication")));
    }
    for (name, text) in texts {
        let path = folder.join(name);
        crate::files::write(&path, &text, 0o600)?;
        account::hand_over(&path, setting.account)?;
    }
    account::hand_over(&folder, setting.account)
}

#[cfg(test)]
mod tests {
    use super::is_about;

    #[test]
    fn a_containers_words_about_tls_are_known() {
        for word in ["--ssl=on", "--ssl_key_file=/x", "--ssl-key=/x", "--loose-require-secure-transport=ON"] {
            assert!(is_about(word), "{word}");
        }
        for word in ["-c", "ssl=on", "--ssl_ciphers=x", "--max-connections=5"] {
            assert!(!is_about(word), "{word}");
        }
    }
}

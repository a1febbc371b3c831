//! How the Results API's certificate is held against those that it is trusted by.

use std::path::Path;

use anyhow::Context;
use rustls::ClientConfig;

use crate::failure::{Advise, Exit};
use crate::reading;
use crate::trust::{Name, Trust};

/// Trusts the system's certificates.
pub(super) fn system() -> anyhow::Result<ClientConfig> {
    Trust::System(Name::Right).client()
}

/// Trusts those in a file, or in a text of the form that such files have, alone: what they have signed, and these themselves, because the
/// installation guide of Tekton Results makes one that is its own authority.
pub(super) fn those_in(ca: &str) -> anyhow::Result<ClientConfig> {
    let is_text = ca.trim_start().starts_with("-----BEGIN");
    let what = if is_text { "the certificates in TESTBED_RESULTS_CA".to_owned() } else { format!("--results-ca {ca}") };
    let read = || {
        let text = if is_text { ca.as_bytes().to_vec() } else { reading::bytes(Path::new(ca), reading::MOST)? };
        Trust::in_pem(&text, Name::Right)?.client()
    };
    read().with_context(|| format!("reading {what}")).exit(Exit::Usage)
}

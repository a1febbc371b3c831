//! TLS towards PostgreSQL with whatever certificate the server has: a throw-away server signs its own, so there is nobody to verify it by.

use tokio_postgres_rustls::MakeRustlsConnect;

use super::refusal::{Kind, Refusal};
use crate::trust::Trust;

/// A connector that takes any certificate.
pub(super) fn connector() -> Result<MakeRustlsConnect, Refusal> {
    let config = Trust::Any.client().map_err(|error| Refusal::plain(Kind::Unfit, error.to_string()))?;
    Ok(MakeRustlsConnect::new(config))
}

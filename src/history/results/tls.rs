//! How the Results API's certificate is held against those that it is trusted by.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::failure::{Advise, Exit, usage};

/// Trusts the system's certificates.
///
/// # Errors
/// When the system has none.
pub fn system() -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_platform_verifier().context("reading the system's certificates")?.with_no_client_auth())
}

/// Trusts those in a file, or in a text of the form that such files have, alone.
///
/// # Errors
/// A usage error about it.
pub fn those_in(ca: &str) -> anyhow::Result<ClientConfig> {
    let is_text = ca.trim_start().starts_with("-----BEGIN");
    let what = if is_text { "the certificates in TESTBED_RESULTS_CA".to_owned() } else { format!("--results-ca {ca}") };
    let context = || format!("reading {what}");
    let text = if is_text { ca.as_bytes().to_vec() } else { std::fs::read(ca).with_context(context).exit(Exit::Usage)? };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| anyhow!("{error}")).with_context(context).exit(Exit::Usage)?;
    if found.is_empty() {
        return Err(usage(format!("{what}: there is no certificate in it")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.iter().cloned());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let chains = chains.map_err(|error| anyhow!("{error}")).with_context(context).exit(Exit::Usage)?;
    let verifier = Arc::new(Known { chains, certificates: found, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Takes what the certificates in a file have signed, and these themselves: the installation guide of Tekton Results makes one that is its own
/// authority, which by the rules for chains is no server's certificate.
#[derive(Debug)]
struct Known {
    chains: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|known| known == certificate) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chains.verify_server_cert(certificate, between, server, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

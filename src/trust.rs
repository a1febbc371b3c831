//! Whose certificate a server may show.

use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Which certificates are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// All of them.
    Any,
    /// What the system's authorities have signed.
    System(Name),
    /// What these have signed, and these themselves.
    These(Vec<CertificateDer<'static>>, Name),
}

/// What the name in a certificate has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The name that the server was called by.
    Right,
    /// Whatever it is.
    Any,
}

impl Trust {
    /// These, from a text with certificates in PEM.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn in_pem(text: &[u8], name: Name) -> anyhow::Result<Self> {
        let found = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| anyhow!("{error}"))?;
        ensure!(!found.is_empty(), "there is no certificate in it");
        Ok(Self::These(found, name))
    }

    /// The client's side of TLS with it.
    ///
    /// # Errors
    /// When the system has no certificates, or these are none.
    pub fn client(self) -> anyhow::Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(self, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }
}

/// Whatever it takes, it checks that the server has the key.
#[derive(Debug)]
struct Verifier {
    /// The rules for chains; `None` takes every certificate.
    chains: Option<Arc<dyn ServerCertVerifier>>,
    /// A certificate that is its own authority is no server's certificate by the rules for chains. These are
    /// taken even so.
    known: Vec<CertificateDer<'static>>,
    name: Name,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trust: Trust, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let (chains, known, name): (Option<Arc<dyn ServerCertVerifier>>, _, _) = match trust {
            Trust::Any => (None, Vec::new(), Name::Any),
            Trust::System(name) => {
                let system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
                    .context("reading the system's certificates")?;
                (Some(Arc::new(system)), Vec::new(), name)
            }
            Trust::These(known, name) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(known.iter().cloned());
                let chains =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                        .build();
                (Some(chains.map_err(|error| anyhow!("{error}"))?), known, name)
            }
        };
        Ok(Self { chains, known, name, provider })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chains) = &self.chains else { return Ok(ServerCertVerified::assertion()) };
        if self.known.iter().any(|known| known == certificate) {
            if self.name == Name::Right {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chains.verify_server_cert(certificate, between, server, ocsp, now) {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.name == Name::Any => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

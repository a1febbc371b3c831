//! A throw-away certificate authority and the certificates of the servers that it signs. Its key is never
//! written down, and is gone with the process.

use anyhow::{Context, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha1::{Digest, Sha1};

/// The authority of one run.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server speaks TLS with, as PEM. The key has no `Debug`.
pub struct Signed {
    /// The authority's certificate, by which clients know the server's.
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("testbed, a throw-away authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("making an authority's key")?;
        Ok(Self(CertifiedIssuer::self_signed(params, key).context("making an authority")?))
    }

    /// A key and a certificate for a server that goes by these names and addresses.
    pub fn sign(&self, names: &[&str]) -> anyhow::Result<Signed> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let called = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).context("naming a server in its certificate")?;
        params.distinguished_name = named(&called);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("making a server's key")?;
        let certificate = params.signed_by(&key, &self.0).context("signing a server's certificate")?;
        Ok(Signed { authority: self.0.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// What [`keystore`] is read with: it holds nothing secret.
pub const KEYSTORE_PASSWORD: &str = "testbed";

/// An authority's certificate as a Java keystore, the only form in which MySQL's Connector/J takes one: JKS,
/// version 2, with one entry of a trusted certificate and the digest of it all.
pub fn keystore(authority: &str) -> anyhow::Result<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes());
    let certificate = certificate.map_err(|error| anyhow!("reading an authority's certificate: {error}"))?;
    let (version, entries, trusted, no_time) = (2_u32, 1_u32, 2_u32, 0_u64);
    let text = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
    let mut bytes = [0xFEED_FEED_u32, version, entries, trusted].map(u32::to_be_bytes).concat();
    bytes.extend(text("testbed"));
    bytes.extend(no_time.to_be_bytes());
    bytes.extend(text("X.509"));
    bytes.extend(u32::try_from(certificate.len())?.to_be_bytes());
    bytes.extend(certificate.as_ref());
    let password: Vec<u8> = KEYSTORE_PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let digest = Sha1::new().chain_update(password).chain_update("Mighty Aphrodite").chain_update(&bytes);
    bytes.extend(digest.finalize());
    Ok(bytes)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

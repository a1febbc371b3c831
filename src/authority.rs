//! A throw-away certificate authority and the certificates of the servers that it signs. Its key is never
//! written down, and is gone with the process.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

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

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

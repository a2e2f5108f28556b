//! A certificate with its key, in the forms peers want them.

use std::fmt;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A leaf certificate, its chain and its private key. `Debug` never shows the key.
#[derive(Clone)]
pub struct Identity {
    common_name: String,
    chain_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Identity {
    pub(super) fn new(
        common_name: String,
        chain_pem: String,
        key_pem: String,
        certificate: CertificateDer<'static>,
        key_der: Vec<u8>,
    ) -> Self {
        Self {
            common_name,
            chain_pem,
            key_pem,
            certificate,
            key_der,
        }
    }

    /// The subject's common name.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The leaf certificate followed by its issuer's, PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key as unencrypted PKCS#8, PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Key and chain in one text, in the order Kafka's PEM key store wants them.
    pub fn keystore_pem(&self) -> String {
        format!("{}{}", self.key_pem, self.chain_pem)
    }

    /// The leaf certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key, PKCS#8 DER.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("common_name", &self.common_name)
            .finish_non_exhaustive()
    }
}

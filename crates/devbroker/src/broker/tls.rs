//! TLS as the broker speaks it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use thiserror::Error;

use crate::pki;

/// How the broker shows who it is, and whom it lets in.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
}

/// Why a TLS configuration could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate of the chain or of the client authorities is not PEM.
    #[error("certificate: {0}")]
    Certificate(#[from] pem::Error),
    /// Chain, key or protocol versions do not fit.
    #[error("server identity: {0}")]
    Identity(#[from] rustls::Error),
    /// The client authorities cannot be used.
    #[error("client authorities: {0}")]
    Clients(#[from] VerifierBuilderError),
}

impl ServerTls {
    /// Mutual TLS 1.2 and 1.3: shows `server`, and asks every client for a certificate of one of
    /// the authorities in `client_ca_pem`. Uses graviola's cryptography.
    ///
    /// # Errors
    /// Where the PEM cannot be read or key and chain do not fit.
    pub fn mutual(server: &pki::Identity, client_ca_pem: &str) -> Result<Self, TlsError> {
        let provider = rustls_graviola::default_provider();
        Self::mutual_with_provider(server, client_ca_pem, Arc::new(provider))
    }

    /// As [`mutual`](Self::mutual), with cryptography of the caller's choice, for processors
    /// that graviola does not run on.
    ///
    /// # Errors
    /// As [`mutual`](Self::mutual).
    pub fn mutual_with_provider(
        server: &pki::Identity,
        client_ca_pem: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut clients = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(client_ca_pem.as_bytes()) {
            clients.add(certificate?)?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider.clone())
                .build()?;
        let chain = CertificateDer::pem_slice_iter(server.chain_pem().as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, server.key_der())?;
        Ok(Self::from_config(Arc::new(config)))
    }

    /// A configuration of the caller's own.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }
}

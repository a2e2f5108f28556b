//! A public-key infrastructure for tests, made on the spot in pure Rust.
//!
//! An [`Authority`] issues server and client certificates (ECDSA P-256, PKCS#8 keys), good ones
//! and those a peer must refuse: [expired](LeafBuilder::expired),
//! [not yet valid](LeafBuilder::not_yet_valid), of another authority (make a second
//! [`Authority`]), for another name. Nothing here outlives the process unless the caller writes
//! it to a file.
//!
//! ```
//! use cybermesh_devbroker::pki::Authority;
//!
//! # fn main() -> Result<(), cybermesh_devbroker::pki::PkiError> {
//! let authority = Authority::new("demo CA")?;
//! let server = authority.server().dns("localhost").ip([127, 0, 0, 1]).issue()?;
//! let client = authority.client("node-1").issue()?;
//! let expired = authority.client("node-2").expired().issue()?;
//!
//! assert!(authority.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
//! assert!(client.key_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
//! // Key and chain in one text, as Kafka's `ssl.keystore.type=PEM` wants them.
//! assert!(server.keystore_pem().contains("PRIVATE KEY"));
//! # drop(expired);
//! # Ok(())
//! # }
//! ```

mod authority;
mod identity;
mod key;

pub use authority::{Authority, LeafBuilder};
pub use identity::Identity;

use thiserror::Error;

/// Why a key or certificate could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The certificate could not be encoded or signed.
    #[error("certificate for {subject:?}: {source}")]
    Certificate {
        /// The common name asked for.
        subject: String,
        /// What the encoder said.
        source: rcgen::Error,
    },
    /// The private key could not be encoded as PKCS#8.
    #[error("private key: {0}")]
    Key(#[from] p256::pkcs8::Error),
}

//! PEM text, and the errors that say which file and why.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{ErrorKind, Operation, Target, TransportError};

/// PEM text and where it came from, so that an error can name it.
#[derive(Clone)]
pub struct Pem {
    source: Box<str>,
    text: Vec<u8>,
}

impl Pem {
    /// `source` is what a person would look for: a path, the name of a setting.
    pub fn new(source: impl Into<Box<str>>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            source: source.into(),
            text: text.into(),
        }
    }

    /// Where it came from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// An error about this text; `reason` says what is wrong and what is accepted.
    pub(super) fn wrong(&self, reason: impl Into<Box<str>>) -> TransportError {
        TransportError::new(
            Operation::Configure,
            Target::default(),
            ErrorKind::Settings {
                what: self.source.clone(),
                reason: reason.into(),
            },
        )
    }

    /// All certificates in the text, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TransportError> {
        let certificates = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.wrong(format!("not a PEM file: {error}")))?;
        if certificates.is_empty() {
            return Err(self.wrong(if self.has("PRIVATE KEY-----") {
                "it holds a private key and no certificate; expected BEGIN CERTIFICATE"
            } else {
                "no certificate in it; expected BEGIN CERTIFICATE"
            }));
        }
        for (index, certificate) in certificates.iter().enumerate() {
            x509_parser::parse_x509_certificate(certificate).map_err(|error| {
                self.wrong(format!(
                    "certificate {} of {} cannot be read: {error}",
                    index + 1,
                    certificates.len()
                ))
            })?;
        }
        Ok(certificates)
    }

    /// The private key in the text.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TransportError> {
        if self.has("BEGIN ENCRYPTED PRIVATE KEY") || self.has("Proc-Type: 4,ENCRYPTED") {
            return Err(self.wrong(
                "the private key is encrypted with a password; give it unencrypted, readable by this user only",
            ));
        }
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| {
            self.wrong(match error {
                rustls_pki_types::pem::Error::NoItemsFound if self.has("BEGIN CERTIFICATE") => {
                    "it holds a certificate and no private key; expected BEGIN PRIVATE KEY".to_owned()
                }
                rustls_pki_types::pem::Error::NoItemsFound => {
                    "no private key in it; expected BEGIN PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY"
                        .to_owned()
                }
                error => format!("not a PEM file: {error}"),
            })
        })
    }

    fn has(&self, marker: &str) -> bool {
        self.text
            .windows(marker.len())
            .any(|window| window == marker.as_bytes())
    }
}

impl Drop for Pem {
    /// It may hold a private key.
    fn drop(&mut self) {
        self.text.fill(0);
        std::hint::black_box(&self.text);
    }
}

impl std::fmt::Debug for Pem {
    /// Without the text, which may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem")
            .field("source", &self.source)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

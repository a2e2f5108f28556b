//! The ways TLS with a broker fails, told apart.

use thiserror::Error;

/// Why TLS with a broker could not be established or was ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The broker's certificate comes from an authority that is not in the CA bundle.
    #[error(
        "the broker's certificate is signed by an authority that is not in the CA bundle; give the bundle that signed the brokers' certificates"
    )]
    UnknownAuthority,
    /// The broker's certificate, or one above it, has expired.
    #[error("the broker's certificate has expired{}", in_brackets(.detail))]
    Expired {
        /// When, as far as known.
        detail: Option<Box<str>>,
    },
    /// The broker's certificate is not valid yet; one of the two clocks may be wrong.
    #[error("the broker's certificate is not valid yet{}; check the clocks", in_brackets(.detail))]
    NotYetValid {
        /// From when, as far as known.
        detail: Option<Box<str>>,
    },
    /// The broker's certificate is for other names.
    #[error("the broker's certificate is not for {expected}{}; connect by a name in it, or set the server name", in_brackets(.presented))]
    WrongName {
        /// The name that was looked for.
        expected: Box<str>,
        /// The names in the certificate, as far as known.
        presented: Option<Box<str>>,
    },
    /// The broker's certificate was refused for another reason.
    #[error("the broker's certificate was refused: {reason}")]
    BadCertificate {
        /// The reason.
        reason: Box<str>,
    },
    /// The broker wants a client certificate and was given none.
    #[error("{}", client_certificate_required(*.certain))]
    ClientCertificateRequired {
        /// Whether the broker said so. With TLS 1.3 many brokers only end the connection after the handshake.
        certain: bool,
    },
    /// The broker does not accept our client certificate.
    #[error(
        "the broker refused the client certificate ({alert}); it must be signed by an authority the broker trusts, and be in date"
    )]
    ClientCertificateRefused {
        /// The alert it sent.
        alert: Box<str>,
    },
    /// Versions, suites or key exchanges do not meet.
    #[error("broker and client share no TLS version or cipher: {reason}")]
    NothingInCommon {
        /// What did not meet.
        reason: Box<str>,
    },
    /// What came back is not TLS.
    #[error("the broker does not speak TLS on this port; use its TLS listener, or switch TLS off")]
    NotTls,
    /// The connection ended in the handshake, which is what a plaintext listener does when it is spoken TLS to.
    #[error(
        "the broker ended the connection in the TLS handshake; it is probably a plaintext listener, or it was shutting down"
    )]
    EndedInHandshake,
    /// The broker ended TLS with another alert.
    #[error("the broker ended TLS with the alert {alert}")]
    Alert {
        /// The alert.
        alert: Box<str>,
    },
    /// Anything else.
    #[error("tls failed: {reason}")]
    Other {
        /// The reason.
        reason: Box<str>,
    },
}

impl TlsFailure {
    /// Whether time alone may mend it, without a change of settings or certificates.
    pub fn may_pass(&self) -> bool {
        match self {
            // A broker that was shutting down.
            Self::EndedInHandshake => true,
            Self::UnknownAuthority
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::WrongName { .. }
            | Self::BadCertificate { .. }
            | Self::ClientCertificateRequired { .. }
            | Self::ClientCertificateRefused { .. }
            | Self::NothingInCommon { .. }
            | Self::NotTls
            | Self::Alert { .. }
            | Self::Other { .. } => false,
        }
    }
}

fn in_brackets(detail: &Option<Box<str>>) -> String {
    match detail {
        Some(detail) => format!(" ({detail})"),
        None => String::new(),
    }
}

fn client_certificate_required(certain: bool) -> &'static str {
    if certain {
        "the broker requires a client certificate; give a certificate and its key"
    } else {
        "the broker ended the connection right after the handshake, and no client certificate is configured: it probably requires one"
    }
}

//! Tells the failures of rustls apart in our terms.

use rustls::{AlertDescription, CertificateError, Error};

use crate::error::TlsFailure;

/// What a failure of rustls means to the one who has to mend it.
pub(crate) fn failure_of(error: &Error) -> TlsFailure {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => TlsFailure::BadCertificate {
            reason: "the broker presented none".into(),
        },
        Error::AlertReceived(alert) => received(*alert),
        Error::PeerIncompatible(reason) => TlsFailure::NothingInCommon {
            reason: format!("{reason:?}").into(),
        },
        // Bytes that are no TLS record at all: the very first ones come from something else.
        Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
            | rustls::InvalidMessage::UnknownProtocolVersion
            | rustls::InvalidMessage::MessageTooLarge
            | rustls::InvalidMessage::InvalidEmptyPayload,
        ) => TlsFailure::NotTls,
        other => TlsFailure::Other {
            reason: other.to_string().into(),
        },
    }
}

fn certificate(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::UnknownIssuer => TlsFailure::UnknownAuthority,
        CertificateError::Expired => TlsFailure::Expired { detail: None },
        CertificateError::ExpiredContext { time, not_after } => TlsFailure::Expired {
            detail: Some(ago(time.as_secs(), not_after.as_secs()).into()),
        },
        CertificateError::NotValidYet => TlsFailure::NotYetValid { detail: None },
        CertificateError::NotValidYetContext { time, not_before } => TlsFailure::NotYetValid {
            detail: Some(
                format!(
                    "valid in {}",
                    span(not_before.as_secs().saturating_sub(time.as_secs()))
                )
                .into(),
            ),
        },
        CertificateError::NotValidForName => TlsFailure::WrongName {
            expected: "the name it was called by".into(),
            presented: None,
        },
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsFailure::WrongName {
            expected: expected.to_str().into(),
            presented: Some(presented_names(presented).into()),
        },
        other => TlsFailure::BadCertificate {
            reason: other.to_string().into(),
        },
    }
}

/// A certificate may hold thousands of names; a person reads a few.
fn presented_names(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "it has no names".to_owned();
    }
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| bare(name)).collect();
    let mut text = format!("it is for {}", shown.join(", "));
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// rustls shows names as `DnsName("kafka")` and `IpAddress(10.0.0.1)`.
fn bare(name: &str) -> String {
    const LONGEST_CHARS: usize = 100;
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(name);
    let readable = inner.trim_matches('"').chars().take(LONGEST_CHARS);
    readable.filter(|c| !c.is_control()).collect()
}

fn ago(now_s: u64, then_s: u64) -> String {
    format!("{} ago", span(now_s.saturating_sub(then_s)))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn received(alert: AlertDescription) -> TlsFailure {
    let name = || format!("{alert:?}").into();
    match alert {
        AlertDescription::CertificateRequired => {
            TlsFailure::ClientCertificateRequired { certain: true }
        }
        // What a broker says about the certificate we have shown it, or about an empty one.
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => TlsFailure::ClientCertificateRefused { alert: name() },
        AlertDescription::ProtocolVersion
        | AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => TlsFailure::NothingInCommon {
            reason: format!("the broker says {alert:?}").into(),
        },
        _ => TlsFailure::Alert { alert: name() },
    }
}

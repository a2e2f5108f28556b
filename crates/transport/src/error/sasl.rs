//! The ways SASL with a broker fails, told apart.

use thiserror::Error;

use super::ErrorCode;
use super::kind::readable;

/// Why a broker and this client could not agree, by SASL, on who the client is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SaslFailure {
    /// The broker does not offer the mechanism.
    #[error("the broker does not offer {mechanism}{}", offering(.offered))]
    MechanismNotEnabled {
        /// What was asked for.
        mechanism: &'static str,
        /// What it offers.
        offered: Box<[Box<str>]>,
    },
    /// The broker's port knows its clients by other means.
    #[error(
        "the broker does not ask for SASL on this port; use its SASL listener, or leave SASL out"
    )]
    NotAskedFor,
    /// The broker does not accept name and password, or the token.
    #[error("the broker refused the credentials{}", saying(.message))]
    Refused {
        /// What it had to say about it. A password or token in it is made unreadable.
        message: Option<Box<str>>,
    },
    /// The broker could not prove that it knows the password: it is not the one it is taken for.
    #[error(
        "the broker's signature is wrong: it does not know the password, and is not who it should be"
    )]
    WrongServerSignature,
    /// There is no token to show.
    #[error("no token: {reason}")]
    Token {
        /// The source's words.
        reason: Box<str>,
    },
    /// The broker asks for a number of iterations that is not sane.
    #[error("the broker asks for {asked} iterations of the hash; {fewest} to {most} are made")]
    Iterations {
        /// What it asks for.
        asked: u64,
        /// As few are made at least (RFC 7677).
        fewest: u32,
        /// As many at most.
        most: u32,
    },
    /// What the broker says is no message of the mechanism.
    #[error("the broker breaks off from the mechanism: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Credentials would have gone over plaintext, without the leave to do so.
    #[error(
        "refused to authenticate over plaintext, where anyone on the way could listen; switch TLS on, or allow it expressly"
    )]
    PlaintextRefused,
    /// Anything else.
    #[error("sasl failed: {reason}")]
    Other {
        /// The reason.
        reason: Box<str>,
    },
}

impl SaslFailure {
    /// Whether time alone may mend it, without a change of settings or credentials.
    pub fn may_pass(&self) -> bool {
        match self {
            // Whoever gives out tokens may be away for a while.
            Self::Token { .. } | Self::Other { .. } => true,
            Self::MechanismNotEnabled { .. }
            | Self::NotAskedFor
            | Self::Refused { .. }
            | Self::WrongServerSignature
            | Self::Iterations { .. }
            | Self::Malformed { .. }
            | Self::PlaintextRefused => false,
        }
    }

    pub(crate) fn not_enabled(mechanism: &'static str, offered: &[String]) -> Self {
        const MOST: usize = 16;
        let offered = offered.iter().take(MOST).filter_map(|name| readable(name));
        Self::MechanismNotEnabled {
            mechanism,
            offered: offered.collect(),
        }
    }

    /// Refused with these words, from which `hide` takes the secret.
    pub(crate) fn refused(message: Option<&str>, hide: impl Fn(&str) -> String) -> Self {
        // Hidden before it is cut: half a secret is one, too.
        let message = message.and_then(|text| readable(&hide(text)));
        Self::Refused { message }
    }

    /// Broken off with another error and these words, from which `hide` takes the secret.
    pub(crate) fn failed(
        code: ErrorCode,
        message: Option<&str>,
        hide: impl Fn(&str) -> String,
    ) -> Self {
        let message = message.and_then(|text| readable(&hide(text)));
        let reason = format!("{code}{}", saying(&message)).into();
        Self::Other { reason }
    }

    pub(crate) fn no_token(reason: String) -> Self {
        let reason = readable(&reason).unwrap_or_else(|| "its source does not say why".into());
        Self::Token { reason }
    }
}

fn offering(offered: &[Box<str>]) -> String {
    if offered.is_empty() {
        return " and names none that it does".to_owned();
    }
    format!("; it offers {}", offered.join(", "))
}

fn saying(message: &Option<Box<str>>) -> String {
    match message {
        Some(message) => format!(" (the broker says: {message})"),
        None => String::new(),
    }
}

//! OAUTHBEARER (RFC 7628, KIP-255): tokens that somebody else gives out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Secret;

/// Why there is no token. Its text ends up in errors and logs, so it must not hold one.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// Gives out tokens, each time a connection needs one.
///
/// Called on several connections at once; waited for as long as the connect timeout lasts, and dropped then. A token
/// with a lifetime is kept, and asked for anew after four fifths of it.
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token that is valid now.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>>;
}

/// A bearer token, with what goes with it.
#[derive(Debug, Clone)]
pub struct Token {
    value: Secret,
    lifetime: Option<Duration>,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token, such as a JSON web token. It is used for one connection.
    pub fn new(value: impl Into<Secret>) -> Self {
        Self {
            value: value.into(),
            lifetime: None,
            extensions: Vec::new(),
        }
    }

    /// The same, good for so long from now on: until four fifths of that are over it is used for every new
    /// connection.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The same with an extension (KIP-342) that the broker is told: a name of letters, a value of printable ASCII.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    pub(super) fn value(&self) -> &Secret {
        &self.value
    }

    /// The client's message.
    ///
    /// # Errors
    /// What of it has no place in the message, by name.
    pub(super) fn message(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let value = self.value.expose();
        if value.is_empty() || !value.bytes().all(is_of_tokens) {
            return Err("a token is of letters, digits and -._~+/=".to_owned());
        }
        let mut message = Zeroizing::new(Vec::with_capacity(value.len() + 64));
        message.extend_from_slice(b"n,,\x01auth=Bearer ");
        message.extend_from_slice(value.as_bytes());
        for (name, value) in &self.extensions {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            if !is_name || name == "auth" {
                return Err("the name of an extension is of letters, and not auth".to_owned());
            }
            if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                return Err(format!("extension {name} is not of printable ASCII"));
            }
            message.push(1);
            message.extend_from_slice(name.as_bytes());
            message.push(b'=');
            message.extend_from_slice(value.as_bytes());
        }
        message.extend_from_slice(b"\x01\x01");
        Ok(message)
    }
}

/// What RFC 6750 lets a token be of.
fn is_of_tokens(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// The last token, as long as it is fresh.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(Token, Instant)>>);

impl Kept {
    pub(super) fn fresh(&self, now: Instant) -> Option<Token> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = kept.as_ref()?;
        (now < *until).then(|| token.clone())
    }

    /// Keeps what may be used again; `now` is when it was asked for.
    pub(super) fn keep(&self, token: &Token, now: Instant) {
        if let Some(lifetime) = token.lifetime.map(crate::config::finite) {
            let until = now + lifetime.mul_f64(0.8);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), until));
        }
    }

    /// Gives up a token that a broker has refused.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_rfc_with_extensions_behind_the_token() {
        let message = Token::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
            .extension("traceId", "123")
            .message();
        assert_eq!(
            **message.as_ref().unwrap(),
            *b"n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01traceId=123\x01\x01"
        );
    }

    #[test]
    fn what_would_break_out_of_the_message_is_refused_without_being_repeated() {
        for token in [
            Token::new(""),
            Token::new("hunter2\x01auth=Bearer other"),
            Token::new("hunter2 "),
            Token::new("hunter2").extension("auth", "x"),
            Token::new("hunter2").extension("", "x"),
            Token::new("hunter2").extension("a=b", "x"),
            Token::new("hunter2").extension("a", "hunter2\x01"),
            Token::new("hunter2").extension("a", ""),
        ] {
            let refused = token.message().unwrap_err();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_token_is_kept_for_four_fifths_of_its_lifetime_and_one_without_not_at_all() {
        let kept = Kept::default();
        let now = Instant::now();
        kept.keep(&Token::new("once"), now);
        assert!(kept.fresh(now).is_none());
        let lifetime = Duration::from_secs(100);
        kept.keep(&Token::new("long").lifetime(lifetime), now);
        let at = |seconds| kept.fresh(now + Duration::from_secs(seconds));
        assert_eq!(at(79).unwrap().value().expose(), "long");
        assert!(at(80).is_none());
        kept.forget();
        assert!(at(1).is_none());
    }
}

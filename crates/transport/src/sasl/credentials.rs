//! What a client shows, by which mechanism.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::bearer::Kept;
use super::conversation::Conversation;
use super::scram::Hash;
use super::{Secret, Token, TokenSource};
use crate::error::{ErrorKind, Operation, SaslFailure, Target, TransportError};

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// Name and password as they are (RFC 4616).
    Plain,
    /// A proof that the password is known, over SHA-256 (RFC 7677).
    ScramSha256,
    /// The same over SHA-512.
    ScramSha512,
    /// A bearer token (RFC 7628).
    OauthBearer,
}

impl Mechanism {
    /// Its registered name, such as `SCRAM-SHA-256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who a client is, and how it says so. Cheap to clone; clones are exchanged together.
#[derive(Clone)]
pub struct Sasl(Arc<RwLock<Arc<Credentials>>>);

#[derive(Debug)]
pub(super) struct Credentials {
    mechanism: Mechanism,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Password {
        username: Box<str>,
        password: Secret,
    },
    Token {
        source: Arc<dyn TokenSource>,
        kept: Kept,
    },
}

impl Sasl {
    /// Name and password by PLAIN: the broker is told the password.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if one of them is empty or holds a NUL character.
    pub fn plain(username: &str, password: impl Into<Secret>) -> Result<Self, TransportError> {
        Self::password(Mechanism::Plain, username, password.into())
    }

    /// Name and password by SCRAM-SHA-256: the broker is told what proves the password, and has to prove that it
    /// knows it as well.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if one of them is empty, or not in the form that SASLprep (RFC 4013) gives it. RFC
    /// 5802 has both sides prepare them so, Apache Kafka takes them as they are: the two agree on what SASLprep leaves
    /// alone, such as all of printable ASCII.
    pub fn scram_sha_256(
        username: &str,
        password: impl Into<Secret>,
    ) -> Result<Self, TransportError> {
        Self::password(Mechanism::ScramSha256, username, password.into())
    }

    /// The same by SCRAM-SHA-512.
    ///
    /// # Errors
    /// As [`Sasl::scram_sha_256`].
    pub fn scram_sha_512(
        username: &str,
        password: impl Into<Secret>,
    ) -> Result<Self, TransportError> {
        Self::password(Mechanism::ScramSha512, username, password.into())
    }

    /// A bearer token by OAUTHBEARER, asked for when a connection needs one.
    pub fn oauth_bearer(source: Arc<dyn TokenSource>) -> Self {
        Self::of(Credentials {
            mechanism: Mechanism::OauthBearer,
            shown: Shown::Token {
                source,
                kept: Kept::default(),
            },
        })
    }

    fn password(
        mechanism: Mechanism,
        username: &str,
        password: Secret,
    ) -> Result<Self, TransportError> {
        for (what, text) in [("name", username), ("password", password.expose())] {
            acceptable(mechanism, text).map_err(|reason| {
                TransportError::new(
                    Operation::Configure,
                    Target::default(),
                    ErrorKind::Settings {
                        what: format!("sasl {what}").into(),
                        reason: reason.into(),
                    },
                )
            })?;
        }
        Ok(Self::of(Credentials {
            mechanism,
            shown: Shown::Password {
                username: username.into(),
                password,
            },
        }))
    }

    fn of(credentials: Credentials) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(credentials))))
    }

    /// The mechanism that is in use.
    pub fn mechanism(&self) -> Mechanism {
        self.current().mechanism
    }

    /// From now on new connections show what `next` does, of this and of every clone. Connections that are open live
    /// on until they end, or until the broker's session is over.
    pub fn exchange(&self, next: &Self) {
        let next = next.current();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A conversation with one broker; waits for a token where one is needed.
    pub(crate) async fn converse(&self) -> Result<Conversation, SaslFailure> {
        let credentials = self.current();
        match &credentials.shown {
            Shown::Password { username, password } => {
                let (username, password) = (username, password.clone());
                match credentials.mechanism {
                    Mechanism::ScramSha256 => Conversation::scram(Hash::Sha256, username, password),
                    Mechanism::ScramSha512 => Conversation::scram(Hash::Sha512, username, password),
                    _ => Ok(Conversation::plain(username, password)),
                }
            }
            Shown::Token { source, kept } => {
                let token = token(&**source, kept).await?;
                let message = token.message().map_err(SaslFailure::no_token)?;
                let value = token.value().clone();
                Ok(Conversation::bearer(message, value, credentials))
            }
        }
    }
}

impl Credentials {
    /// A broker did not take what was shown.
    pub(super) fn refused(&self) {
        if let Shown::Token { kept, .. } = &self.shown {
            kept.forget();
        }
    }
}

async fn token(source: &dyn TokenSource, kept: &Kept) -> Result<Token, SaslFailure> {
    let now = Instant::now();
    if let Some(token) = kept.fresh(now) {
        return Ok(token);
    }
    // A source that panics must not take the task with it that every request to this broker goes through.
    let asked = AssertUnwindSafe(async { source.token().await });
    match asked.catch_unwind().await {
        Ok(Ok(token)) => {
            kept.keep(&token, now);
            Ok(token)
        }
        Ok(Err(error)) => Err(SaslFailure::no_token(error.to_string())),
        Err(_panic) => Err(SaslFailure::no_token("its source panicked".to_owned())),
    }
}

/// Why a text is no name or password of this mechanism. Never repeats it.
fn acceptable(mechanism: Mechanism, text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("empty");
    }
    if mechanism == Mechanism::Plain {
        return if text.contains('\0') {
            Err("holds a NUL character, which separates name and password")
        } else {
            Ok(())
        };
    }
    match stringprep::saslprep(text) {
        Ok(prepared) if prepared == text => Ok(()),
        Ok(_) => Err(
            "SASLprep (RFC 4013) would change it, and Apache Kafka would not: choose one of ASCII, or in Unicode's form KC",
        ),
        Err(_) => {
            Err("holds characters that SASLprep (RFC 4013) forbids, such as control characters")
        }
    }
}

/// Without what proves anything.
impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        let mut shown = f.debug_struct("Sasl");
        shown.field("mechanism", &current.mechanism.name());
        if let Shown::Password { username, .. } = &current.shown {
            shown.field("username", username);
        }
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_two_sides_would_read_differently_is_refused_without_being_repeated() {
        type Make = fn(&str, Secret) -> Result<Sasl, TransportError>;
        let scram: Make = |username, password| Sasl::scram_sha_512(username, password);
        let plain: Make = |username, password| Sasl::plain(username, password);
        for (make, text, is_taken) in [
            (plain, "påsswørd, with = and spaces", true),
            (plain, "I\u{ad}X", true),
            (plain, "", false),
            (plain, "hunter2\0", false),
            (scram, "påsswørd, with = and spaces", true),
            // A soft hyphen is left out, a ligature taken apart, a combined character composed.
            (scram, "hunter2\u{ad}", false),
            (scram, "hunter2\u{fb01}", false),
            (scram, "hunter2a\u{30a}", false),
            (scram, "hunter2\n", false),
            (scram, "", false),
        ] {
            for made in [make("user", text.into()), make(text, "password".into())] {
                assert_eq!(made.is_ok(), is_taken, "{text:?}");
                if let Err(refused) = made {
                    assert!(matches!(refused.kind(), ErrorKind::Settings { .. }));
                    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
                }
            }
        }
    }

    #[test]
    fn clones_are_exchanged_together() {
        let one = Sasl::plain("user", "password").unwrap();
        let clone = one.clone();
        one.exchange(&Sasl::scram_sha_256("user", "password").unwrap());
        assert_eq!(clone.mechanism(), Mechanism::ScramSha256);
    }
}

//! What is said between client and broker, message by message, whatever the mechanism.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Mechanism;
use super::Secret;
use super::credentials::Credentials;
use super::plain;
use super::scram::{Expected, Hash, Scram};
use crate::error::{ErrorCode, SaslFailure};

/// One exchange of messages with one broker.
#[derive(Debug)]
pub(crate) struct Conversation {
    mechanism: Mechanism,
    /// What must not come back in the broker's words.
    secret: Secret,
    /// To be told if the broker refuses, where that matters.
    credentials: Option<Arc<Credentials>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The one message there is.
    Single(Zeroizing<Vec<u8>>),
    Scram(Scram),
    ScramProved(Expected),
    /// An OAUTHBEARER broker has said why it will refuse, and waits for us to take note.
    WillBeRefused(Box<str>),
}

/// What the broker's message leads to.
#[derive(Debug)]
pub(crate) enum Reply {
    /// This is to be said next.
    Say(Zeroizing<Vec<u8>>),
    /// The mechanism is through.
    Done,
}

impl Conversation {
    pub(super) fn plain(username: &str, password: Secret) -> Self {
        Self {
            mechanism: Mechanism::Plain,
            state: State::Single(plain::message(username, &password)),
            secret: password,
            credentials: None,
        }
    }

    pub(super) fn scram(hash: Hash, username: &str, password: Secret) -> Result<Self, SaslFailure> {
        Ok(Self {
            mechanism: match hash {
                Hash::Sha256 => Mechanism::ScramSha256,
                Hash::Sha512 => Mechanism::ScramSha512,
            },
            state: State::Scram(Scram::new(hash, username, password.clone())?),
            secret: password,
            credentials: None,
        })
    }

    pub(super) fn bearer(
        message: Zeroizing<Vec<u8>>,
        token: Secret,
        credentials: Arc<Credentials>,
    ) -> Self {
        Self {
            mechanism: Mechanism::OauthBearer,
            state: State::Single(message),
            secret: token,
            credentials: Some(credentials),
        }
    }

    /// The mechanism's registered name.
    pub(crate) fn mechanism(&self) -> &'static str {
        self.mechanism.name()
    }

    /// What the client says first.
    pub(crate) fn first(&self) -> Zeroizing<Vec<u8>> {
        match &self.state {
            State::Single(message) => message.clone(),
            State::Scram(scram) => scram.first(),
            State::ScramProved(_) | State::WillBeRefused(_) => Zeroizing::default(),
        }
    }

    /// Takes the broker's message; with SCRAM that is some milliseconds of work.
    ///
    /// # Errors
    /// The broker is not to be believed, or makes no sense.
    pub(crate) fn hear(self, message: &[u8]) -> Result<(Self, Reply), SaslFailure> {
        let Self {
            mechanism,
            secret,
            credentials,
            state,
        } = self;
        let (state, reply) = match state {
            // A broker that takes a token, or a password, has nothing to add.
            State::Single(said) if message.is_empty() || credentials.is_none() => {
                (State::Single(said), Reply::Done)
            }
            // RFC 7628, section 3.2.2: a JSON object with the reason, to be acknowledged.
            State::Single(_) => {
                let reason = String::from_utf8_lossy(message).into_owned();
                let acknowledgement = Zeroizing::new(vec![1]);
                (
                    State::WillBeRefused(reason.into()),
                    Reply::Say(acknowledgement),
                )
            }
            State::Scram(scram) => {
                let (message, expected) = scram.last(message)?;
                (State::ScramProved(expected), Reply::Say(message))
            }
            State::ScramProved(expected) => {
                expected.check(message)?;
                (State::ScramProved(expected), Reply::Done)
            }
            State::WillBeRefused(reason) => {
                let state = State::WillBeRefused(reason);
                let refused = Self {
                    mechanism,
                    secret,
                    credentials,
                    state,
                };
                return Err(refused.refused(None));
            }
        };
        let conversation = Self {
            mechanism,
            secret,
            credentials,
            state,
        };
        Ok((conversation, reply))
    }

    /// The broker has refused, with these words.
    pub(crate) fn refused(&self, message: Option<&str>) -> SaslFailure {
        if let Some(credentials) = &self.credentials {
            credentials.refused();
        }
        let told = message.filter(|text| !text.trim().is_empty());
        let told = match &self.state {
            State::WillBeRefused(reason) => told.or(Some(reason)),
            _ => told,
        };
        SaslFailure::refused(told, |text| self.secret.hidden_in(text))
    }

    /// The broker could not see it through, for this reason, with these words.
    pub(crate) fn failed(&self, code: ErrorCode, message: Option<&str>) -> SaslFailure {
        SaslFailure::failed(code, message, |text| self.secret.hidden_in(text))
    }
}

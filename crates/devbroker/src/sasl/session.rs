//! What one connection has said of who its client is, as Kafka's `SaslServerAuthenticator` keeps it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;

use super::ServerSasl;
use super::config::Mechanism;
use super::scram::{Challenged, Hash};
use crate::api::Api;
use crate::error_code::ErrorCode;

/// Kafka's words.
const WRONG_PASSWORD: &str = "Authentication failed: Invalid username or password";
const WRONG_SCRAM: &str =
    "Authentication failed during authentication due to invalid credentials with SASL mechanism ";

/// One connection's.
#[derive(Debug)]
pub(crate) struct Session {
    /// Nothing where the broker does not ask for SASL.
    sasl: Option<Arc<ServerSasl>>,
    stage: Stage,
    known: Option<Known>,
}

#[derive(Debug)]
enum Stage {
    /// No exchange is going on.
    Idle,
    /// The mechanism is agreed on.
    Chosen(Mechanism),
    /// A SCRAM client has been challenged.
    Challenged(Mechanism, Challenged),
    /// A token was refused; the client is to take note.
    TokenRefused(String),
}

#[derive(Debug)]
struct Known {
    name: String,
    until: Option<Instant>,
}

/// What is answered to a message of a mechanism.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) response: SaslAuthenticateResponse,
    /// The connection ends behind it.
    pub(crate) is_last: bool,
}

impl Session {
    pub(crate) fn new(sasl: Option<Arc<ServerSasl>>) -> Self {
        Self {
            sasl,
            stage: Stage::Idle,
            known: None,
        }
    }

    /// Whether a request may come now. One that may not ends the connection, as with Kafka.
    pub(crate) fn admits(&self, api: Api, now: Instant) -> bool {
        if self.sasl.is_none() || matches!(api, Api::SaslHandshake | Api::SaslAuthenticate) {
            return true;
        }
        match (&self.known, &self.stage) {
            (None, Stage::Idle) => api == Api::ApiVersions,
            (Some(known), Stage::Idle) => known.until.is_none_or(|until| now < until),
            // In the middle of an exchange.
            _ => false,
        }
    }

    /// The principal, once it is known.
    pub(crate) fn principal(&self) -> Option<String> {
        self.known
            .as_ref()
            .map(|known| format!("User:{}", known.name))
    }

    /// Agrees on a mechanism, or names those there are; whether it did.
    pub(crate) fn shake_hands(&mut self, mechanism: &str) -> (SaslHandshakeResponse, bool) {
        let Some(sasl) = &self.sasl else {
            let code = ErrorCode::ILLEGAL_SASL_STATE;
            let response = SaslHandshakeResponse::default().with_error_code(code.0);
            return (response, true);
        };
        let offered = Mechanism::ALL.into_iter().filter(|each| sasl.offers(*each));
        let chosen = offered.clone().find(|each| each.name() == mechanism);
        let code = match chosen {
            Some(mechanism) => {
                self.stage = Stage::Chosen(mechanism);
                ErrorCode::NONE
            }
            None => ErrorCode::UNSUPPORTED_SASL_MECHANISM,
        };
        let names = offered.map(|each| StrBytes::from_static_str(each.name()));
        let response = SaslHandshakeResponse::default()
            .with_error_code(code.0)
            .with_mechanisms(names.collect());
        (response, chosen.is_some())
    }

    /// Takes a message of the mechanism.
    pub(crate) fn authenticate(&mut self, message: &[u8], now: Instant) -> Said {
        let Some(sasl) = self.sasl.clone() else {
            return refused(ErrorCode::ILLEGAL_SASL_STATE, "SASL is not asked for");
        };
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => refused(ErrorCode::ILLEGAL_SASL_STATE, "no mechanism is chosen"),
            Stage::Chosen(Mechanism::Plain) => self.plain(&sasl, message, now),
            Stage::Chosen(Mechanism::ScramSha256) => {
                self.challenge(&sasl, Mechanism::ScramSha256, Hash::Sha256, message)
            }
            Stage::Chosen(Mechanism::ScramSha512) => {
                self.challenge(&sasl, Mechanism::ScramSha512, Hash::Sha512, message)
            }
            Stage::Chosen(Mechanism::OauthBearer) => self.bearer(&sasl, message, now),
            Stage::Challenged(mechanism, challenged) => {
                self.proof(&sasl, mechanism, &challenged, message, now)
            }
            Stage::TokenRefused(reason) => refused(ErrorCode::SASL_AUTHENTICATION_FAILED, &reason),
        }
    }

    fn plain(&mut self, sasl: &ServerSasl, message: &[u8], now: Instant) -> Said {
        let mut parts = message
            .split(|byte| *byte == 0)
            .map(String::from_utf8_lossy);
        let (identity, name, password) = (parts.next(), parts.next(), parts.next());
        let (Some(""), Some(name), Some(password), None) =
            (identity.as_deref(), name, password, parts.next())
        else {
            let code = ErrorCode::SASL_AUTHENTICATION_FAILED;
            return refused(code, "Invalid SASL/PLAIN response");
        };
        if sasl.password_of(Mechanism::Plain, &name) != Some(&password) {
            let words = sasl.refusal.as_deref().unwrap_or(WRONG_PASSWORD);
            return refused(ErrorCode::SASL_AUTHENTICATION_FAILED, words);
        }
        self.welcome(sasl, &name, Vec::new(), now)
    }

    fn challenge(
        &mut self,
        sasl: &ServerSasl,
        mechanism: Mechanism,
        hash: Hash,
        message: &[u8],
    ) -> Said {
        let challenged = Challenged::by(hash, message, sasl.iterations_asked_for());
        let known =
            challenged.filter(|challenged| sasl.password_of(mechanism, &challenged.name).is_some());
        let Some(challenged) = known else {
            return wrong_scram(sasl, mechanism);
        };
        let challenge = challenged.challenge();
        self.stage = Stage::Challenged(mechanism, challenged);
        Said {
            response: SaslAuthenticateResponse::default().with_auth_bytes(challenge.into()),
            is_last: false,
        }
    }

    fn proof(
        &mut self,
        sasl: &ServerSasl,
        mechanism: Mechanism,
        challenged: &Challenged,
        message: &[u8],
        now: Instant,
    ) -> Said {
        let password = sasl.password_of(mechanism, &challenged.name);
        let answer = password
            .and_then(|password| challenged.answer(message, password, sasl.forges_signatures));
        match answer {
            Some(signature) => self.welcome(sasl, &challenged.name, signature, now),
            None => wrong_scram(sasl, mechanism),
        }
    }

    fn bearer(&mut self, sasl: &ServerSasl, message: &[u8], now: Instant) -> Said {
        let text = String::from_utf8_lossy(message);
        let token = text
            .strip_prefix("n,,\u{1}auth=Bearer ")
            .and_then(|rest| rest.split_once('\u{1}'));
        let (Some((token, _)), Some(judge)) = (token, &sasl.judge) else {
            let code = ErrorCode::SASL_AUTHENTICATION_FAILED;
            return refused(code, "Invalid OAUTHBEARER client first message");
        };
        match judge(token) {
            Ok(name) => self.welcome(sasl, &name, Vec::new(), now),
            Err(reason) => {
                self.stage = Stage::TokenRefused(reason);
                let json = br#"{"status":"invalid_token"}"#;
                Said {
                    response: SaslAuthenticateResponse::default()
                        .with_auth_bytes(Bytes::from_static(json)),
                    is_last: false,
                }
            }
        }
    }

    fn welcome(&mut self, sasl: &ServerSasl, name: &str, message: Vec<u8>, now: Instant) -> Said {
        if self.known.as_ref().is_some_and(|known| known.name != name) {
            let words = "Cannot change principals during re-authentication";
            return refused(ErrorCode::SASL_AUTHENTICATION_FAILED, words);
        }
        self.known = Some(Known {
            name: name.to_owned(),
            until: sasl
                .session_lifetime
                .map(|lifetime| now + lifetime + sasl.session_grace),
        });
        let lifetime_ms = sasl.session_lifetime.unwrap_or_default().as_millis();
        Said {
            response: SaslAuthenticateResponse::default()
                .with_auth_bytes(message.into())
                .with_session_lifetime_ms(i64::try_from(lifetime_ms).unwrap_or(i64::MAX)),
            is_last: false,
        }
    }
}

fn wrong_scram(sasl: &ServerSasl, mechanism: Mechanism) -> Said {
    let kafkas = format!("{WRONG_SCRAM}{}", mechanism.name());
    let words = sasl.refusal.as_deref().unwrap_or(&kafkas);
    refused(ErrorCode::SASL_AUTHENTICATION_FAILED, words)
}

fn refused(code: ErrorCode, words: &str) -> Said {
    Said {
        response: SaslAuthenticateResponse::default()
            .with_error_code(code.0)
            .with_error_message(Some(StrBytes::from_string(words.to_owned()))),
        is_last: true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    fn session() -> Session {
        let sasl = ServerSasl::new()
            .plain("alice", "one")
            .plain("bob", "two")
            .session_lifetime(LIFETIME);
        Session::new(Some(Arc::new(sasl)))
    }

    fn code(said: &Said) -> i16 {
        said.response.error_code
    }

    #[test]
    fn before_authentication_only_versions_and_sasl_are_let_through() {
        let mut session = session();
        let now = Instant::now();
        assert!(session.admits(Api::ApiVersions, now));
        assert!(session.admits(Api::SaslHandshake, now));
        assert!(!session.admits(Api::Metadata, now));
        assert!(session.shake_hands("PLAIN").1);
        assert!(!session.admits(Api::ApiVersions, now), "in mid exchange");
        assert_eq!(code(&session.authenticate(b"\0alice\0one", now)), 0);
        assert!(session.admits(Api::Metadata, now));
        assert_eq!(session.principal().as_deref(), Some("User:alice"));
    }

    #[test]
    fn a_session_ends_by_its_lifetime_unless_the_same_client_authenticates_again() {
        let mut session = session();
        let now = Instant::now();
        session.shake_hands("PLAIN");
        let said = session.authenticate(b"\0alice\0one", now);
        assert_eq!(said.response.session_lifetime_ms, 10_000);
        let (last, over) = (now + LIFETIME - Duration::from_millis(1), now + LIFETIME);
        assert!(session.admits(Api::Metadata, last));
        assert!(!session.admits(Api::Metadata, over));
        assert!(session.admits(Api::SaslHandshake, over));

        session.shake_hands("PLAIN");
        assert_eq!(code(&session.authenticate(b"\0alice\0one", over)), 0);
        assert!(session.admits(Api::Metadata, over));
        session.shake_hands("PLAIN");
        let other = session.authenticate(b"\0bob\0two", over);
        assert!(other.is_last);
        assert_eq!(code(&other), ErrorCode::SASL_AUTHENTICATION_FAILED.0);
    }

    #[test]
    fn a_message_without_a_mechanism_and_a_mechanism_that_is_not_offered_are_refused() {
        let mut session = session();
        let now = Instant::now();
        let said = session.authenticate(b"\0alice\0one", now);
        assert_eq!(code(&said), ErrorCode::ILLEGAL_SASL_STATE.0);
        let (response, agreed) = session.shake_hands("SCRAM-SHA-256");
        assert!(!agreed);
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_SASL_MECHANISM.0);
        assert_eq!(response.mechanisms, [StrBytes::from_static_str("PLAIN")]);

        let mut unasked = Session::new(None);
        assert!(unasked.admits(Api::Metadata, now));
        let (response, _) = unasked.shake_hands("PLAIN");
        assert_eq!(response.error_code, ErrorCode::ILLEGAL_SASL_STATE.0);
    }
}

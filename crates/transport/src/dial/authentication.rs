//! SASL on a fresh connection (KIP-43, KIP-152), and when it has to be done again (KIP-368).

use std::time::Duration;

use tokio::time::Instant;

use super::{Dialling, Protection};
use crate::broker::Wire;
use crate::config::finite;
use crate::error::{DialPhase, ErrorCode, ErrorKind, SaslFailure, TransportError};
use crate::sasl::{Conversation, Reply, Sasl};
use crate::wire::{
    Engine, Request, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};

/// The broker takes one message, and at most one more, of every mechanism there is here.
const MOST_MESSAGES: usize = 3;

impl Dialling<'_> {
    /// Says who we are. Tells when the connection is to be replaced, where the broker will end the session.
    pub(super) async fn authenticate(
        &self,
        engine: &Engine<Wire>,
        protection: Protection<'_>,
        sasl: &Sasl,
    ) -> Result<Option<Instant>, TransportError> {
        let failed = |failure| self.error(ErrorKind::Sasl(failure));
        let conversation = self.within(DialPhase::Token, sasl.converse()).await?;
        let mut conversation = conversation.map_err(failed)?;
        self.shake_hands(engine, protection, conversation.mechanism())
            .await?;
        let mut message = conversation.first();
        for _ in 0..MOST_MESSAGES {
            // The broker counts from later on.
            let said_at = Instant::now();
            let request = SaslAuthenticateRequest { message };
            let answer = self.ask(engine, protection, &request).await?;
            accepted(&conversation, &answer).map_err(failed)?;
            let (next, reply) = self.hear(conversation, &answer).await?;
            match reply {
                Reply::Say(more) => (conversation, message) = (next, more),
                Reply::Done => return Ok(good_until(said_at, answer.session_lifetime_ms)),
            }
        }
        Err(failed(SaslFailure::Malformed {
            what: "it has more messages than the mechanism",
        }))
    }

    async fn shake_hands(
        &self,
        engine: &Engine<Wire>,
        protection: Protection<'_>,
        mechanism: &'static str,
    ) -> Result<(), TransportError> {
        let request = SaslHandshakeRequest { mechanism };
        let answer = self.ask(engine, protection, &request).await?;
        let kind = match ErrorCode::from_code(answer.error_code) {
            None => return Ok(()),
            Some(ErrorCode::UnsupportedSaslMechanism) => {
                ErrorKind::Sasl(SaslFailure::not_enabled(mechanism, &answer.mechanisms))
            }
            Some(ErrorCode::IllegalSaslState) => ErrorKind::Sasl(SaslFailure::NotAskedFor),
            Some(code) => ErrorKind::Code {
                code,
                message: None,
            },
        };
        Err(self.error(kind))
    }

    async fn ask<R: Request>(
        &self,
        engine: &Engine<Wire>,
        protection: Protection<'_>,
        request: &R,
    ) -> Result<R::Response, TransportError> {
        match self
            .within(DialPhase::Authenticate, engine.request(request))
            .await?
        {
            Ok(answer) => Ok(answer.response),
            Err(trouble) => Err(self.trouble::<R>(trouble, protection).await),
        }
    }

    /// The work of SCRAM is done beside the tasks that wait for sockets.
    async fn hear(
        &self,
        conversation: Conversation,
        answer: &SaslAuthenticateResponse,
    ) -> Result<(Conversation, Reply), TransportError> {
        let message = answer.message.clone();
        let work = crate::host::spawn_blocking(move || conversation.hear(&message));
        let heard = self.within(DialPhase::Authenticate, work).await?;
        // It does not panic, and is not aborted while the runtime is there.
        let heard = heard.map_err(|_| self.error(ErrorKind::Closed))?;
        heard.map_err(|failure| self.error(ErrorKind::Sasl(failure)))
    }
}

fn accepted(
    conversation: &Conversation,
    answer: &SaslAuthenticateResponse,
) -> Result<(), SaslFailure> {
    let message = answer.error_message.as_deref();
    match ErrorCode::from_code(answer.error_code) {
        None => Ok(()),
        Some(ErrorCode::SaslAuthenticationFailed) => Err(conversation.refused(message)),
        Some(ErrorCode::IllegalSaslState) => Err(SaslFailure::NotAskedFor),
        Some(code) => Err(conversation.failed(code, message)),
    }
}

/// Somewhere between 70 and 85 % of the session, so that connections that were opened together are
/// not replaced together, and what is in flight then has 15 % of it left to be answered.
fn good_until(said_at: Instant, session_lifetime_ms: i64) -> Option<Instant> {
    let lifetime = u64::try_from(session_lifetime_ms)
        .ok()
        .filter(|ms| *ms > 0)?;
    let chance = f64::from(crate::host::random_u32().unwrap_or(0)) / f64::from(u32::MAX);
    Some(said_at + finite(Duration::from_millis(lifetime)).mul_f64(0.7 + 0.15 * chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_replaced_well_before_its_session_ends_and_never_where_it_does_not() {
        let now = Instant::now();
        let after = |lifetime_ms| good_until(now, lifetime_ms).map(|until| until - now);
        let mut drawn: Vec<_> = (0..100).map(|_| after(10_000).unwrap()).collect();
        drawn.sort();
        drawn.dedup();
        assert!(drawn.len() > 1, "all at once");
        let bounds = Duration::from_millis(7_000)..=Duration::from_millis(8_501);
        assert!(
            drawn.iter().all(|after| bounds.contains(after)),
            "{drawn:?}"
        );
        for none in [0, -1, i64::MIN] {
            assert_eq!(after(none), None);
        }
        assert!(after(i64::MAX).is_some());
    }
}

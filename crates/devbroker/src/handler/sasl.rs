//! Who the client is: SaslHandshake, SaslAuthenticate. A refusal is the last that a connection hears.

use std::io;

use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use super::{Answer, Context, Reply};
use crate::sasl::Session;

pub(super) fn shake_hands(
    context: &Context<'_>,
    session: &mut Session,
    reply: &Reply,
    request: &SaslHandshakeRequest,
) -> io::Result<Answer> {
    if let Some(code) = context.injected.instead_of_all() {
        return reply.with(&SaslHandshakeResponse::default().with_error_code(code.0));
    }
    match session.shake_hands(&request.mechanism) {
        (response, true) => reply.with(&response),
        (response, false) => reply.last(&response),
    }
}

pub(super) fn authenticate(
    context: &Context<'_>,
    session: &mut Session,
    reply: &Reply,
    request: &SaslAuthenticateRequest,
) -> io::Result<Answer> {
    if let Some(code) = context.injected.instead_of_all() {
        return reply.last(&SaslAuthenticateResponse::default().with_error_code(code.0));
    }
    let mut said = session.authenticate(&request.auth_bytes, context.shared.now().instant);
    if context.version == 0 {
        // Version 0 cannot say it.
        said.response.session_lifetime_ms = 0;
    }
    if said.is_last {
        reply.last(&said.response)
    } else {
        reply.with(&said.response)
    }
}

//! One connection: requests in order, each answered before the next is read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::principal::principal;
use super::shared::Shared;
use crate::api::Api;
use crate::fault::{Asked, Step};
use crate::handler::{self, Answer};
use crate::sasl::Session;
use crate::wire::{self, Malformed, Request};

/// A client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The broker it came in at.
    pub broker: i32,
    /// Who the client is: `User:` and the subject of its certificate as Kafka writes it
    /// (`User:CN=node-1`), or the name it authenticated by over SASL; `User:ANONYMOUS` before that
    /// and on plaintext.
    pub principal: String,
    /// The client id of its last request.
    pub client_id: Option<String>,
    /// The certificate the client showed, DER; none on plaintext.
    pub certificate: Option<CertificateDer<'static>>,
}

impl ConnectionInfo {
    pub(super) fn new(
        broker: i32,
        peer: SocketAddr,
        certificate: Option<CertificateDer<'static>>,
    ) -> Self {
        Self {
            peer,
            broker,
            principal: principal(certificate.as_ref()),
            client_id: None,
            certificate,
        }
    }
}

/// Takes the connection off the list when its task ends, however it ends.
struct Listed {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared
            .update(|state| state.connections.remove(&self.id));
    }
}

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut stream: S,
    came_in: ConnectionInfo,
) {
    let peer = came_in.peer;
    let id = shared.update(|state| {
        let id = state
            .connections
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        state.connections.insert(id, came_in.clone());
        id
    });
    let listed = Listed { shared, id };
    if let Err(error) = answer_all(&listed, &mut stream, came_in).await {
        debug!(%peer, %error, "connection closed");
    }
}

async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(
    listed: &Listed,
    stream: &mut S,
    mut came_in: ConnectionInfo,
) -> io::Result<()> {
    let shared = &listed.shared;
    let mut session = Session::new(shared.sasl());
    let mut kept = Vec::new();
    while let Some(frame) = wire::read_frame(stream, shared.max_frame_bytes).await? {
        shared.thawed().await;
        let answer = match wire::parse_request(frame) {
            Ok(request) => {
                if !session.admits(request.api, shared.now().instant) {
                    let reason = format!("{} before authentication", request.api);
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
                }
                remember_client(listed, &request);
                let answer = answer(shared, &came_in, &mut session, request).await?;
                remember_principal(listed, &mut came_in, &session);
                answer
            }
            Err(Malformed::UnsupportedVersion {
                api: Api::ApiVersions,
                correlation_id,
                ..
            }) => Served {
                answer: Answer::Frame(handler::unsupported_api_versions(correlation_id)?),
                sending: Sending::Once,
            },
            Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
        };
        let Served { answer, sending } = answer;
        let frame = match answer {
            Answer::Frame(frame) => frame,
            Answer::Last(frame) => return write(shared, stream, frame).await,
            Answer::Nothing => continue,
            Answer::Close => return Ok(()),
        };
        match sending {
            Sending::Once => write(shared, stream, frame).await?,
            Sending::Twice => {
                write(shared, stream, frame.clone()).await?;
                write(shared, stream, frame).await?;
            }
            Sending::Half => {
                shared.thawed().await;
                return wire::write_half_a_frame(stream, frame).await;
            }
            Sending::AfterTheNext => {
                kept.push(frame);
                continue;
            }
        }
        for frame in kept.drain(..) {
            write(shared, stream, frame).await?;
        }
    }
    Ok(())
}

async fn write<S: AsyncWrite + Unpin>(
    shared: &Shared,
    stream: &mut S,
    frame: Bytes,
) -> io::Result<()> {
    shared.thawed().await;
    wire::write_frame(stream, frame).await
}

fn remember_client(listed: &Listed, request: &Request) {
    let known = listed.shared.read(|state| {
        let info = state.connections.get(&listed.id);
        info.is_some_and(|info| info.client_id == request.client_id)
    });
    if known {
        return;
    }
    listed.shared.update(|state| {
        if let Some(info) = state.connections.get_mut(&listed.id) {
            info.client_id.clone_from(&request.client_id);
        }
    });
}

/// Who has authenticated is from then on who asks.
fn remember_principal(listed: &Listed, came_in: &mut ConnectionInfo, session: &Session) {
    let Some(principal) = session.principal() else {
        return;
    };
    if came_in.principal == principal {
        return;
    }
    came_in.principal.clone_from(&principal);
    listed.shared.update(|state| {
        if let Some(info) = state.connections.get_mut(&listed.id) {
            info.principal = principal;
        }
    });
}

/// An answer, and how it is sent.
struct Served {
    answer: Answer,
    sending: Sending,
}

enum Sending {
    Once,
    Twice,
    Half,
    AfterTheNext,
}

/// Serves one request, with the faults that hit it.
async fn answer(
    shared: &Shared,
    came_in: &ConnectionInfo,
    session: &mut Session,
    request: Request,
) -> io::Result<Served> {
    let closed = Served {
        answer: Answer::Close,
        sending: Sending::Once,
    };
    let plan = shared.update(|state| {
        let targets = handler::targets(state, came_in.broker, &request.body);
        state.admit(&Asked {
            api: request.api,
            broker: came_in.broker,
            client_id: request.client_id.as_deref(),
            principal: &came_in.principal,
            group: handler::group(&request.body),
            targets: &targets,
        })
    });
    if pass(shared, &plan.before, handler::member(&request.body)).await == Passed::Dropped {
        return Ok(closed);
    }
    let answer = handler::handle(shared, came_in, session, request, &plan.injected).await?;
    if pass(shared, &plan.after, None).await == Passed::Dropped {
        return Ok(closed);
    }
    let sending = plan.after.iter().find_map(|step| match step {
        Step::Duplicate => Some(Sending::Twice),
        Step::Cut => Some(Sending::Half),
        Step::Swap => Some(Sending::AfterTheNext),
        _ => None,
    });
    Ok(Served {
        answer,
        sending: sending.unwrap_or(Sending::Once),
    })
}

#[derive(PartialEq, Eq)]
enum Passed {
    Through,
    Dropped,
}

/// Goes through the steps, up to one that ends the connection.
async fn pass(shared: &Shared, steps: &[Step], member: Option<(&str, &str)>) -> Passed {
    for step in steps {
        match step {
            Step::Drop => return Passed::Dropped,
            Step::Delay(delay) => tokio::time::sleep(*delay).await,
            Step::Hold(released) => released.cancelled().await,
            Step::Change(change) => {
                let now = shared.now().instant;
                shared.update(|state| state.happen(now, change, member));
            }
            // How the answer is sent, once it is there.
            Step::Duplicate | Step::Cut | Step::Swap => {}
        }
    }
    Passed::Through
}

//! From an address to an open connection: resolve, connect, handshake, exchange of versions, SASL.
//!
//! All of it under one deadline, and each failure told by what it was and how far it had come.

mod authentication;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::broker::{Connection, Fate, Purpose, Stream, Watched};
use crate::config::{Address, ClientConfig, Security};
use crate::error::{
    DialPhase, ErrorCode, ErrorKind, Operation, SaslFailure, Target, TlsFailure, TransportError,
};
use crate::tls::TlsConfig;
use crate::wire::{Api, ApiVersionsRequest, Engine, EngineError, FrameGuard, Request};

/// A request and the length before it leave in one piece up to this size; larger ones are not copied.
const WRITE_BUFFER_BYTES: usize = 32 << 10;
const READ_BUFFER_BYTES: usize = 16 << 10;

/// A connection quiet for this long is probed by TCP, and taken for dead after a number of unanswered probes that
/// is the system's.
const QUIET: Duration = Duration::from_secs(60);
const BETWEEN_PROBES: Duration = Duration::from_secs(10);

/// How long to wait for the reading side to end when the writing side has.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Opens a connection, protected like this, within the configuration's connect timeout.
pub(crate) async fn dial(
    address: &Address,
    purpose: Purpose,
    config: &ClientConfig,
    security: &Security,
) -> Result<Connection, TransportError> {
    let dialling = Dialling {
        address,
        timeout: config.connect_timeout,
        deadline: Instant::now() + config.connect_timeout,
    };
    if !config.may_dial(address, security) {
        return Err(dialling.error(ErrorKind::PlaintextRefused));
    }
    if !config.may_authenticate(security) {
        return Err(dialling.error(ErrorKind::Sasl(SaslFailure::PlaintextRefused)));
    }
    let (stream, tls) = dialling.open(security).await?;
    let frame_limit_bytes = config.frame_limit_for(purpose);
    let fate = Fate::default();
    let guard = FrameGuard::new(frame_limit_bytes);
    let watched = Watched::new(stream, guard, fate.clone(), tls.is_none());
    let wire = BufStream::with_capacity(READ_BUFFER_BYTES, WRITE_BUFFER_BYTES, watched);
    let mut engine = Engine::new(wire, frame_limit_bytes, Arc::clone(&config.client_id));
    let protection = Protection { fate: &fate, tls };
    dialling.versions(&mut engine, protection).await?;
    let good_until = match &config.sasl {
        Some(sasl) => dialling.authenticate(&engine, protection, sasl).await?,
        None => None,
    };
    Ok(Connection::new(
        engine,
        address.clone(),
        purpose,
        config.hooks.clone(),
        fate,
        good_until,
    ))
}

/// What a fresh connection runs over, and how that ends.
#[derive(Clone, Copy)]
struct Protection<'a> {
    fate: &'a Fate,
    tls: Option<&'a TlsConfig>,
}

/// One attempt to connect.
struct Dialling<'a> {
    address: &'a Address,
    timeout: Duration,
    deadline: Instant,
}

impl Dialling<'_> {
    fn error(&self, kind: ErrorKind) -> TransportError {
        TransportError::new(Operation::Connect, Target::broker(self.address), kind)
    }

    async fn within<T>(
        &self,
        phase: DialPhase,
        step: impl Future<Output = T>,
    ) -> Result<T, TransportError> {
        timeout_at(self.deadline, step).await.map_err(|_| {
            self.error(ErrorKind::Silent {
                phase,
                after: self.timeout,
            })
        })
    }

    /// A stream to the broker, protected as wanted.
    async fn open<'a>(
        &self,
        security: &'a Security,
    ) -> Result<(Box<dyn Stream>, Option<&'a TlsConfig>), TransportError> {
        #[cfg(feature = "simulation")]
        if let Some(process) = crate::host::Process::current() {
            // A simulated network is listened to by nobody.
            let connecting = process.connect(self.address.host(), self.address.port());
            let stream = self.within(DialPhase::Connect, connecting).await?;
            let stream =
                stream.map_err(|error| self.error(unreachable(&error)).with_source(error))?;
            return Ok((Box::new(stream), None));
        }
        let candidates = self.resolve().await?;
        let tcp = self.connect(&candidates).await?;
        match security {
            Security::Plaintext => Ok((Box::new(tcp), None)),
            Security::Tls(tls) => {
                let stream = self.handshake(tls, tcp).await?;
                Ok((Box::new(stream), Some(tls)))
            }
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, TransportError> {
        let target = (self.address.host(), self.address.port());
        let failed = |reason: String| {
            self.error(ErrorKind::Resolve {
                reason: reason.into(),
            })
        };
        let found: Vec<_> = self
            .within(DialPhase::Resolve, tokio::net::lookup_host(target))
            .await?
            .map_err(|error| failed(error.to_string()))?
            .collect();
        if found.is_empty() {
            return Err(failed("the name has no addresses".to_owned()));
        }
        Ok(found)
    }

    /// Tries the addresses in turn; those that are silent share the time that is left fairly, so that a
    /// dead first one does not use up the chance of the second.
    async fn connect(&self, candidates: &[SocketAddr]) -> Result<TcpStream, TransportError> {
        let mut last = None;
        for (tried, candidate) in candidates.iter().enumerate() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let ahead = u32::try_from(candidates.len() - tried).unwrap_or(u32::MAX);
            let share = Instant::now() + left / ahead;
            match timeout_at(share, TcpStream::connect(candidate)).await {
                Ok(Ok(stream)) => {
                    tune(&stream).map_err(|error| self.error(unreachable(&error)))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(self.error(unreachable(&error)).with_source(error)),
                Err(_elapsed) => {
                    last.get_or_insert_with(|| {
                        self.error(ErrorKind::Silent {
                            phase: DialPhase::Connect,
                            after: self.timeout,
                        })
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            self.error(ErrorKind::Resolve {
                reason: "the name has no addresses".into(),
            })
        }))
    }

    async fn handshake(
        &self,
        tls: &TlsConfig,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, TransportError> {
        let name = tls
            .server_name_for(self.address.host())
            .map_err(|failure| self.error(ErrorKind::Tls(failure)))?;
        let connector = tokio_rustls::TlsConnector::from(tls.rustls());
        self.within(DialPhase::Handshake, connector.connect(name, tcp))
            .await?
            .map_err(|error| {
                let failure = handshake_failure(&error, tls);
                self.error(ErrorKind::Tls(failure)).with_source(error)
            })
    }

    /// The first request over the connection. With TLS 1.3 a broker that refuses our certificate, or the
    /// want of one, says so only now.
    async fn versions(
        &self,
        engine: &mut Engine<crate::broker::Wire>,
        protection: Protection<'_>,
    ) -> Result<(), TransportError> {
        let exchanged = self
            .within(DialPhase::Versions, engine.exchange_versions())
            .await?;
        match exchanged {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self
                .trouble::<ApiVersionsRequest>(trouble, protection)
                .await),
        }
    }

    /// A request that has no response, before the connection is handed over.
    async fn trouble<R: Request>(
        &self,
        trouble: EngineError,
        Protection { fate, tls }: Protection<'_>,
    ) -> TransportError {
        let kind = match trouble {
            EngineError::Malformed(reason) => ErrorKind::Malformed {
                reason: reason.into(),
            },
            EngineError::VersionsRefused(code) => ErrorKind::Code {
                code: ErrorCode::from_code(code).unwrap_or(ErrorCode::Other(code)),
                message: None,
            },
            EngineError::NoCommonVersion { theirs } => ErrorKind::UnsupportedVersion {
                api: R::API.name(),
                ours: R::VERSIONS.to_string().into(),
                theirs: theirs.map_or("none".into(), |range| range.to_string().into()),
            },
            EngineError::Unencodable(why) => ErrorKind::Unencodable {
                reason: why.to_string().into(),
            },
            EngineError::Lost(reason) => {
                // Writing may fail before the broker's last words, such as an alert, have been read.
                let last_words =
                    timeout_at(self.deadline.min(Instant::now() + LAST_WORDS), fate.ended());
                let _ = last_words.await;
                let ending = fate
                    .ending()
                    .unwrap_or(crate::broker::Ending::Broken(reason.into()));
                match tls.filter(|_| R::API == Api::ApiVersions) {
                    Some(tls) => right_after_handshake(ending, tls),
                    None => ending.kind(false),
                }
            }
        };
        self.error(kind)
    }
}

/// Neither waits for acknowledgements of what was sent before, nor lies open when the other end is gone: what keeps
/// track of connections on the way forgets those that are quiet, and says so to nobody.
fn tune(stream: &TcpStream) -> io::Result<()> {
    // Without this a request waits up to 40 ms for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(QUIET)
        .with_interval(BETWEEN_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn unreachable(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
        _ => ErrorKind::Unreachable {
            reason: error.to_string().into(),
        },
    }
}

/// A handshake that failed, told apart.
fn handshake_failure(error: &io::Error, tls: &TlsConfig) -> TlsFailure {
    let cause = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<rustls::Error>());
    match cause {
        Some(cause) => without_certificate(crate::tls::failure_of(cause), tls),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => TlsFailure::EndedInHandshake,
            _ => TlsFailure::Other {
                reason: error.to_string().into(),
            },
        },
    }
}

/// A connection that ended before its first answer.
fn right_after_handshake(ending: crate::broker::Ending, tls: &TlsConfig) -> ErrorKind {
    use crate::broker::Ending;

    match ending {
        Ending::Tls(failure) => ErrorKind::Tls(without_certificate(failure, tls)),
        Ending::ByBroker | Ending::Broken(_) if !tls.has_client_certificate() => {
            ErrorKind::Tls(TlsFailure::ClientCertificateRequired { certain: false })
        }
        other => other.kind(false),
    }
}

/// A refusal of the client certificate means, where none was given, that one is wanted.
fn without_certificate(failure: TlsFailure, tls: &TlsConfig) -> TlsFailure {
    match failure {
        TlsFailure::ClientCertificateRefused { .. } if !tls.has_client_certificate() => {
            TlsFailure::ClientCertificateRequired { certain: false }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quiet_connection_is_probed_and_a_small_request_leaves_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
        let timeout = Duration::from_secs(20);
        let dialling = Dialling {
            address: &address,
            timeout,
            deadline: Instant::now() + timeout,
        };
        let candidates = dialling.resolve().await.unwrap();
        let stream = dialling.connect(&candidates).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_keepalive_time().unwrap(), QUIET);
    }
}

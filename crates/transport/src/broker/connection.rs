//! An open connection, and how it ended.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufStream, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Address;
use crate::error::{ErrorKind, TlsFailure};
use crate::hooks::{HooksInUse, Purpose};
use crate::wire::{Engine, FrameGuard, FrameViolation};

/// A stream to a broker, TLS or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Stream for S {}

/// What the engine runs on: the length and the body of a request leave in one piece.
pub(crate) type Wire = BufStream<Watched<Box<dyn Stream>>>;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By us, because it could no longer be trusted; for this reason.
    Closed(&'static str),
    /// By the broker.
    ByBroker,
    /// By the network.
    Broken(Box<str>),
    /// By an error of TLS, also one that comes after the handshake.
    Tls(TlsFailure),
    /// The broker announced a frame that is not acceptable.
    BadFrame(FrameViolation),
    /// The broker spoke TLS on a plaintext connection.
    SpeaksTls,
}

impl Ending {
    /// The error of a request that was on the connection when it ended, or was about to be.
    pub(crate) fn kind(&self, sent: bool) -> ErrorKind {
        let lost = |reason: &str| ErrorKind::ConnectionLost {
            reason: reason.into(),
            sent,
        };
        match self {
            Self::Closed(reason) => lost(reason),
            Self::ByBroker => lost("the broker closed it"),
            Self::Broken(reason) => lost(reason),
            // A request that may have arrived has an unknown outcome, whatever TLS says; while connecting,
            // TLS failures are told as such.
            Self::Tls(failure) if sent => lost(&failure.to_string()),
            Self::Tls(failure) => ErrorKind::Tls(failure.clone()),
            Self::BadFrame(violation) => ErrorKind::FrameTooLarge {
                announced_bytes: violation.announced_bytes.into(),
                limit_bytes: violation.limit_bytes,
            },
            Self::SpeaksTls => ErrorKind::SpeaksTls,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(reason) => f.write_str(reason),
            other => other.kind(false).fmt(f),
        }
    }
}

/// The end of a connection, told once, known to all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    ending: Arc<OnceLock<Ending>>,
    ended: CancellationToken,
}

impl Fate {
    /// The first ending counts.
    pub(crate) fn seal(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.ended.cancel();
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.get().cloned()
    }

    /// Comes when the ending is sealed.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// An open connection to a broker whose versions are known.
#[derive(Debug)]
pub(crate) struct Connection {
    engine: Engine<Wire>,
    address: Address,
    fate: Fate,
    good_until: Option<Instant>,
    answered: AtomicBool,
    purpose: Purpose,
    hooks: HooksInUse,
    opened: Instant,
    /// Until then nothing more is sent.
    rests_until: Mutex<Option<Instant>>,
}

/// No quota of Kafka's lasts longer; a broker that asks for more is not believed, nor can it have us wait for weeks.
const LONGEST_REST: Duration = Duration::from_secs(300);

impl Connection {
    /// `good_until` is when it is to be replaced, because the broker will end it some time after.
    pub(crate) fn new(
        engine: Engine<Wire>,
        address: Address,
        purpose: Purpose,
        hooks: HooksInUse,
        fate: Fate,
        good_until: Option<Instant>,
    ) -> Self {
        Self {
            engine,
            address,
            fate,
            good_until,
            answered: AtomicBool::new(false),
            purpose,
            hooks,
            opened: Instant::now(),
            rests_until: Mutex::default(),
        }
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn hooks(&self) -> &HooksInUse {
        &self.hooks
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Sends nothing more for this long, or as much of it as is believed, which is told.
    pub(super) fn rest(&self, time: Duration) -> Duration {
        let time = time.min(LONGEST_REST);
        let mut rests_until = self.rests();
        *rests_until = (*rests_until).max(Some(Instant::now() + time));
        time
    }

    fn rests(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_resting(&self) -> bool {
        self.rests().is_some_and(|until| Instant::now() < until)
    }

    /// Comes when it may send again.
    pub(super) async fn rested(&self) {
        let until = *self.rests();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    pub(crate) fn engine(&self) -> &Engine<Wire> {
        &self.engine
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Comes when the connection is to be replaced; never, where it may stay.
    pub(super) async fn outlived(&self) {
        match self.good_until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Comes when the connection has ended.
    pub(crate) async fn ended(&self) {
        self.fate.ended().await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.fate.ended.is_cancelled()
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.fate.seal(ending);
    }

    /// How it ended; `ByBroker` if the engine knew before the stream did.
    pub(crate) fn ending(&self) -> Ending {
        self.fate.ending().unwrap_or(Ending::ByBroker)
    }

    pub(super) fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether it was of any use.
    pub(super) fn was_useful(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

/// A stream that notes how it ends, and ends at a frame that is not acceptable.
///
/// The engine tells only callers that have a request in flight; this tells the task of an idle connection
/// too, so that the next request dials instead of failing.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    guard: FrameGuard,
    fate: Fate,
    /// On a plaintext stream, whether nothing was read yet.
    sniff: bool,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S, guard: FrameGuard, fate: Fate, plaintext: bool) -> Self {
        Self {
            inner,
            guard,
            fate,
            sniff: plaintext,
        }
    }

    fn examine(&mut self, read: &[u8]) -> Result<(), Ending> {
        if read.is_empty() {
            return Err(Ending::ByBroker);
        }
        // A TLS alert record (type 21, version 3.x): as a length it would be 352 million bytes.
        if std::mem::take(&mut self.sniff) && matches!(read, [0x15, 0x03, 0..=4, ..]) {
            return Err(Ending::SpeaksTls);
        }
        self.guard.observe(read).map_err(Ending::BadFrame)
    }

    fn failed(&self, error: &io::Error) {
        self.fate.seal(ending_of(error));
    }
}

fn ending_of(error: &io::Error) -> Ending {
    let tls = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => Ending::Tls(crate::tls::failure_of(tls)),
        // Ended without the farewell of TLS: the broker's process died, or it does not bother.
        None if error.kind() == io::ErrorKind::UnexpectedEof => Ending::ByBroker,
        None => Ending::Broken(error.to_string().into()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.inner).poll_read(context, into) {
            Poll::Ready(Ok(())) => match self.examine(&into.filled()[before..]) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(ending) => {
                    let at_end = ending == Ending::ByBroker;
                    self.fate.seal(ending);
                    if at_end {
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
                }
            },
            Poll::Ready(Err(error)) => {
                self.failed(&error);
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Not sealed at a failed write: what the broker said before it hung up is still to be read, and
        // tells more than "broken pipe". The reader comes to it, or to the end, at once.
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

//! One direction of a connection: what is written arrives in order, later, or never.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

/// Bytes on their way at a time; a writer waits for room as with TCP's window.
const WINDOW_BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Pipe(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    on_the_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Nothing more is written.
    ended: bool,
    /// Torn: what is on its way never arrives.
    torn: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes on their way, to arrive then, and not before what was written before.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        arrives: Instant,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.torn || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES.saturating_sub(state.bytes);
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(room)];
        let last = state.on_the_way.back().map(|(arrives, _)| *arrives);
        let arrives = last.map_or(arrives, |last| last.max(arrives));
        state
            .on_the_way
            .push_back((arrives, Bytes::copy_from_slice(bytes)));
        state.bytes += bytes.len();
        wake(&mut state.reader);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Takes what has arrived. While the line is cut until some moment, nothing arrives.
    pub(super) fn read(
        &self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        cut_until: Option<Instant>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut state = self.lock();
            if state.torn {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            state.reader = Some(context.waker().clone());
            let Some((arrives, bytes)) = state.on_the_way.front_mut() else {
                return match state.ended {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            };
            let due = cut_until.map_or(*arrives, |until| until.max(*arrives));
            if due <= Instant::now() {
                let taken = bytes.len().min(into.remaining());
                into.put_slice(&bytes[..taken]);
                bytes.advance(taken);
                if bytes.is_empty() {
                    state.on_the_way.pop_front();
                }
                state.bytes -= taken;
                wake(&mut state.writer);
                return Poll::Ready(Ok(()));
            }
            drop(state);
            let sleep = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            match sleep.as_mut().poll(context) {
                Poll::Ready(()) => *timer = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Nothing more is written; what is on its way arrives.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        wake(&mut state.reader);
    }

    /// Has the reader look again.
    pub(super) fn look(&self) {
        wake(&mut self.lock().reader);
    }

    /// Both ends see that it is torn, and what was on its way is lost.
    pub(super) fn tear(&self) {
        let mut state = self.lock();
        state.torn = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A pair for both directions.
pub(super) fn pair() -> (Arc<Pipe>, Arc<Pipe>) {
    (Arc::default(), Arc::default())
}

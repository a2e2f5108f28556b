//! A network between processes and brokers: slow, torn, cut.

mod pipe;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use cybermesh_devbroker::DevBroker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use self::pipe::Pipe;
use crate::dice::Dice;
use crate::recorder::Recorder;

/// Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network(Arc<Shared>);

struct Shared {
    broker: Weak<DevBroker>,
    dice: Dice,
    recorder: Recorder,
    state: Mutex<State>,
}

struct State {
    next: u64,
    links: BTreeMap<u64, Link>,
    /// Until when nothing passes between a process and a broker.
    cut: BTreeMap<(String, i32), Instant>,
    /// What a message takes, in milliseconds.
    slowest_ms: u64,
}

struct Link {
    process: String,
    broker: i32,
    pipes: [Weak<Pipe>; 2],
}

/// Where the first broker is said to listen; the others follow.
pub(crate) const FIRST_PORT: u16 = 9001;

impl Network {
    pub(crate) fn new(broker: &Arc<DevBroker>, dice: Dice, recorder: Recorder) -> Self {
        Self(Arc::new(Shared {
            broker: Arc::downgrade(broker),
            dice,
            recorder,
            state: Mutex::new(State {
                next: 0,
                links: BTreeMap::new(),
                cut: BTreeMap::new(),
                slowest_ms: 4,
            }),
        }))
    }

    /// Connects a process to the broker at this port.
    pub(crate) async fn connect(self, process: String, port: u16) -> io::Result<End> {
        let broker = i32::from(port.saturating_sub(FIRST_PORT)) + 1;
        tokio::time::sleep(self.delay()).await;
        if let Some(until) = self.cut_until(&process, broker) {
            tokio::time::sleep_until(until).await;
        }
        let server = self.0.broker.upgrade();
        let is_up = server.as_ref().is_some_and(|server| server.is_up(broker));
        let (Some(server), true) = (server, is_up) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (there, back) = pipe::pair();
        let id = {
            let mut state = self.lock();
            let id = state.next;
            state.next += 1;
            let pipes = [Arc::downgrade(&there), Arc::downgrade(&back)];
            state
                .links
                .retain(|_, link| link.pipes[0].strong_count() > 0);
            let link = Link {
                process: process.clone(),
                broker,
                pipes,
            };
            state.links.insert(id, link);
            id
        };
        self.0
            .recorder
            .note(format_args!("{process} connects to {broker}: link {id}"));
        let end = |reads: &Arc<Pipe>, writes: &Arc<Pipe>, is_client| End {
            network: self.clone(),
            process: process.clone(),
            broker,
            id,
            is_client,
            reads: Arc::clone(reads),
            writes: Arc::clone(writes),
            timer: None,
        };
        let number = u16::try_from(id % 60_000).unwrap_or(0) + 1024;
        let [_, _, high, low] = u32::try_from(id / 60_000).unwrap_or(0).to_be_bytes();
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, high, low), number));
        server.serve(broker, end(&there, &back, false), peer);
        Ok(end(&back, &there, true))
    }

    /// What messages take at the longest from now on.
    pub(crate) fn slow_down(&self, slowest: Duration) {
        self.lock().slowest_ms = u64::try_from(slowest.as_millis()).unwrap_or(4).max(1);
    }

    /// Tears one connection, if there is any.
    pub(crate) fn tear_one(&self) {
        let mut state = self.lock();
        state
            .links
            .retain(|_, link| link.pipes[0].strong_count() > 0);
        let ids: Vec<u64> = state.links.keys().copied().collect();
        if let Some(link) = self.0.dice.pick(&ids).and_then(|id| state.links.remove(id)) {
            tear(&link);
        }
    }

    /// Tears every connection of a process.
    pub(crate) fn tear_all_of(&self, process: &str) {
        let mut state = self.lock();
        let links = std::mem::take(&mut state.links);
        let (of_it, others): (BTreeMap<_, _>, BTreeMap<_, _>) = links
            .into_iter()
            .partition(|(_, link)| link.process == process);
        state.links = others;
        of_it.values().for_each(tear);
    }

    /// Nothing passes between a process and a broker for this long; what is on its way waits, or is lost.
    pub(crate) fn cut(&self, process: &str, broker: i32, time: Duration, loses: bool) {
        let until = Instant::now() + time;
        let mut state = self.lock();
        state.cut.insert((process.to_owned(), broker), until);
        if loses {
            let of_it = |link: &&Link| link.process == process && link.broker == broker;
            state.links.values().filter(of_it).for_each(tear);
        }
    }

    /// Fast again, and all lines are whole.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.cut.clear();
        state.slowest_ms = 4;
        // Who waits for a line to be whole looks again.
        for link in state.links.values() {
            link.pipes
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|pipe| pipe.look());
        }
    }

    fn delay(&self) -> Duration {
        let slowest = self.lock().slowest_ms;
        self.0.dice.ms(1..=slowest)
    }

    fn cut_until(&self, process: &str, broker: i32) -> Option<Instant> {
        let mut state = self.lock();
        let line = (process.to_owned(), broker);
        let until = *state.cut.get(&line)?;
        if until <= Instant::now() {
            state.cut.remove(&line);
            return None;
        }
        Some(until)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tear(link: &Link) {
    link.pipes
        .iter()
        .filter_map(Weak::upgrade)
        .for_each(|pipe| pipe.tear());
}

/// One end of a connection.
pub(crate) struct End {
    network: Network,
    process: String,
    broker: i32,
    id: u64,
    is_client: bool,
    reads: Arc<Pipe>,
    writes: Arc<Pipe>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("link", &self.id)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cut = self.network.cut_until(&self.process, self.broker);
        let reads = Arc::clone(&self.reads);
        reads.read(&mut self.timer, cut, context, into)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let arrives = Instant::now() + self.network.delay();
        let written = self.writes.write(bytes, arrives, context);
        if let Poll::Ready(Ok(written)) = written {
            let way = if self.is_client { '>' } else { '<' };
            self.network
                .0
                .recorder
                .note(format_args!("link {} {way} {written}", self.id));
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes.end();
        // Whoever writes to it finds nobody there.
        self.reads.end();
    }
}

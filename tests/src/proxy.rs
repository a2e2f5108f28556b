//! Stands between a client and a broker, and loses what they say.
//!
//! It sees bytes alone: what passes is TLS. So it can lose answers or everything, from a moment
//! on, and cut connections; which request it hits is for the test to arrange.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PORT_WITHIN: Duration = Duration::from_secs(10);

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// They pass.
    Pass,
    /// Those to the broker pass; those from it are thrown away.
    LoseAnswers,
    /// Nothing passes; the connection stays open.
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Orders {
    conduct: Conduct,
    /// Connections of an older generation are closed.
    generation: u64,
}

#[derive(Debug)]
struct Shared {
    orders: watch::Sender<Orders>,
    /// Bytes that the broker sent and nobody got.
    lost: watch::Sender<usize>,
    connections: watch::Sender<usize>,
}

/// A running proxy. All its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on `listen` and connects each connection to `upstream`.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub async fn start(listen: &str, upstream: &str) -> Self {
        let listener = bind(listen).await;
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(Shared {
            orders: watch::Sender::new(Orders {
                conduct: Conduct::Pass,
                generation: 0,
            }),
            lost: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream.to_owned(), Arc::clone(&shared)));
        Self {
            shared,
            address,
            _accepting: accepting,
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of the bytes, of connections of now as well.
    pub fn conduct(&self, conduct: Conduct) {
        self.shared
            .orders
            .send_modify(|orders| orders.conduct = conduct);
    }

    /// Closes every connection of now, and lets bytes pass on new ones.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|orders| {
            orders.conduct = Conduct::Pass;
            orders.generation += 1;
        });
    }

    /// Waits until the broker has answered something that was lost.
    pub async fn answers_lost(&self) {
        // The sender lives in `self`.
        let _ = self
            .shared
            .lost
            .subscribe()
            .wait_for(|lost| *lost > 0)
            .await;
    }

    /// Waits until so many connections are open.
    pub async fn connections(&self, count: usize) {
        let _ = self
            .shared
            .connections
            .subscribe()
            .wait_for(|open| *open >= count)
            .await;
    }
}

/// The proxy that had the port before may be about to let go of it: its tasks end with its
/// test's runtime, a moment after the test.
async fn bind(listen: &str) -> TcpListener {
    let deadline = Instant::now() + PORT_WITHIN;
    loop {
        match TcpListener::bind(listen).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bound => return bound.expect("the proxy's port"),
        }
    }
}

async fn accept(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                running.spawn(connection(client, upstream.clone(), Arc::clone(&shared)));
            }
            Some(_) = running.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, upstream: String, shared: Arc<Shared>) {
    let generation = shared.orders.borrow().generation;
    let Ok(broker) = TcpStream::connect(&upstream).await else {
        return;
    };
    if client
        .set_nodelay(true)
        .and(broker.set_nodelay(true))
        .is_err()
    {
        return;
    }
    shared.connections.send_modify(|open| *open += 1);
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let mut orders = shared.orders.subscribe();
    tokio::select! {
        () = forward(from_client, to_broker, Direction::ToBroker, &shared) => {}
        () = forward(from_broker, to_client, Direction::ToClient, &shared) => {}
        _ = orders.wait_for(|orders| orders.generation != generation) => {}
    }
    shared.connections.send_modify(|open| *open -= 1);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker,
    ToClient,
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    shared: &Shared,
) {
    let mut orders = shared.orders.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Silence holds bytes back rather than throwing them away: TLS would break otherwise when
        // it ends, where a network that stalls and comes back does not break it.
        if orders
            .wait_for(|orders| orders.conduct != Conduct::Silence)
            .await
            .is_err()
        {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if orders
            .wait_for(|orders| orders.conduct != Conduct::Silence)
            .await
            .is_err()
        {
            return;
        }
        if direction == Direction::ToClient && orders.borrow().conduct == Conduct::LoseAnswers {
            shared.lost.send_modify(|lost| *lost += read);
        } else if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each byte with the byte after it.
    async fn upstream() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        stream.write_u8(byte + 1).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_pass_until_answers_are_lost_and_again_after_a_cut() {
        let proxy = Proxy::start("127.0.0.1:0", &upstream().await).await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_u8(1).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 2);
        proxy.conduct(Conduct::LoseAnswers);
        client.write_u8(7).await.unwrap();
        proxy.answers_lost().await;
        proxy.cut();
        assert!(client.read_u8().await.is_err());
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_u8(3).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 4);
    }

    #[tokio::test]
    async fn silence_holds_back_and_loses_nothing() {
        let proxy = Proxy::start("127.0.0.1:0", &upstream().await).await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.connections(1).await;
        proxy.conduct(Conduct::Silence);
        client.write_u8(5).await.unwrap();
        proxy.conduct(Conduct::Pass);
        assert_eq!(client.read_u8().await.unwrap(), 6);
    }
}

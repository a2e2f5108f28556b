//! The processes of a cluster's brokers: killed, stopped, paused, started again, through the socket of whoever runs them.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// The brokers of the cluster in the environment, by their ids.
#[derive(Debug)]
pub struct Brokers {
    socket: BufReader<UnixStream>,
}

impl Brokers {
    /// Connects to whoever runs them.
    ///
    /// # Panics
    /// When nobody does.
    pub async fn connect() -> Self {
        let path = std::env::var("TESTS_KAFKA_CONTROL").unwrap_or_else(|_| {
            panic!("TESTS_KAFKA_CONTROL is not set: there are no brokers to kill; use `cargo xtask test`")
        });
        let socket = UnixStream::connect(&path).await.expect("the socket");
        Self {
            socket: BufReader::new(socket),
        }
    }

    /// SIGKILL; it is dead when this returns.
    pub async fn kill(&mut self, id: i32) {
        self.order("kill", id).await;
    }

    /// SIGTERM: it hands its partitions over; it has ended when this returns.
    pub async fn stop(&mut self, id: i32) {
        self.order("stop", id).await;
    }

    /// SIGSTOP: the system accepts connections for it, and nobody answers.
    pub async fn pause(&mut self, id: i32) {
        self.order("pause", id).await;
    }

    /// SIGCONT.
    pub async fn resume(&mut self, id: i32) {
        self.order("resume", id).await;
    }

    /// Starts one that has ended; it need not serve yet when this returns.
    pub async fn start(&mut self, id: i32) {
        self.order("start", id).await;
    }

    /// Waits until it serves clients.
    pub async fn serves(&mut self, id: i32) {
        self.order("await", id).await;
    }

    /// Does it to a broker.
    async fn order(&mut self, deed: &str, id: i32) {
        let line = format!("{deed} {id}\n");
        let written = self.socket.write_all(line.as_bytes()).await;
        written.expect("the socket");
        let mut answer = String::new();
        let read = self.socket.read_line(&mut answer).await;
        read.expect("the socket");
        assert_eq!(answer, "ok\n", "{deed} {id}");
    }
}

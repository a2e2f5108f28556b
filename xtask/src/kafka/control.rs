//! A socket through which tests kill, stop, pause and start the brokers of a cluster.
//!
//! One command a line, `DEED ID`, as in `kill 2`; one line comes back when it is done: `ok`, or `error: …`. The deeds are
//! those of [`Deed`]: `kill`, `stop`, `pause`, `resume`, `start`, `await`.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::client::ClientEnv;
use super::cluster::{Cluster, Deed};
use crate::error::TaskError;

/// What tests find the socket by.
const VARIABLE: &str = "TESTS_KAFKA_CONTROL";

/// A cluster whose brokers obey a socket. They are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Controlled {
    client: ClientEnv,
    listening: JoinHandle<()>,
}

impl Controlled {
    /// Opens the socket, in the cluster's own folder.
    pub(crate) fn new(cluster: Cluster) -> Result<Self, TaskError> {
        let Some(dir) = cluster.dir() else {
            let what = "a cluster that outlives this program is not controlled by it";
            return Err(TaskError::Refused(what.to_owned()));
        };
        let path = dir.join("control");
        let listener = UnixListener::bind(&path).map_err(TaskError::file(&path))?;
        let client = cluster.client().with(VARIABLE, path.display().to_string());
        let listening = tokio::spawn(listen(listener, Arc::new(Mutex::new(cluster))));
        Ok(Self { client, listening })
    }

    /// What a client needs to reach the cluster and its socket.
    pub(crate) fn client(&self) -> &ClientEnv {
        &self.client
    }

    /// Kills the brokers, and waits until they are dead.
    pub(crate) async fn end(mut self) {
        self.listening.abort();
        // It was aborted, which is what is wanted.
        let _ = (&mut self.listening).await;
    }
}

impl Drop for Controlled {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One connection at a time: a test that hangs up in the middle of a deed has it done to the end.
async fn listen(listener: UnixListener, cluster: Arc<Mutex<Cluster>>) {
    while let Ok((stream, _)) = listener.accept().await {
        if let Err(error) = obey(stream, &cluster).await {
            eprintln!("error: the control socket: {error}");
        }
    }
}

async fn obey(stream: UnixStream, cluster: &Mutex<Cluster>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let done = match parse(&line) {
            Some((deed, id)) => cluster.lock().await.act(id, deed).await,
            None => Err(TaskError::Refused(format!("{line:?} is no command"))),
        };
        let answer = match done {
            Ok(()) => "ok\n".to_owned(),
            Err(error) => format!("error: {}\n", error.to_string().replace('\n', " ")),
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn parse(line: &str) -> Option<(Deed, u16)> {
    let (deed, id) = line.split_once(' ')?;
    let deed = match deed {
        "kill" => Deed::Kill,
        "stop" => Deed::Stop,
        "pause" => Deed::Pause,
        "resume" => Deed::Resume,
        "start" => Deed::Start,
        "await" => Deed::Await,
        _ => return None,
    };
    Some((deed, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_deed_and_a_broker() {
        assert_eq!(parse("pause 3"), Some((Deed::Pause, 3)));
        for line in [
            "pause",
            "pause three",
            "paws 3",
            " pause 3",
            "pause 3 4",
            "",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}

//! Recorders: consumers in processes of their own, started, killed and told to end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::history::Event;

/// Longer than a rebalance with a dead member takes, on a busy machine too.
const EVENT_WITHIN: Duration = Duration::from_secs(90);

/// A running recorder; killed when dropped.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

/// Whether a recorder keeps the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// As the bridge does it.
    Proper,
    /// It commits a record, then begins to handle it, and never ends.
    CommitFirst,
}

impl Recorder {
    /// Starts the program at `path` with these settings.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(
        path: &str,
        name: &str,
        history: &Path,
        settings: &BTreeMap<String, String>,
        conduct: Conduct,
    ) -> Self {
        let conduct = match conduct {
            Conduct::Proper => "proper",
            Conduct::CommitFirst => "commit-first",
        };
        let mut child = Command::new(path)
            .envs(settings)
            .env("RECORDER_NAME", name)
            .env("RECORDER_HISTORY", history)
            .env("RECORDER_CONDUCT", conduct)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the recorder");
        let stdout = child.stdout.take().expect("its standard output");
        Self {
            child,
            events: BufReader::new(stdout).lines(),
        }
    }

    /// Waits until `count` events of its own are such.
    ///
    /// # Panics
    /// When they do not come, or the recorder ends before.
    pub async fn wait_for(&mut self, count: usize, mut is_such: impl FnMut(&Event) -> bool) {
        let mut seen = 0;
        while seen < count {
            let line = tokio::time::timeout(EVENT_WITHIN, self.events.next_line()).await;
            let line = line
                .expect("an event in time")
                .expect("its standard output")
                .expect("it has not ended");
            let event: Event = serde_json::from_str(&line).expect("an event");
            if is_such(&event) {
                seen += 1;
            }
        }
    }

    /// Kills it with SIGKILL, and waits until it is dead.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a dead recorder");
    }

    /// Lets it end in order.
    ///
    /// # Panics
    /// When it does not, or leaves something behind.
    pub async fn end(mut self) {
        drop(self.child.stdin.take());
        // What it still says must be read, or it would wait for that.
        while let Ok(Some(_)) = self.events.next_line().await {}
        let status = tokio::time::timeout(EVENT_WITHIN, self.child.wait()).await;
        let status = status.expect("an end in time").expect("its status");
        assert!(status.success(), "the recorder ended with {status}");
    }
}

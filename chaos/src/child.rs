//! A process at work: what it says is heard, and signals reach it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinHandle;

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    heard: [JoinHandle<()>; 2],
}

impl Child {
    /// Starts it; hears each line of its standard output, and of its standard error, which also goes to `log`.
    pub(crate) fn start(
        mut command: Command,
        log: &Path,
        on_line: impl FnMut(&str) + Send + 'static,
        mut on_log_line: impl FnMut(&str) + Send + 'static,
    ) -> (Self, ChildStdin) {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let stdin = process.stdin.take().expect("its standard input");
        let stdout = process.stdout.take().expect("its standard output");
        let stderr = process.stderr.take().expect("its standard error");
        let mut log = File::options()
            .append(true)
            .create(true)
            .open(log)
            .expect("a log");
        let logged = move |line: &str| {
            writeln!(log, "{line}").expect("room for the log");
            on_log_line(line);
        };
        let heard = [
            tokio::spawn(hear(stdout, on_line)),
            tokio::spawn(hear(stderr, logged)),
        ];
        (Self { process, heard }, stdin)
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may end at this very moment.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL; it is dead, and all it said is heard, when this returns.
    pub(crate) async fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.process.kill().await;
        self.hear_out().await;
    }

    /// Waits for its end; whether it ended with success.
    pub(crate) async fn wait(&mut self) -> bool {
        let status = self.process.wait().await.expect("its status");
        self.hear_out().await;
        status.success()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    async fn hear_out(&mut self) {
        for heard in &mut self.heard {
            if !heard.is_finished() {
                heard.await.expect("to be heard");
            }
        }
    }
}

async fn hear(output: impl AsyncRead + Unpin, mut on_line: impl FnMut(&str)) {
    let mut lines = BufReader::new(output).lines();
    // A line that was cut off by a kill was not said.
    while let Ok(Some(line)) = lines.next_line().await {
        on_line(&line);
    }
}

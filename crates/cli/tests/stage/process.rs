//! The binary as a process that is sent signals, stalled and read from piece by piece.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "part of a test; each uses its own part of this"
)]

use std::fs;
use std::io::{PipeReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// Nothing waits for it to pass; what has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("it did not happen in time")
}

/// Whose the process is.
pub enum Home {
    /// A session without a terminal: a service.
    Service,
    /// A session with a terminal of its own, which hangs up when its other end is dropped.
    Terminal,
    /// The same, started with SIGHUP ignored.
    NoHangup,
}

/// A running binary; killed when dropped.
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    pub stdin: Option<ChildStdin>,
    terminal: Option<OwnedFd>,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` in a session of its own, which it leads; its standard error goes to a file.
    pub fn start(command: &Command, home: &Home, stderr: PathBuf) -> Self {
        let log = fs::File::create(&stderr).unwrap();
        Self::start_logging_to(command, home, log.into(), stderr)
    }

    fn start_logging_to(command: &Command, home: &Home, log: Stdio, stderr: PathBuf) -> Self {
        let mut session = match home {
            Home::NoHangup => {
                let mut session = Command::new("setsid");
                session.args(["--ctty", "sh", "-c", r#"trap "" HUP; exec "$0" "$@""#]);
                session
            }
            Home::Terminal => {
                let mut session = Command::new("setsid");
                session.arg("--ctty");
                session
            }
            Home::Service => Command::new("setsid"),
        };
        session.arg(command.get_program()).args(command.get_args());
        session.env_clear();
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap_or_default());
        }
        session.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let terminal = match home {
            Home::Service => {
                session.stdin(Stdio::piped());
                None
            }
            Home::Terminal | Home::NoHangup => {
                let (ours, theirs) = terminal();
                session.stdin(theirs);
                Some(ours)
            }
        };
        session.stdout(Stdio::piped());
        session.stderr(log);
        let mut session = tokio::process::Command::from(session);
        let mut child = session.kill_on_drop(true).spawn().unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            child,
            terminal,
            stderr,
        }
    }

    /// Starts it as a service whose log nobody reads.
    pub fn start_with_closed_stderr(command: &Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Self::start_logging_to(command, &Home::Service, writer.into(), "/dev/null".into())
    }

    /// Starts it as a service whose log is a full pipe, which nobody reads until somebody reads what is answered.
    pub fn start_with_full_stderr(command: &Command) -> (Self, PipeReader) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let holds = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
        writer.write_all(&vec![b'\n'; holds]).unwrap();
        let process =
            Self::start_logging_to(command, &Home::Service, writer.into(), "/dev/null".into());
        (process, reader)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Types this into its terminal.
    pub fn type_in(&mut self, text: &str) {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            let typed = rustix::io::write(self.terminal.as_ref().unwrap(), left).unwrap();
            left = &left[typed..];
        }
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Takes its terminal away.
    pub fn hang_up(&mut self) {
        drop(self.terminal.take());
    }

    /// Its next line, as JSON.
    pub async fn line(&mut self) -> Value {
        let line = self.text().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    async fn text(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.as_mut().unwrap().read_line(&mut line);
        within(read).await.unwrap();
        assert!(line.ends_with('\n'), "it ended: {}", self.complaints());
        line
    }

    /// Reads one byte: it is in the middle of its next line then.
    pub async fn byte(&mut self) -> u8 {
        let stdout = self.stdout.as_mut().unwrap();
        within(stdout.get_mut().read_u8()).await.unwrap()
    }

    /// What is left of a line that [`byte`](Self::byte) began.
    pub async fn rest_of_line(&mut self, begun: u8) -> Value {
        let line = format!("{}{}", char::from(begun), self.text().await);
        serde_json::from_str(&line).unwrap()
    }

    /// Nobody reads what it prints any more, and it is told so.
    pub fn close_stdout(&mut self) {
        drop(self.stdout.take());
    }

    /// Everything it prints until it closes its standard output.
    pub async fn all_lines(&mut self) -> Vec<Value> {
        let mut text = String::new();
        let read = self.stdout.as_mut().unwrap().read_to_string(&mut text);
        within(read).await.unwrap();
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        text.lines().map(parse).collect()
    }

    /// The same of a process that was killed: what it had not finished printing is nothing.
    pub async fn all_whole_lines(&mut self) -> Vec<Value> {
        let mut text = String::new();
        let read = self.stdout.as_mut().unwrap().read_to_string(&mut text);
        within(read).await.unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        whole.lines().map(parse).collect()
    }

    pub async fn ended(&mut self) -> ExitStatus {
        within(self.child.wait()).await.unwrap()
    }

    /// What it wrote to standard error.
    pub fn complaints(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until what it wrote to a file, standard error or another, has this in it.
    pub async fn writes(&self, file: Option<PathBuf>, words: &str) {
        let file = file.unwrap_or_else(|| self.stderr.clone());
        within(async {
            while !fs::read_to_string(&file)
                .unwrap_or_default()
                .contains(words)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Both ends of a terminal: ours, and the program's.
fn terminal() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    (ours, theirs.into())
}

//! Running programs so that none outlives the task.
//!
//! Each program leads a process group of its own. When the future that runs it is dropped (a
//! failed sibling, Ctrl-C, SIGTERM) the whole group is killed, grandchildren included.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::error::TaskError;

/// A program with its arguments, not yet started.
#[derive(Debug)]
pub(crate) struct Run {
    program: String,
    command: Command,
}

impl Run {
    /// `program`, found on PATH, with nothing on standard input.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        Self {
            program: program.as_ref().to_string_lossy().into_owned(),
            command,
        }
    }

    /// The cargo that runs us, or the one on PATH.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.command.envs(vars);
        self
    }

    pub(crate) fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The command line, for messages.
    pub(crate) fn describe(&self) -> String {
        let args = self
            .command
            .as_std()
            .get_args()
            .map(|arg| arg.to_string_lossy());
        std::iter::once(self.program.as_str().into())
            .chain(args)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs on our own standard streams; an exit code other than 0 is an error.
    pub(crate) async fn stream(self) -> Result<(), TaskError> {
        let what = self.describe();
        let mut group = self.start()?;
        let status = group.wait().await?;
        succeeded(what, status)
    }

    /// Runs and gives back standard output; standard error goes to ours.
    pub(crate) async fn capture(mut self) -> Result<String, TaskError> {
        let what = self.describe();
        self.command.stdout(Stdio::piped());
        let mut group = self.start()?;
        let mut text = String::new();
        if let Some(mut stdout) = group.child.stdout.take() {
            stdout
                .read_to_string(&mut text)
                .await
                .map_err(TaskError::file("standard output of a program"))?;
        }
        let status = group.wait().await?;
        succeeded(what, status)?;
        Ok(text)
    }

    /// Runs and hands each line of standard output to `line`; standard error goes to ours.
    pub(crate) async fn lines(
        mut self,
        mut line: impl FnMut(&str),
    ) -> Result<ExitStatus, TaskError> {
        self.command.stdout(Stdio::piped());
        let mut group = self.start()?;
        if let Some(stdout) = group.child.stdout.take() {
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            loop {
                bytes.clear();
                let read = reader.read_until(b'\n', &mut bytes).await;
                if read.map_err(TaskError::file("standard output of a program"))? == 0 {
                    break;
                }
                line(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']));
            }
        }
        group.wait().await
    }

    /// Starts with standard output and error in the file `log`.
    pub(crate) fn into_log(mut self, log: &Path) -> Result<Group, TaskError> {
        let file = std::fs::File::create(log).map_err(TaskError::file(log))?;
        let second = file.try_clone().map_err(TaskError::file(log))?;
        self.command.stdout(file).stderr(second);
        self.start()
    }

    /// As [`Run::into_log`], with a pipe of ours as its standard input: it ends when we do.
    pub(crate) fn tied_into_log(mut self, log: &Path) -> Result<Group, TaskError> {
        self.command.stdin(Stdio::piped());
        self.into_log(log)
    }

    fn start(mut self) -> Result<Group, TaskError> {
        let child = self.command.spawn().map_err(|source| TaskError::Spawn {
            program: self.program.clone(),
            source,
        })?;
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Group {
            child,
            leader,
            program: self.program,
        })
    }
}

/// A running program and its process group, killed when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    leader: Option<Pid>,
    program: String,
}

impl Group {
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, TaskError> {
        let status = self.child.wait().await;
        status.map_err(|source| TaskError::Spawn {
            program: self.program.clone(),
            source,
        })
    }

    /// The exit status, if it has ended already.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.leader
            .and_then(|leader| u32::try_from(leader.as_raw_nonzero().get()).ok())
    }

    /// Sends a signal to all of the group.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // Fails when the group is empty already: then there is nobody to be told.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Whether none of the group is left, the leader's children included.
    pub(crate) fn is_empty(&mut self) -> bool {
        // Until its leader has been waited for, a group has a member.
        self.ended().is_some()
            && self
                .leader
                .is_none_or(|leader| test_kill_process_group(leader).is_err())
    }

    /// Lets it live on when we are gone, and gives back its id.
    pub(crate) fn detach(mut self) -> Option<u32> {
        let id = self.id();
        self.leader = None;
        // The handle would kill on drop; what it owns besides is nothing that needs dropping.
        std::mem::forget(self);
        id
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // Fails when the group is empty already, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
            while let Ok(None) = self.child.try_wait() {
                std::thread::yield_now();
            }
        }
    }
}

fn succeeded(what: String, status: ExitStatus) -> Result<(), TaskError> {
    if status.success() {
        Ok(())
    } else {
        Err(TaskError::Status { what, status })
    }
}

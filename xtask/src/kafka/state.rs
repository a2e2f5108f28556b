//! The cluster that stays up between two commands: what is remembered of it, and its end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::client::ClientEnv;
use crate::error::TaskError;

const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster as it was left running.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) brokers: Vec<RunningBroker>,
    pub(super) client: ClientEnv,
}

/// A broker's process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunningBroker {
    pub(super) id: u16,
    pub(super) pid: u32,
    pub(super) tls_port: u16,
    pub(super) properties: PathBuf,
    pub(super) log: PathBuf,
}

impl State {
    /// What is remembered in `dir`, if anything is.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, TaskError> {
        let path = dir.join("cluster.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| TaskError::malformed(path.display().to_string(), error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TaskError::file(&path)(error)),
        }
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), TaskError> {
        let path = dir.join("cluster.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| TaskError::malformed("cluster", error))?;
        std::fs::write(&path, text).map_err(TaskError::file(&path))
    }

    pub(super) fn all_run(&self) -> bool {
        !self.brokers.is_empty() && self.brokers.iter().all(RunningBroker::runs)
    }
}

impl RunningBroker {
    /// Whether the process of that number is still this broker: numbers are given out again.
    fn runs(&self) -> bool {
        let Ok(line) = std::fs::read(format!("/proc/{}/cmdline", self.pid)) else {
            return false;
        };
        line.split(|byte| *byte == 0)
            .any(|arg| arg == self.properties.as_os_str().as_encoded_bytes())
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (true, Some(group)) = (self.runs(), group) {
            // Fails when it has ended since, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Stops the cluster, politely first, and throws its data away.
pub(super) async fn down(dir: &Path) -> Result<(), TaskError> {
    let Some(state) = State::load(dir)? else {
        eprintln!("not up");
        return Ok(());
    };
    for (signal, patience) in [
        (Signal::TERM, Duration::from_secs(10)),
        (Signal::KILL, GONE_WITHIN),
    ] {
        state
            .brokers
            .iter()
            .for_each(|broker| broker.signal(signal));
        let deadline = Instant::now() + patience;
        while state.brokers.iter().any(RunningBroker::runs) && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    if let Some(broker) = state.brokers.iter().find(|broker| broker.runs()) {
        let what = format!(
            "broker {} (process {}) has not ended",
            broker.id, broker.pid
        );
        return Err(TaskError::Late {
            what,
            seconds: GONE_WITHIN.as_secs(),
        });
    }
    for path in ["cluster.json", "env"].map(|name| dir.join(name)) {
        if path.exists() {
            std::fs::remove_file(&path).map_err(TaskError::file(&path))?;
        }
    }
    let data = dir.join("cluster");
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(TaskError::file(&data))?;
    }
    eprintln!("down");
    Ok(())
}

/// Says which brokers run; an error unless all do.
pub(super) fn status(dir: &Path) -> Result<(), TaskError> {
    let Some(state) = State::load(dir)? else {
        return Err(TaskError::Refused("not up".to_owned()));
    };
    for broker in &state.brokers {
        let word = if broker.runs() { "running" } else { "ended" };
        println!(
            "broker {}: {word}, process {}, 127.0.0.1:{}, log {}",
            broker.id,
            broker.pid,
            broker.tls_port,
            broker.log.display()
        );
    }
    if state.all_run() {
        Ok(())
    } else {
        Err(TaskError::Refused("not all brokers run".to_owned()))
    }
}

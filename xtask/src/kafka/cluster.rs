//! Starts the brokers of a cluster, waits until they serve, and stops them.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use base64::Engine as _;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::client::{self, ClientEnv};
use super::pki::Pki;
use super::properties::{Broker, LOG4J, Ports, READY, SASL_PASSWORD, SASL_USER, SCRAM};
use super::release::Release;
use super::state::RunningBroker;
use super::{install, ports};
use crate::error::TaskError;
use crate::process::{Group, Run};
use crate::workspace::Workspace;

/// A JVM on a busy machine takes its time; a broker that is not there by then never comes.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A broker that hands its partitions over takes a few seconds.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

const TEST_PREFIX: &str = "test-";

/// How long the brokers live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Until `kafka down`.
    Detached,
    /// As long as this process, however it ends.
    Tied,
}

/// A cluster that serves clients; its brokers are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    brokers: Vec<Node>,
    client: ClientEnv,
    java: Java,
    /// Dropped last: the brokers write into it.
    dir: Option<TempDir>,
}

#[derive(Debug)]
struct Node {
    id: u16,
    ports: Ports,
    properties: PathBuf,
    log: PathBuf,
    group: Group,
    release: Release,
}

/// What is done to a broker's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// SIGKILL; done when it is dead.
    Kill,
    /// SIGTERM: it hands its partitions over first; done when it has ended.
    Stop,
    /// SIGSTOP: it accepts connections, and answers nothing.
    Pause,
    /// SIGCONT.
    Resume,
    /// Starts it again where it has ended; done when its process runs.
    Start,
    /// Done when it serves clients.
    Await,
}

impl Cluster {
    /// Brokers for the tests: they and their files are gone when the answer is dropped, and the
    /// brokers also when we are killed.
    pub(crate) async fn for_tests(
        workspace: &Workspace,
        release: Release,
        brokers: u16,
    ) -> Result<Self, TaskError> {
        let home = workspace.target().join("kafka");
        std::fs::create_dir_all(&home).map_err(TaskError::file(&home))?;
        sweep(&home);
        let prefix = format!("{TEST_PREFIX}{}-", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&home)
            .map_err(TaskError::file(&home))?;
        let mut cluster = Self::start(workspace, release, dir.path(), brokers, Life::Tied).await?;
        cluster.dir = Some(dir);
        Ok(cluster)
    }

    /// Starts `brokers` brokers with their files under `dir`, whose old content is thrown away.
    ///
    /// Clients get the programs of the default release: those of older ones go by other names.
    pub(crate) async fn start(
        workspace: &Workspace,
        release: Release,
        dir: &Path,
        brokers: u16,
        life: Life,
    ) -> Result<Self, TaskError> {
        let jars = install::jars(workspace, release).await?;
        let programs = install::jars(workspace, Release::default()).await?;
        if dir.exists() {
            std::fs::remove_dir_all(dir).map_err(TaskError::file(dir))?;
        }
        std::fs::create_dir_all(dir).map_err(TaskError::file(dir))?;
        let pki = Pki::write(dir)?;
        let log4j = dir.join("log4j2.properties");
        std::fs::write(&log4j, LOG4J).map_err(TaskError::file(&log4j))?;

        let java = Java { jars, log4j, life };
        let all_ports = draw_ports(brokers)?;
        let voters = all_ports
            .iter()
            .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
        let voters = voters.collect::<Vec<_>>().join(",");
        let cluster_id = cluster_id(uuid::Uuid::new_v4());
        let mut nodes = Vec::new();
        for (id, ports) in all_ports {
            let home = dir.join(format!("broker-{id}"));
            std::fs::create_dir_all(&home).map_err(TaskError::file(&home))?;
            let broker = Broker {
                id,
                ports,
                voters: &voters,
                brokers,
                data: home.join("data"),
                keystore: &pki.broker,
                truststore: &pki.ca,
            };
            let properties = home.join("server.properties");
            std::fs::write(&properties, broker.properties())
                .map_err(TaskError::file(&properties))?;
            java.format(&cluster_id, &properties, &home.join("format.log"))
                .await?;
            let log = home.join("log");
            let group = java.broker(&properties, &log)?;
            nodes.push(Node {
                id,
                ports,
                properties,
                log,
                group,
                release,
            });
        }
        for node in &mut nodes {
            node.ready().await?;
        }
        let client = client_env(release, &nodes, &pki, &programs);
        Ok(Self {
            brokers: nodes,
            client,
            java,
            dir: None,
        })
    }

    /// What a client needs to reach it.
    pub(crate) fn client(&self) -> &ClientEnv {
        &self.client
    }

    /// Where its files are, for as long as it runs.
    pub(super) fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(TempDir::path)
    }

    /// Does something to the process of a broker.
    pub(super) async fn act(&mut self, id: u16, deed: Deed) -> Result<(), TaskError> {
        let Some(node) = self.brokers.iter_mut().find(|node| node.id == id) else {
            return Err(TaskError::Refused(format!("there is no broker {id}")));
        };
        match deed {
            Deed::Kill => node.end(Signal::KILL).await,
            Deed::Stop => node.end(Signal::TERM).await,
            Deed::Pause => {
                node.group.signal(Signal::STOP);
                Ok(())
            }
            Deed::Resume => {
                node.group.signal(Signal::CONT);
                Ok(())
            }
            Deed::Start if !node.group.is_empty() => {
                Err(TaskError::Refused(format!("broker {id} runs already")))
            }
            Deed::Start => {
                node.group = self.java.broker(&node.properties, &node.log)?;
                Ok(())
            }
            Deed::Await => node.ready().await,
        }
    }

    /// Lets the brokers live on, and says how to find them again.
    pub(super) fn detach(self) -> Vec<RunningBroker> {
        let remember = |node: Node| {
            let Node {
                id,
                ports,
                properties,
                log,
                group,
                release: _,
            } = node;
            group.detach().map(|pid| RunningBroker {
                id,
                pid,
                tls_port: ports.tls,
                properties,
                log,
            })
        };
        self.brokers.into_iter().filter_map(remember).collect()
    }
}

/// Throws away what test clusters of killed processes left behind: `test-PID-…`.
fn sweep(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(TEST_PREFIX)?.split_once('-'));
        if pid.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            // Somebody else may be at it, too; what stays is swept the next time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Node {
    /// Ends it by a signal, and waits until nothing of it is left.
    async fn end(&mut self, signal: Signal) -> Result<(), TaskError> {
        self.group.signal(signal);
        let deadline = Instant::now() + ENDED_WITHIN;
        while !self.group.is_empty() {
            if Instant::now() >= deadline {
                let what = format!("broker {} has not ended", self.id);
                return Err(TaskError::Late {
                    what,
                    seconds: ENDED_WITHIN.as_secs(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn ready(&mut self) -> Result<(), TaskError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let log = std::fs::read_to_string(&self.log).map_err(TaskError::file(&self.log))?;
            if log.contains(READY) {
                return Ok(());
            }
            let what = format!("broker {} of Apache Kafka {}", self.id, self.release);
            if let Some(status) = self.group.ended() {
                return Err(ended_with(what, status, &self.log));
            }
            if Instant::now() >= deadline {
                let what = format!("{what} does not serve (its log: {})", self.log.display());
                return Err(TaskError::Late {
                    what,
                    seconds: READY_WITHIN.as_secs(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A program that ended, with the end of what it said: its log is gone when somebody comes to read it.
fn ended_with(what: String, status: ExitStatus, log: &Path) -> TaskError {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
    TaskError::malformed(what, format!("ended with {status}:\n  {last}"))
}

/// As Kafka writes an id. Its tool takes one that begins with a dash for an option.
fn cluster_id(drawn: uuid::Uuid) -> String {
    let mut bytes = drawn.into_bytes();
    bytes[0] &= 0x7f;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn draw_ports(brokers: u16) -> Result<Vec<(u16, Ports)>, TaskError> {
    let free = ports::free(usize::from(brokers) * 8)?;
    let has_ipv6 = ports::has_ipv6();
    let ports = free.chunks_exact(8).filter_map(|eight| match *eight {
        [
            tls,
            behind_proxy,
            proxy,
            ipv6,
            sasl,
            sasl_plain_only,
            replication,
            controller,
        ] => Some(Ports {
            tls,
            behind_proxy,
            proxy,
            ipv6: has_ipv6.then_some(ipv6),
            sasl,
            sasl_plain_only,
            replication,
            controller,
        }),
        _ => None,
    });
    Ok((1..=brokers).zip(ports).collect())
}

fn client_env(release: Release, nodes: &[Node], pki: &Pki, jars: &Path) -> ClientEnv {
    let text = |path: &Path| path.display().to_string();
    let list = |port: fn(&Ports) -> u16| {
        let addresses = nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", port(&node.ports)));
        addresses.collect::<Vec<_>>().join(",")
    };
    let ipv6 = nodes
        .iter()
        .filter_map(|node| Some(format!("[::1]:{}", node.ports.ipv6?)));
    ClientEnv::new([
        ("TESTS_KAFKA_IPV6", ipv6.collect::<Vec<_>>().join(",")),
        ("KAFKA_BROKERS", list(|ports| ports.tls)),
        ("KAFKA_CA_CERT", text(&pki.ca)),
        ("KAFKA_CLIENT_CERT", text(&pki.client_cert)),
        ("KAFKA_CLIENT_KEY", text(&pki.client_key)),
        (client::VERSION, release.to_string()),
        ("TESTS_KAFKA_JARS", text(jars)),
        ("TESTS_KAFKA_KEYSTORE", text(&pki.client_keystore)),
        ("TESTS_KAFKA_EXPIRED_CERT", text(&pki.expired_cert)),
        ("TESTS_KAFKA_EXPIRED_KEY", text(&pki.expired_key)),
        ("TESTS_KAFKA_BEHIND_PROXY", list(|ports| ports.behind_proxy)),
        ("TESTS_KAFKA_PROXY", list(|ports| ports.proxy)),
        ("TESTS_KAFKA_SASL", list(|ports| ports.sasl)),
        (
            "TESTS_KAFKA_SASL_PLAIN_ONLY",
            list(|ports| ports.sasl_plain_only),
        ),
        ("TESTS_KAFKA_SASL_USER", SASL_USER.to_owned()),
        ("TESTS_KAFKA_SASL_PASSWORD", SASL_PASSWORD.to_owned()),
    ])
}

/// Kafka's programs.
#[derive(Debug)]
struct Java {
    jars: PathBuf,
    log4j: PathBuf,
    life: Life,
}

impl Java {
    fn program(&self) -> [String; 6] {
        [
            "-Xmx384m".to_owned(),
            "-Xms128m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            format!("-Dlog4j2.configurationFile={}", self.log4j.display()),
            "-cp".to_owned(),
            format!("{}/*", self.jars.display()),
        ]
    }

    /// Makes the broker's data folder. A JVM writes much to its log that matters only if it fails.
    async fn format(
        &self,
        cluster_id: &str,
        properties: &Path,
        log: &Path,
    ) -> Result<(), TaskError> {
        let run = Run::new("java").args(self.program()).args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id,
        ]);
        let users = SCRAM
            .map(|mechanism| format!("{mechanism}=[name={SASL_USER},password={SASL_PASSWORD}]"));
        let users = users.iter().flat_map(|user| ["--add-scram", user]);
        let mut group = run
            .args(users)
            .args(["-c".as_ref(), properties.as_os_str()])
            .into_log(log)?;
        let status = group.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(ended_with(
            "formatting the broker's folder".to_owned(),
            status,
            log,
        ))
    }

    fn broker(&self, properties: &Path, log: &Path) -> Result<Group, TaskError> {
        match self.life {
            Life::Detached => Run::new("java")
                .args(self.program())
                .arg("kafka.Kafka")
                .args([properties])
                .into_log(log),
            Life::Tied => {
                // `hold` is this program again: it kills what it holds when its standard input ends,
                // which it does even when we are killed.
                let us = std::env::current_exe().map_err(TaskError::file("this program"))?;
                let run = Run::new(us)
                    .args(["hold", "--", "java"])
                    .args(self.program());
                run.arg("kafka.Kafka").args([properties]).tied_into_log(log)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_cluster_is_never_taken_for_an_option() {
        for first in 0..=u8::MAX {
            let mut bytes = [0xff; 16];
            bytes[0] = first;
            let id = cluster_id(uuid::Uuid::from_bytes(bytes));
            assert!(!id.starts_with('-'), "{id}");
        }
    }
}

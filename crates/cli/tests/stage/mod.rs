//! A broker with mutual TLS, a folder of credentials, and the binary run against them.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its own part of this"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cybermesh_devbroker::pki::Authority;
use cybermesh_devbroker::{DevBroker, ServerTls};
use serde_json::Value;
use tempfile::TempDir;

pub const TOPICS: [&str; 8] = [
    "ai.anomalies.v1",
    "ai.evidence.v1",
    "ai.policy.v1",
    "control.commits.v1",
    "control.reputation.v1",
    "control.policy.v1",
    "control.evidence.v1",
    "ai.dlq",
];

pub struct Stage {
    pub broker: DevBroker,
    pub authority: Authority,
    folder: TempDir,
}

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The binary with nothing in its environment.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cybermesh-bridge"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs to the end, with `input` on standard input.
pub fn run(mut command: Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A child that ends without reading everything closes the pipe; that is its right.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.into()
}

impl Stage {
    pub async fn set() -> Self {
        let authority = Authority::new("test").unwrap();
        let server = authority
            .server()
            .dns("localhost")
            .ip([127, 0, 0, 1])
            .issue()
            .unwrap();
        let mut builder =
            DevBroker::builder().tls(ServerTls::mutual(&server, authority.ca_pem()).unwrap());
        for topic in TOPICS {
            builder = builder.topic(topic, 1);
        }
        let broker = builder.start().await.unwrap();
        let folder = TempDir::new().unwrap();
        let client = authority.client("cli").issue().unwrap();
        for (name, pem) in [
            ("ca.pem", authority.ca_pem()),
            ("client.pem", client.chain_pem()),
            ("client.key", client.key_pem()),
        ] {
            fs::write(folder.path().join(name), pem).unwrap();
        }
        let stage = Self {
            broker,
            authority,
            folder,
        };
        stage.keygen(&["--name", "node-1"]);
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key, and adds it to the trust store.
    pub fn keygen(&self, args: &[&str]) {
        let mut command = binary();
        command
            .arg("keygen")
            .args(args)
            .arg("--out")
            .arg(self.folder.path());
        let ran = run(command, "");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let trust = self.path("trust.toml");
        let before = fs::read_to_string(&trust).unwrap_or_else(|_| "version = 1\n".to_owned());
        fs::write(&trust, before + &ran.stdout).unwrap();
    }

    /// The binary set to reach the broker, sign as `node-1` and trust every key made here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = binary();
        command
            .env("KAFKA_BROKERS", self.broker.bootstrap())
            .env("KAFKA_CA_CERT", self.path("ca.pem"))
            .env("KAFKA_CLIENT_CERT", self.path("client.pem"))
            .env("KAFKA_CLIENT_KEY", self.path("client.key"))
            .env("CYBERMESH_SIGNING_KEY", self.path("node-1.key"))
            .env("CYBERMESH_TRUST", self.path("trust.toml"))
            .env("CYBERMESH_AUDIENCE", "test")
            .env("CYBERMESH_LOG", "error")
            .args(args);
        command
    }

    /// Runs without blocking the broker, which lives in this process.
    pub async fn run(&self, args: &[&str], input: &str) -> Ran {
        self.run_command(self.command(args), input).await
    }

    pub async fn run_command(&self, command: Command, input: &str) -> Ran {
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || run(command, &input))
            .await
            .unwrap()
    }
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

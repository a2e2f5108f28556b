//! A broker for programs outside, and how one is run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cybermesh_devbroker::pki::Authority;
use cybermesh_devbroker::{DevBroker, ServerTls};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Longer than a program takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// Whether a broker speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Plaintext,
    MutualTls,
}

/// Three brokers, and the files of a client.
pub(crate) struct World {
    pub(crate) broker: DevBroker,
    pub(crate) dir: TempDir,
    speech: Speech,
}

impl World {
    pub(crate) async fn new(speech: Speech) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut builder = DevBroker::builder().brokers(3);
        if speech == Speech::MutualTls {
            let authority = Authority::new("test CA").expect("an authority");
            let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
            let server = server.issue().expect("a server certificate");
            let client = authority.client("node-1").issue().expect("a certificate");
            let tls = ServerTls::mutual(&server, authority.ca_pem()).expect("a configuration");
            builder = builder.tls(tls);
            for (name, text) in [
                ("ca.pem", authority.ca_pem()),
                ("client.pem", client.chain_pem()),
                ("client.key", client.key_pem()),
                ("keystore.pem", &client.keystore_pem()),
            ] {
                std::fs::write(dir.path().join(name), text).expect("a file");
            }
        }
        Self {
            broker: builder.start().await.expect("the built-in broker"),
            dir,
            speech,
        }
    }

    /// The settings of a Java client, in a file.
    pub(crate) fn java_settings(&self) -> std::path::PathBuf {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let text = match self.speech {
            Speech::Plaintext => String::new(),
            Speech::MutualTls => format!(
                "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\n\
                 ssl.truststore.type=PEM\nssl.truststore.location={}\n",
                at("keystore.pem"),
                at("ca.pem")
            ),
        };
        let path = self.dir.path().join("client.properties");
        std::fs::write(&path, text).expect("the settings");
        path
    }

    /// The settings of a librdkafka client, each `name=value`.
    pub(crate) fn librdkafka_settings(&self) -> Vec<String> {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let bootstrap = format!("bootstrap.servers={}", self.broker.bootstrap());
        match self.speech {
            Speech::Plaintext => vec![bootstrap],
            Speech::MutualTls => vec![
                bootstrap,
                "security.protocol=ssl".to_owned(),
                format!("ssl.ca.location={}", at("ca.pem")),
                format!("ssl.certificate.location={}", at("client.pem")),
                format!("ssl.key.location={}", at("client.key")),
            ],
        }
    }
}

/// Runs a program to its end; what it printed.
///
/// # Panics
/// When it fails.
pub(crate) async fn run(mut command: Command, input: &str) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut process = command.spawn().expect("the program");
    let mut stdin = process.stdin.take().expect("its standard input");
    // A program that reads nothing may have closed it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = tokio::time::timeout(WITHIN, process.wait_with_output()).await;
    let output = ended.expect("an end in time").expect("its end");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !stderr.contains("ERROR"),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

/// A path handed in by `cargo xtask test`.
///
/// # Panics
/// When it is not there.
pub(crate) fn handed_in(name: &str) -> String {
    let value = std::env::var(name).unwrap_or_else(|_| panic!("{name}: run `cargo xtask test`"));
    assert!(Path::new(&value).exists(), "{name}: {value:?} is not there");
    value
}

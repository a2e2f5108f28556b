//! Other people's programs that are run against the built-in broker, and what brings them.

use std::path::PathBuf;

use crate::error::TaskError;
use crate::kafka;
use crate::process::Run;
use crate::workspace::Workspace;

/// The release of confluent-kafka, which brings librdkafka of the same number.
const CONFLUENT_KAFKA: &str = "2.6.1";

/// Programs of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Programs {
    /// Kafka's tools and console clients.
    Java,
    /// librdkafka, by way of confluent-kafka.
    Python,
}

impl Programs {
    pub(super) const ALL: [Self; 2] = [Self::Java, Self::Python];

    /// How their tests are called in what is said of them.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Java => "Kafka's own programs over devbroker",
            Self::Python => "librdkafka over devbroker",
        }
    }

    /// The module of their tests.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Java => "java::",
            Self::Python => "python::",
        }
    }

    /// The variable that tells the tests where they are.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Java => "TESTS_KAFKA_JARS",
            Self::Python => "TESTS_PYTHON",
        }
    }

    /// Whether they can be had on this machine; else what is missing.
    pub(super) async fn possible(self) -> Result<(), String> {
        match self {
            Self::Java => kafka::java_and_maven().await,
            Self::Python => python_and_pip().await,
        }
    }

    /// Where they are; brought into the target folder the first time.
    pub(super) async fn bring(self, workspace: &Workspace) -> Result<PathBuf, TaskError> {
        match self {
            Self::Java => kafka::jars(workspace, kafka::Release::default()).await,
            Self::Python => environment(workspace).await,
        }
    }
}

async fn python_and_pip() -> Result<(), String> {
    let answer = Run::new("sh")
        .args(["-c", "python3 -c 'import ensurepip, venv' >/dev/null 2>&1"])
        .stream()
        .await;
    answer.map_err(|_| "`python3` with venv and pip does not run here".to_owned())
}

/// The Python of an environment of our own.
async fn environment(workspace: &Workspace) -> Result<PathBuf, TaskError> {
    let name = format!("python-confluent-kafka-{CONFLUENT_KAFKA}");
    let home = workspace.target().join(name);
    let python = home.join("bin/python");
    let is_whole = home.join("whole");
    if is_whole.exists() {
        return Ok(python);
    }
    eprintln!("fetching confluent-kafka {CONFLUENT_KAFKA} from the Python Package Index");
    Run::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&home)
        .stream()
        .await?;
    Run::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"])
        .arg(format!("confluent-kafka=={CONFLUENT_KAFKA}"))
        .stream()
        .await?;
    std::fs::write(&is_whole, "").map_err(TaskError::file(&is_whole))?;
    Ok(python)
}

//! Where things are, and what cargo says of the packages.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::TaskError;
use crate::process::Run;

/// The packages that ship: what a user builds, the binary first.
pub(crate) const SHIPPED: [&str; 5] = [
    "cybermesh-cli",
    "cybermesh-bridge",
    "cybermesh-transport",
    "cybermesh-contracts",
    "cybermesh-devbroker",
];

/// The root of the workspace and its target folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) async fn find() -> Result<Self, TaskError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("/"))
            .to_owned();
        let metadata = Run::cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .dir(&root);
        let metadata: Metadata = parse(&metadata.capture().await?)?;
        Ok(Self {
            root,
            target: metadata.target_directory,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// `cargo`, to be run in the root.
    pub(crate) fn cargo(&self) -> Run {
        Run::cargo().dir(&self.root)
    }

    /// Every package of the locked graph, with all features of ours.
    pub(crate) async fn metadata(&self) -> Result<Metadata, TaskError> {
        let run = self.cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ]);
        parse(&run.capture().await?)
    }
}

/// What of `cargo metadata` is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    target_directory: PathBuf,
}

/// A package of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// None for our own.
    pub(crate) source: Option<String>,
}

fn parse(text: &str) -> Result<Metadata, TaskError> {
    serde_json::from_str(text).map_err(|error| TaskError::malformed("cargo metadata", error))
}

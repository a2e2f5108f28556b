//! Where things are, and what cargo says of the packages.

use std::collections::{HashMap, HashSet};
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
    packages: Vec<Package>,
    resolve: Option<Resolve>,
    target_directory: PathBuf,
}

/// A package of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// None for our own.
    pub(crate) source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Metadata {
    /// Our own packages and all that they reach, on any target, tests and build scripts included.
    /// The list of packages itself also holds some that only a lock file names.
    pub(crate) fn reachable(&self) -> Vec<&Package> {
        let nodes = self.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let edges: HashMap<&str, &[String]> = nodes
            .map(|node| (node.id.as_str(), node.dependencies.as_slice()))
            .collect();
        let ours = self
            .packages
            .iter()
            .filter(|package| package.source.is_none());
        let mut open: Vec<&str> = ours.map(|package| package.id.as_str()).collect();
        let mut seen: HashSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            let next = edges.get(id).copied().unwrap_or_default();
            open.extend(next.iter().map(String::as_str).filter(|id| seen.insert(id)));
        }
        self.packages
            .iter()
            .filter(|package| seen.contains(package.id.as_str()))
            .collect()
    }
}

fn parse(text: &str) -> Result<Metadata, TaskError> {
    serde_json::from_str(text).map_err(|error| TaskError::malformed("cargo metadata", error))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_only_the_lock_file_names_is_not_reachable() {
        let metadata = super::parse(
            r#"{"packages": [
                {"id": "a", "name": "ours", "version": "1.0.0", "license": null, "source": null},
                {"id": "b", "name": "used", "version": "1.0.0", "license": null, "source": "registry+x"},
                {"id": "c", "name": "ring", "version": "1.0.0", "license": null, "source": "registry+x"}],
              "resolve": {"nodes": [{"id": "a", "dependencies": ["b"]}, {"id": "b", "dependencies": []}, {"id": "c", "dependencies": []}]},
              "target_directory": "/t"}"#,
        )
        .unwrap();
        let names: Vec<_> = metadata
            .reachable()
            .into_iter()
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(names, ["ours", "used"]);
    }
}

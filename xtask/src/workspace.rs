//! Where things are, and what cargo says of the packages.

use std::collections::BTreeSet;
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

    /// Every package that is built for anything, tests and build scripts included, with all
    /// features of ours on any target. `cargo metadata` alone also names some that only the lock
    /// file does.
    pub(crate) async fn packages(&self) -> Result<Vec<Package>, TaskError> {
        let tree = [
            "tree",
            "--workspace",
            "--locked",
            "-e",
            "normal,build,dev",
            "--target",
            "all",
        ];
        let tree =
            self.cargo()
                .args(tree)
                .args(["--all-features", "--prefix", "none", "--format", "{p}"]);
        let tree = tree.capture().await?;
        let built = tree_packages(&tree);
        let run = self.cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ]);
        let mut packages = parse(&run.capture().await?)?.packages;
        packages
            .retain(|package| built.contains(&(package.name.as_str(), package.version.as_str())));
        if packages.len() == built.len() {
            return Ok(packages);
        }
        let reason = format!(
            "it names {} packages, cargo metadata {} of them",
            built.len(),
            packages.len()
        );
        Err(TaskError::malformed("cargo tree", reason))
    }
}

/// Name and version of each line of `cargo tree`: `name v1.0.0 (…)`.
pub(crate) fn tree_packages(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect()
}

/// What of `cargo metadata` is used here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_names_each_package_once() {
        let tree =
            "ours v0.1.0 (/path)\nserde v1.0.0 (proc-macro)\n\nserde v1.0.0 (*)\nserde v2.0.0\n";
        assert_eq!(
            tree_packages(tree),
            BTreeSet::from([("ours", "0.1.0"), ("serde", "1.0.0"), ("serde", "2.0.0")])
        );
    }
}

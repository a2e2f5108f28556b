//! The lists of `deny.toml`, in the words of cargo-deny's format.

use std::path::Path;

use serde::Deserialize;

use crate::error::TaskError;

/// What may come into the dependency graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Policy {
    pub(crate) bans: Bans,
    pub(super) licenses: Licences,
    pub(super) sources: Sources,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bans {
    pub(crate) deny: Vec<Ban>,
}

/// A package that must never come in, and why.
#[derive(Debug, Deserialize)]
pub(crate) struct Ban {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Licences {
    pub(super) allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Sources {
    pub(super) allow_registry: Vec<String>,
    pub(super) allow_git: Vec<String>,
}

impl Policy {
    pub(crate) fn load(root: &Path) -> Result<Self, TaskError> {
        let path = root.join("deny.toml");
        let text = std::fs::read_to_string(&path).map_err(TaskError::file(&path))?;
        toml::from_str(&text)
            .map_err(|error| TaskError::malformed(path.display().to_string(), error))
    }
}

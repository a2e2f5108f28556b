//! What a client needs to reach the cluster, as environment variables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// The variable that tells the release.
pub(super) const VERSION: &str = "TESTS_KAFKA_VERSION";

/// Variables by name: those of the bridge's settings, and `TESTS_*` for the
/// end-to-end tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientEnv(BTreeMap<String, String>);

impl ClientEnv {
    pub(super) fn new<const N: usize>(vars: [(&str, String); N]) -> Self {
        Self(
            vars.into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// The same and one more.
    pub(super) fn with(&self, name: &str, value: String) -> Self {
        let mut vars = self.0.clone();
        vars.insert(name.to_owned(), value);
        Self(vars)
    }

    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Which release the brokers are of.
    pub(super) fn version(&self) -> &str {
        self.0.get(VERSION).map_or("unknown", String::as_str)
    }

    /// Lines for a shell to `source`.
    pub(super) fn exports(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |mut text, (name, value)| {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
                text
            })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), TaskError> {
        std::fs::write(path, self.exports()).map_err(TaskError::file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_value_survives_the_shell() {
        let env = ClientEnv::new([("KAFKA_CA_CERT", "/it's here/ca.pem".to_owned())]);
        let script = format!("{}printf %s \"$KAFKA_CA_CERT\"", env.exports());
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/it's here/ca.pem");
    }
}

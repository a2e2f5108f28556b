//! Builds every test of the workspace once, and names the binaries.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

/// The package of the end-to-end tests.
const END_TO_END: &str = "cybermesh-tests";

/// Its target with other people's programs.
const PROGRAMS: &str = "programs";

/// Its target that kills the brokers of a cluster.
const FAILURES: &str = "failures";

/// A binary that holds tests.
#[derive(Debug)]
pub(super) struct TestBinary {
    pub(super) package: String,
    pub(super) target: String,
    path: PathBuf,
    /// Tests run in their package's folder, as under `cargo test`.
    dir: PathBuf,
}

impl TestBinary {
    /// Whether it holds the tests that need a broker.
    pub(super) fn is_end_to_end(&self) -> bool {
        self.package == END_TO_END
    }

    /// Whether it holds the tests of other people's programs.
    pub(super) fn is_of_programs(&self) -> bool {
        self.is_end_to_end() && self.target == PROGRAMS
    }

    /// Whether it holds the tests that want a cluster for themselves, one after the other.
    pub(super) fn is_of_failures(&self) -> bool {
        self.is_end_to_end() && self.target == FAILURES
    }

    /// To be run as `cargo test` would.
    pub(super) fn run(&self) -> Run {
        let run = Run::new(&self.path).dir(&self.dir);
        run.env("CARGO_MANIFEST_DIR", &self.dir)
            .env("CARGO_PKG_NAME", &self.package)
    }
}

/// Builds them.
pub(super) async fn build(workspace: &Workspace) -> Result<Vec<TestBinary>, TaskError> {
    let args = [
        "test",
        "--workspace",
        "--no-run",
        "--locked",
        "--message-format",
        "json-render-diagnostics",
    ];
    let run = workspace.cargo().args(args);
    let what = run.describe();
    let mut binaries = Vec::new();
    let status = run.lines(|line| binaries.extend(test_binary(line))).await?;
    if status.success() {
        Ok(binaries)
    } else {
        Err(TaskError::Status { what, status })
    }
}

#[derive(Debug, Deserialize)]
struct Artifact {
    reason: String,
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

fn test_binary(line: &str) -> Option<TestBinary> {
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    if artifact.reason != "compiler-artifact" || !artifact.profile.test {
        return None;
    }
    let dir = artifact.manifest_path.parent()?.to_owned();
    let package = package_name(&artifact.manifest_path)?;
    Some(TestBinary {
        package,
        target: artifact.target.name,
        path: artifact.executable?,
        dir,
    })
}

fn package_name(manifest: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let manifest: Manifest = toml::from_str(&std::fs::read_to_string(manifest).ok()?).ok()?;
    Some(manifest.package.name)
}

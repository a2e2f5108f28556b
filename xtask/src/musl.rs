//! The static binary: that it builds, that it needs nothing of the machine, and that it works.

use std::path::{Path, PathBuf};

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;
use crate::{elf, no_c};

/// The target that ships.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds it, under the no-C gate at the same time.
pub(crate) async fn build(workspace: &Workspace) -> Result<PathBuf, TaskError> {
    let installed = Run::new("rustup")
        .args(["target", "list", "--installed"])
        .dir(workspace.root())
        .capture()
        .await?;
    if !installed.lines().any(|target| target == TARGET) {
        Run::new("rustup")
            .args(["target", "add", TARGET])
            .dir(workspace.root())
            .stream()
            .await?;
    }
    no_c::run(workspace, Some(TARGET)).await
}

/// Fails unless the binary is a static, position-independent executable.
pub(crate) fn check_static(binary: &Path) -> Result<(), TaskError> {
    let bytes = std::fs::read(binary).map_err(TaskError::file(binary))?;
    elf::is_static_pie(&bytes)
        .map_err(|reason| TaskError::malformed(binary.display().to_string(), reason))
}

/// Runs its `demo`, with nothing in the environment.
pub(crate) async fn demo(workspace: &Workspace, binary: &Path) -> Result<(), TaskError> {
    let program = binary.display().to_string();
    Run::new("env")
        .args(["-i", &program, "demo"])
        .dir(workspace.target())
        .stream()
        .await
}

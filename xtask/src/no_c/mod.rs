//! Two proofs that nothing which ships compiles C, C++ or assembler sources.
//!
//! [`tree`] reads the dependency graph of what ships, with every feature on every target, for
//! packages that do. That finds the known ones. [`build`] then builds the binary with
//! [`compiler`]s on PATH that link and refuse all else. That finds the unknown ones.

mod build;
mod compiler;
mod tree;

use crate::error::TaskError;
use crate::workspace::Workspace;

/// Both proofs; both are run, so that one run says all. Gives back the binary that was built.
pub(crate) async fn run(
    workspace: &Workspace,
    target: Option<&str>,
) -> Result<std::path::PathBuf, TaskError> {
    let tree = tree::prove(workspace).await;
    let build = build::prove(workspace, target).await;
    if let (Err(tree), Err(build)) = (&tree, &build) {
        return Err(TaskError::Refused(format!("{tree}; {build}")));
    }
    tree?;
    build
}

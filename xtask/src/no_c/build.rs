//! The second proof: the binary builds where nothing can compile C.

use std::path::PathBuf;

use super::compiler::{Calls, Compilers};
use crate::error::TaskError;
use crate::workspace::Workspace;

/// Builds the binary, for `target` or this machine, and gives back its path.
///
/// The target folder is kept between runs and used by this alone: all in it was built like this,
/// so what is not built again was proved before.
pub(super) async fn prove(
    workspace: &Workspace,
    target: Option<&str>,
) -> Result<PathBuf, TaskError> {
    let dir = workspace.target().join("no-c");
    let compilers = Compilers::write(&dir.join("compilers"))?;
    compilers.prove_refusal().await?;
    let mut folder = dir.clone();
    let mut run = workspace.cargo().args([
        "build",
        "--locked",
        "-p",
        "cybermesh-cli",
        "--all-features",
        "--target-dir",
    ]);
    run = run.arg(&dir).envs(compilers.env());
    if let Some(target) = target {
        run = run.args(["--target", target]);
        folder.push(target);
    }
    eprintln!("no-c: {}", run.describe());
    let built = run.stream().await;
    let Calls { links, refused } = compilers.calls()?;
    refused
        .iter()
        .for_each(|call| eprintln!("  refused {call}"));
    if !refused.is_empty() {
        return Err(TaskError::Refused(format!(
            "no-c: the build asked {} time(s) for a C compiler",
            refused.len()
        )));
    }
    built?;
    eprintln!("no-c: built; {links} link(s) passed on, no source compiled");
    Ok(folder.join("debug").join("cybermesh-bridge"))
}

//! That the fuzz targets compile. They stand outside the workspace and need a nightly compiler.

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

/// Compiles them with what `cargo fuzz` would set, without running them.
pub(crate) async fn check(workspace: &Workspace) -> Result<(), TaskError> {
    let target = workspace.target().join("fuzz");
    let run = Run::new("rustup").args([
        "run",
        "nightly",
        "cargo",
        "check",
        "--bins",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
    ]);
    // Those of the stable toolchain that runs us would win over `rustup run`.
    let run = run
        .arg(&target)
        .without_env("CARGO")
        .without_env("RUSTC")
        .without_env("RUSTDOC");
    run.env("RUSTFLAGS", "--cfg fuzzing")
        .dir(workspace.root())
        .stream()
        .await
}

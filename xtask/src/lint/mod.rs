//! What the sources and the dependency graph are held to.
//!
//! [`policy`] reads `deny.toml`, [`licence`] judges a licence expression by it, [`graph`] judges
//! every package, [`features`] what the binary is built with.

mod features;
mod graph;
mod licence;
mod policy;

pub(crate) use policy::Policy;

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

/// Format, clippy, dependency graph, documentation; all are run, and every one that fails is named.
pub(crate) async fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let mut failed = Vec::new();
    let mut note = |what: &str, done: Result<(), TaskError>| {
        if let Err(error) = done {
            eprintln!("error: {error}");
            failed.push(what.to_owned());
        }
    };
    let cargo = |args: &[&str]| {
        eprintln!("lint: cargo {}", args.join(" "));
        workspace.cargo().args(args)
    };
    note("format", cargo(&["fmt", "--all", "--check"]).stream().await);
    note("dependency graph", dependency_graph(workspace).await);
    note("features", features::judge(workspace).await);
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    note("clippy", cargo(&clippy).stream().await);
    let doc =
        cargo(&["doc", "--no-deps", "--workspace", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
    note("documentation", doc.stream().await);
    note("advisories", advisories(workspace).await);
    if failed.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Refused(format!(
            "lint: {} failed",
            failed.join(", ")
        )))
    }
}

async fn dependency_graph(workspace: &Workspace) -> Result<(), TaskError> {
    let policy = Policy::load(workspace.root())?;
    let packages = workspace.packages().await?;
    let findings = graph::judge(&policy, &packages);
    eprintln!("lint: {} packages against deny.toml", packages.len());
    findings.iter().for_each(|finding| eprintln!("  {finding}"));
    if findings.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Refused(
            "the dependency graph breaks deny.toml".to_owned(),
        ))
    }
}

/// Known vulnerabilities, where the tool and its database can be had; says so where not.
async fn advisories(workspace: &Workspace) -> Result<(), TaskError> {
    let quiet = |script: &str| Run::new("sh").args(["-c", script]).dir(workspace.root());
    if quiet("cargo deny --version >/dev/null 2>&1")
        .stream()
        .await
        .is_err()
    {
        eprintln!("lint: advisories were NOT checked: cargo-deny is not installed here");
        return Ok(());
    }
    if quiet("cargo deny fetch db >/dev/null 2>&1")
        .stream()
        .await
        .is_err()
    {
        eprintln!(
            "lint: advisories were NOT checked: the advisory database cannot be reached from here"
        );
        return Ok(());
    }
    workspace
        .cargo()
        .args([
            "deny",
            "--all-features",
            "check",
            "--disable-fetch",
            "advisories",
        ])
        .stream()
        .await
}

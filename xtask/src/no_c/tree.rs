//! The first proof: no package that ships is known to compile C.

use std::collections::BTreeSet;

use crate::error::TaskError;
use crate::lint::Policy;
use crate::workspace::{SHIPPED, Workspace, tree_packages};

/// Bindings that hold declarations alone: no library of C code comes with them.
const DECLARATIONS_ONLY: [&str; 5] = [
    "js-sys",
    "web-sys",
    "linux-raw-sys",
    "windows-sys",
    "core-foundation-sys",
];

/// Fails with the names of those that do, and how they come in.
pub(super) async fn prove(workspace: &Workspace) -> Result<(), TaskError> {
    let policy = Policy::load(workspace.root())?;
    let tree = cargo_tree(workspace)
        .args(["--prefix", "none", "--format", "{p}"])
        .capture()
        .await?;
    let packages: BTreeSet<&str> = tree_packages(&tree)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    if !SHIPPED.iter().all(|ours| packages.contains(ours)) {
        return Err(TaskError::malformed(
            "cargo tree",
            "does not name our own packages",
        ));
    }
    let banned: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|name| compiles_c(&policy, name))
        .collect();
    eprintln!(
        "no-c: {} packages ship, every feature, every target: {} of them banned",
        packages.len(),
        banned.len()
    );
    for name in &banned {
        cargo_tree(workspace).args(["-i", name]).stream().await?;
    }
    if banned.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Refused(format!(
            "no-c: these compile C: {}",
            banned.join(", ")
        )))
    }
}

fn cargo_tree(workspace: &Workspace) -> crate::process::Run {
    let shipped = SHIPPED.iter().flat_map(|package| ["-p", package]);
    let run = workspace.cargo().args([
        "tree",
        "--locked",
        "-e",
        "normal,build",
        "--target",
        "all",
        "--all-features",
    ]);
    run.args(shipped)
}

fn compiles_c(policy: &Policy, name: &str) -> bool {
    let banned = policy.bans.deny.iter().any(|ban| ban.name == name);
    banned || (name.ends_with("-sys") && !DECLARATIONS_ONLY.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::load(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn those_known_to_compile_c_are_banned_by_the_policy_itself() {
        let known = [
            "ring",
            "aws-lc-sys",
            "openssl-sys",
            "cc",
            "cmake",
            "lz4-sys",
            "zstd-sys",
            "libz-sys",
            "rdkafka-sys",
        ];
        for name in known {
            assert!(
                policy().bans.deny.iter().any(|ban| ban.name == name),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unknown_binding_is_taken_for_c() {
        assert!(compiles_c(&policy(), "libnew-sys"));
        assert!(!compiles_c(&policy(), "windows-sys"));
    }
}

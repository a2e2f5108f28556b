//! That the binary has no feature which lets anyone make a `Verified` without verifying.

use crate::error::TaskError;
use crate::workspace::Workspace;

/// Features that are for the tests of those who depend on us.
const FOR_TESTS: &str = "feature \"test-util\"";

/// Judges the features that the binary is built with, whatever its own are.
pub(super) async fn judge(workspace: &Workspace) -> Result<(), TaskError> {
    let tree = [
        "tree",
        "--locked",
        "-p",
        "cybermesh-cli",
        "--all-features",
        "-e",
        "normal,build,features",
        "--target",
        "all",
        "--prefix",
        "none",
    ];
    eprintln!("lint: features of the binary");
    let tree = workspace.cargo().args(tree).capture().await?;
    match for_tests(&tree).as_slice() {
        [] => Ok(()),
        found => Err(TaskError::Refused(format!(
            "the binary is built with what is for tests alone: {}",
            found.join(", ")
        ))),
    }
}

fn for_tests(tree: &str) -> Vec<&str> {
    let ours = |line: &&str| line.starts_with("cybermesh-") && line.contains(FOR_TESTS);
    tree.lines().filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_for_tests_is_found_and_others_pass() {
        let tree = "cybermesh-cli v0.1.0 (x)\ncybermesh-contracts feature \"default\"\ntokio feature \"test-util\"\n";
        assert!(for_tests(tree).is_empty());
        let with = format!("{tree}cybermesh-contracts feature \"test-util\"\n");
        assert_eq!(
            for_tests(&with),
            ["cybermesh-contracts feature \"test-util\""]
        );
    }
}

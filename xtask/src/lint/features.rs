//! That the binary has no feature which lets anyone make a `Verified` without verifying, puts a simulation in the
//! machine's place, or a bug in.

use crate::error::TaskError;
use crate::workspace::Workspace;

/// Features that are for the tests of those who depend on us, or for the simulation.
const FOR_TESTS: [&str; 3] = [
    "feature \"test-util\"",
    "feature \"simulation\"",
    "feature \"bugs\"",
];

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
    let named = |line: &str| FOR_TESTS.iter().any(|feature| line.contains(feature));
    let ours = |line: &&str| line.starts_with("cybermesh-") && named(line);
    tree.lines().filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_for_tests_is_found_and_others_pass() {
        let tree = "cybermesh-cli v0.1.0 (x)\ncybermesh-contracts feature \"default\"\ntokio feature \"test-util\"\n";
        assert!(for_tests(tree).is_empty());
        for found in [
            "cybermesh-contracts feature \"test-util\"",
            "cybermesh-transport feature \"simulation\"",
            "cybermesh-bridge feature \"bugs\"",
        ] {
            assert_eq!(for_tests(&format!("{tree}{found}\n")), [found]);
        }
    }
}

//! Reads what a test binary of Rust's own harness says.

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// With the reason that the test's author gave.
    Ignored(String),
}

/// One line of output: a test's name and outcome, where it is about that.
///
/// `test name ... ok`, `test name - should panic ... ok`, `test file - item (line 3) ... FAILED`,
/// `test name ... ignored, reason`.
pub(super) fn test_line(line: &str) -> Option<(&str, Outcome)> {
    let (name, word) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match word.split_once(", ").unwrap_or((word, "")) {
        ("ok", _) => Outcome::Passed,
        ("FAILED", _) => Outcome::Failed,
        ("ignored", reason) => Outcome::Ignored(reason.to_owned()),
        _ => return None,
    };
    Some((name, outcome))
}

/// How many passed, failed and were ignored, by the binary's own count.
///
/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
pub(super) fn result_line(line: &str) -> Option<[usize; 3]> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split("; ").find(|part| part.ends_with(word))?;
        part.split_once(' ')?.0.parse().ok()
    };
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_read() {
        assert_eq!(
            test_line("test a::b ... ok"),
            Some(("a::b", Outcome::Passed))
        );
        assert_eq!(
            test_line("test a::b ... FAILED"),
            Some(("a::b", Outcome::Failed))
        );
        assert_eq!(
            test_line("test a ... ignored, needs x, y"),
            Some(("a", Outcome::Ignored("needs x, y".into())))
        );
        assert_eq!(
            test_line("test a ... ignored"),
            Some(("a", Outcome::Ignored(String::new())))
        );
    }

    #[test]
    fn a_documentation_test_is_a_test() {
        let line = "test crates/x/src/lib.rs - item (line 12) - compile fail ... ok";
        assert_eq!(
            test_line(line),
            Some((
                "crates/x/src/lib.rs - item (line 12) - compile fail",
                Outcome::Passed
            ))
        );
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "running 3 tests",
            "test result: ok. 1 passed",
            "test a ... bench",
            "",
            "test ",
        ] {
            assert_eq!(test_line(line), None, "{line}");
        }
    }

    #[test]
    fn the_count_is_read() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some([3, 2, 1]));
        assert_eq!(result_line("test result: odd"), None);
    }
}

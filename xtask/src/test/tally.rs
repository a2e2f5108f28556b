//! Adds up what ran and how it ended, and says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::libtest::Outcome;

/// What a test ran over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Over {
    /// No broker: unit, property and documentation tests, and the harness's own.
    Nothing,
    Devbroker,
    Kafka,
}

impl Over {
    /// A test's module says it: `scenario::devbroker::name`, `scenario::kafka::name`.
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit("::").nth(1) {
            Some("devbroker") => Self::Devbroker,
            Some("kafka") => Self::Kafka,
            _ => Self::Nothing,
        }
    }
}

/// What ran so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: BTreeMap<Over, usize>,
    failed: Vec<String>,
    checks_passed: Vec<String>,
    /// Ignored tests, with what they do not run over, and why.
    one_sided: Vec<(String, Over, String)>,
    skipped: Vec<String>,
}

impl Over {
    fn other(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Devbroker => "Apache Kafka only",
            Self::Kafka => "devbroker only",
        }
    }
}

impl Tally {
    /// One test, over what it ran, and how it ended.
    pub(super) fn test(&mut self, binary: &str, name: &str, over: Over, outcome: Outcome) {
        match outcome {
            Outcome::Passed => *self.passed.entry(over).or_default() += 1,
            Outcome::Failed => self.failed.push(format!("{binary}: {name}")),
            Outcome::Ignored(reason) if over == Over::Nothing => {
                self.skipped.push(format!("{name}: {reason}"))
            }
            Outcome::Ignored(reason) => self.one_sided.push((name.to_owned(), over, reason)),
        }
    }

    /// A gate, or a step without which tests could not run.
    pub(super) fn check(&mut self, name: &str, done: Result<(), impl std::fmt::Display>) {
        match done {
            Ok(()) => self.checks_passed.push(name.to_owned()),
            Err(error) => {
                eprintln!("error: {error}");
                self.failed.push(format!("{name}: {error}"));
            }
        }
    }

    /// That tests over a broker ran at all: a filter that matches nothing passes everything.
    pub(super) fn demand(&mut self, over: Over, what: &str) {
        let ended = self.passed.get(&over).copied().unwrap_or_default() + self.failed.len();
        if ended == 0 {
            self.check(what, Err("none ran"));
        }
    }

    /// What could not run here, and why.
    pub(super) fn skip(&mut self, what: &str, reason: &str) {
        println!("SKIPPED: {what}: {reason}");
        self.skipped.push(format!("{what}: {reason}"));
    }

    pub(super) fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    fn over(&self, over: Over) -> usize {
        self.passed.get(&over).copied().unwrap_or(0)
    }

    /// What is said at the end; the last line stands alone.
    pub(super) fn report(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let [none, devbroker, kafka] =
            [Over::Nothing, Over::Devbroker, Over::Kafka].map(|over| self.over(over));
        let tests = none + devbroker + kafka;
        writeln!(text)?;
        writeln!(
            text,
            "{tests} tests passed: {none} unit, property and documentation tests, {devbroker} over devbroker, {kafka} over Apache Kafka"
        )?;
        if !self.checks_passed.is_empty() {
            writeln!(
                text,
                "{} checks passed: {}",
                self.checks_passed.len(),
                self.checks_passed.join(", ")
            )?;
        }
        for side in [Over::Kafka, Over::Devbroker] {
            let names: Vec<_> = self
                .one_sided
                .iter()
                .filter(|(_, over, _)| *over == side)
                .collect();
            if !names.is_empty() {
                writeln!(text, "over {}:", side.other())?;
            }
            for (name, _, reason) in names {
                let name = name
                    .replace("::kafka::", "::")
                    .replace("::devbroker::", "::");
                writeln!(text, "  {name}: {reason}")?;
            }
        }
        for skipped in &self.skipped {
            writeln!(text, "skipped: {skipped}")?;
        }
        for failed in &self.failed {
            writeln!(text, "FAILED: {failed}")?;
        }
        write!(
            text,
            "{} passed, {} failed",
            tests + self.checks_passed.len(),
            self.failed.len()
        )?;
        match self.skipped.len() {
            0 => writeln!(text),
            skipped => writeln!(text, ", {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_line(tally: &Tally) -> String {
        tally.report().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_module_says_what_a_test_ran_over() {
        assert_eq!(Over::of("kinds::devbroker::all_seven"), Over::Devbroker);
        assert_eq!(Over::of("kinds::kafka::all_seven"), Over::Kafka);
        assert_eq!(Over::of("kafka::ports::tests::free"), Over::Nothing);
        assert_eq!(Over::of("alone"), Over::Nothing);
    }

    #[test]
    fn the_last_line_counts_tests_and_checks() {
        let mut tally = Tally::default();
        tally.test("a", "x", Over::Nothing, Outcome::Passed);
        tally.test("a", "y::kafka::z", Over::Kafka, Outcome::Passed);
        tally.check("lint", Ok::<(), String>(()));
        assert_eq!(last_line(&tally), "3 passed, 0 failed");
        assert!(tally.is_good());
    }

    #[test]
    fn one_failure_of_either_kind_is_counted_and_named() {
        let mut tally = Tally::default();
        tally.test("a", "x", Over::Nothing, Outcome::Failed);
        tally.check("lint", Err("no"));
        assert_eq!(last_line(&tally), "0 passed, 2 failed");
        assert!(tally.report().contains("FAILED: a: x\n"));
        assert!(!tally.is_good());
    }

    #[test]
    fn a_test_over_one_only_is_named_with_its_reason_and_not_counted_as_skipped() {
        let mut tally = Tally::default();
        tally.test(
            "a",
            "y::kafka::z",
            Over::Kafka,
            Outcome::Ignored("faults on request".into()),
        );
        assert!(
            tally
                .report()
                .contains("over devbroker only:\n  y::z: faults on request\n")
        );
        assert_eq!(last_line(&tally), "0 passed, 0 failed");
    }

    #[test]
    fn what_could_not_run_is_counted_as_skipped() {
        let mut tally = Tally::default();
        tally.skip("Apache Kafka", "no java");
        assert_eq!(last_line(&tally), "0 passed, 0 failed, 1 skipped");
    }
}

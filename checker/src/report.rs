//! What came of it.

use std::fmt;

use crate::{Entry, History};

/// A way to break the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Acknowledged and gone: from the log, or by a commit that passed it.
    LostAcknowledged,
    /// Handled or in the log, and never sent.
    Phantom,
    /// Handled, and not verified or forged.
    Unverified,
    /// A copy at another offset was handled.
    CopyHandled,
    /// Handled again without a cause.
    WithoutCause,
    /// A lane's order was not kept.
    OutOfOrder,
    /// Committed over something that was not done.
    CommittedPast,
    /// A dead letter that nothing called for.
    WronglyBuried,
    /// A dead letter that is missing.
    NotBuried,
    /// Acknowledged once and in the log twice.
    WrittenTwice,
    /// One nonce over two contents.
    NonceReused,
    /// It did not go on when it could.
    Stuck,
}

impl Verdict {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 12] = [
        Self::LostAcknowledged,
        Self::Phantom,
        Self::Unverified,
        Self::CopyHandled,
        Self::WithoutCause,
        Self::OutOfOrder,
        Self::CommittedPast,
        Self::WronglyBuried,
        Self::NotBuried,
        Self::WrittenTwice,
        Self::NonceReused,
        Self::Stuck,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LostAcknowledged => "lost acknowledged write",
            Self::Phantom => "phantom",
            Self::Unverified => "unverified dispatch",
            Self::CopyHandled => "copy handled",
            Self::WithoutCause => "handled again without cause",
            Self::OutOfOrder => "out of order in a lane",
            Self::CommittedPast => "commit past an unhandled message",
            Self::WronglyBuried => "dead letter without cause",
            Self::NotBuried => "dead letter missing",
            Self::WrittenTwice => "written twice",
            Self::NonceReused => "nonce used twice",
            Self::Stuck => "stuck",
        }
    }

    /// What is counted as looked at for it.
    fn unit(self) -> &'static str {
        match self {
            Self::LostAcknowledged => "acknowledged",
            Self::Phantom | Self::WrittenTwice | Self::NonceReused => "records",
            Self::Unverified | Self::CopyHandled | Self::WithoutCause | Self::OutOfOrder => {
                "handlings"
            }
            Self::CommittedPast => "commits",
            Self::WronglyBuried => "dead letters",
            Self::NotBuried => "due",
            Self::Stuck => "partitions and sends",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of what.
    pub verdict: Verdict,
    /// What happened, in words.
    pub what: String,
    /// The events that prove it: their numbers in the history and themselves, in order.
    pub proof: Vec<(usize, Entry)>,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// What was looked for.
    pub verdict: Verdict,
    /// At how much.
    pub looked_at: usize,
    /// And found how often.
    pub found: usize,
}

/// What was looked at, and every breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    looked_at: [usize; Verdict::ALL.len()],
    violations: Vec<Violation>,
}

/// Breaches of one kind that are shown; the rest is counted.
const SHOWN: usize = 5;

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            looked_at: [0; Verdict::ALL.len()],
            violations: Vec::new(),
        }
    }

    pub(crate) fn look(&mut self, verdict: Verdict) {
        for (of, count) in Verdict::ALL.iter().zip(&mut self.looked_at) {
            *count += usize::from(*of == verdict);
        }
    }

    pub(crate) fn breach(
        &mut self,
        history: &History,
        verdict: Verdict,
        what: String,
        proof: impl IntoIterator<Item = usize>,
    ) {
        let mut proof: Vec<usize> = proof.into_iter().collect();
        proof.sort_unstable();
        proof.dedup();
        let entries = history.entries();
        let proof = proof.into_iter();
        let proof = proof.map(|index| (index, entries[index].clone()));
        self.violations.push(Violation {
            verdict,
            what,
            proof: proof.collect(),
        });
    }

    /// Whether nothing was broken.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.violations.is_empty()
    }

    /// Every breach.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What was broken, each once.
    #[must_use]
    pub fn broken(&self) -> Vec<Verdict> {
        let is_broken = |verdict: &Verdict| self.violations.iter().any(|v| v.verdict == *verdict);
        Verdict::ALL.into_iter().filter(is_broken).collect()
    }

    /// The table, line by line.
    #[must_use]
    pub fn checked(&self) -> Vec<Checked> {
        let lines = Verdict::ALL.into_iter().zip(self.looked_at);
        let lines = lines.map(|(verdict, looked_at)| Checked {
            verdict,
            looked_at,
            found: self.of(verdict).count(),
        });
        lines.collect()
    }

    fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Violation> {
        let of = move |violation: &&Violation| violation.verdict == verdict;
        self.violations.iter().filter(of)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.checked() {
            let mark = if line.found == 0 { "✓" } else { "✗" };
            let (name, unit) = (line.verdict.name(), line.verdict.unit());
            let (looked_at, found) = (line.looked_at, line.found);
            writeln!(f, "{mark} {name:<34} {found:>5} of {looked_at} {unit}")?;
        }
        for verdict in self.broken() {
            for violation in self.of(verdict).take(SHOWN) {
                writeln!(f, "\n{verdict}: {}", violation.what)?;
                for (index, entry) in &violation.proof {
                    let line = serde_json::to_string(entry).map_err(|_| fmt::Error)?;
                    writeln!(f, "  {index:>6}  {line}")?;
                }
            }
            let more = self.of(verdict).count().saturating_sub(SHOWN);
            if more > 0 {
                writeln!(f, "\n{verdict}: {more} more")?;
            }
        }
        f.write_str(if self.is_valid() {
            "\nEverything was kept."
        } else {
            "\nBroken."
        })
    }
}

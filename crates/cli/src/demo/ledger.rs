//! What was sent, where each message had to end, and where it did.
//!
//! The ledger is filled from two sides that know nothing of each other: the senders write down
//! every record with the end that the contract asks for, the handlers and the dead-letter topic
//! tell what happened. A message that ended twice, elsewhere or not at all is a discrepancy.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cybermesh_contracts::{Disposition, Kind};

/// A record's place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// Where the contract says a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A handler took it.
    Handled,
    /// The dead-letter topic holds it.
    Buried(Disposition),
    /// Counted and passed over.
    Skipped(Disposition),
}

/// A message that is not an ordinary one: its name in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of the many that must arrive.
    Ordinary,
    /// One of the hostile or broken ones.
    Special(&'static str),
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    role: Role,
    expected: End,
    handled: u32,
    buried: Vec<Disposition>,
}

/// The account of one run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Place, Entry>,
    /// Seen before its sender had written it down: the log is faster than the receipt.
    early: HashMap<Place, Seen>,
    latencies: Vec<Duration>,
    skipped: u64,
}

#[derive(Debug, Default)]
struct Seen {
    handled: u32,
    buried: Vec<Disposition>,
}

/// Counts of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) handled: u64,
}

/// One special message and how it ended.
#[derive(Debug, Clone)]
pub(super) struct Special {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) expected: End,
    /// `None` while it has not ended; in words where it ended in more than one way.
    pub(super) ended: Option<End>,
    pub(super) as_expected: bool,
}

impl Ledger {
    /// Writes down a record that the log has taken.
    pub(super) fn sent(&mut self, place: Place, kind: Kind, role: Role, expected: End) {
        let Seen { handled, buried } = self.early.remove(&place).unwrap_or_default();
        self.entries.insert(
            place,
            Entry {
                kind,
                role,
                expected,
                handled,
                buried,
            },
        );
    }

    /// A handler took the record at `place`, `latency` after it was signed.
    pub(super) fn handled(&mut self, place: Place, latency: Duration) {
        self.latencies.push(latency);
        match self.entries.get_mut(&place) {
            Some(entry) => entry.handled += 1,
            None => self.early.entry(place).or_default().handled += 1,
        }
    }

    /// The dead-letter topic holds a record that stood at `place`.
    pub(super) fn buried(&mut self, place: Place, disposition: Disposition) {
        match self.entries.get_mut(&place) {
            Some(entry) => entry.buried.push(disposition),
            None => self
                .early
                .entry(place)
                .or_default()
                .buried
                .push(disposition),
        }
    }

    /// How many records the receivers say they have skipped so far.
    pub(super) fn skipped(&mut self, count: u64) {
        self.skipped = count;
    }

    /// Whether every record that must be handled or buried has been, and as many were skipped as must be.
    pub(super) fn settled(&self) -> bool {
        self.skipped >= self.to_skip()
            && self.entries.values().all(|entry| match entry.expected {
                End::Handled => entry.handled > 0,
                End::Buried(_) => !entry.buried.is_empty(),
                End::Skipped(_) => true,
            })
    }

    /// Ended so far, and how many there are.
    pub(super) fn progress(&self) -> (u64, u64) {
        let ended = self
            .entries
            .values()
            .filter(|entry| self.ended(entry).is_some())
            .count();
        (count(ended), count(self.entries.len()))
    }

    /// Counts of the ordinary messages, kind by kind.
    pub(super) fn tallies(&self) -> BTreeMap<Kind, Tally> {
        let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
        for entry in self
            .entries
            .values()
            .filter(|entry| entry.role == Role::Ordinary)
        {
            let tally = tallies.entry(entry.kind).or_default();
            tally.sent += 1;
            tally.handled += u64::from(entry.handled > 0);
        }
        tallies
    }

    /// The special messages in log order.
    pub(super) fn specials(&self) -> Vec<Special> {
        self.entries
            .iter()
            .filter_map(|(place, entry)| match entry.role {
                Role::Ordinary => None,
                Role::Special(name) => Some(Special {
                    name,
                    place: place.clone(),
                    expected: entry.expected,
                    ended: self.ended(entry),
                    as_expected: entry.discrepancy().is_none() && self.ended(entry).is_some(),
                }),
            })
            .collect()
    }

    /// Everything that did not end where the contract says, in words.
    pub(super) fn discrepancies(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .entries
            .iter()
            .filter_map(|(place, entry)| {
                entry
                    .discrepancy()
                    .map(|what| format!("{}: {what}", place.name()))
            })
            .collect();
        for (place, seen) in &self.early {
            found.push(format!(
                "{}: nobody sent it, yet it was handled {} times and buried {} times",
                place.name(),
                seen.handled,
                seen.buried.len()
            ));
        }
        if self.skipped != self.to_skip() {
            found.push(format!(
                "{} copies should have been skipped, {} were",
                self.to_skip(),
                self.skipped
            ));
        }
        found
    }

    /// Time from signing to handler at the given share (0.5 is the median) of all handled messages.
    pub(super) fn latency(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank in a list that fits memory; the share is between 0 and 1"
        )]
        let rank = (sorted.len() as f64 * share) as usize;
        sorted.get(rank.min(sorted.len().checked_sub(1)?)).copied()
    }

    /// How a message ended, as far as that was seen: of those that must be skipped, when as many were.
    fn ended(&self, entry: &Entry) -> Option<End> {
        match (entry.handled, entry.buried.as_slice(), entry.expected) {
            (0, [], End::Skipped(disposition)) => {
                (self.skipped >= self.to_skip()).then_some(End::Skipped(disposition))
            }
            (0, [], _) => None,
            (_, [], _) => Some(End::Handled),
            (_, [disposition, ..], _) => Some(End::Buried(*disposition)),
        }
    }

    fn to_skip(&self) -> u64 {
        count(
            self.entries
                .values()
                .filter(|entry| matches!(entry.expected, End::Skipped(_)))
                .count(),
        )
    }
}

impl Entry {
    fn discrepancy(&self) -> Option<String> {
        let right = match (self.expected, self.handled, self.buried.as_slice()) {
            (End::Handled, 1, []) | (End::Skipped(_), 0, []) => true,
            (End::Buried(expected), 0, [only]) => expected == *only,
            _ => false,
        };
        (!right).then(|| {
            let buried: Vec<_> = self.buried.iter().map(|end| end.as_str()).collect();
            format!(
                "{} should have been {}, but was handled {} times and buried as [{}]",
                self.kind,
                self.expected.words(),
                self.handled,
                buried.join(", ")
            )
        })
    }
}

impl End {
    /// In words, for the report.
    pub(super) fn words(self) -> String {
        match self {
            Self::Handled => "handled".to_owned(),
            Self::Buried(disposition) => format!("dead letter: {}", disposition.as_str()),
            Self::Skipped(disposition) => format!("skipped: {}", disposition.as_str()),
        }
    }
}

impl Place {
    /// `topic[partition]@offset`.
    pub(super) fn name(&self) -> String {
        format!("{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Place {
        Place {
            topic: "t".to_owned(),
            partition: 0,
            offset,
        }
    }

    fn ledger(expected: End) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.sent(place(0), Kind::Anomaly, Role::Ordinary, expected);
        ledger
    }

    #[test]
    fn a_message_that_was_handled_once_is_in_order() {
        let mut ledger = ledger(End::Handled);
        assert!(!ledger.settled());
        ledger.handled(place(0), Duration::ZERO);
        assert!(ledger.settled());
        assert_eq!(ledger.discrepancies(), [] as [String; 0]);
    }

    #[test]
    fn a_lost_message_a_doubled_one_and_one_from_nowhere_are_discrepancies() {
        assert_eq!(ledger(End::Handled).discrepancies().len(), 1);
        let mut doubled = ledger(End::Handled);
        doubled.handled(place(0), Duration::ZERO);
        doubled.handled(place(0), Duration::ZERO);
        assert_eq!(doubled.discrepancies().len(), 1);
        let mut foreign = Ledger::default();
        foreign.handled(place(7), Duration::ZERO);
        assert_eq!(foreign.discrepancies().len(), 1);
    }

    #[test]
    fn a_forged_message_that_was_handled_or_buried_for_another_reason_is_a_discrepancy() {
        let forged = End::Buried(Disposition::SignatureInvalid);
        let mut handled = ledger(forged);
        handled.handled(place(0), Duration::ZERO);
        assert_eq!(handled.discrepancies().len(), 1);
        let mut other = ledger(forged);
        other.buried(place(0), Disposition::Decode);
        assert_eq!(other.discrepancies().len(), 1);
        let mut right = ledger(forged);
        right.buried(place(0), Disposition::SignatureInvalid);
        assert_eq!(right.discrepancies(), [] as [String; 0]);
    }

    #[test]
    fn a_copy_counts_as_skipped_only_when_the_receiver_says_so() {
        let mut ledger = ledger(End::Skipped(Disposition::Duplicate));
        assert!(!ledger.settled());
        assert_eq!(ledger.progress(), (0, 1));
        assert_eq!(ledger.discrepancies().len(), 1);
        ledger.skipped(1);
        assert!(ledger.settled());
        assert_eq!(ledger.discrepancies(), [] as [String; 0]);
    }

    #[test]
    fn what_is_handled_before_its_receipt_came_is_not_lost_to_the_account() {
        let mut ledger = Ledger::default();
        ledger.handled(place(3), Duration::ZERO);
        ledger.sent(place(3), Kind::Commit, Role::Ordinary, End::Handled);
        assert!(ledger.settled());
        assert_eq!(ledger.discrepancies(), [] as [String; 0]);
    }
}

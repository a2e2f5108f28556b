//! What a producer was told of its records, judged by what the log holds.
//!
//! Records of a partition are numbered as they are sent. [`judge`] says what breaks the promise: an acknowledged record
//! that is not in the log, or not at its offset; one that is there twice; one that is there although it was said not to
//! be; an order in the log that is not the order of sending.

use std::collections::{BTreeMap, BTreeSet};

/// A record: its partition and its number there.
pub type Numbered = (i32, u64);

/// What the producer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is in the log, at this offset where that is known.
    Appended(Option<i64>),
    /// It is certainly not.
    NotWritten,
    /// Nobody can know.
    Unknown,
}

/// A breach of the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// Acknowledged, and not in the log.
    Lost(Numbered),
    /// Acknowledged with an offset where it is not.
    Misplaced(Numbered),
    /// More than once in the log.
    Doubled(Numbered),
    /// In the log behind a record that was sent after it.
    Disordered(Numbered),
    /// In the log, though it was said not to be.
    Denied(Numbered),
    /// In the log, and never sent.
    Invented(Numbered),
}

/// Everything that breaks the promise; `log` has the numbers of each partition with their offsets, in the order of the
/// log.
pub fn judge(
    told: &BTreeMap<Numbered, Told>,
    log: &BTreeMap<i32, Vec<(i64, u64)>>,
) -> BTreeSet<Breach> {
    let mut breaches = BTreeSet::new();
    let mut places: BTreeMap<Numbered, i64> = BTreeMap::new();
    for (&partition, records) in log {
        let mut highest = None;
        for &(offset, number) in records {
            let record = (partition, number);
            if places.insert(record, offset).is_some() {
                breaches.insert(Breach::Doubled(record));
            } else if highest > Some(number) {
                breaches.insert(Breach::Disordered(record));
            }
            highest = highest.max(Some(number));
        }
    }
    for (&record, &told) in told {
        match (told, places.get(&record)) {
            (Told::Appended(_), None) => breaches.insert(Breach::Lost(record)),
            (Told::Appended(Some(offset)), Some(place)) if offset != *place => {
                breaches.insert(Breach::Misplaced(record))
            }
            (Told::NotWritten, Some(_)) => breaches.insert(Breach::Denied(record)),
            _ => false,
        };
    }
    let never_sent = places.keys().filter(|record| !told.contains_key(record));
    breaches.extend(never_sent.map(|record| Breach::Invented(*record)));
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[Told]) -> BTreeMap<Numbered, Told> {
        (0..).zip(all).map(|(n, told)| ((0, n), *told)).collect()
    }

    fn log(records: &[(i64, u64)]) -> BTreeMap<i32, Vec<(i64, u64)>> {
        BTreeMap::from([(0, records.to_vec())])
    }

    #[test]
    fn what_was_acknowledged_and_is_there_once_and_in_order_is_no_breach() {
        let told = told(&[
            Told::Appended(Some(0)),
            Told::Unknown,
            Told::Appended(None),
            Told::NotWritten,
            Told::Unknown,
        ]);
        let log = log(&[(0, 0), (1, 2), (3, 4)]);
        assert_eq!(judge(&told, &log), BTreeSet::new());
    }

    #[test]
    fn each_breach_is_named() {
        let acknowledged = Told::Appended(None);
        for (all, records, breach) in [
            (&[acknowledged][..], &[][..], Breach::Lost((0, 0))),
            (
                &[Told::Appended(Some(1))],
                &[(0, 0)],
                Breach::Misplaced((0, 0)),
            ),
            (&[acknowledged], &[(0, 0), (1, 0)], Breach::Doubled((0, 0))),
            (
                &[acknowledged, Told::Unknown],
                &[(0, 1), (1, 0)],
                Breach::Disordered((0, 0)),
            ),
            (&[Told::NotWritten], &[(0, 0)], Breach::Denied((0, 0))),
            (&[], &[(0, 7)], Breach::Invented((0, 7))),
        ] {
            assert_eq!(judge(&told(all), &log(records)), BTreeSet::from([breach]));
        }
    }

    #[test]
    fn partitions_are_judged_apart() {
        let told = BTreeMap::from([
            ((0, 0), Told::Appended(Some(0))),
            ((1, 0), Told::Appended(Some(0))),
        ]);
        let one_lost = BTreeMap::from([(0, vec![(0, 0)])]);
        assert_eq!(
            judge(&told, &one_lost),
            BTreeSet::from([Breach::Lost((1, 0))])
        );
    }
}

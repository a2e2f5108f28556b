//! Stretches of offsets, merged where they overlap: what summaries stand for wholly.

use std::collections::BTreeMap;

/// Offsets of one partition, as stretches that do not overlap: each first offset, with its last.
#[derive(Debug, Default)]
pub(super) struct Stretches(BTreeMap<i64, i64>);

impl Stretches {
    /// Adds the offsets from `first` to `last`.
    pub(super) fn add(&mut self, mut first: i64, mut last: i64) {
        while let Some((begin, end)) = self.0.range(..=last).next_back() {
            let (begin, end) = (*begin, *end);
            if end < first {
                break;
            }
            (first, last) = (first.min(begin), last.max(end));
            self.0.remove(&begin);
        }
        self.0.insert(first, last);
    }

    /// Whether it has this one.
    pub(super) fn has(&self, offset: i64) -> bool {
        let before = self.0.range(..=offset).next_back();
        before.is_some_and(|(_, last)| offset <= *last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_has_what_was_added_and_nothing_else(added in prop::collection::vec((0_i64..40, 0_i64..8), 0..12)) {
            let mut stretches = Stretches::default();
            let mut offsets = BTreeSet::new();
            for (first, more) in added {
                stretches.add(first, first + more);
                offsets.extend(first..=first + more);
            }
            for offset in -1..50 {
                prop_assert_eq!(stretches.has(offset), offsets.contains(&offset), "{}", offset);
            }
        }
    }
}

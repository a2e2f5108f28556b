//! Watermark: how far a partition is done without a hole.
//!
//! Offsets are taken up in log order and end in any order. The watermark is the lowest offset that
//! is not done yet, and the only thing that may be committed. An offset that never comes (taken
//! away by compaction, a control batch) was never taken up, so it holds nothing back.
//!
//! What is remembered is one entry for each message in flight, whatever has been done behind it.

use std::collections::BTreeMap;

/// The done prefix of one partition; `W` is what is kept for each message in flight.
#[derive(Debug)]
pub(crate) struct Watermark<W> {
    /// The lowest offset that was never taken up: everything below was, or does not exist.
    position: i64,
    in_flight: BTreeMap<i64, W>,
}

impl<W> Watermark<W> {
    /// Starts at the offset that is read first.
    pub(crate) fn new(position: i64) -> Self {
        Self {
            position,
            in_flight: BTreeMap::new(),
        }
    }

    /// Takes up an offset. Answers whether it was new: one below the position was delivered
    /// before and is not taken up twice.
    pub(crate) fn take_up(&mut self, offset: i64, kept: W) -> bool {
        if offset < self.position {
            return false;
        }
        let Some(next) = offset.checked_add(1) else {
            return false;
        };
        self.in_flight.insert(offset, kept);
        self.position = next;
        true
    }

    /// Nothing below `position` is still to come: what was not taken up does not exist.
    pub(crate) fn advance(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// Marks an offset done and gives back what was kept for it; `None` where it was not in flight.
    pub(crate) fn done(&mut self, offset: i64) -> Option<W> {
        self.in_flight.remove(&offset)
    }

    /// The offset to commit: everything below is done.
    pub(crate) fn watermark(&self) -> i64 {
        self.in_flight
            .first_key_value()
            .map_or(self.position, |(offset, _)| *offset)
    }

    /// The next offset that can be taken up.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// The message that holds the watermark back, with what was kept for it.
    pub(crate) fn oldest(&self) -> Option<(i64, &W)> {
        self.in_flight
            .first_key_value()
            .map(|(offset, kept)| (*offset, kept))
    }

    /// How many messages are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether an offset was taken up and is done.
    pub(crate) fn is_done(&self, offset: i64) -> bool {
        offset < self.position && !self.in_flight.contains_key(&offset)
    }

    /// What was kept for an offset in flight.
    pub(crate) fn get_mut(&mut self, offset: i64) -> Option<&mut W> {
        self.in_flight.get_mut(&offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Watermark;

    #[test]
    fn an_offset_done_out_of_order_does_not_move_the_watermark() {
        let mut watermark = Watermark::new(10);
        assert!(watermark.take_up(10, ()));
        assert!(watermark.take_up(11, ()));
        watermark.done(11);
        assert_eq!(watermark.watermark(), 10);
        watermark.done(10);
        assert_eq!(watermark.watermark(), 12);
    }

    #[test]
    fn a_gap_left_by_compaction_counts_as_done() {
        let mut watermark = Watermark::new(0);
        watermark.take_up(3, ());
        assert_eq!(watermark.watermark(), 3);
        watermark.done(3);
        watermark.advance(9);
        assert_eq!(watermark.watermark(), 9);
    }

    #[test]
    fn an_offset_delivered_again_is_not_taken_up_again() {
        let mut watermark = Watermark::new(0);
        assert!(watermark.take_up(0, ()));
        assert!(!watermark.take_up(0, ()));
        watermark.done(0);
        assert!(!watermark.take_up(0, ()));
        assert_eq!(watermark.watermark(), 1);
    }

    #[test]
    fn the_oldest_in_flight_is_what_holds_it_back_with_what_was_kept_for_it() {
        let mut watermark = Watermark::new(4);
        assert_eq!((watermark.position(), watermark.oldest()), (4, None));
        watermark.take_up(5, "five");
        watermark.take_up(7, "seven");
        assert_eq!(
            (watermark.position(), watermark.oldest()),
            (8, Some((5, &"five")))
        );
        *watermark.get_mut(5).unwrap() = "changed";
        assert_eq!(watermark.get_mut(6), None);
        assert_eq!(watermark.done(5), Some("changed"));
        assert_eq!(watermark.oldest(), Some((7, &"seven")));
    }

    #[test]
    fn the_last_offset_there_can_be_is_refused_instead_of_overflowing() {
        let mut watermark = Watermark::new(0);
        assert!(!watermark.take_up(i64::MAX, ()));
        assert_eq!(watermark.watermark(), 0);
    }

    proptest! {
        /// The model remembers every offset for ever and looks for the first that is not done.
        #[test]
        fn it_is_the_lowest_existing_offset_that_is_not_done(
            steps in proptest::collection::vec((1_i64..4, any::<bool>(), any::<proptest::sample::Index>()), 1..200)
        ) {
            let mut watermark = Watermark::new(0);
            let (mut offset, mut existing, mut done) = (0_i64, Vec::new(), BTreeSet::new());
            for (gap, finish, which) in steps {
                if finish && !existing.is_empty() {
                    let chosen = existing[which.index(existing.len())];
                    prop_assert_eq!(watermark.done(chosen).is_some(), done.insert(chosen));
                } else {
                    offset += gap;
                    existing.push(offset);
                    prop_assert!(watermark.take_up(offset, ()));
                }
                let expected = existing
                    .iter()
                    .copied()
                    .find(|offset| !done.contains(offset))
                    .unwrap_or_else(|| existing.last().map_or(0, |last| last + 1));
                prop_assert_eq!(watermark.watermark(), expected);
                prop_assert_eq!(watermark.in_flight(), existing.len() - done.len());
            }
        }
    }
}

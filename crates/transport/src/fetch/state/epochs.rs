//! The leader epochs that a partition was read in, to find out where its log and what was read part ways (KIP-320).

use std::collections::VecDeque;

use crate::wire::EpochEnd;

/// Older changes of leaders than this many are forgotten: only the last are ever cut off.
const MOST: usize = 32;

/// Epochs in ascending order, each with the first offset read in it; contiguous up to the position.
#[derive(Debug, Default)]
pub(super) struct Epochs(VecDeque<(i32, i64)>);

impl Epochs {
    /// What is known of a partition of which all before `offset` was read by somebody else, the last record in `epoch`.
    pub(super) fn before(offset: i64, epoch: i32) -> Self {
        let last = (epoch, offset.saturating_sub(1));
        // Before the first offset there is no record.
        Self(Some(last).filter(|_| offset > 0).into_iter().collect())
    }

    /// A batch of this epoch was read, which begins at this offset.
    pub(super) fn read(&mut self, epoch: i32, from: i64) {
        if epoch < 0 || self.last().is_some_and(|last| last >= epoch) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((epoch, from));
    }

    /// The epoch of the last record read.
    pub(super) fn last(&self) -> Option<i32> {
        self.0.back().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record before an offset up to which was read.
    pub(super) fn of_record_before(&self, offset: i64) -> Option<i32> {
        let mut earlier = self.0.iter().rev();
        let found = earlier.find(|(_, from)| *from < offset);
        found.map(|(epoch, _)| *epoch)
    }

    /// Nothing from this offset on counts as read.
    pub(super) fn cut(&mut self, offset: i64) {
        self.0.retain(|(_, from)| *from < offset);
    }

    /// Up to where the log may be the one that was read, of which the leader says that no epoch up to ours goes beyond
    /// this: behind it is either what the leader does not have or what we have not read.
    pub(super) fn agree_up_to(&self, end: EpochEnd) -> i64 {
        let later = self.0.iter().find(|(epoch, _)| *epoch > end.leader_epoch);
        later.map_or(end.end_offset, |(_, from)| end.end_offset.min(*from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epoch 1 from offset 0, 2 from 10, 4 from 20.
    fn read() -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, from) in [(1, 0), (1, 5), (2, 10), (4, 20), (4, 25)] {
            epochs.read(epoch, from);
        }
        epochs
    }

    #[test]
    fn the_epoch_of_each_record_is_known() {
        let epochs = read();
        let found = [0, 1, 10, 11, 20, 21, 99].map(|offset| epochs.of_record_before(offset));
        let expected = [None, Some(1), Some(1), Some(2), Some(2), Some(4), Some(4)];
        assert_eq!(found, expected);
        assert_eq!(Epochs::before(7, 3).of_record_before(7), Some(3));
        assert_eq!(Epochs::before(0, 3).last(), None);
        assert_eq!(Epochs::default().last(), None);
    }

    #[test]
    fn logs_part_where_the_leaders_epoch_ends_or_ours_began_whichever_is_first() {
        let epochs = read();
        let agree = |leader_epoch, end_offset| {
            epochs.agree_up_to(EpochEnd {
                leader_epoch,
                end_offset,
            })
        };
        // The leader has less of our last epoch, or all of it and more.
        assert_eq!((agree(4, 22), agree(4, 40)), (22, 40));
        // It went on in epoch 2 when we had none of it any more; it ended before we left it.
        assert_eq!((agree(2, 25), agree(2, 15)), (20, 15));
        // It never saw epoch 2, and wrote in 1 where we had 2.
        assert_eq!(agree(1, 18), 10);
    }

    #[test]
    fn what_is_cut_off_is_not_known_any_more() {
        let mut epochs = read();
        epochs.cut(20);
        assert_eq!(epochs.last(), Some(2));
        epochs.read(3, 20);
        assert_eq!(epochs.of_record_before(21), Some(3));
    }

    #[test]
    fn many_changes_of_leaders_cost_no_more_than_the_last_of_them() {
        let mut epochs = Epochs::default();
        for epoch in 0..1000 {
            epochs.read(epoch, epoch.into());
        }
        assert_eq!((epochs.0.len(), epochs.last()), (MOST, Some(999)));
    }
}

//! Budget: how much may be between fetch and verdict.
//!
//! One bound in messages and one in bytes over all partitions. Half of each is shared by whoever
//! comes first; the other half is reserved in equal parts, so that a partition whose lanes are
//! stuck cannot take what the others need. A partition with nothing in flight may always have one
//! message: that is the only way over the bounds, by one message a partition.

use std::collections::HashMap;
use std::hash::Hash;

/// The in-flight bounds, shared by the partitions `P` of one subscriber.
#[derive(Debug)]
pub(crate) struct Budget<P> {
    messages: Share,
    bytes: Share,
    partitions: HashMap<P, Usage>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    messages: usize,
    bytes: usize,
}

/// One of the two bounds.
#[derive(Debug)]
struct Share {
    limit: usize,
    used: usize,
    reserve: usize,
    /// What partitions have not used of their reserves, summed up.
    unclaimed: usize,
}

impl Share {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            reserve: 0,
            unclaimed: 0,
        }
    }

    fn fits(&self, own: usize, more: usize) -> bool {
        let own_unclaimed = self.reserve.saturating_sub(own);
        let kept_for_others = self.unclaimed.saturating_sub(own_unclaimed);
        let total = self.used.saturating_add(more);
        let within_reserve = own.saturating_add(more) <= self.reserve;
        total <= self.limit
            && (within_reserve || total.saturating_add(kept_for_others) <= self.limit)
    }

    fn moved(&mut self, before: usize, after: usize) {
        self.used = self.used - before + after;
        self.unclaimed = self.unclaimed - self.reserve.saturating_sub(before)
            + self.reserve.saturating_sub(after);
    }
}

impl<P: Eq + Hash + Clone> Budget<P> {
    /// Bounds over all partitions together.
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            messages: Share::new(messages),
            bytes: Share::new(bytes),
            partitions: HashMap::new(),
        }
    }

    /// A partition was assigned: from now on it has a reserve.
    pub(crate) fn join(&mut self, partition: P) {
        self.partitions.entry(partition).or_default();
        self.share_out();
    }

    /// A partition is gone, and what it had in flight with it.
    pub(crate) fn leave(&mut self, partition: &P) {
        if let Some(usage) = self.partitions.remove(partition) {
            self.messages.used -= usage.messages;
            self.bytes.used -= usage.bytes;
            self.share_out();
        }
    }

    /// Whether one more message of this size may be taken up; if so, it is counted.
    pub(crate) fn admit(&mut self, partition: &P, bytes: usize) -> bool {
        let Some(usage) = self.partitions.get_mut(partition) else {
            return false;
        };
        let fits = usage.messages == 0
            || (self.messages.fits(usage.messages, 1) && self.bytes.fits(usage.bytes, bytes));
        if fits {
            self.messages.moved(usage.messages, usage.messages + 1);
            self.bytes.moved(usage.bytes, usage.bytes + bytes);
            usage.messages += 1;
            usage.bytes += bytes;
        }
        fits
    }

    /// A message that was counted is done.
    pub(crate) fn release(&mut self, partition: &P, bytes: usize) {
        if let Some(usage) = self.partitions.get_mut(partition) {
            let messages_left = usage.messages.saturating_sub(1);
            let bytes_left = usage.bytes.saturating_sub(bytes);
            self.messages.moved(usage.messages, messages_left);
            self.bytes.moved(usage.bytes, bytes_left);
            usage.messages = messages_left;
            usage.bytes = bytes_left;
        }
    }

    /// Messages in flight over all partitions.
    pub(crate) fn messages_in_flight(&self) -> usize {
        self.messages.used
    }

    fn share_out(&mut self) {
        let partitions = self.partitions.len().max(1);
        self.messages.reserve = self.messages.limit / 2 / partitions;
        self.bytes.reserve = self.bytes.limit / 2 / partitions;
        let (messages, bytes) = (self.messages.reserve, self.bytes.reserve);
        self.messages.unclaimed = 0;
        self.bytes.unclaimed = 0;
        for usage in self.partitions.values() {
            self.messages.unclaimed += messages.saturating_sub(usage.messages);
            self.bytes.unclaimed += bytes.saturating_sub(usage.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Budget;

    #[test]
    fn a_partition_that_takes_all_it_can_leaves_the_others_their_reserve() {
        let mut budget = Budget::new(16, 1_000_000);
        for partition in 0..4 {
            budget.join(partition);
        }
        let taken = (0..100).filter(|_| budget.admit(&0, 1)).count();
        assert_eq!(taken, 16 - 3 * 2);
        for partition in 1..4 {
            assert!(budget.admit(&partition, 1) && budget.admit(&partition, 1));
            assert!(!budget.admit(&partition, 1));
        }
        assert_eq!(budget.messages_in_flight(), 16);
    }

    #[test]
    fn a_partition_that_takes_all_bytes_it_can_leaves_the_others_their_reserve() {
        let mut budget = Budget::new(1000, 160);
        for partition in 0..4 {
            budget.join(partition);
        }
        let taken = (0..100).filter(|_| budget.admit(&0, 10)).count();
        assert_eq!(taken, 16 - 3 * 2);
        for partition in 1..4 {
            assert!(budget.admit(&partition, 10) && budget.admit(&partition, 10));
            assert!(!budget.admit(&partition, 1));
        }
    }

    #[test]
    fn the_bytes_of_a_partition_that_left_are_for_the_others() {
        let mut budget = Budget::new(1000, 100);
        budget.join("a");
        assert!(budget.admit(&"a", 100));
        budget.leave(&"a");
        budget.join("b");
        assert!((0..10).all(|_| budget.admit(&"b", 10)));
        assert!(!budget.admit(&"b", 1));
    }

    #[test]
    fn a_message_larger_than_the_reserve_passes_when_its_partition_is_empty() {
        let mut budget = Budget::new(1024, 1000);
        budget.join("a");
        budget.join("b");
        assert!(budget.admit(&"a", 750));
        assert!(budget.admit(&"b", 900));
        assert!(!budget.admit(&"b", 1));
        budget.release(&"b", 900);
        assert!(budget.admit(&"b", 1));
    }

    #[test]
    fn a_partition_that_left_frees_what_it_had() {
        let mut budget = Budget::new(4, 1000);
        budget.join("a");
        while budget.admit(&"a", 10) {}
        budget.leave(&"a");
        assert_eq!(budget.messages_in_flight(), 0);
        assert!(!budget.admit(&"a", 1));
        budget.release(&"a", 10);
        assert_eq!(budget.messages_in_flight(), 0);
    }

    proptest! {
        /// The model adds everything up anew at each step.
        #[test]
        fn the_bounds_hold_and_everybody_gets_one(
            steps in proptest::collection::vec((0_usize..6, 0_u8..10, 1_usize..400), 1..300)
        ) {
            const MESSAGES: usize = 20;
            const BYTES: usize = 2000;
            let mut budget = Budget::new(MESSAGES, BYTES);
            let mut model: [Option<Vec<usize>>; 6] = Default::default();
            for (partition, action, bytes) in steps {
                match action {
                    0 => { budget.join(partition); model[partition].get_or_insert_default(); }
                    1 => { budget.leave(&partition); model[partition] = None; }
                    2..=4 => if let Some(bytes) = model[partition].as_mut().and_then(Vec::pop) {
                        budget.release(&partition, bytes);
                    },
                    _ => {
                        let joined = model[partition].is_some();
                        let empty = model[partition].as_ref().is_some_and(Vec::is_empty);
                        let admitted = budget.admit(&partition, bytes);
                        prop_assert!(joined || !admitted);
                        prop_assert!(!empty || admitted);
                        if admitted {
                            model[partition].get_or_insert_default().push(bytes);
                            if !empty {
                                let messages: usize = model.iter().flatten().map(Vec::len).sum();
                                let used: usize = model.iter().flatten().flatten().sum();
                                prop_assert!(messages <= MESSAGES);
                                prop_assert!(used <= BYTES);
                            }
                        }
                    }
                }
                let messages: usize = model.iter().flatten().map(Vec::len).sum();
                prop_assert_eq!(budget.messages_in_flight(), messages);
            }
        }
    }
}

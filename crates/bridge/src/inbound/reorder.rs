//! Reorder buffer: puts verified records back in offset order.
//!
//! Records are judged on several threads and come back in any order; whether one is a replay can
//! be said only in the order of the log. It holds what was handed out and no more.

use std::collections::VecDeque;

/// Results of one partition, released in the order their offsets were handed out.
#[derive(Debug)]
pub(crate) struct Reorder<T> {
    /// In offset order; `None` while its result is awaited.
    slots: VecDeque<(i64, Option<T>)>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
        }
    }
}

impl<T> Reorder<T> {
    /// An offset was handed out; offsets come here in ascending order. Answers whether it was in order.
    pub(crate) fn expect(&mut self, offset: i64) -> bool {
        if self.slots.back().is_some_and(|(last, _)| *last >= offset) {
            return false;
        }
        self.slots.push_back((offset, None));
        true
    }

    /// The result of an offset that was handed out; of any other, or a second one, it is dropped.
    pub(crate) fn put(&mut self, offset: i64, result: T) -> bool {
        let Ok(index) = self
            .slots
            .binary_search_by_key(&offset, |(offset, _)| *offset)
        else {
            return false;
        };
        match self.slots.get_mut(index) {
            Some((_, slot @ None)) => {
                *slot = Some(result);
                true
            }
            _ => false,
        }
    }

    /// The next result in offset order, if it is there.
    pub(crate) fn pop(&mut self) -> Option<(i64, T)> {
        let (offset, result) = self.slots.front_mut()?;
        let ready = (*offset, result.take()?);
        self.slots.pop_front();
        Some(ready)
    }

    /// Gives back what was popped last.
    pub(crate) fn put_back(&mut self, offset: i64, result: T) {
        self.slots.push_front((offset, Some(result)));
    }

    /// Takes back the results that `again` names: they are awaited anew.
    pub(crate) fn take_back(&mut self, mut again: impl FnMut(&T) -> bool) -> Vec<T> {
        let taken = self.slots.iter_mut().filter_map(|(_, slot)| {
            let is_named = slot.as_ref().is_some_and(&mut again);
            if is_named { slot.take() } else { None }
        });
        taken.collect()
    }

    /// How many offsets were handed out and not released yet.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Forgets everything that was handed out.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Reorder;

    #[test]
    fn a_late_result_holds_back_those_behind_it() {
        let mut reorder = Reorder::default();
        assert!(reorder.expect(5));
        assert!(reorder.expect(7));
        assert!(reorder.put(7, "second"));
        assert_eq!(reorder.pop(), None);
        assert!(reorder.put(5, "first"));
        assert_eq!(reorder.pop(), Some((5, "first")));
        assert_eq!(reorder.pop(), Some((7, "second")));
        assert_eq!(reorder.pop(), None);
    }

    #[test]
    fn a_result_nobody_awaits_is_dropped() {
        let mut reorder = Reorder::default();
        assert!(!reorder.put(1, ()));
        reorder.expect(1);
        assert!(reorder.put(1, ()));
        assert!(!reorder.put(1, ()));
        assert!(!reorder.expect(1));
        assert_eq!(reorder.len(), 1);
    }

    #[test]
    fn what_is_taken_back_is_awaited_anew_in_its_place() {
        let mut reorder = Reorder::default();
        for offset in 0..3 {
            reorder.expect(offset);
            reorder.put(offset, offset);
        }
        assert_eq!(reorder.pop(), Some((0, 0)));
        reorder.put_back(0, 0);
        assert_eq!(reorder.take_back(|result| result % 2 == 0), [0, 2]);
        assert_eq!(reorder.pop(), None);
        assert!(reorder.put(0, 10) && reorder.put(2, 12));
        assert_eq!(reorder.pop(), Some((0, 10)));
        assert_eq!(reorder.pop(), Some((1, 1)));
        assert_eq!(reorder.pop(), Some((2, 12)));
    }

    #[test]
    fn what_was_handed_out_and_forgotten_is_awaited_no_more() {
        let mut reorder = Reorder::default();
        reorder.expect(1);
        reorder.put(1, ());
        reorder.expect(2);
        reorder.clear();
        assert_eq!(reorder.pop(), None);
        assert!(!reorder.put(2, ()));
    }

    proptest! {
        #[test]
        fn results_in_any_order_come_out_in_offset_order_and_none_is_lost(
            order in (1_usize..80).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle())
        ) {
            let offset_of = |index: usize| i64::try_from(index * 3).unwrap();
            let mut reorder = Reorder::default();
            for index in 0..order.len() {
                prop_assert!(reorder.expect(offset_of(index)));
            }
            let mut out = Vec::new();
            for index in &order {
                prop_assert!(reorder.put(offset_of(*index), *index));
                while let Some((offset, index)) = reorder.pop() {
                    prop_assert_eq!(offset, offset_of(index));
                    out.push(index);
                }
            }
            prop_assert_eq!(out, (0..order.len()).collect::<Vec<_>>());
            prop_assert_eq!(reorder.len(), 0);
        }
    }
}

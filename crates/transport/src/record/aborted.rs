//! Which batches belong to an aborted transaction, by the list a `read_committed` fetch comes with (KIP-98).

use std::collections::BTreeSet;

use super::decode::RawBatch;

/// Walks the batches of one fetched chunk in offset order.
#[derive(Debug, Default)]
pub(crate) struct AbortedFilter {
    /// Transactions not yet reached, by first offset; the next one last.
    ahead: Vec<(i64, i64)>,
    /// Producers whose aborted transaction the walk is inside of.
    inside: BTreeSet<i64>,
}

impl AbortedFilter {
    /// From the broker's list of `(producer id, first offset)`.
    pub(crate) fn new(aborted: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> = aborted
            .into_iter()
            .map(|(producer, first_offset)| (first_offset, producer))
            .collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            ahead,
            inside: BTreeSet::new(),
        }
    }

    /// Whether the records of `batch` are for the reader.
    pub(crate) fn passes(&mut self, batch: &RawBatch) -> bool {
        while let Some(&(first_offset, producer)) = self.ahead.last()
            && first_offset <= batch.last_offset()
        {
            self.inside.insert(producer);
            self.ahead.pop();
        }
        if batch.is_control() {
            if batch.is_abort_marker() {
                self.inside.remove(&batch.producer_id());
            }
            return false;
        }
        !(batch.is_transactional() && self.inside.contains(&batch.producer_id()))
    }
}

//! What a producer is doing, as numbers.

/// What a [`Producer`](super::Producer) is doing at one moment, and has met with since it was made.
///
/// `sequences_taken`, `fences` and `unprotected_partitions` are alarms: each says that someone else writes under this
/// producer's id, which nobody does by accident. The same is logged as an error when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records appended and not settled.
    pub buffered_records: usize,
    /// Bytes of the buffer that are taken, by records and by reservations.
    pub reserved_bytes: usize,
    /// Batches whose answer is awaited.
    pub batches_in_flight: usize,
    /// Attempts beyond a batch's first under one sequence.
    pub resends: u64,
    /// Answers of success that were about another's batch, under our id and sequence.
    pub sequences_taken: u64,
    /// Batches refused because another has raised the epoch of our id (47).
    pub fences: u64,
    /// Partitions written without a producer id from now on, since no id was left to them: order holds, copies are
    /// possible.
    pub unprotected_partitions: usize,
}

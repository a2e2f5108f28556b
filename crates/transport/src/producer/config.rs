//! What a producer is told, and the two decisions it leaves to its owner: when to resend, and whether to try at all.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::DeliveryError;
use crate::record::Compression;

/// How a [`Producer`](super::Producer) batches, sends and resends.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// How long a batch waits for company before it is sent. Default 5 ms.
    pub linger: Duration,
    /// Uncompressed bytes at which a batch is full and sent at once; a record larger than that travels alone.
    /// Default 131 072.
    pub batch_bytes: usize,
    /// Bytes of batches in one produce request at most, as Java's `max.request.size`: those of more partitions go in
    /// requests of their own, and a batch larger than that travels alone. A broker refuses requests beyond its
    /// `socket.request.max.bytes` (100 MiB) by hanging up. Default 1 048 576.
    pub max_request_bytes: usize,
    /// Bytes of all records appended and not yet resolved, and 256 for each beside its own;
    /// [`reserve`](super::Producer::reserve) waits for room. Resident memory stays under three times that (a record, its
    /// encoded batch, and the request on its way) and 16 MiB for what the allocator keeps, however long a broker does
    /// not answer. Default 33 554 432.
    pub buffer_bytes: usize,
    /// Compression of batches. Default snappy.
    pub compression: Compression,
    /// Batches of one partition on their way at a time, 1 to 5: the broker remembers five (KIP-98). Default 5.
    pub max_in_flight: usize,
    /// From `append` to the end of trying, unless a deadline of the record's own is sooner; up to a second less where
    /// a batch is shared. Default 120 s.
    pub delivery_timeout: Duration,
    /// When and how often a failed batch is sent again. Default [`FixedSchedule`] of 5 resends, 100 ms apart.
    pub schedule: Arc<dyn ResendSchedule>,
    /// Asked before each attempt. Default [`OpenGate`].
    pub gate: Arc<dyn Gate>,
    /// Asked for each batch that is given up: whether what stands behind it must not go before it. Default
    /// [`NeverHold`].
    pub hold: Arc<dyn HoldPolicy>,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            batch_bytes: 131_072,
            max_request_bytes: 1_048_576,
            buffer_bytes: 33_554_432,
            compression: Compression::Snappy,
            max_in_flight: 5,
            delivery_timeout: Duration::from_secs(120),
            schedule: Arc::new(FixedSchedule {
                delay: Duration::from_millis(100),
                resends: 5,
            }),
            gate: Arc::new(OpenGate),
            hold: Arc::new(NeverHold),
        }
    }
}

/// When a batch that failed is sent again.
pub trait ResendSchedule: fmt::Debug + Send + Sync {
    /// How long to wait before resend number `resend`, which counts from 1; `None` gives the batch up.
    fn next(&self, resend: u32) -> Option<Duration>;
}

/// The same delay before each of a number of resends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedSchedule {
    /// Before each resend.
    pub delay: Duration,
    /// How many there are.
    pub resends: u32,
}

impl ResendSchedule for FixedSchedule {
    fn next(&self, resend: u32) -> Option<Duration> {
        (resend <= self.resends).then_some(self.delay)
    }
}

/// Whether a batch that is given up holds its partition: for owners that keep what was given up and send it later, and
/// whose records must keep their order.
///
/// While a partition is held, what stands behind and was never sent, what is certainly not in the log, and all that is
/// appended from then on is given up as well ([`GiveUp::Behind`](super::GiveUp::Behind)); what was sent and is in doubt
/// is asked about until its own end. What holds and stands before something in doubt is given up as in doubt too
/// ([`Written::Unknown`](super::Written::Unknown)), so that sending again what is in doubt first keeps the order.
/// [`Producer::resume`](super::Producer::resume) ends the hold.
pub trait HoldPolicy: fmt::Debug + Send + Sync {
    /// Whether a batch that ended like this holds its partition. Called under the producer's lock: it must neither wait
    /// nor call the producer.
    fn holds(&self, error: &DeliveryError) -> bool;
}

/// What stands behind a batch that was given up goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NeverHold;

impl HoldPolicy for NeverHold {
    fn holds(&self, _error: &DeliveryError) -> bool {
        false
    }
}

/// Whether the cluster may be asked at the moment: where a circuit breaker goes.
///
/// Every [`Admission::Admitted`] is followed by exactly one [`Gate::record`] with its permit.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Asked before each produce request, and before the look-ups that one needs.
    fn admit(&self, now: Instant) -> Admission;
    /// What came of the attempt that was admitted with this permit.
    fn record(&self, now: Instant, permit: Permit, outcome: AttemptOutcome);
    /// Told when the answer may be another for a reason that is not the time: somebody else's attempt ended. A
    /// producer that was told to wait asks again then. Default: never.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// A gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead.
    Admitted(Permit),
    /// Not now; ask again after this long. The time counts against delivery deadlines.
    Wait(Duration),
}

/// The gate's name for one admitted attempt, of its own choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permit(pub u64);

/// What came of an admitted attempt, as far as the cluster's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A broker answered, be it with an error, or be it another broker than the one that was asked first.
    Answered,
    /// No broker could be reached, or none answered in time.
    Unreachable,
    /// The attempt was not made after all, or says nothing about the cluster.
    Abandoned,
}

/// A gate that admits everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit(&self, _now: Instant) -> Admission {
        Admission::Admitted(Permit(0))
    }

    fn record(&self, _now: Instant, _permit: Permit, _outcome: AttemptOutcome) {}
}

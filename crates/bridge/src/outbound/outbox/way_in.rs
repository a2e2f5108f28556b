//! How messages get into the outbox: from a sender who cannot go on, and from the transport that gave up.

use std::sync::Arc;

use cybermesh_contracts::{headers::Header, message::Draft};
use cybermesh_transport::{
    Class, DeliveryError, ErrorCode, Producer, Record, Written,
    producer::{GiveUp, HoldPolicy},
};

use tokio::time::Instant;

use super::{
    Body, Entry, NotKept, Outbox, arrival,
    database::Change,
    index::Arrival,
    store::{self, Urgency},
};
use crate::{
    outbound::{failed::is_topics_fault, options::SendOptions},
    telemetry::Left,
};

/// What a caller wants sent.
#[derive(Debug)]
pub(in crate::outbound) struct Request {
    pub(in crate::outbound) draft: Draft,
    pub(in crate::outbound) options: SendOptions,
}

/// Whether what was given up like this is kept and sent later: what its topic refuses for good is not.
pub(in crate::outbound) fn is_kept(error: &DeliveryError) -> bool {
    let of_the_record = matches!(
        error.error().error_code(),
        Some(
            ErrorCode::RecordListTooLarge
                | ErrorCode::InvalidTimestamp
                | ErrorCode::UnsupportedForMessageFormat
        )
    ) && error.class() == Class::Fatal;
    // What stood behind another was not refused itself, whatever its error says of that one.
    error.written() == Written::Unknown
        || error.reason() == GiveUp::Behind
        || (error.reason() != GiveUp::Unfit && !of_the_record && !is_topics_fault(error))
}

/// What stands behind a message that is kept must not go before it.
#[derive(Debug)]
pub(crate) struct HoldWhatIsKept;

impl HoldPolicy for HoldWhatIsKept {
    fn holds(&self, error: &DeliveryError) -> bool {
        is_kept(error)
    }
}

/// A message that has its place in the outbox, and is on its way to the disk.
#[derive(Debug)]
pub(in crate::outbound) struct Keeping {
    outbox: Arc<Outbox>,
    place: u64,
    entry: (Arc<str>, cybermesh_contracts::kind::Kind),
    written: store::Written,
}

impl Keeping {
    /// Waits for the disk. Must run to its end: what nobody waits for is neither sent nor given up.
    pub(in crate::outbound) async fn kept(self) -> Result<u64, NotKept> {
        let written = store::written(self.written).await;
        let mut index = self.outbox.lock();
        match written {
            Ok(()) => {
                index.stored(self.place);
                self.outbox.metrics.spooled(&self.entry.0, self.entry.1);
            }
            Err(_) => drop(index.remove(self.place)),
        }
        self.outbox.show(&index);
        drop(index);
        self.outbox.changed.notify_one();
        written.map(|()| self.place).map_err(NotKept::Disk)
    }
}

impl Outbox {
    /// Gives a message its place: `place`, where it has one already, or behind all others.
    pub(in crate::outbound) fn keep(
        self: &Arc<Self>,
        place: Option<u64>,
        entry: &Entry,
    ) -> Result<Keeping, NotKept> {
        let encoded = entry.encode();
        let mut index = self.lock();
        let arrival = Arrival {
            accepted_at: Some(Instant::now()),
            ..arrival(entry, encoded.len())
        };
        let accepted = index.accept(place, &arrival);
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(full) => {
                self.show(&index);
                return Err(NotKept::Full {
                    bytes: full.bytes,
                    limit: full.limit,
                });
            }
        };
        let place = accepted.place;
        let remove = |(place, _): &(u64, _)| Change::Remove { place: *place };
        let mut changes: Vec<Change> = accepted.dropped.iter().map(remove).collect();
        changes.push(Change::Put {
            place,
            bytes: encoded.seal(place),
        });
        // Under the lock: what is accepted first is on disk first.
        let written = self.store.write(changes, Urgency::BySetting);
        self.show(&index);
        drop(index);
        self.tell_lost(&accepted.dropped, Left::Dropped);
        Ok(Keeping {
            outbox: Arc::clone(self),
            place,
            entry: (Arc::clone(&entry.topic), entry.kind),
            written,
        })
    }

    /// Keeps what the transport gave up, at its place; what follows it goes behind it.
    pub(in crate::outbound) fn take_back(
        self: &Arc<Self>,
        place: u64,
        partition: i32,
        entry: &Entry,
        producer: &Producer,
    ) -> Result<Keeping, NotKept> {
        self.lock().hold(&entry.topic, partition);
        let kept = self.keep(Some(place), entry);
        self.settled(&entry.topic, partition, producer);
        kept
    }

    /// The transport is done with a message.
    pub(in crate::outbound) fn settled(
        &self,
        topic: &Arc<str>,
        partition: i32,
        producer: &Producer,
    ) {
        let mut index = self.lock();
        if index.settled(topic, partition) {
            // Under the lock: nothing is admitted before what came back has its place.
            producer.resume(topic, partition);
        }
        drop(index);
        self.changed.notify_one();
    }
}

impl Request {
    /// What is kept of a message that was certainly not sent.
    pub(in crate::outbound) fn to_draft(
        &self,
        topic: &Arc<str>,
        partition: Option<i32>,
        key: Option<&[u8]>,
        accepted_at_ms: u64,
    ) -> Entry {
        let body = Body::Draft(self.draft.to_proto());
        self.entry(
            topic,
            // Without a key the partition is chosen when it goes.
            partition.filter(|_| key.is_some()),
            key,
            accepted_at_ms,
            body,
        )
    }

    /// What is kept of a message that may have been sent, and got its place when it was signed.
    pub(in crate::outbound) fn to_signed(
        &self,
        topic: &Arc<str>,
        partition: i32,
        record: &Record,
        place: u64,
        accepted_at_ms: u64,
    ) -> Entry {
        let body = signed(record, place);
        self.entry(
            topic,
            Some(partition),
            record.key.as_deref(),
            accepted_at_ms,
            body,
        )
    }

    fn entry(
        &self,
        topic: &Arc<str>,
        partition: Option<i32>,
        key: Option<&[u8]>,
        accepted_at_ms: u64,
        body: Body,
    ) -> Entry {
        Entry {
            kind: self.draft.kind(),
            topic: Arc::clone(topic),
            partition,
            key: key.map(<[u8]>::to_vec),
            headers: self.options.headers.clone(),
            traceparent: self.options.traceparent.clone(),
            accepted_at_ms,
            body,
        }
    }
}

/// The signed form of a record.
pub(super) fn signed(record: &Record, signing: u64) -> Body {
    let header = |header: &cybermesh_transport::Header| Header {
        name: header.name.clone(),
        value: header.value.as_ref().map(|value| value.to_vec()),
    };
    Body::Signed {
        signing,
        timestamp_ms: record.timestamp_ms,
        headers: record.headers.iter().map(header).collect(),
        value: record
            .value
            .as_ref()
            .map(|value| value.to_vec())
            .unwrap_or_default(),
    }
}

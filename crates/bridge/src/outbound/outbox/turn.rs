//! One worker's turn at what goes to one partition: taken, signed or as it was signed, sent, and what came of that.
//!
//! A draft is signed with a fresh time and nonce while its partition's queue is held, so that nonces go in the order of the
//! log; it is signed on disk before it goes to the transport; it is taken out once Kafka has it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cybermesh_transport::{
    Delivery, DeliveryError, Header, Record, Reservation, TransportError, Written,
};
use tokio::time::Instant;

use super::{
    Body, Entry, Outbox,
    database::Change,
    index::{Group, Slot},
    store::{self, Urgency},
    way_in::{is_kept, signed},
};
use crate::{
    clock::after,
    outbound::{
        append::{Addressed, OWN_HEADERS_BYTES, Patience, SEAL_BYTES, Signing, ToSign},
        publisher::Inner,
        receipt::{NotSent, SendError},
    },
    telemetry::Left,
};

/// Entries that are signed together, for one sync.
const TOGETHER: usize = 512;
/// Why a partition's drafts do not go.
const WAITS_FOR_DOUBTFUL: &str = "its partition waits for what may have been written";

/// Why nothing of a topic goes whose partitions have become more.
const WAITS_FOR_TAKEN: &str =
    "its topic has other partitions now, and some of it is on its way by the old ones";

/// What came of a worker's turn.
pub(super) enum Turn {
    /// Something went; there may be more.
    Went,
    /// It could not be sent now.
    Hindered(NotNow),
}

/// Why something does not go now.
pub(super) enum NotNow {
    /// It waits its turn behind something else.
    Waits(&'static str),
    /// It was tried, or what it needs could not be had.
    Failed(String),
}

impl From<String> for NotNow {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl Outbox {
    /// The entries at these places. Those that are not to be had any more are counted as lost.
    async fn read(&self, places: Vec<u64>) -> Result<Vec<(u64, Entry)>, String> {
        let read = match self.store.read(places.clone()).await {
            Ok(read) => read,
            Err(fault) => {
                self.wait_again(&places);
                return Err(fault.to_string());
            }
        };
        let (mut entries, mut lost) = (Vec::new(), Vec::new());
        for (place, entry) in places.into_iter().zip(read) {
            match entry {
                Some(entry) => entries.push((place, entry)),
                None => lost.extend(self.lock().remove(place).map(|held| (place, held))),
            }
        }
        if !lost.is_empty() {
            self.show(&self.lock());
            self.tell_lost(&lost, Left::Unreadable);
        }
        Ok(entries)
    }

    fn wait_again(&self, places: &[u64]) {
        let mut index = self.lock();
        for place in places {
            index.waits_again(*place);
        }
    }

    /// It is not to be sent any more. It may stay on disk for a moment; a crash then sends it again.
    fn leave(&self, place: u64) {
        let mut index = self.lock();
        index.remove(place);
        self.show(&index);
        drop(
            self.store
                .write(vec![Change::Remove { place }], Urgency::BySetting),
        );
    }
}

/// A record that has its room, and what is kept of it.
struct Ready {
    place: u64,
    entry: Entry,
    room: Reservation,
}

/// A record that the transport has.
struct Gone {
    sent: Sent,
    delivery: Delivery,
}

/// What is known of a record that the transport has.
struct Sent {
    place: u64,
    entry: Entry,
    to: Addressed,
    signing: u64,
}

impl Inner {
    /// One worker's turn at a group.
    pub(super) async fn drain(self: &Arc<Self>, outbox: &Arc<Outbox>, group: &Group) -> Turn {
        let turn = self.send_some(outbox, group).await;
        turn.map_or_else(Turn::Hindered, |()| Turn::Went)
    }

    /// Takes of a group, once all drafts of its topic are where their keys are now.
    async fn take(&self, outbox: &Outbox, group: &Group) -> Result<Vec<u64>, NotNow> {
        let (topic, slot) = group;
        if *slot != Slot::Keyless {
            let asked = self.partitions_of(topic).await?;
            let mut index = outbox.lock();
            // Under the lock: whoever was answered first is not to undo what another knows by now.
            let known = self.parts.client.known_partition_count(topic);
            if !index.counted(topic, known.unwrap_or(asked)) {
                return Err(NotNow::Waits(WAITS_FOR_TAKEN));
            }
        }
        let most_bytes = u64::try_from(self.parts.buffer_bytes / 2).unwrap_or(u64::MAX);
        Ok(outbox.lock().take(group, TOGETHER, most_bytes))
    }

    async fn partitions_of(&self, topic: &str) -> Result<i32, String> {
        let since = Instant::now();
        let asked = self
            .unless_closing(self.parts.client.partition_count(topic))
            .await?;
        asked.map_err(|error: TransportError| {
            if error.is_unreachable() {
                self.parts.gate.unreachable(since, Instant::now());
            }
            error.to_string()
        })
    }

    async fn unless_closing<T>(&self, waited_for: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(SendError::Closed.to_string()),
            answer = waited_for => Ok(answer),
        }
    }

    /// Sends the next entries of a group, and waits for what comes of them.
    async fn send_some(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        group: &Group,
    ) -> Result<(), NotNow> {
        let taken = self.take(outbox, group).await?;
        let entries = outbox.read(taken).await?;
        if entries.is_empty() {
            return Ok(());
        }
        let places: Vec<u64> = entries.iter().map(|(place, _)| *place).collect();
        let in_doubt = {
            let index = outbox.lock();
            places.iter().any(|place| index.is_in_doubt(*place))
        };
        let (ready, unfit): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .map(|(place, entry)| (place, entry.about_to_go(in_doubt)))
            .partition(|(_, entry)| entry.is_some());
        for (place, _) in unfit {
            let lost = outbox.lock().remove(place).map(|held| (place, held));
            outbox.tell_lost(lost.as_slice(), Left::Unreadable);
            outbox.leave(place);
        }
        let entries = ready
            .into_iter()
            .filter_map(|(place, entry)| Some((place, entry?)))
            .collect::<Vec<_>>();
        let partition = match self.whereto(group, &entries).await {
            Ok(partition) => partition,
            Err(reason) => {
                outbox.wait_again(&places);
                return Err(reason.into());
            }
        };
        let ready = self
            .reserve(outbox, &group.0, partition, entries, in_doubt)
            .await;
        let ready = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                outbox.wait_again(&places);
                return Err(reason.into());
            }
        };
        let gone = if in_doubt {
            self.resend(outbox, &group.0, partition, ready).await
        } else {
            self.sign_all(outbox, &group.0, partition, ready).await?
        };
        let mut hindered = None;
        for Gone { sent, delivery } in gone {
            let outcome = delivery.await;
            if let Err(reason) = self.drained(outbox, &sent, in_doubt, outcome).await {
                hindered.get_or_insert(reason);
            }
        }
        hindered.map_or(Ok(()), |reason| Err(NotNow::Failed(reason)))
    }

    /// The partition of these entries.
    async fn whereto(&self, group: &Group, entries: &[(u64, Entry)]) -> Result<i32, String> {
        if let Slot::Partition(partition) = group.1 {
            return Ok(partition);
        }
        let bytes = entries.iter().map(|(_, entry)| content_bytes(entry)).sum();
        let choosing = self.parts.producer.partition_without_key(&group.0, bytes);
        self.unless_closing(choosing)
            .await?
            .map_err(|error| error.to_string())
    }

    /// Room for all of them. One worker at a time: two that each wait for the other's half would wait for ever.
    async fn reserve(
        &self,
        outbox: &Outbox,
        topic: &str,
        partition: i32,
        entries: Vec<(u64, Entry)>,
        in_doubt: bool,
    ) -> Result<Vec<Ready>, String> {
        let _one_at_a_time = outbox.reserving.lock().await;
        let mut ready = Vec::new();
        for (place, entry) in entries {
            let bytes = if in_doubt {
                record_of(&entry).map_or(0, |(_, record)| record.size_bound())
            } else {
                let framing = Record::default().size_bound() + 10 * entry.headers.len();
                content_bytes(&entry) + SEAL_BYTES + OWN_HEADERS_BYTES + framing
            };
            let reserving = self.parts.producer.reserve(topic, partition, bytes);
            let room = self
                .unless_closing(reserving)
                .await?
                .map_err(|error| error.to_string())?;
            ready.push(Ready { place, entry, room });
        }
        Ok(ready)
    }

    /// What is in doubt goes byte for byte.
    async fn resend(
        &self,
        outbox: &Outbox,
        topic: &Arc<str>,
        partition: i32,
        ready: Vec<Ready>,
    ) -> Vec<Gone> {
        let queue = self.queue(topic, partition);
        let _in_order = queue.lock().await;
        let mut index = outbox.lock();
        let deadline = after(Instant::now(), self.patience);
        let send = |Ready { place, entry, room }| {
            let (signing, record) = record_of(&entry)?;
            index.on_its_way(place, partition);
            let to = self.addressed(&entry, partition, &record);
            let delivery = room.append_until(record, deadline);
            let sent = Sent {
                place,
                entry,
                to,
                signing,
            };
            Some(Gone { sent, delivery })
        };
        ready.into_iter().filter_map(send).collect()
    }

    /// Signs, keeps what is signed, and appends, while nobody else appends to this partition.
    async fn sign_all(
        self: &Arc<Self>,
        outbox: &Outbox,
        topic: &Arc<str>,
        partition: i32,
        ready: Vec<Ready>,
    ) -> Result<Vec<Gone>, NotNow> {
        let all: Vec<u64> = ready.iter().map(|ready| ready.place).collect();
        let queue = self.queue(topic, partition);
        let _in_nonce_order = queue.lock().await;
        if outbox.lock().is_blocked(topic, partition) {
            outbox.wait_again(&all);
            return Err(NotNow::Waits(WAITS_FOR_DOUBTFUL));
        }
        let (mut records, mut changes) = (Vec::new(), Vec::new());
        let mut hindered = None;
        for Ready { place, entry, room } in ready {
            if hindered.is_some() {
                outbox.wait_again(&[place]);
                continue;
            }
            match self.sign_entry(&entry, topic, partition).await {
                Ok(record) => {
                    let signing = outbox.lock().next_signing();
                    let kept = Entry {
                        partition: Some(partition),
                        body: signed(&record, signing),
                        ..entry.clone()
                    };
                    changes.push(Change::Replace {
                        place,
                        bytes: kept.encode().seal(place),
                    });
                    records.push((place, entry, signing, record, room));
                }
                Err(Unsigned::Now(reason)) => {
                    outbox.wait_again(&[place]);
                    hindered = Some(reason);
                }
                Err(Unsigned::Ever(reason)) => {
                    tracing::error!(place, reason, "a message in the outbox can never be sent");
                    let lost = outbox.lock().remove(place).map(|held| (place, held));
                    outbox.tell_lost(lost.as_slice(), Left::Unreadable);
                    outbox.leave(place);
                }
            }
        }
        if !changes.is_empty() {
            let written = outbox.store.write(changes, Urgency::Synced);
            if let Err(fault) = store::written(written).await {
                outbox.wait_again(&all);
                return Err(NotNow::Failed(fault.to_string()));
            }
        }
        if records.is_empty() {
            return hindered.map_or(Ok(Vec::new()), |reason| Err(NotNow::Failed(reason)));
        }
        let deadline = after(Instant::now(), self.patience);
        let mut index = outbox.lock();
        // Something may have come back since, with an older nonce, and the transport's hold have ended already.
        if index.is_blocked(topic, partition) {
            let again = records.iter().map(|(place, entry, ..)| {
                index.waits_again(*place);
                let (place, bytes) = (*place, entry.encode().seal(*place));
                Change::Replace { place, bytes }
            });
            // Nothing of it went out: the next process is not to take it for doubtful.
            drop(outbox.store.write(again.collect(), Urgency::BySetting));
            return Err(NotNow::Waits(WAITS_FOR_DOUBTFUL));
        }
        let send = |(place, entry, signing, record, room): (_, Entry, _, Record, Reservation)| {
            index.on_its_way(place, partition);
            let to = self.addressed(&entry, partition, &record);
            let delivery = room.append_until(record, deadline);
            let sent = Sent {
                place,
                entry,
                to,
                signing,
            };
            Gone { sent, delivery }
        };
        Ok(records.into_iter().map(send).collect())
    }

    async fn sign_entry(
        &self,
        entry: &Entry,
        topic: &Arc<str>,
        partition: i32,
    ) -> Result<Record, Unsigned> {
        let draft = entry
            .draft()
            .map_err(|error| Unsigned::Ever(error.to_string()))?;
        let Some(signer) = &self.parts.signer else {
            return Err(Unsigned::Now(NotSent::NoKey.to_string()));
        };
        let signer = signer.current();
        let what = ToSign {
            draft: &draft,
            topic,
            partition,
            key: entry.key.as_deref(),
            headers: &entry.headers,
            traceparent: entry.traceparent.as_deref(),
            spooled_at_ms: Some(entry.accepted_at_ms),
        };
        loop {
            let now_ms = self
                .plausible_time()
                .map_err(|error| Unsigned::Now(error.to_string()))?;
            self.parts
                .nonces
                .prepare(now_ms)
                .await
                .map_err(|fault| Unsigned::Now(fault.to_string()))?;
            match self.sign(signer.as_ref(), &what) {
                Ok(Signing::Signed(record)) => return Ok(record),
                Ok(Signing::NotPrepared) => {}
                Err(error @ (SendError::Invalid(_) | SendError::TooLarge(_))) => {
                    return Err(Unsigned::Ever(error.to_string()));
                }
                Err(error) => return Err(Unsigned::Now(error.to_string())),
            }
        }
    }

    fn addressed(&self, entry: &Entry, partition: i32, record: &Record) -> Addressed {
        let begun = Instant::now();
        Addressed {
            kind: entry.kind,
            topic: Arc::clone(&entry.topic),
            partition,
            key: entry.key.clone(),
            value_bytes: record.value.as_ref().map_or(0, Bytes::len),
            begun,
            patience: Patience::whole(begun, self.patience),
            begun_unix_ms: entry.accepted_at_ms,
            kept: None,
        }
    }

    /// What came of an entry that was sent.
    async fn drained(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        sent: &Sent,
        was_in_doubt: bool,
        outcome: Result<cybermesh_transport::Appended, DeliveryError>,
    ) -> Result<(), String> {
        let (place, entry, to) = (sent.place, &sent.entry, &sent.to);
        let error = match outcome {
            Ok(_) => {
                outbox.leave(place);
                outbox.settled(&to.topic, to.partition, &self.parts.producer);
                let waited = self
                    .parts
                    .clock
                    .unix_ms()
                    .saturating_sub(entry.accepted_at_ms);
                self.parts.metrics.sent(
                    &to.topic,
                    to.partition,
                    to.kind,
                    to.value_bytes,
                    Duration::from_millis(waited),
                );
                self.parts.metrics.unspooled(&to.topic, to.kind, Left::Sent);
                return Ok(());
            }
            Err(error) => error,
        };
        if is_kept(&error) {
            let may_be_written = was_in_doubt || error.written() == Written::Unknown;
            let mut index = outbox.lock();
            index.hold(&to.topic, to.partition);
            if may_be_written {
                index.in_doubt(place, to.partition, sent.signing);
            } else {
                // It is signed on disk; the next time it goes it is to have a new time.
                let bytes = entry.encode().seal(place);
                let again = vec![Change::Replace { place, bytes }];
                drop(outbox.store.write(again, Urgency::BySetting));
            }
            index.waits_again(place);
            drop(index);
            outbox.settled(&to.topic, to.partition, &self.parts.producer);
            return Err(error.to_string());
        }
        outbox.settled(&to.topic, to.partition, &self.parts.producer);
        let how = if was_in_doubt {
            // No letter: put back it would be signed anew, and handled twice if it was written.
            tracing::error!(
                place, topic = %to.topic, partition = to.partition, %error,
                "a message that may have been written is refused now, and given up"
            );
            Left::Unknown
        } else {
            let buried = match entry.draft() {
                Ok(draft) => self.bury(to, &draft, &entry.headers, &error).await,
                Err(_) => true,
            };
            if !buried {
                outbox.lock().waits_again(place);
                return Err(error.to_string());
            }
            Left::Refused
        };
        let lost = outbox.lock().remove(place).map(|held| (place, held));
        outbox.tell_lost(lost.as_slice(), how);
        outbox.leave(place);
        Ok(())
    }
}

impl Entry {
    /// As it is to go: signed where it may be in the log, else as a draft, whatever became of an earlier attempt to
    /// sign it. `None` where it is neither.
    fn about_to_go(self, in_doubt: bool) -> Option<Self> {
        match (&self.body, in_doubt) {
            (Body::Signed { .. }, true) | (Body::Draft(_), false) => Some(self),
            (Body::Draft(_), true) => None,
            (Body::Signed { .. }, false) => {
                let draft = self.draft().ok()?.to_proto();
                let body = Body::Draft(draft);
                Some(Self { body, ..self })
            }
        }
    }
}

/// Why an entry was not signed.
enum Unsigned {
    /// It may be later.
    Now(String),
    /// It never will be.
    Ever(String),
}

/// Key, headers and message, in bytes.
fn content_bytes(entry: &Entry) -> usize {
    let (Body::Draft(content) | Body::Signed { value: content, .. }) = &entry.body;
    cybermesh_contracts::headers::record_bytes(entry.key.as_deref(), &entry.headers, content)
}

/// The record of what is signed, and which signing it is of.
fn record_of(entry: &Entry) -> Option<(u64, Record)> {
    let Body::Signed {
        signing,
        timestamp_ms,
        headers,
        value,
    } = &entry.body
    else {
        return None;
    };
    let header = |header: &cybermesh_contracts::headers::Header| Header {
        name: header.name.clone(),
        value: header.value.clone().map(Bytes::from),
    };
    let record = Record {
        key: entry.key.clone().map(Bytes::from),
        value: Some(Bytes::from(value.clone())),
        headers: headers.iter().map(header).collect(),
        timestamp_ms: *timestamp_ms,
    };
    Some((*signing, record))
}

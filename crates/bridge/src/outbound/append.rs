//! From a draft to a place in its partition's queue:
//! `validate → rate limit → breaker → partition → room → nonce + sign → append`; or, where that leads nowhere now, or
//! others of its lane wait there, to a place in the outbox.

use std::{
    future::Future,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use cybermesh_contracts::{
    envelope::{Envelope, Scope},
    headers::{self, MAX_RECORD_BYTES, SPOOLED_AT},
    kind::Kind,
    message::{Draft, Stamp},
    partition::{murmur2, partition_for_hash},
    sign::Signer,
};
use cybermesh_transport::{
    Class, Delivery, ErrorCode, ErrorKind, Header, Record, Reservation, TransportError,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    breaker::State,
    nonces::Drawn,
    options::{Key, SendOptions},
    outbox::{Keeping, NotKept, Outbox, Request, Way},
    publisher::{Inner, QueueLock},
    receipt::{Invalid, NotSent, SendError, TooLarge},
};
use crate::{
    clock::{after, is_plausible},
    telemetry::Condition,
};

/// What signing adds to a draft's encoding at most, in bytes: time 11, content hash 34, producer id
/// 34, nonce 18, signature 66, public key 34, algorithm 9, and two for tags beyond fifteen.
pub(super) const SEAL_BYTES: usize = 11 + 34 + 34 + 18 + 66 + 34 + 9 + 14;
/// What the contract's headers add to a record at most, their framing and a trace included.
pub(super) const OWN_HEADERS_BYTES: usize = 512;

/// How long before a caller's deadline the transport is to have answered, if it can.
const A_MOMENT: Duration = Duration::from_millis(100);
/// The same with an outbox, which wants to keep what the transport gives up.
const LONG_ENOUGH_TO_KEEP: Duration = Duration::from_millis(1_500);

/// A message that is in its partition's queue, and goes on whether anybody waits or not.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) to: Addressed,
    pub(super) delivery: Delivery,
}

/// What is known of a message once it has its place.
#[derive(Debug, Clone)]
pub(super) struct Addressed {
    pub(super) kind: Kind,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value_bytes: usize,
    pub(super) begun: Instant,
    pub(super) patience: Patience,
    pub(super) begun_unix_ms: u64,
    /// What the outbox needs to take it back; none without one.
    pub(super) kept: Option<TakenBack>,
}

/// A message that the outbox takes back where the transport gives it up.
#[derive(Debug, Clone)]
pub(super) struct TakenBack {
    pub(super) place: u64,
    pub(super) record: Record,
}

/// A message that has its place.
#[derive(Debug)]
pub(super) enum Begun {
    /// In its partition's queue.
    Pending(Pending),
    /// In the outbox; it is on its way to the disk.
    Spooling(Keeping, Patience),
}

/// Why a message is not in its partition's queue.
enum Hindered {
    /// It was refused, and is the caller's again.
    Refused(SendError),
    /// It cannot be sent now: for the outbox, where there is one.
    Away(SendError),
    /// Others of its lane or partition wait in the outbox.
    Behind(Arc<Outbox>),
}

/// A message as it is to be signed.
pub(super) struct ToSign<'a> {
    pub(super) draft: &'a Draft,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) headers: &'a [headers::Header],
    pub(super) traceparent: Option<&'a str>,
    /// When it was taken into the outbox, where it was.
    pub(super) spooled_at_ms: Option<u64>,
}

/// What [`Inner::sign`] answers.
pub(super) enum Signing {
    Signed(Record),
    /// The nonce source wants to keep something first.
    NotPrepared,
}

/// Until when, and how to say that it passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) until: Instant,
    pub(super) whole: Duration,
    /// When the transport gives up. A caller in more of a hurry than the settings stops waiting
    /// and leaves it at that: a request cut short takes its connection, and all others on it, down.
    trying_until: Instant,
}

impl Patience {
    fn new(begun: Instant, wished: Option<Duration>, usual: Duration, early: Duration) -> Self {
        let whole = wished.unwrap_or(usual);
        let trying = whole.max(usual);
        Self {
            until: after(begun, whole),
            whole,
            // Early, so that the transport's own answer, which says more, comes first.
            trying_until: after(begun, trying - early),
        }
    }

    /// All of the usual time, for what no caller waits for.
    pub(super) fn whole(begun: Instant, usual: Duration) -> Self {
        Self::new(begun, None, usual, Duration::ZERO)
    }
}

/// How long before the end of all trying the transport is to give up: with an outbox so early that what is on its way
/// then, which is waited for a second longer, still gets to the disk.
fn early(usual: Duration, outbox: Option<&Arc<Outbox>>) -> Duration {
    match outbox {
        None => A_MOMENT.min(usual / 10),
        Some(_) => LONG_ENOUGH_TO_KEEP.min(usual / 3),
    }
}

impl Inner {
    /// Walks the stages. Nothing that is awaited here has taken effect yet when the caller goes away.
    pub(super) async fn append(
        self: &Arc<Self>,
        request: &Arc<Request>,
        begun: Instant,
    ) -> Result<Begun, SendError> {
        let Request { draft, options } = &**request;
        let kind = draft.kind();
        let outbox = self.outbox.as_ref();
        let early = early(self.patience, outbox);
        let patience = Patience::new(begun, options.deadline, self.patience, early);
        if self.closing.is_cancelled() {
            return Err(SendError::Closed);
        }
        if !self.parts.kinds.contains(&kind) {
            return Err(SendError::Invalid(Invalid::Kind(kind)));
        }
        options.check().map_err(SendError::Invalid)?;
        let key = match &options.key {
            Key::OfKind => Some(draft.default_key()),
            Key::Own(key) => Some(key.clone()),
            Key::None => None,
        };
        let key = key.as_deref();
        let hindered = match self.into_queue(request, key, begun, patience).await {
            Ok(pending) => return Ok(Begun::Pending(pending)),
            Err(hindered) => hindered,
        };
        let topic = &self.topics[&kind];
        let (outbox, why) = match (hindered, outbox) {
            (Hindered::Refused(error), _) | (Hindered::Away(error), None) => return Err(error),
            (Hindered::Away(error), Some(outbox)) => (Arc::clone(outbox), error.to_string()),
            (Hindered::Behind(outbox), _) => (
                outbox,
                "messages that were accepted before it wait to be sent".to_owned(),
            ),
        };
        let partition = key.and_then(|key| {
            let known = self.parts.client.known_partition_count(topic);
            known.map(|partitions| partition_of(key, partitions))
        });
        let entry = request.to_draft(topic, partition, key, self.parts.clock.unix_ms());
        match outbox.keep(None, &entry) {
            Ok(keeping) => Ok(Begun::Spooling(keeping, patience)),
            Err(refusal) => Err(not_kept(why, refusal)),
        }
    }

    async fn into_queue(
        self: &Arc<Self>,
        request: &Arc<Request>,
        key: Option<&[u8]>,
        begun: Instant,
        patience: Patience,
    ) -> Result<Pending, Hindered> {
        use Hindered::{Away, Refused};
        let Request { draft, options } = &**request;
        let kind = draft.kind();
        let signer = self
            .parts
            .signer
            .as_ref()
            .ok_or(Refused(SendError::NotSent(NotSent::NoKey)))?;
        let room = self.room_for(draft, key, options).map_err(Refused)?;
        self.plausible_time().map_err(Refused)?;

        self.rate_limit(kind, patience).await.map_err(Refused)?;
        let topic = Arc::clone(&self.topics[&kind]);
        if let Some(outbox) = &self.outbox
            && outbox.lock().is_behind(&topic, key)
        {
            return Err(Hindered::Behind(Arc::clone(outbox)));
        }
        let refused = self.parts.gate.refuses(Instant::now());
        // Without an outbox a half-open breaker tries the cluster with what there is to send.
        let is_trying = self.outbox.is_some() && self.parts.gate.state() != State::Closed;
        if let Some(retry_after) = refused.or(is_trying.then_some(Duration::ZERO)) {
            return Err(Away(SendError::BreakerOpen { retry_after }));
        }
        let partition = self.partition(&topic, key, room, patience).await?;
        let reserving = self.parts.producer.reserve(&topic, partition, room);
        let mut reservation = self
            .unless_late(patience, "room in the buffer", reserving)
            .await
            .map_err(Away)?
            .map_err(refused_room)?;

        let queue = self.queue(&topic, partition);
        let _in_nonce_order = self
            .unless_late(patience, "its partition's turn", queue.lock())
            .await
            .map_err(Away)?;
        // Whoever waits for the disk keeps its turn: those behind it would pass it.
        loop {
            let now_ms = self.plausible_time().map_err(Refused)?;
            self.unless_late(
                patience,
                "a nonce reservation on disk",
                self.parts.nonces.prepare(now_ms),
            )
            .await
            .map_err(Refused)?
            .map_err(|fault| Refused(SendError::NotSent(NotSent::Nonce(fault.to_string()))))?;
            let to = Addressed {
                kind,
                topic: Arc::clone(&topic),
                partition,
                key: key.map(<[u8]>::to_vec),
                value_bytes: 0,
                begun,
                patience,
                begun_unix_ms: now_ms,
                kept: None,
            };
            match self.sign_and_append(signer.current().as_ref(), request, to, reservation)? {
                Step::Appended(pending) => return Ok(pending),
                Step::NotPrepared(back) => reservation = back,
            }
        }
    }

    /// What the record will take in the transport's buffer at most; an error where it can't be allowed.
    fn room_for(
        &self,
        draft: &Draft,
        key: Option<&[u8]>,
        options: &SendOptions,
    ) -> Result<usize, SendError> {
        let bytes = headers::record_bytes(key, &options.headers, &draft.to_proto());
        if bytes > MAX_RECORD_BYTES {
            return Err(SendError::TooLarge(TooLarge::Contract {
                bytes,
                limit: MAX_RECORD_BYTES,
            }));
        }
        let framing = Record::default().size_bound() + 10 * options.headers.len();
        let room = bytes + SEAL_BYTES + OWN_HEADERS_BYTES + framing;
        let limit = self.parts.buffer_bytes;
        if room > limit {
            return Err(SendError::TooLarge(TooLarge::Buffer { bytes: room, limit }));
        }
        Ok(room)
    }

    /// The partition of `key`, by Java's murmur2; without one, where the producer stays at present.
    async fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        bytes: usize,
        patience: Patience,
    ) -> Result<i32, Hindered> {
        let since = Instant::now();
        let asked = async {
            let Some(key) = key else {
                let producer = &self.parts.producer;
                return producer.partition_without_key(topic, bytes).await;
            };
            let counted = self.parts.client.partition_count(topic).await?;
            Ok(partition_of(key, counted))
        };
        let chosen = self
            .unless_late(patience, "the topic's partitions", asked)
            .await
            .map_err(Hindered::Away)?;
        chosen.map_err(|error: TransportError| {
            if error.is_unreachable() {
                self.parts.gate.unreachable(since, Instant::now());
            }
            of_topic(error)
        })
    }

    /// Takes a token, and waits until it is due.
    async fn rate_limit(&self, kind: Kind, patience: Patience) -> Result<(), SendError> {
        let now = Instant::now();
        let left = patience.until.saturating_duration_since(now);
        let taken = match locked(&self.limits[&kind]).as_mut() {
            Some(bucket) => bucket.take(now.into_std(), left),
            None => return Ok(()),
        };
        match taken {
            Ok(due) => {
                self.unless_late(patience, "the rate limit", sleep_until(due.into()))
                    .await
            }
            Err(retry_after) => {
                self.parts.metrics.rate_limited(kind);
                Err(SendError::RateLimited { retry_after })
            }
        }
    }

    /// Waits for `what`, but neither past the deadline nor past the closing.
    async fn unless_late<T>(
        &self,
        patience: Patience,
        what: &'static str,
        waited_for: impl Future<Output = T>,
    ) -> Result<T, SendError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(SendError::Closed),
            answer = timeout_at(patience.until, waited_for) => {
                answer.map_err(|_| SendError::NotSent(NotSent::DeadlinePassed { after: patience.whole, what }))
            }
        }
    }

    /// The time of day, unless it cannot be right.
    pub(super) fn plausible_time(&self) -> Result<u64, SendError> {
        let unix_ms = self.parts.clock.unix_ms();
        if is_plausible(unix_ms) {
            // The way in has the same condition for reasons of its own: only ours is taken back.
            if self.clock_doubted.swap(false, Ordering::Relaxed) {
                self.parts.health.clear(&Condition::Clock);
            }
            return Ok(unix_ms);
        }
        self.clock_doubted.store(true, Ordering::Relaxed);
        self.parts.health.raise(
            Condition::Clock,
            "the clock stands before the date of this program's commit",
        );
        Err(SendError::NotSent(NotSent::Clock { unix_ms }))
    }

    pub(super) fn queue(&self, topic: &Arc<str>, partition: i32) -> QueueLock {
        let name = (Arc::clone(topic), partition);
        Arc::clone(locked(&self.queues).entry(name).or_default())
    }

    /// While the partition's queue is held: time, nonce, signatures, append. Nothing is awaited.
    fn sign_and_append(
        &self,
        signer: &dyn Signer,
        request: &Request,
        mut to: Addressed,
        reservation: Reservation,
    ) -> Result<Step, Hindered> {
        let place = match &self.outbox {
            None => None,
            Some(outbox) => {
                let way = outbox
                    .lock()
                    .admit(&to.topic, to.partition, to.key.as_deref());
                match way {
                    Way::On(place) => Some(place),
                    Way::Behind => return Err(Hindered::Behind(Arc::clone(outbox))),
                }
            }
        };
        let what = ToSign {
            draft: &request.draft,
            topic: &to.topic,
            partition: to.partition,
            key: to.key.as_deref(),
            headers: &request.options.headers,
            traceparent: request.options.traceparent.as_deref(),
            spooled_at_ms: None,
        };
        let unsigned = || {
            if let Some(outbox) = &self.outbox {
                outbox.settled(&to.topic, to.partition, &self.parts.producer);
            }
        };
        let record = match self.sign(signer, &what) {
            Ok(Signing::Signed(record)) => record,
            Ok(Signing::NotPrepared) => {
                unsigned();
                return Ok(Step::NotPrepared(reservation));
            }
            Err(error) => {
                unsigned();
                return Err(Hindered::Refused(error));
            }
        };
        to.value_bytes = record.value.as_ref().map_or(0, Bytes::len);
        to.kept = place.map(|place| TakenBack {
            place,
            record: record.clone(),
        });
        let delivery = reservation.append_until(record, to.patience.trying_until);
        Ok(Step::Appended(Pending { to, delivery }))
    }

    /// Time, nonce and signatures. Nothing is awaited; whoever appends in another order than they sign breaks the
    /// contract.
    pub(super) fn sign(
        &self,
        signer: &dyn Signer,
        what: &ToSign<'_>,
    ) -> Result<Signing, SendError> {
        let kind = what.draft.kind();
        let now_ms = self.plausible_time()?;
        let nonce = if kind.is_control() {
            None
        } else {
            match self.parts.nonces.next(now_ms) {
                Ok(Drawn::Nonce(nonce)) => Some(nonce),
                Ok(Drawn::NotPrepared) => return Ok(Signing::NotPrepared),
                Err(fault) => return Err(SendError::NotSent(NotSent::Nonce(fault.to_string()))),
            }
        };
        let signing = std::time::Instant::now();
        let failed = |reason: String| SendError::NotSent(NotSent::Signing(reason));
        let signed = what
            .draft
            .sign(signer, Stamp { now_ms, nonce })
            .map_err(|error| failed(error.to_string()))?;
        let seal = if self.envelope {
            let scope = Scope {
                audience: &self.audience,
                topic: what.topic,
                partition: what.partition,
                key: what.key,
                value: &signed.value,
            };
            let envelope =
                Envelope::sign(signer, &scope).map_err(|error| failed(error.to_string()))?;
            Some(envelope.encode())
        } else {
            None
        };
        self.parts.metrics.signed(signing.elapsed());
        let mut headers = headers::for_record(
            kind,
            what.traceparent,
            seal.as_ref().map(<[u8; 77]>::as_slice),
            what.headers,
        )
        .map_err(|reserved| SendError::Invalid(reserved.into()))?;
        let bytes = headers::record_bytes(what.key, &headers, &signed.value);
        if bytes > MAX_RECORD_BYTES {
            return Err(SendError::TooLarge(TooLarge::Contract {
                bytes,
                limit: MAX_RECORD_BYTES,
            }));
        }
        if let Some(spooled_at_ms) = what.spooled_at_ms {
            // Behind our own and before the caller's; beyond the contract's limit, so that what was accepted can be sent.
            let own = headers.len() - what.headers.len();
            let header = headers::Header::new(SPOOLED_AT, spooled_at_ms.to_string());
            headers.insert(own, header);
        }
        Ok(Signing::Signed(Record {
            key: what.key.map(Bytes::copy_from_slice),
            value: Some(signed.value.into()),
            headers: headers
                .into_iter()
                .map(|header| Header {
                    name: header.name,
                    value: header.value.map(Bytes::from),
                })
                .collect(),
            timestamp_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
        }))
    }
}

enum Step {
    Appended(Pending),
    /// The nonce source wants to keep something first; the room is handed back.
    NotPrepared(Reservation),
}

fn refused_room(error: TransportError) -> Hindered {
    match error.kind() {
        ErrorKind::Closed => Hindered::Away(SendError::Closed),
        _ => of_topic(error),
    }
}

/// A topic that cannot be had now is one thing, one that is not there or not for us another.
fn of_topic(error: TransportError) -> Hindered {
    let for_good = error.class() == Class::Fatal
        || error.error_code() == Some(ErrorCode::UnknownTopicOrPartition);
    let said = SendError::NotSent(NotSent::Topic(error));
    if for_good {
        Hindered::Refused(said)
    } else {
        Hindered::Away(said)
    }
}

/// Neither sent nor kept.
pub(super) fn not_kept(why: String, refusal: NotKept) -> SendError {
    SendError::NotSent(NotSent::NotKept { why, refusal })
}

pub(super) fn partition_of(key: &[u8], partitions: i32) -> i32 {
    partition_of_hash(murmur2(key), partitions)
}

/// The partition of a key by its murmur2.
pub(super) fn partition_of_hash(hash: u32, partitions: i32) -> i32 {
    let partitions = u32::try_from(partitions).ok().and_then(NonZeroU32::new);
    partitions.map_or(0, |partitions| partition_for_hash(hash, partitions))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_deadline_spans_the_wait_and_the_delivery() {
        let (begun, usual) = (Instant::now(), Duration::from_secs(120));
        let patience = Patience::new(begun, None, usual, early(usual, None));
        assert_eq!(patience.until, begun + usual);
        assert!(patience.trying_until < patience.until);
        assert!(patience.trying_until >= begun + usual - A_MOMENT);
    }

    #[test]
    fn a_caller_in_a_hurry_does_not_cut_short_what_is_on_its_way() {
        let (begun, usual) = (Instant::now(), Duration::from_secs(120));
        let early = early(usual, None);
        let patience = Patience::new(begun, Some(Duration::from_millis(300)), usual, early);
        assert_eq!(patience.until, begun + Duration::from_millis(300));
        assert_eq!(
            patience.trying_until,
            Patience::new(begun, None, usual, early).trying_until
        );
    }
}

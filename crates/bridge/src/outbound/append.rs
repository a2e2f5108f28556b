//! From a draft to a place in its partition's queue:
//! `validate → rate limit → breaker → partition → room → nonce + sign → append`.

use std::{
    future::Future,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use cybermesh_contracts::{
    envelope::{Envelope, Scope},
    headers::{self, MAX_RECORD_BYTES},
    kind::Kind,
    message::{Draft, Stamp},
    partition::partition_for_key,
    sign::Signer,
};
use cybermesh_transport::{Delivery, ErrorKind, Header, Record, Reservation, TransportError};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    nonces::Drawn,
    options::{Key, SendOptions},
    publisher::{Inner, QueueLock},
    receipt::{Invalid, NotSent, SendError, TooLarge},
};
use crate::{
    clock::{after, is_plausible},
    telemetry::Condition,
};

/// What signing adds to a draft's encoding at most, in bytes: time 11, content hash 34, producer id
/// 34, nonce 18, signature 66, public key 34, algorithm 9, and two for tags beyond fifteen.
const SEAL_BYTES: usize = 11 + 34 + 34 + 18 + 66 + 34 + 9 + 14;
/// What the contract's headers add to a record at most, their framing and a trace included.
const OWN_HEADERS_BYTES: usize = 512;

/// How long before a caller's deadline the transport is to have answered, if it can.
const A_MOMENT: Duration = Duration::from_millis(100);

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
    fn new(begun: Instant, wished: Option<Duration>, usual: Duration) -> Self {
        let whole = wished.unwrap_or(usual);
        let trying = whole.max(usual);
        Self {
            until: after(begun, whole),
            whole,
            // A moment early, so that the transport's own answer, which says more, comes first.
            trying_until: after(begun, trying - A_MOMENT.min(trying / 10)),
        }
    }
}

impl Inner {
    /// Walks the stages. Nothing that is awaited here has taken effect yet when the caller goes away.
    pub(super) async fn append(
        self: &Arc<Self>,
        draft: &Draft,
        options: &SendOptions,
        begun: Instant,
    ) -> Result<Pending, SendError> {
        let kind = draft.kind();
        let patience = Patience::new(begun, options.deadline, self.patience);
        if self.closing.is_cancelled() {
            return Err(SendError::Closed);
        }
        if !self.parts.kinds.contains(&kind) {
            return Err(SendError::Invalid(Invalid::Kind(kind)));
        }
        options.check().map_err(SendError::Invalid)?;
        let signer = self
            .parts
            .signer
            .as_ref()
            .ok_or(SendError::NotSent(NotSent::NoKey))?;
        let key = match &options.key {
            Key::OfKind => Some(draft.default_key()),
            Key::Own(key) => Some(key.clone()),
            Key::None => None,
        };
        let key = key.as_deref();
        let room = self.room_for(draft, key, options)?;
        self.plausible_time()?;

        self.rate_limit(kind, patience).await?;
        // With an outbox, this is where a draft would go while the breaker is open.
        if let Some(retry_after) = self.parts.gate.refuses(Instant::now()) {
            return Err(SendError::BreakerOpen { retry_after });
        }
        let topic = Arc::clone(&self.topics[&kind]);
        let partition = self.partition(&topic, key, room, patience).await?;
        let reserving = self.parts.producer.reserve(&topic, partition, room);
        let mut reservation = self
            .unless_late(patience, "room in the buffer", reserving)
            .await?
            .map_err(refused_room)?;

        let queue = self.queue(&topic, partition);
        loop {
            let now_ms = self.plausible_time()?;
            self.unless_late(
                patience,
                "a nonce reservation on disk",
                self.parts.nonces.prepare(now_ms),
            )
            .await?
            .map_err(|fault| SendError::NotSent(NotSent::Nonce(fault.to_string())))?;
            let place = Place {
                kind,
                topic: &topic,
                partition,
                key,
                begun,
                patience,
            };
            match self.sign_and_append(
                &queue,
                signer.current().as_ref(),
                draft,
                options,
                place,
                reservation,
            )? {
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
        Ok(bytes + SEAL_BYTES + OWN_HEADERS_BYTES + framing)
    }

    /// The partition of `key`, by Java's murmur2; without one, where the producer stays at present.
    async fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        bytes: usize,
        patience: Patience,
    ) -> Result<i32, SendError> {
        let since = Instant::now();
        let asked = async {
            let Some(key) = key else {
                let producer = &self.parts.producer;
                return producer.partition_without_key(topic, bytes).await;
            };
            let counted = self.parts.client.partition_count(topic).await?;
            let partitions = u32::try_from(counted).ok().and_then(NonZeroU32::new);
            Ok(partitions.map_or(0, |partitions| partition_for_key(key, partitions)))
        };
        let chosen = self
            .unless_late(patience, "the topic's partitions", asked)
            .await?;
        chosen.map_err(|error: TransportError| {
            if error.is_unreachable() {
                self.parts.gate.unreachable(since, Instant::now());
            }
            SendError::NotSent(NotSent::Topic(error))
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
    fn plausible_time(&self) -> Result<u64, SendError> {
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

    fn queue(&self, topic: &Arc<str>, partition: i32) -> QueueLock {
        let name = (Arc::clone(topic), partition);
        Arc::clone(locked(&self.queues).entry(name).or_default())
    }

    /// Under the partition's lock: time, nonce, signatures, append. Nothing is awaited.
    fn sign_and_append(
        &self,
        queue: &Mutex<()>,
        signer: &dyn Signer,
        draft: &Draft,
        options: &SendOptions,
        place: Place<'_>,
        reservation: Reservation,
    ) -> Result<Step, SendError> {
        let _in_nonce_order = locked(queue);
        let now_ms = self.plausible_time()?;
        let nonce = if place.kind.is_control() {
            None
        } else {
            match self.parts.nonces.next(now_ms) {
                Ok(Drawn::Nonce(nonce)) => Some(nonce),
                Ok(Drawn::NotPrepared) => return Ok(Step::NotPrepared(reservation)),
                Err(fault) => return Err(SendError::NotSent(NotSent::Nonce(fault.to_string()))),
            }
        };
        let signing = std::time::Instant::now();
        let failed = |reason: String| SendError::NotSent(NotSent::Signing(reason));
        let signed = draft
            .sign(signer, Stamp { now_ms, nonce })
            .map_err(|error| failed(error.to_string()))?;
        let seal = if self.envelope {
            let scope = Scope {
                audience: &self.audience,
                topic: place.topic,
                partition: place.partition,
                key: place.key,
                value: &signed.value,
            };
            let envelope =
                Envelope::sign(signer, &scope).map_err(|error| failed(error.to_string()))?;
            Some(envelope.encode())
        } else {
            None
        };
        self.parts.metrics.signed(signing.elapsed());
        let headers = headers::for_record(
            place.kind,
            options.traceparent.as_deref(),
            seal.as_ref().map(<[u8; 77]>::as_slice),
            &options.headers,
        )
        .map_err(|reserved| SendError::Invalid(reserved.into()))?;
        let bytes = headers::record_bytes(place.key, &headers, &signed.value);
        if bytes > MAX_RECORD_BYTES {
            return Err(SendError::TooLarge(TooLarge::Contract {
                bytes,
                limit: MAX_RECORD_BYTES,
            }));
        }
        let value_bytes = signed.value.len();
        let record = Record {
            key: place.key.map(Bytes::copy_from_slice),
            value: Some(signed.value.into()),
            headers: headers
                .into_iter()
                .map(|header| Header {
                    name: header.name,
                    value: header.value.map(Bytes::from),
                })
                .collect(),
            timestamp_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
        };
        let to = Addressed {
            kind: place.kind,
            topic: Arc::clone(place.topic),
            partition: place.partition,
            key: place.key.map(<[u8]>::to_vec),
            value_bytes,
            begun: place.begun,
            patience: place.patience,
            begun_unix_ms: now_ms,
        };
        Ok(Step::Appended(Pending {
            to,
            delivery: reservation.append_until(record, place.patience.trying_until),
        }))
    }
}

/// Where a record goes.
#[derive(Clone, Copy)]
struct Place<'a> {
    kind: Kind,
    topic: &'a Arc<str>,
    partition: i32,
    key: Option<&'a [u8]>,
    begun: Instant,
    patience: Patience,
}

enum Step {
    Appended(Pending),
    /// The nonce source wants to keep something first; the room is handed back.
    NotPrepared(Reservation),
}

fn refused_room(error: TransportError) -> SendError {
    match error.kind() {
        ErrorKind::Closed => SendError::Closed,
        _ => SendError::NotSent(NotSent::Topic(error)),
    }
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
        let patience = Patience::new(begun, None, usual);
        assert_eq!(patience.until, begun + usual);
        assert!(patience.trying_until < patience.until);
        assert!(patience.trying_until >= begun + usual - A_MOMENT);
    }

    #[test]
    fn a_caller_in_a_hurry_does_not_cut_short_what_is_on_its_way() {
        let (begun, usual) = (Instant::now(), Duration::from_secs(120));
        let patience = Patience::new(begun, Some(Duration::from_millis(300)), usual);
        assert_eq!(patience.until, begun + Duration::from_millis(300));
        assert_eq!(
            patience.trying_until,
            Patience::new(begun, None, usual).trying_until
        );
    }
}

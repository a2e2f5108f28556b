//! What was accepted below a committed offset, read back from the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::replay::{Claims, ReadBack};
use cybermesh_transport::{
    Client, Event, FetchConfig, IsolationLevel, OffsetSpec, Position, Reader, RecordBatch,
    ResetCause, StartPolicy, TopicPartition, host,
};
use futures_util::future::BoxFuture;

use super::ahead::ByTwoClocks;
use crate::inbound::group::TopicId;
use crate::inbound::judge::Judge;
use crate::inbound::member::origin;
use crate::inbound::origin::Origin;
use crate::inbound::verify::ContractJudge;

/// Undelivered bytes of one partition that is read back.
const BUFFER_BYTES: usize = 4 << 20;
/// Records that are verified at a time.
const RECORDS: usize = 128;
/// The longest wait for what comes next: there is more, or there was when it was asked how far the log goes.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// Where a partition's log begins and ends now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// What is to be read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) kind: Kind,
    pub(super) partition: &'a TopicPartition,
    pub(super) extent: Extent,
    /// The committed offset.
    pub(super) to: i64,
    pub(super) now_ms: i64,
}

/// What a partition's log says of the past. What goes wrong may go right later.
pub(super) trait Log: Send + Sync {
    /// The id of a topic; zeros where brokers give none.
    fn topic_id<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<TopicId, String>>;
    /// Where the log begins and ends.
    fn extent<'a>(&'a self, partition: &'a TopicPartition)
    -> BoxFuture<'a, Result<Extent, String>>;
    /// Feeds what is there from the ring's first offset on, and what comes next where that is asked for.
    fn read_back<'a>(
        &'a self,
        wanted: Wanted<'a>,
        ring: &'a mut ReadBack,
    ) -> BoxFuture<'a, Result<ReadTo, String>>;
}

/// What reading back came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadTo {
    /// The first offset that the log had to be read: later than the extent says where it was cut meanwhile.
    pub(super) log_start: i64,
    /// What it is now, Unix milliseconds: later than our clock says where what was read proves that.
    pub(super) now_ms: i64,
}

/// Reads partitions once more, and judges again what is in them.
pub(super) struct FetchedLog {
    pub(super) client: Client,
    pub(super) isolation: IsolationLevel,
    pub(super) judge: Arc<ContractJudge>,
}

/// A record as far as the order asks.
pub(super) struct Seen {
    pub(super) offset: i64,
    pub(super) bytes: usize,
    pub(super) timestamp_ms: i64,
    /// When it was appended: by the broker where that stands in the log, else as its producer wrote.
    pub(super) appended_ms: i64,
    /// Of a message that was in bounds then.
    pub(super) claims: Option<Claims>,
    /// Whether it is not in bounds yet by our clock.
    pub(super) is_ahead: bool,
}

impl Log for FetchedLog {
    fn topic_id<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<TopicId, String>> {
        Box::pin(async {
            let topic = self.client.topic(&partition.topic).await;
            let topic = topic.map_err(|error| error.to_string())?;
            Ok(topic.id().unwrap_or_default())
        })
    }

    fn extent<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Extent, String>> {
        Box::pin(async {
            Ok(Extent {
                start: self.offset(partition, OffsetSpec::Earliest).await?,
                end: self.offset(partition, OffsetSpec::Latest).await?,
            })
        })
    }

    fn read_back<'a>(
        &'a self,
        wanted: Wanted<'a>,
        ring: &'a mut ReadBack,
    ) -> BoxFuture<'a, Result<ReadTo, String>> {
        Box::pin(self.feed(wanted, ring))
    }
}

impl FetchedLog {
    async fn offset(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<i64, String> {
        let wanted = [(partition.clone(), spec)];
        let found = self.client.list_offsets(self.isolation, wanted).await;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.get(partition).copied().flatten();
        found
            .map(|found| found.offset)
            .ok_or_else(|| "the broker does not say where the log begins and ends".to_owned())
    }

    async fn feed(&self, wanted: Wanted<'_>, ring: &mut ReadBack) -> Result<ReadTo, String> {
        let Wanted {
            kind,
            partition,
            extent,
            to,
            now_ms,
        } = wanted;
        let (mut log_start, to) = (extent.start, to.min(extent.end));
        let mut position = ring.from().max(log_start);
        let is_more = |position: i64, log_start: i64, ring: &ReadBack| {
            position < to || (position < extent.end && ring.asks_for_the_next(log_start))
        };
        if !is_more(position, log_start, ring) {
            return Ok(ReadTo { log_start, now_ms });
        }
        let mut past = ByTwoClocks::new(ring);
        let config = FetchConfig {
            isolation: self.isolation,
            buffer_bytes: BUFFER_BYTES,
            max_records: RECORDS,
            ..FetchConfig::default()
        };
        let reader = Reader::new(self.client.clone(), config, StartPolicy::Earliest);
        reader.begin(partition, Position::Offset(position));
        while is_more(position, log_start, past.ring()) {
            match promptly(reader.next()).await? {
                Some(Event::Records(batch)) => {
                    position = batch.next_offset;
                    for seen in self.judged(kind, batch, now_ms).await? {
                        past.take(&seen);
                    }
                }
                Some(Event::Reset {
                    to: first,
                    cause: ResetCause::OutOfRange,
                    ..
                }) => {
                    log_start = log_start.max(first);
                    position = first;
                }
                Some(Event::Reset { .. }) => {
                    return Err("the log began again while it was read back".to_owned());
                }
                Some(Event::Corrupt { fault, .. }) => {
                    position = fault.resume_at;
                    reader.begin(partition, Position::Offset(position));
                }
                Some(Event::Failed(error)) => return Err(error.to_string()),
                Some(_) => {}
                None => return Err("the reader ended".to_owned()),
            }
        }
        Ok(past.finish(log_start, now_ms))
    }

    async fn judged(
        &self,
        kind: Kind,
        batch: RecordBatch,
        now_ms: i64,
    ) -> Result<Vec<Seen>, String> {
        let judge = Arc::clone(&self.judge);
        let judging = host::spawn_blocking(move || {
            let records = batch.records.iter();
            records
                .map(|record| seen(&judge, kind, &origin(&batch.partition, record), now_ms))
                .collect()
        });
        judging
            .await
            .map_err(|_| "verification failed on what was read back".to_owned())
    }
}

/// A reader asks again and again where a leader is not to be had, or a log has become shorter, and says nothing of that.
async fn promptly<T>(next: impl Future<Output = T>) -> Result<T, String> {
    let next = tokio::time::timeout(SILENT_FOR, next).await;
    next.map_err(|_elapsed| format!("nothing more was read for {} s", SILENT_FOR.as_secs()))
}

/// A record on which verification fails by a fault of ours was buried when it was read, and counts for nothing here: the
/// partition would wait for it for ever.
fn unless_at_fault<T>(offset: i64, judge: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_payload| {
        tracing::error!(offset, "verification panicked on what was read back");
        None
    })
}

/// What was in bounds when it was appended counts, though it may be too old by now. Where the broker's own time does not
/// stand in the log, the record's does, which its producer wrote: what that lets pass and our clock does not is told apart,
/// or a message of the future would have been accepted yesterday.
fn seen(judge: &ContractJudge, kind: Kind, origin: &Origin, now_ms: i64) -> Seen {
    let appended_ms = origin.append_time_ms.unwrap_or(origin.timestamp_ms);
    let judged = |at_ms| {
        unless_at_fault(origin.offset, || {
            judge.judge(&judge.trust(), kind, origin, at_ms).ok()
        })
    };
    let by_ours = judged(appended_ms.min(now_ms));
    let by_theirs = match &by_ours {
        None if appended_ms > now_ms => judged(appended_ms),
        _ => None,
    };
    let is_ahead = by_theirs.is_some();
    Seen {
        offset: origin.offset,
        bytes: origin.record_bytes(),
        timestamp_ms: origin.timestamp_ms,
        appended_ms,
        claims: by_ours
            .or(by_theirs)
            .map(|message| *message.replay_claims()),
        is_ahead,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cybermesh_contracts::message::{CommitDraft, Draft, Stamp};
    use cybermesh_contracts::sign::{Ed25519Signer, Signer};
    use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
    use cybermesh_contracts::verify::Verifier;
    use tokio::sync::watch;

    use super::*;
    use crate::settings::Settings;

    const NOW_MS: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn judge() -> ContractJudge {
        let rights = [Right::Kind(Kind::Commit)];
        let public_key = Ed25519Signer::from_seed(&[1; 32]).public_key();
        let key = TrustedKey::new("k", public_key, rights).unwrap();
        let store = TrustStore::of([key.with_envelope(EnvelopeRule::Off)]).unwrap();
        let settings = Settings::loader()
            .set("KAFKA_BROKERS", "localhost:9092")
            .set("KAFKA_TLS_ENABLED", "false")
            .load()
            .unwrap();
        ContractJudge::new(
            Verifier::new(""),
            settings.verify.mode,
            watch::Sender::new(Arc::new(store)).subscribe(),
            Duration::from_secs(2 * 3_600),
            Duration::from_secs(300),
        )
    }

    /// A message signed and appended at these times, each relative to now.
    fn record(signed_ms: i64, appended_ms: i64, by_broker: Option<i64>) -> Origin {
        let draft = CommitDraft::builder(7, [7; 32], [8; 32]).build().unwrap();
        let stamp = Stamp {
            now_ms: u64::try_from(NOW_MS + signed_ms).unwrap(),
            nonce: None,
        };
        let signer = Ed25519Signer::from_seed(&[1; 32]);
        let signed = Draft::Commit(draft).sign(&signer, stamp).unwrap();
        Origin {
            topic: "t".into(),
            partition: 0,
            offset: 5,
            timestamp_ms: NOW_MS + appended_ms,
            append_time_ms: by_broker.map(|at| NOW_MS + at),
            key: None,
            value: Some(signed.value.into()),
            headers: Vec::new(),
            unreadable: None,
        }
    }

    fn enters(origin: &Origin) -> bool {
        let seen = seen(&judge(), Kind::Commit, origin, NOW_MS);
        seen.claims.is_some() && !seen.is_ahead
    }

    #[test]
    fn what_was_in_bounds_when_it_was_appended_enters_however_long_ago_that_was() {
        let day = -24 * HOUR_MS;
        assert!(enters(&record(day, day, None)));
        assert!(enters(&record(day, 0, Some(day))));
        assert!(!enters(&record(day, 0, None)), "stale when it was appended");
    }

    #[test]
    fn what_was_signed_hours_ahead_of_its_time_does_not_enter_whatever_its_producer_wrote_beside_it()
     {
        let ahead = 6 * HOUR_MS;
        assert!(!enters(&record(ahead, 0, None)));
        assert!(!enters(&record(ahead, ahead, None)));
        let then = -7 * HOUR_MS;
        assert!(!enters(&record(then + ahead, then, Some(then))));
    }

    #[test]
    fn what_is_ahead_of_our_clock_alone_is_told_apart() {
        let told = |signed_ms, appended_ms, by_broker| {
            let origin = record(signed_ms, appended_ms, by_broker);
            let seen = seen(&judge(), Kind::Commit, &origin, NOW_MS);
            (seen.is_ahead, seen.claims.is_some())
        };
        let ahead = 6 * HOUR_MS;
        assert_eq!(told(ahead, ahead, None), (true, true));
        assert_eq!(told(ahead, 0, Some(ahead)), (true, true));
        assert_eq!(told(ahead, ahead + HOUR_MS, None), (true, true));
        assert_eq!(told(ahead, 0, None), (false, false), "by its own time too");
        assert_eq!(told(0, ahead, None), (false, true));
    }

    #[test]
    fn what_was_signed_290_s_ahead_enters() {
        assert!(enters(&record(290_000, 0, None)));
    }

    #[test]
    fn a_record_on_which_verification_panics_does_not_enter_and_keeps_no_other_out() {
        assert_eq!(
            unless_at_fault(5, || -> Option<i64> { panic!("a fault") }),
            None
        );
        assert_eq!(unless_at_fault(6, || Some(6)), Some(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_of_which_nothing_more_comes_is_given_up_for_now() {
        let never = promptly(std::future::pending::<()>()).await;
        assert_eq!(never, Err("nothing more was read for 60 s".to_owned()));
        assert_eq!(promptly(std::future::ready(7)).await, Ok(7));
    }

    #[test]
    fn what_does_not_verify_does_not_enter() {
        let mut forged = record(0, 0, None);
        let mut value = forged.value.take().unwrap().to_vec();
        let last = value.len() - 40;
        value[last] ^= 1;
        forged.value = Some(value.into());
        assert!(!enters(&forged));
    }
}

//! Puts originals back, one after the other, each written down before it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::headers::REDRIVE;
use cybermesh_contracts::redrive::{GroupHash, MAX_LIFETIME_MS, RedriveError, Terms};
use cybermesh_contracts::sign::Signer;
use cybermesh_transport::{
    Class, DeliveryError, ErrorCode, Header, Producer, ProducerConfig, Record, ResendSchedule,
    TopicPartition, TransportError, Written,
};
use tokio::time::Instant;

use super::appraise::PutBack;
use super::desk::{Desk, NoRight};
use super::entry::{Entry, Position};
use super::journal::{Journal, Ledger, SignedRedrive, Step};
use super::original::{self, Origin, Original};
use super::reader::{ReadError, Scan, begin_of, end_of, partition_exists};
use crate::clock::{WallClock, is_plausible};
use crate::outbound::nonces::{Drawn, NonceFault, Nonces};
use crate::outbound::retry::RetrySchedule;
use crate::state::{StateDir, StateError};

/// A redrive of unknown outcome is sent again only where it still holds for so long, and taken for lapsed
/// only so long after it ceased to: clocks differ.
const MARGIN_MS: i64 = 60_000;

/// Why nothing more is put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveFault {
    /// Our key may not.
    #[error(transparent)]
    NoRight(#[from] NoRight),
    /// The journal, or the state folder, cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// No nonce could be had.
    #[error(transparent)]
    Nonce(#[from] NonceFault),
    /// The clock cannot be right.
    #[error(
        "the clock says {unix_ms} ms since 1970, before this program's commit; nothing is signed"
    )]
    Clock {
        /// What it says.
        unix_ms: u64,
    },
    /// It was not signed.
    #[error("not signed: {0}")]
    Sign(#[from] RedriveError),
    /// A topic could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cluster could not be asked.
    #[error(transparent)]
    Cluster(#[from] TransportError),
}

impl RedriveFault {
    /// Whether it is the cluster's.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Cluster(_) | ReadError::Silent { .. }) | Self::Cluster(_)
        )
    }
}

/// How putting one back ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Kafka has it, at this offset where it says so.
    Acknowledged(Option<i64>),
    /// The broker refuses this record for good; it is not written, and others may fare better.
    Refused(String),
    /// It is not written, and others would fare no better.
    NotWritten(String),
    /// Nobody knows whether Kafka has it. The next run finds out.
    Unknown(String),
}

/// What became of a redrive of unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It was in the log all along, at this offset.
    Found(i64),
    /// It was not, and went again, the same bytes.
    SentAgain(Outcome),
    /// It was not, and holds no longer: it may be signed anew.
    Lapsed,
    /// It is not in the log, and about to lapse: a minute after that it may be signed anew.
    Lapsing,
    /// It is not in the log, and what it put back is not to be had any more.
    NothingLeft,
    /// It was not found and holds no longer, and the log begins behind where it would be: whether it arrived cannot be
    /// told any more, and it stays unknown.
    Untold {
        /// Where its partition begins now; nothing where there is none.
        begins_at: Option<i64>,
    },
    /// It was for another topic of that name: one made again has its own, and so has another cluster. Nothing is done.
    OtherTopic,
}

/// Puts originals back. One at a time; a second process is kept away by the state folder's lock.
#[derive(Debug)]
pub struct Redriver {
    desk: Desk,
    signer: Arc<dyn Signer>,
    journal: Journal,
    nonces: Nonces,
    producer: Producer,
    clock: Arc<dyn WallClock>,
}

impl Redriver {
    /// Signs with the key of the desk, keeps journal and nonces in `state`.
    ///
    /// # Errors
    /// [`RedriveFault`].
    pub fn open(
        desk: Desk,
        state: Arc<StateDir>,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, RedriveFault> {
        let now_ms = i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
        let signer = desk.redriver(now_ms)?;
        let seed = getrandom::u64().map_err(NonceFault::Randomness)?;
        let send = &desk.settings().send;
        let config = ProducerConfig {
            linger: Duration::ZERO,
            delivery_timeout: send.deadline,
            schedule: Arc::new(Resends(desk.settings().retry_schedule(seed))),
            ..ProducerConfig::default()
        };
        Ok(Self {
            producer: Producer::new(desk.client().clone(), config),
            nonces: Nonces::kept_in(Arc::clone(&state))?,
            journal: Journal::open(state)?,
            signer,
            clock,
            desk,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        self.journal.ledger()
    }

    /// Finds out about redrives of unknown outcome, and sends again, the same bytes, what is not in the log.
    /// Done before anything new is put back: its nonces are older. Ends at the first that stays unknown.
    ///
    /// # Errors
    /// [`RedriveFault`].
    pub async fn recover(&mut self) -> Result<Vec<(SignedRedrive, Recovered)>, RedriveFault> {
        let (mut unknown, mut recovered) = (Vec::new(), Vec::new());
        for signed in self.ledger().unknown().to_vec() {
            match self.is_elsewhere(&signed).await? {
                true => recovered.push((signed, Recovered::OtherTopic)),
                false => unknown.push(signed),
            }
        }
        let mut found = self.look_for(&unknown).await?;
        for signed in unknown {
            let end = match found.remove(&signed.header) {
                Some(offset) => {
                    self.acknowledged(&signed, Some(offset)).await?;
                    Recovered::Found(offset)
                }
                None => self.recover_missing(&signed).await?,
            };
            let stays = matches!(
                end,
                Recovered::SentAgain(Outcome::Unknown(_) | Outcome::NotWritten(_))
            );
            recovered.push((signed, end));
            if stays {
                break;
            }
        }
        Ok(recovered)
    }

    /// Whether it was for a topic with another id than the one of its name has now.
    async fn is_elsewhere(&self, signed: &SignedRedrive) -> Result<bool, RedriveFault> {
        Ok(self.desk.id_of(&signed.topic).await? != signed.key.topic_id())
    }

    async fn recover_missing(&mut self, signed: &SignedRedrive) -> Result<Recovered, RedriveFault> {
        let left_ms = signed.expires_ms.saturating_sub(self.now_ms()?);
        // What holds still may go again, whether it arrived or not: it counts once.
        if left_ms < MARGIN_MS
            && let Some(untold) = self.untold(signed).await?
        {
            return Ok(untold);
        }
        if left_ms < -MARGIN_MS {
            let (key, count) = (signed.key.clone(), signed.count);
            self.journal.write(Step::NotWritten { key, count }).await?;
            return Ok(Recovered::Lapsed);
        }
        if left_ms < MARGIN_MS {
            return Ok(Recovered::Lapsing);
        }
        let Some(original) = self.original_of(signed).await? else {
            return Ok(Recovered::NothingLeft);
        };
        let outcome = self.send(&original, signed).await?;
        Ok(Recovered::SentAgain(outcome))
    }

    /// Whether its log says no more whether it arrived. Asked after it was looked for: what is deleted meanwhile was not.
    async fn untold(&self, signed: &SignedRedrive) -> Result<Option<Recovered>, RedriveFault> {
        let (topic, partition) = (signed.topic.as_str(), signed.origin.partition);
        if !partition_exists(&self.desk, topic, partition).await? {
            return Ok(Some(Recovered::Untold { begins_at: None }));
        }
        let begins_at = begin_of(&self.desk, &TopicPartition::new(topic, partition)).await?;
        let is_gone = begins_at > signed.log_end;
        Ok(is_gone.then_some(Recovered::Untold {
            begins_at: Some(begins_at),
        }))
    }

    /// Where these are in the logs of their partitions, by their headers. Behind a transaction that is still open as
    /// well: a redrive is in none, and only waits there.
    async fn look_for(
        &self,
        unknown: &[SignedRedrive],
    ) -> Result<BTreeMap<Vec<u8>, i64>, RedriveFault> {
        let mut from: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for signed in unknown {
            let partition = TopicPartition::new(signed.topic.as_str(), signed.origin.partition);
            let earliest = from.entry(partition).or_insert(signed.log_end);
            *earliest = signed.log_end.min(*earliest);
        }
        let mut found = BTreeMap::new();
        for (partition, from) in from {
            let topic = Arc::clone(&partition.topic);
            if !partition_exists(&self.desk, &topic, partition.partition).await? {
                continue;
            }
            let mut scan = Scan::uncommitted(&self.desk, &topic, vec![(partition, from)]).await?;
            while let Some((_, record)) = scan.next().await? {
                let mut headers = record.headers.iter();
                let header = headers.find(|header| header.name == REDRIVE);
                let Some(header) = header.and_then(|header| header.value.as_deref()) else {
                    continue;
                };
                if unknown.iter().any(|signed| signed.header == header) {
                    found.entry(header.to_vec()).or_insert(record.offset);
                }
            }
        }
        Ok(found)
    }

    /// What a redrive put back, from its place or from its dead letter.
    async fn original_of(&self, signed: &SignedRedrive) -> Result<Option<Original>, RedriveFault> {
        let entry = self.desk.entry(signed.letter).await?;
        let Some(letter) = entry.as_ref().and_then(Entry::letter) else {
            return Ok(None);
        };
        let originals = match original::find(&self.desk, letter).await? {
            Origin::There(originals) => originals,
            Origin::GoneButCopied(copy) => vec![*copy],
            _ => Vec::new(),
        };
        Ok(originals
            .into_iter()
            .find(|original| original.at == signed.origin))
    }

    /// Puts `original` back into its partition of `topic`, for the dead letter `letter`.
    ///
    /// # Errors
    /// [`RedriveFault`]: nothing was sent.
    pub async fn put_back(
        &mut self,
        letter: Position,
        topic: &str,
        original: &Original,
        put_back: &PutBack,
    ) -> Result<Outcome, RedriveFault> {
        let partition = TopicPartition::new(topic, original.at.partition);
        let log_end = end_of(&self.desk, &partition).await?;
        let nonce = self.nonce().await?;
        let expires_ms = i64::try_from(nonce_ms(&nonce).saturating_add(MAX_LIFETIME_MS));
        let terms = Terms {
            nonce,
            expires_ms: expires_ms.unwrap_or(i64::MAX),
            count: put_back.count,
            origin_partition: original.at.partition,
            origin_offset: original.at.offset,
            group: GroupHash::of(&put_back.group),
        };
        let audience = &self.desk.settings().node.audience;
        let value = original.value.as_deref();
        let redrive = terms.sign(self.signer.as_ref(), audience, topic, value)?;
        let signed = SignedRedrive {
            key: put_back.key.clone(),
            count: put_back.count,
            letter,
            topic: topic.to_owned(),
            origin: original.at,
            log_end,
            expires_ms: terms.expires_ms,
            header: redrive.to_bytes(),
            at_ms: self.now_ms()?,
        };
        self.journal.write(Step::Signed(signed.clone())).await?;
        self.send(original, &signed).await
    }

    /// Sends what is written down, and writes down how that ended.
    async fn send(
        &mut self,
        original: &Original,
        signed: &SignedRedrive,
    ) -> Result<Outcome, RedriveFault> {
        let mut headers = original.headers.clone();
        headers.push(Header::new(REDRIVE, Bytes::from(signed.header.clone())));
        let record = Record {
            key: original.key.clone(),
            value: original.value.clone(),
            headers,
            timestamp_ms: self.now_ms()?,
        };
        let topic = &signed.topic;
        let room = self
            .producer
            .reserve(topic, signed.origin.partition, record.size_bound());
        let outcome = match room.await {
            Err(error) => Outcome::NotWritten(error.to_string()),
            Ok(room) => match room.append(record).await {
                Ok(appended) => Outcome::Acknowledged(appended.offset),
                Err(error) => outcome_of(&error),
            },
        };
        match &outcome {
            Outcome::Acknowledged(offset) => self.acknowledged(signed, *offset).await?,
            Outcome::Refused(_) | Outcome::NotWritten(_) => {
                let (key, count) = (signed.key.clone(), signed.count);
                self.journal.write(Step::NotWritten { key, count }).await?;
            }
            Outcome::Unknown(_) => {}
        }
        Ok(outcome)
    }

    async fn acknowledged(
        &mut self,
        signed: &SignedRedrive,
        offset: Option<i64>,
    ) -> Result<(), RedriveFault> {
        tracing::info!(target: "audit", record = signed.key.as_str(), count = signed.count, offset, "redriven");
        let (key, count) = (signed.key.clone(), signed.count);
        let step = Step::Acknowledged { key, count, offset };
        Ok(self.journal.write(step).await?)
    }

    async fn nonce(&self) -> Result<[u8; 16], RedriveFault> {
        loop {
            let now_ms = self.now()?;
            self.nonces.prepare(now_ms).await?;
            if let Drawn::Nonce(nonce) = self.nonces.next(now_ms)? {
                return Ok(nonce.0);
            }
        }
    }

    fn now(&self) -> Result<u64, RedriveFault> {
        let unix_ms = self.clock.unix_ms();
        if is_plausible(unix_ms) {
            Ok(unix_ms)
        } else {
            Err(RedriveFault::Clock { unix_ms })
        }
    }

    pub(super) fn now_ms(&self) -> Result<i64, RedriveFault> {
        Ok(i64::try_from(self.now()?).unwrap_or(i64::MAX))
    }

    /// Ends it; nothing is on its way between two calls.
    pub async fn close(self, deadline: Instant) {
        self.producer.close(deadline).await;
    }
}

fn nonce_ms(nonce: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *nonce;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn outcome_of(error: &DeliveryError) -> Outcome {
    let said = error.to_string();
    let is_its_own = matches!(
        error.error().error_code(),
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidRecord)
    );
    match error.written() {
        Written::Unknown => Outcome::Unknown(said),
        Written::No if is_its_own && error.class() == Class::Fatal => Outcome::Refused(said),
        Written::No => Outcome::NotWritten(said),
    }
}

/// The settings' schedule of resends.
#[derive(Debug)]
struct Resends(RetrySchedule);

impl ResendSchedule for Resends {
    fn next(&self, resend: u32) -> Option<Duration> {
        self.0.wait(resend)
    }
}

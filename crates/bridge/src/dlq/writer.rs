//! Builds dead letters and appends them, falling through the forms until one fits.

use std::fmt;
use std::sync::Arc;

use cybermesh_contracts::dead_letter::{self, DeadLetterError, DeadLetterRecord, Failure, Form};
use cybermesh_contracts::headers::Header;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::Signer;
use futures_util::future::BoxFuture;

use super::spill::{SPILL_FILE, Spill};
use crate::inbound::burial::Burial;
use crate::inbound::judge::Bury;
use crate::state::StateDir;
use crate::telemetry::Metrics;

/// What a dead letter may take at most, with all overhead: Kafka's default request and batch limit
/// of 1 048 588 bytes, less what a batch adds. A topic that takes less says so, and the next form
/// is tried.
const LIMIT_BYTES: usize = 1_048_000;

/// How dead letters are written.
#[derive(Debug, Clone)]
pub struct DeadLetterConfig {
    /// The topic they go to.
    pub topic: Arc<str>,
    /// The form that is tried first.
    pub form: Form,
    /// The consumer group that gives messages up.
    pub group: Option<String>,
    /// The name of this process.
    pub node: Option<String>,
    /// The environment's name, which is signed into dead letters.
    pub audience: String,
}

/// Which key dead letters are signed with.
pub struct DeadLetterSigning {
    /// The key in force, where our own trust store lets it sign `dead_letter` now.
    pub signer: Box<dyn Fn() -> Option<Arc<dyn Signer>> + Send + Sync>,
}

impl fmt::Debug for DeadLetterSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterSigning").finish_non_exhaustive()
    }
}

/// A dead letter that was not written, or of which nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuryError {
    /// It may pass later.
    #[error("dead letter not written: {0}")]
    Unavailable(String),
    /// As things are, it never will: no topic, no permission, too large in every form.
    #[error("dead letter refused: {0}")]
    Refused(String),
}

/// Why a record was not appended to the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppendError {
    /// The topic does not take a record of this size.
    TooLarge,
    /// See [`BuryError::Unavailable`].
    Unavailable(String),
    /// See [`BuryError::Refused`].
    Refused(String),
}

/// Appends to the dead-letter topic and waits for the acknowledgement.
pub(super) trait AppendLetter: Send + Sync + 'static {
    /// Appends one record. Dropping the future loses nothing but the answer.
    fn append(
        &self,
        letter: DeadLetterRecord,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<(), AppendError>>;
}

/// A draft that could not be produced.
#[derive(Debug, Clone, Copy)]
pub struct DraftBurial<'a> {
    /// The topic it was meant for.
    pub topic: &'a str,
    /// The partition, where it was chosen.
    pub partition: Option<i32>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The caller's own headers.
    pub headers: &'a [Header],
    /// The protobuf without time, hash, nonce, producer id and signature fields; never a signed message.
    pub draft: &'a [u8],
    /// Why, without payload or secrets.
    pub reason: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// Unix milliseconds.
    pub first_failed_at_ms: i64,
    /// Unix milliseconds.
    pub last_failed_at_ms: i64,
}

/// Writes dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters(Arc<Inner>);

struct Inner {
    log: Arc<dyn AppendLetter>,
    spill: Option<(Spill, Metrics)>,
    config: DeadLetterConfig,
    signing: Option<Arc<DeadLetterSigning>>,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("config", &self.0.config)
            .field("signing", &self.0.signing)
            .finish_non_exhaustive()
    }
}

impl DeadLetters {
    pub(super) fn over(
        log: impl AppendLetter,
        config: DeadLetterConfig,
        signing: Option<DeadLetterSigning>,
    ) -> Self {
        Self(Arc::new(Inner {
            log: Arc::new(log),
            spill: None,
            config,
            signing: signing.map(Arc::new),
        }))
    }

    /// The same, keeping in the state folder what the cluster refuses for good.
    #[must_use]
    pub fn spilling_into(self, state: Arc<StateDir>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            log: Arc::clone(&self.0.log),
            spill: Some((Spill::into(state), metrics)),
            config: self.0.config.clone(),
            signing: self.0.signing.clone(),
        }))
    }

    /// Buries a draft that could not be produced, as `produce-failed`.
    ///
    /// # Errors
    /// [`BuryError`]: it is not in the dead-letter topic, or nobody knows.
    pub async fn bury_draft(&self, draft: &DraftBurial<'_>) -> Result<(), BuryError> {
        let failure = Failure {
            disposition: Disposition::ProduceFailed,
            reason: draft.reason,
            group: None,
            attempts: draft.attempts,
            first_failed_at_ms: draft.first_failed_at_ms,
            last_failed_at_ms: draft.last_failed_at_ms,
            node: self.0.config.node.as_deref(),
        };
        let burial = dead_letter::Burial::of_draft(
            draft.topic,
            draft.partition,
            draft.key,
            draft.headers,
            draft.draft,
            &failure,
        );
        let write = |form, limit| self.0.write(&burial, form, limit);
        self.0.append(write, draft.last_failed_at_ms).await
    }

    async fn bury_message(&self, burial: &Burial) -> Result<(), BuryError> {
        let config = &self.0.config;
        let failure = Failure {
            disposition: burial.disposition,
            reason: &burial.reason,
            group: config.group.as_deref(),
            attempts: burial.attempts,
            first_failed_at_ms: burial.first_failed_ms,
            last_failed_at_ms: burial.last_failed_ms,
            node: config.node.as_deref(),
        };
        let write = |form, limit| {
            if let Some(summary) = &burial.summary {
                let letter = dead_letter::Burial::of_flood(&summary.flood, &failure);
                return self.0.write(&letter, form, limit);
            }
            burial.origin.view(|record| {
                let letter = match &burial.redrive {
                    Some(terms) => dead_letter::Burial::of_redriven(record, terms, &failure),
                    None => dead_letter::Burial::of_record(record, &failure),
                };
                self.0.write(&letter, form, limit)
            })
        };
        self.0.append(write, burial.last_failed_ms).await
    }
}

impl Bury for DeadLetters {
    fn bury(&self, burial: Arc<Burial>) -> BoxFuture<'static, Result<(), String>> {
        let letters = self.clone();
        Box::pin(async move {
            letters
                .bury_message(&burial)
                .await
                .map_err(|error| error.to_string())
        })
    }
}

impl Inner {
    fn write(
        &self,
        burial: &dead_letter::Burial<'_>,
        form: Form,
        limit_bytes: usize,
    ) -> Result<DeadLetterRecord, DeadLetterError> {
        let signer = self.signing.as_ref().and_then(|signing| (signing.signer)());
        let signing = signer.as_deref().map(|signer| dead_letter::Signing {
            signer,
            audience: &self.config.audience,
        });
        burial.write(form, limit_bytes, signing)
    }

    /// Appends to the topic, or, where that is refused for good, to the file beside it.
    async fn append(
        &self,
        write: impl Fn(Form, usize) -> Result<DeadLetterRecord, DeadLetterError>,
        timestamp_ms: i64,
    ) -> Result<(), BuryError> {
        let refused = match self.append_to_topic(&write, timestamp_ms).await {
            Err(BuryError::Refused(reason)) => reason,
            settled => return settled,
        };
        let Some((spill, metrics)) = &self.spill else {
            return Err(BuryError::Refused(refused));
        };
        let letter = write(Form::Json, usize::MAX).map_err(not_written)?;
        if let Err(reason) = spill.write(&letter, &refused).await {
            return Err(BuryError::Refused(format!(
                "{refused}; and not kept on disk: {reason}"
            )));
        }
        metrics.dead_letter_spilled();
        tracing::error!(
            letter = %String::from_utf8_lossy(&letter.key), refused, file = SPILL_FILE,
            "dead letter refused for good; it is kept on disk and its message counts as done"
        );
        Ok(())
    }

    /// Appends in the first form that the topic takes.
    async fn append_to_topic(
        &self,
        write: &impl Fn(Form, usize) -> Result<DeadLetterRecord, DeadLetterError>,
        timestamp_ms: i64,
    ) -> Result<(), BuryError> {
        let mut form = self.config.form;
        loop {
            let letter = write(form, LIMIT_BYTES).map_err(not_written)?;
            let written_as = letter.form;
            match self.log.append(letter, timestamp_ms).await {
                Ok(()) => return Ok(()),
                Err(AppendError::Unavailable(reason)) => {
                    return Err(BuryError::Unavailable(reason));
                }
                Err(AppendError::Refused(reason)) => return Err(BuryError::Refused(reason)),
                Err(AppendError::TooLarge) => {
                    form = match written_as {
                        Form::Json => Form::Raw,
                        Form::Raw => Form::Reference,
                        Form::Reference => {
                            let reason = "the topic takes it in none of its forms".to_owned();
                            return Err(BuryError::Refused(reason));
                        }
                    };
                }
            }
        }
    }
}

fn not_written(error: DeadLetterError) -> BuryError {
    match error {
        DeadLetterError::Sign(error) => BuryError::Unavailable(error.to_string()),
        error => BuryError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests;

//! The two paths without a broker, and the bare loops they stand beside. One thread, processor time.
//!
//! Every lap does the same number of messages with the same content; the laps of one round follow
//! each other closely, so that what else the machine does meets all of them alike.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{Anomaly, Draft, Stamp};
use cybermesh_contracts::nonce::{Next, NonceSource};
use cybermesh_contracts::record::RecordView;
use cybermesh_contracts::replay::{PartitionReplay, RingLimits};
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, Signer};
use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::{Bounds, Verified, Verifier};
use cybermesh_transport::record::{decode_batches, encode_batch};
use cybermesh_transport::{Compression, FetchedRecord, Header, Record};
use ed25519_dalek::{Signature, Signer as _, SigningKey};

use crate::clock::{thread_time, unix_ms};
use crate::{Failure, event};

/// Records in a batch, as a producer fills one of 128 KiB.
const BATCH_RECORDS: usize = 128;
/// Messages verified together.
const TOGETHER: usize = 64;
const TOPIC: &str = "ai.anomalies.v1";

/// Whether records carry an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithEnvelope {
    Yes,
    No,
}

/// How signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Strict,
    Batch,
}

/// What the laps work on, made once.
pub(crate) struct Bench {
    messages: u64,
    signer: Ed25519Signer,
    key: SigningKey,
    /// What a message's signature covers, and that signature.
    inputs: Vec<(Vec<u8>, Signature)>,
    sealed: Vec<Bytes>,
    bare: Vec<Bytes>,
}

impl Bench {
    pub(crate) fn new(messages: u64) -> Result<Self, Failure> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut bench = Self {
            messages,
            signer: event::signer(),
            inputs: Vec::new(),
            key,
            sealed: Vec::new(),
            bare: Vec::new(),
        };
        let public_key: PublicKey = bench.signer.public_key();
        let mut nonces = NonceSource::ephemeral(1);
        for number in 0..messages {
            let stamp = stamp(&mut nonces)?;
            let draft = Draft::from(event::anomaly(number)?);
            let input = draft.signing_input(public_key, stamp)?;
            let signature = bench.key.sign(&input);
            bench.inputs.push((input, signature));
        }
        bench.sealed = bench.batches(WithEnvelope::Yes)?;
        bench.bare = bench.batches(WithEnvelope::No)?;
        Ok(bench)
    }

    /// Bytes of one message's value.
    pub(crate) fn value_bytes(&self) -> Result<usize, Failure> {
        let batch = self.bare.first().cloned().ok_or("no batch")?;
        let record = decode_batches(batch, 1 << 20).next().ok_or("no record")??;
        Ok(record.value.as_ref().map_or(0, Bytes::len))
    }

    /// Ed25519 signatures over the same bytes, and nothing else.
    pub(crate) fn bare_sign(&self) -> Duration {
        let begun = thread_time();
        for (input, _) in &self.inputs {
            black_box(self.key.sign(black_box(input)));
        }
        thread_time() - begun
    }

    /// `verify_strict` of the same signatures, and nothing else.
    pub(crate) fn bare_verify(&self) -> Result<Duration, Failure> {
        let key = self.key.verifying_key();
        let begun = thread_time();
        for (input, signature) in &self.inputs {
            key.verify_strict(black_box(input), signature)?;
        }
        Ok(thread_time() - begun)
    }

    /// From a caller's fields to the bytes of a produce request: build, check, nonce, sign, encode,
    /// envelope, headers, batch, compress.
    pub(crate) fn send(&self, envelope: WithEnvelope) -> Result<Duration, Failure> {
        let begun = thread_time();
        black_box(self.batches(envelope)?);
        Ok(thread_time() - begun)
    }

    fn batches(&self, envelope: WithEnvelope) -> Result<Vec<Bytes>, Failure> {
        let mut nonces = NonceSource::ephemeral(1);
        let mut batches = Vec::new();
        let mut open = Vec::with_capacity(BATCH_RECORDS);
        for number in 0..self.messages {
            open.push(self.record(number, &mut nonces, envelope)?);
            if open.len() == BATCH_RECORDS {
                batches.push(encode_batch(&open, Compression::Snappy)?);
                open.clear();
            }
        }
        if !open.is_empty() {
            batches.push(encode_batch(&open, Compression::Snappy)?);
        }
        Ok(batches)
    }

    fn record(
        &self,
        number: u64,
        nonces: &mut NonceSource,
        envelope: WithEnvelope,
    ) -> Result<Record, Failure> {
        let draft = Draft::from(event::anomaly(number)?);
        let key = draft.default_key();
        let stamp = stamp(nonces)?;
        let signed = draft.sign(&self.signer, stamp)?;
        let envelope = match envelope {
            WithEnvelope::No => None,
            WithEnvelope::Yes => {
                let scope = Scope {
                    audience: "bench",
                    topic: TOPIC,
                    partition: 0,
                    key: Some(&key),
                    value: &signed.value,
                };
                Some(Envelope::sign(&self.signer, &scope)?.encode())
            }
        };
        let envelope = envelope.as_ref().map(<[u8; 77]>::as_slice);
        let headers = headers::for_record(Kind::Anomaly, None, envelope, &[])?;
        Ok(Record {
            key: Some(key.into()),
            value: Some(signed.value.into()),
            headers: headers
                .into_iter()
                .map(|header| Header {
                    name: header.name,
                    value: header.value.map(Bytes::from),
                })
                .collect(),
            timestamp_ms: i64::try_from(stamp.now_ms).unwrap_or(i64::MAX),
        })
    }

    /// From the bytes of a fetch answer to a handler: decompress, decode, every demand of the
    /// contract, replay check, call.
    pub(crate) fn receive(&self, envelope: WithEnvelope, mode: Mode) -> Result<Duration, Failure> {
        let (batches, rule) = match envelope {
            WithEnvelope::Yes => (&self.sealed, EnvelopeRule::Required),
            WithEnvelope::No => (&self.bare, EnvelopeRule::Off),
        };
        let key = TrustedKey::new(
            "bench",
            self.signer.public_key(),
            [Right::Kind(Kind::Anomaly)],
        )?;
        let trust = TrustStore::of([key.with_envelope(rule)])?;
        let verifier = Verifier::new("bench");
        let bounds = Bounds::at(i64::try_from(unix_ms())?);
        let mut receiver = Receiver {
            order: PartitionReplay::at_start_of_log(RingLimits::new(2000)?, 0),
            offset: 0,
            handled: 0,
        };

        let begun = thread_time();
        for batch in batches {
            let records: Result<Vec<_>, _> = decode_batches(batch.clone(), 1 << 24).collect();
            let records = records?;
            match mode {
                Mode::Strict => {
                    for record in &records {
                        let headers = header_views(record);
                        let view = view(record, &headers);
                        let judged = verifier.verify(&trust, Kind::Anomaly, &view, Some(&bounds));
                        receiver.take(record, judged?)?;
                    }
                }
                Mode::Batch => {
                    for records in records.chunks(TOGETHER) {
                        let headers: Vec<_> = records.iter().map(header_views).collect();
                        let views: Vec<_> = records
                            .iter()
                            .zip(&headers)
                            .map(|(record, headers)| view(record, headers))
                            .collect();
                        let judged =
                            verifier.verify_batch(&trust, Kind::Anomaly, &views, Some(&bounds));
                        for (record, judged) in records.iter().zip(judged) {
                            receiver.take(record, judged?)?;
                        }
                    }
                }
            }
        }
        let took = thread_time() - begun;
        if receiver.handled == self.messages {
            Ok(took)
        } else {
            Err(format!("{} of {} were handled", receiver.handled, self.messages).into())
        }
    }
}

/// What comes after verification.
struct Receiver {
    order: PartitionReplay,
    /// The next in the partition: each batch here begins at 0.
    offset: i64,
    handled: u64,
}

impl Receiver {
    fn take(
        &mut self,
        record: &FetchedRecord,
        verified: Verified<cybermesh_contracts::message::Message>,
    ) -> Result<(), Failure> {
        let bytes = record.payload_len();
        let judgement = self
            .order
            .judge(self.offset, bytes, verified.replay_claims());
        if !judgement.passes() {
            return Err(format!("offset {}: {judgement:?}", self.offset).into());
        }
        self.offset += 1;
        let anomaly: Verified<Anomaly> = verified.narrow().map_err(|_| "not an anomaly")?;
        black_box(&anomaly);
        self.handled += 1;
        Ok(())
    }
}

fn stamp(nonces: &mut NonceSource) -> Result<Stamp, Failure> {
    let now_ms = unix_ms();
    match nonces.next(now_ms, || 1)? {
        Next::Nonce(nonce) => Ok(Stamp {
            now_ms,
            nonce: Some(nonce),
        }),
        Next::Keep(_) => Err("a source without state wants to keep some".into()),
    }
}

fn header_views(record: &FetchedRecord) -> Vec<(&str, Option<&[u8]>)> {
    let headers = record.headers.iter();
    headers
        .map(|header| (header.name.as_str(), header.value.as_deref()))
        .collect()
}

fn view<'a>(
    record: &'a FetchedRecord,
    headers: &'a [(&'a str, Option<&'a [u8]>)],
) -> RecordView<'a> {
    RecordView {
        topic: TOPIC,
        partition: Some(0),
        offset: record.offset,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers,
        timestamp_ms: record.timestamp_ms,
        append_time_ms: record.append_time_ms(),
    }
}

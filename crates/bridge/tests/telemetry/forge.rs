//! Messages with a mark in every field and header, as they are and bent in every way.

use bytes::Bytes;
use cybermesh_contracts::{
    envelope::{Envelope, Scope},
    headers,
    kind::Kind,
    message::{AnomalyDraft, Draft, Stamp},
    nonce::Nonce,
    sign::{Ed25519Signer, Signer},
};
use cybermesh_transport::{Header, Record};

use crate::stage::{AUDIENCE, now_ms};

/// What no number, log line or audited event may show.
pub(crate) const MARK: &str = "zqx-marked-xqz";

/// What the handler is to do with it, in the anomaly's type; marked.
pub(crate) fn marked(behaviour: &str) -> AnomalyDraft {
    AnomalyDraft::builder(uuid::Uuid::new_v4().to_string())
        .anomaly_type(format!("{behaviour} {MARK}"))
        .source(MARK)
        .severity(7)
        .confidence(0.9)
        .model_version(MARK)
        .payload(format!(r#"{{"{MARK}":"{MARK}"}}"#))
        .build()
        .unwrap()
}

/// A signer with the nonces of one instance.
pub(crate) struct Forger {
    signer: Ed25519Signer,
    count: u32,
}

impl Forger {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            signer: Ed25519Signer::from_seed(&[seed; 32]),
            count: 0,
        }
    }

    pub(crate) fn public_key_hex(&self) -> String {
        self.signer.public_key().to_hex()
    }

    fn value(&mut self, behaviour: &str, now_ms: u64) -> (Vec<u8>, Vec<u8>) {
        self.count += 1;
        let draft = Draft::from(marked(behaviour));
        let nonce = Some(Nonce::new(now_ms, 1, self.count));
        let signed = draft.sign(&self.signer, Stamp { now_ms, nonce }).unwrap();
        let key = format!("{MARK} {}", self.count);
        (key.into_bytes(), signed.value)
    }

    /// The record of these parts for a partition, with marked headers beside the envelope.
    fn enveloped(&self, partition: i32, audience: &str, key: Vec<u8>, value: Vec<u8>) -> Record {
        let scope = Scope {
            audience,
            topic: Kind::Anomaly.default_topic(),
            partition,
            key: Some(&key),
            value: &value,
        };
        let envelope = Envelope::sign(&self.signer, &scope).unwrap().encode();
        let mut record = record(key, Some(value));
        let envelope = Header::new(headers::ENVELOPE, envelope.to_vec());
        record.headers.insert(0, envelope);
        record
    }

    pub(crate) fn record(&mut self, partition: i32, behaviour: &str) -> Record {
        self.record_at(partition, behaviour, now_ms())
    }

    pub(crate) fn record_at(&mut self, partition: i32, behaviour: &str, now_ms: u64) -> Record {
        let (key, value) = self.value(behaviour, now_ms);
        self.enveloped(partition, AUDIENCE, key, value)
    }

    /// Signed as it should be, and then the mark put in a field's place: in one that no signature covers
    /// it holds, in any other it does not.
    fn renamed(&mut self, partition: i32, field: u8, length: usize) -> Record {
        let (key, mut value) = self.value("done", now_ms());
        let text: Vec<u8> = MARK.bytes().cycle().take(length).collect();
        value.extend(last_field(field, &text));
        self.enveloped(partition, AUDIENCE, key, value)
    }

    /// One of each that must not pass, and some that may.
    pub(crate) fn bent(&mut self, partition: i32) -> Vec<Record> {
        let fresh = |forger: &mut Self| forger.record(partition, "done");
        let header = |record: &mut Record, name: &str, value: &[u8]| {
            let header = Header::new(name, value.to_vec());
            record.headers.insert(0, header);
        };
        // The text fields of the wire: id, type, source, model_version, alg.
        let mut records: Vec<Record> = [1, 2, 3, 9, 14]
            .into_iter()
            .map(|field| self.renamed(partition, field, MARK.len()))
            .collect();
        // Its bytes, of no length they may have: content_hash, payload, producer_id, nonce, signature, pubkey.
        let bytes = [7, 8, 10, 11, 12, 13];
        records.extend(bytes.map(|field| self.renamed(partition, field, MARK.len())));
        // The same with their lengths; a public key is who claims to have signed, and is audited.
        let bytes = [(7, 32), (10, 32), (11, 16), (12, 64)];
        records.extend(bytes.map(|(field, length)| self.renamed(partition, field, length)));
        // Text that is none.
        let (key, mut value) = self.value("done", now_ms());
        value.extend([0x0a, 2, 0xff, 0xfe]);
        records.push(self.enveloped(partition, AUDIENCE, key, value));
        let (key, value) = self.value("done", now_ms());
        records.push(self.enveloped(partition, MARK, key, value));
        let mut keyed = fresh(self);
        keyed.key = Some(MARK.into());
        records.push(keyed);
        records.push(record(MARK.into(), Some(MARK.into())));
        records.push(record(MARK.into(), None));
        let mut bare = fresh(self);
        bare.headers.remove(0);
        records.push(bare);
        for name in [
            headers::ENVELOPE,
            headers::REDRIVE,
            headers::VERSION,
            headers::TYPE,
            headers::CONTENT_TYPE,
            headers::TRACEPARENT,
            headers::DEAD_LETTER,
            headers::SPOOLED_AT,
        ] {
            let mut record = fresh(self);
            header(&mut record, name, MARK.as_bytes());
            records.push(record);
        }
        let mut oversized = fresh(self);
        oversized.value = Some(MARK.repeat(100_000).into());
        records.push(oversized);
        records
    }
}

fn record(key: Vec<u8>, value: Option<Vec<u8>>) -> Record {
    Record {
        key: Some(key.into()),
        value: value.map(Bytes::from),
        headers: vec![Header::new(MARK, MARK.as_bytes().to_vec())],
        timestamp_ms: i64::try_from(now_ms()).unwrap(),
    }
}

/// A field behind all others: the last one holds.
fn last_field(number: u8, text: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(text.len()).unwrap()];
    field.extend(text);
    field
}

//! Vectors for the parts of the wire contract that are this project's own: partitions, envelopes,
//! redrives, dead letters and replay metadata.
//!
//! `data/own_vectors.json` holds inputs, the seeds of the test keys, and what comes out, byte for byte.
//! The first test makes all of it again and compares; with `CYBERMESH_WRITE_VECTORS=1` it writes the
//! file instead. The others read the file as another implementation would, and check that what it
//! says is accepted.

mod own_vectors_make;

use std::num::NonZeroU32;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cybermesh_contracts::RecordView;
use cybermesh_contracts::dead_letter::DeadLetter;
use cybermesh_contracts::envelope::Envelope;
use cybermesh_contracts::partition::partition_for_key;
use cybermesh_contracts::redrive::Redrive;
use cybermesh_contracts::replay::{Binding, Snapshot, StateKeys};
use cybermesh_contracts::sign::{Ed25519Signer, Signer, VerifyingKey};
use cybermesh_contracts::trust::{Right, TrustStore, TrustedKey};
use serde_json::Value;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/own_vectors.json")
}

fn file() -> Value {
    let text = std::fs::read_to_string(path()).expect("the vectors are checked in");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn each<'v>(file: &'v Value, section: &str) -> &'v [Value] {
    let vectors = file[section].as_array().expect("a list of vectors");
    assert!(!vectors.is_empty());
    vectors
}

fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name].as_str().expect(name)
}

fn int(vector: &Value, name: &str) -> i64 {
    vector[name].as_i64().expect(name)
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    nullable(vector, name).expect(name)
}

fn nullable(vector: &Value, name: &str) -> Option<Vec<u8>> {
    Some(hex::decode(vector[name].as_str()?).expect("hex"))
}

fn key(file: &Value, name: &str) -> VerifyingKey {
    let seed = bytes(&file["keys"][name], "seed_hex");
    let signer = Ed25519Signer::from_seed(&seed.try_into().expect("32 bytes"));
    VerifyingKey::try_from(signer.public_key()).expect("a good key")
}

#[test]
fn the_vectors_are_what_this_crate_makes_of_their_seeds() {
    let made = own_vectors_make::all();
    if std::env::var_os("CYBERMESH_WRITE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&made).expect("JSON");
        text.push('\n');
        std::fs::write(path(), text).expect("written");
    }
    let file = file();
    for section in [
        "about",
        "keys",
        "partitions",
        "envelopes",
        "redrives",
        "dead_letters",
        "replay_metadata",
    ] {
        assert_eq!(file[section], made[section], "{section}");
    }
    assert_eq!(file, made);
}

#[test]
fn keys_go_to_their_partitions() {
    for vector in each(&file(), "partitions") {
        let partitions = u32::try_from(int(vector, "partitions"))
            .ok()
            .and_then(NonZeroU32::new);
        let partition = partition_for_key(&bytes(vector, "key_hex"), partitions.expect("not zero"));
        assert_eq!(i64::from(partition), int(vector, "partition"));
    }
}

#[test]
fn envelopes_verify_and_no_flipped_bit_does() {
    let file = file();
    for vector in each(&file, "envelopes") {
        let signer = key(&file, text(vector, "key"));
        let (record_key, value) = (
            nullable(vector, "record_key_hex"),
            bytes(vector, "value_hex"),
        );
        let partition = i32::try_from(int(vector, "partition")).expect("a partition");
        let verifies = |header: &[u8]| {
            Envelope::parse(header).is_ok_and(|envelope| {
                let accepted = [(text(vector, "audience"), text(vector, "topic"))];
                let key = record_key.as_deref();
                envelope
                    .verify(&signer, Some(partition), accepted, key, &value)
                    .is_ok()
            })
        };
        let header = bytes(vector, "header_hex");
        assert!(verifies(&header), "{}", text(vector, "name"));
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(&flipped), "{} bit {bit}", text(vector, "name"));
        }
    }
}

#[test]
fn redrives_verify() {
    let file = file();
    for vector in each(&file, "redrives") {
        let redrive = Redrive::parse(&bytes(vector, "header_hex")).expect("well-formed");
        let audiences = [text(vector, "audience")];
        let topics = [text(vector, "topic")];
        let value = nullable(vector, "value_hex");
        let key = key(&file, text(vector, "key"));
        redrive
            .verify(&key, &audiences, &topics, value.as_deref())
            .expect("verifies");
        assert!(redrive.terms().is_for(Some(text(vector, "group"))));
        assert_eq!(redrive.terms().origin_offset, int(vector, "origin_offset"));
    }
}

#[test]
fn dead_letters_verify() {
    let file = file();
    for vector in each(&file, "dead_letters") {
        let out = &vector["record"];
        let (record_key, value) = (bytes(out, "key_hex"), nullable(out, "value_hex"));
        let headers: Vec<(&str, Option<Vec<u8>>)> = each(out, "headers")
            .iter()
            .map(|header| {
                let value = header[1]
                    .as_str()
                    .map(|value| hex::decode(value).expect("hex"));
                (header[0].as_str().expect("a name"), value)
            })
            .collect();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_deref()))
            .collect();
        let record = RecordView {
            key: Some(&record_key),
            headers: &headers,
            ..RecordView::new("ai.dlq", value.as_deref())
        };
        let letter = DeadLetter::parse(&record).expect("a dead letter");
        assert_eq!(letter.form().as_str(), text(vector, "form"));
        let key = key(&file, text(vector, "key"));
        letter
            .verify_with(&key, &[text(vector, "audience")])
            .expect("verifies");
    }
}

#[test]
fn replay_metadata_opens_for_its_binding() {
    let file = file();
    for vector in each(&file, "replay_metadata") {
        let binding = &vector["binding"];
        let binding = Binding {
            group: text(binding, "group"),
            cluster_id: text(binding, "cluster_id"),
            topic_id: bytes(binding, "topic_id_hex").try_into().expect("16 bytes"),
            partition: i32::try_from(int(binding, "partition")).expect("a partition"),
            offset: int(binding, "offset"),
        };
        let metadata = text(vector, "metadata");
        let demanded = vector["key"].as_str().map(|name| {
            let key = key(&file, name).public_key();
            TrustedKey::new(name, key, [Right::ReplayState]).expect("a good key")
        });
        let trust = TrustStore::of(demanded).expect("one key at most");
        let demanded = StateKeys::named_in(&trust, 0);
        let snapshot = Snapshot::open(metadata, &binding, &demanded).expect("opens");
        assert_eq!(snapshot.ring_first(), int(vector, "ring_first"));
        assert_eq!(
            i64::try_from(snapshot.listed()).expect("few"),
            int(vector, "listed")
        );
        let decoded = BASE64.decode(metadata).expect("base64");
        assert_eq!(hex::encode(decoded), text(vector, "bytes_hex"));
    }
}

//! What a CyberMesh message is, and whether it may be believed.
//!
//! No I/O, no clock, no async: keys, nonce and replay state come in as bytes, time as an argument, so a
//! service with a Kafka client of its own can use this crate alone.
//!
//! In the order data meets them:
//!
//! - [`kind`]: the seven kinds, their topics and signing domains
//! - [`message`]: each kind as a valid message, a draft, and a builder; [`proto`] is the wire's own form,
//!   [`json`] the strict reader for what messages carry
//! - [`sign`], [`nonce`], [`envelope`]: what makes a draft a record that can be believed;
//!   [`headers`] and [`partition`] for where and how it is produced
//! - [`trust`]: which keys are believed, for what, and when
//! - [`verify`]: all that a receiver demands of a [`record`], in order; a [`rejection`] says what failed
//! - [`replay`]: whether an authentic message was here before
//! - [`dead_letter`], [`redrive`]: what becomes of the others, and how they come back
//!
//! # Sending and receiving
//!
//! ```
//! use cybermesh_contracts::envelope::{Envelope, Scope};
//! use cybermesh_contracts::headers;
//! use cybermesh_contracts::message::{Anomaly, AnomalyDraft, Draft, Stamp};
//! use cybermesh_contracts::nonce::{Next, NonceSource};
//! use cybermesh_contracts::sign::{Ed25519Signer, Signer};
//! use cybermesh_contracts::trust::TrustStore;
//! use cybermesh_contracts::verify::{Bounds, Verified, Verifier};
//! use cybermesh_contracts::{Disposition, Kind, RecordView};
//!
//! // The node: a draft within the rules, signed with the next nonce, bound to where it goes.
//! let signer = Ed25519Signer::from_seed(&[7; 32]); // a real seed is random, or read from PEM
//! let mut nonces = NonceSource::ephemeral(0x5eed); // so is the instance id
//! let now_ms = 1_760_000_000_125;
//!
//! let draft: Draft = AnomalyDraft::builder("3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d")
//!     .anomaly_type("ddos")
//!     .source("detection_loop")
//!     .severity(8)
//!     .confidence(0.93)
//!     .payload(r#"{"src_ip":"192.0.2.10"}"#)
//!     .model_version("v1.0.0")
//!     .build()?
//!     .into();
//! let Next::Nonce(nonce) = nonces.next(now_ms, || 0xd1ce)? else {
//!     unreachable!("an ephemeral source keeps nothing");
//! };
//! let stamp = Stamp { now_ms, nonce: Some(nonce) };
//! let signed = draft.sign(&signer, stamp)?;
//! let key = draft.default_key();
//! let (topic, partition) = (Kind::Anomaly.default_topic(), 0);
//! let scope = Scope { audience: "prod", topic, partition, key: Some(&key), value: &signed.value };
//! let envelope = Envelope::sign(&signer, &scope)?.encode();
//!
//! // The backend: a trust store that names the node's key, and a record as some client read it.
//! let trust = format!(
//!     "version = 1\n[[key]]\nid = \"node-1\"\npublic_key = \"{}\"\nmay_sign = [\"anomaly\"]\n",
//!     signer.public_key(),
//! );
//! let trust = TrustStore::from_toml(&trust, &mut |_| Err("no files here".to_owned()))?;
//! let in_order = [(headers::ENVELOPE, Some(envelope.as_slice()))];
//! let record = RecordView {
//!     partition: Some(partition),
//!     key: Some(&key),
//!     headers: &in_order,
//!     ..RecordView::new(topic, Some(&signed.value))
//! };
//! let verifier = Verifier::new("prod");
//! let bounds = Bounds::at(1_760_000_001_000);
//! let verified = verifier.verify(&trust, Kind::Anomaly, &record, Some(&bounds))?;
//! let anomaly: Verified<Anomaly> = verified.narrow().expect("an anomaly was asked for");
//! assert_eq!(anomaly.message().severity(), 8);
//! assert_eq!(anomaly.signer().id.as_ref(), "node-1");
//!
//! // The same record of another environment is not believed.
//! let staging = Verifier::new("staging").verify(&trust, Kind::Anomaly, &record, Some(&bounds));
//! assert_eq!(staging.unwrap_err().disposition(), Disposition::EnvelopeInvalid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod dead_letter;
pub mod envelope;
pub mod headers;
pub mod json;
pub mod kind;
pub mod message;
pub mod nonce;
pub mod partition;
pub mod proto;
pub mod record;
pub mod redrive;
pub mod rejection;
pub mod replay;
pub mod sign;
pub mod trust;
pub mod verify;

pub use self::kind::Kind;
pub use self::record::RecordView;
pub use self::rejection::{Disposition, Rejection};

//! The specification's names, and ours, for people who come from there.
//!
//! | specification | here |
//! |---|---|
//! | `AIProducer` | [`Publisher`](crate::Publisher) |
//! | `send_anomaly`, `send_evidence`, `send_policy` | [`send_anomaly`](crate::Publisher::send_anomaly), [`send_evidence`](crate::Publisher::send_evidence), [`send_policy`](crate::Publisher::send_policy), and [`send`](crate::Publisher::send) for any kind |
//! | `flush`, `close`, `get_metrics` of the producer | [`flush`](crate::Publisher::flush), [`close`](crate::Publisher::close), [`metrics`](crate::Publisher::metrics) |
//! | `AIConsumer` | [`Subscriber`](crate::Subscriber) |
//! | `register_handler(message_type, handler)` | [`Builder::handle`](crate::bridge::Builder::handle), where the handler's message type says the kind; [`Builder::ignore`](crate::bridge::Builder::ignore) for the others |
//! | `start`, `stop`, `get_metrics` of the consumer | [`Builder::start`](crate::bridge::Builder::start), [`Bridge::stop`](crate::Bridge::stop), [`Subscriber::metrics`](crate::Subscriber::metrics) |
//! | `KafkaManager` | [`Bridge`](crate::Bridge) |
//! | `KafkaManager(config, signer, nonce_manager, circuit_breaker)` | [`Bridge::builder`](crate::Bridge::builder)`(settings)` with [`signer`](crate::bridge::Builder::signer), [`nonces`](crate::bridge::Builder::nonces), [`breaker`](crate::bridge::Builder::breaker), each optional |
//! | `get_producer` | [`Bridge::publisher`](crate::Bridge::publisher) |
//! | `DLQHandler.send_to_dlq` | [`DeadLetters`](crate::dlq::DeadLetters), [`bury_draft`](crate::dlq::DeadLetters::bury_draft) for drafts; what handlers give up is buried by itself |
//! | `CircuitBreaker` | [`Breaker`](crate::outbound::breaker::Breaker) |
//! | `ExponentialBackoff` | [`RetrySchedule`](crate::outbound::retry::RetrySchedule) |
//! | `Signer` | [`Signer`](cybermesh_contracts::sign::Signer), a trait; [`Ed25519Signer`](cybermesh_contracts::sign::Ed25519Signer) with the key in memory |
//! | `NonceManager` | [`NonceSource`](cybermesh_contracts::nonce::NonceSource), held by [`Nonces`](crate::outbound::nonces::Nonces) |
//! | `Config` | [`Settings`](crate::Settings) |
//! | `AnomalyMessage(…)` | [`AnomalyDraft::builder`](cybermesh_contracts::message::AnomalyDraft::builder) before it is signed, [`Anomaly`](cybermesh_contracts::message::Anomaly) once it was verified |
//! | `from_bytes(data, verify_signature=True)` | [`Verifier::verify`](cybermesh_contracts::verify::Verifier::verify); there is no `False` |
//! | `KAFKA_*` variables | the same names and defaults, see [`settings::table`](crate::settings::table); so are the seven metrics, see [`telemetry::metrics`](crate::telemetry::metrics) |
//!
//! # What is different, knowingly
//! - A [`Receipt`](crate::Receipt) that Kafka acknowledged, instead of `True`; an
//!   [error](crate::SendError) that says whether the message may have been written.
//! - An offset is committed when everything before it is done, instead of by a timer.
//! - Five batches on their way at once, with idempotence, instead of one: the same order, and a
//!   resend does not write twice.
//! - One retry schedule, instead of one within another.
//! - A kind without a handler is refused at start, instead of being counted as processed.
//! - Dead letters are waited for, and come in three [forms](cybermesh_contracts::dead_letter::Form).
//! - Verification cannot be switched off.

//! A small Kafka-compatible broker in one process, for demos and tests.

pub mod pki;

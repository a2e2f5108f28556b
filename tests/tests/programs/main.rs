//! Other people's programs against the built-in broker: what says that it is Kafka.
//!
//! They need Kafka's jars and a Python with confluent-kafka, which `cargo xtask test` brings and
//! hands in by environment; so they are left out unless asked for.

mod java;
mod python;
mod support;

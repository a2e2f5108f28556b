//! A small Kafka-compatible broker in one process.

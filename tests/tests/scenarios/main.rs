//! The end-to-end scenarios, each over the built-in broker and over Apache Kafka.

mod connecting;
mod consuming;
mod crossing;
mod handling;
mod producing;
mod refusing;

//! The end-to-end scenarios, each over the built-in broker and over Apache Kafka.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod auditing;
mod connecting;
mod consuming;
mod crossing;
mod flooding;
mod guarding;
mod handling;
mod laundering;
mod producing;
mod redriving;
mod refusing;
mod remembering;
mod spooling;
mod withholding;

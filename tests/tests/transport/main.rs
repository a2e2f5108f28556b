//! What the transport does, each over the built-in broker and over Apache Kafka with mutual TLS.

mod grouping;
mod neighbours;
mod positions;
mod reading_back;
mod sending;
mod support;
mod topics;

//! What the transport does, each over the built-in broker and over Apache Kafka with mutual TLS.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod addresses;
mod authenticating;
mod churning;
mod coordinated;
mod grouping;
mod groups;
mod interop;
mod intruding;
mod made_again;
mod neighbours;
mod positions;
mod reading_back;
mod sending;
mod support;
mod topics;

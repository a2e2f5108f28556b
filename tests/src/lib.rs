//! The harness of the end-to-end tests.
//!
//! One test body runs over the built-in broker and over Apache Kafka, both with mutual TLS: a
//! scenario is an `async fn(Stage)`, and [`scenarios!`] makes a test of it in the module
//! `devbroker` and one in the module `kafka`. Those over Kafka need a cluster, which
//! `cargo xtask test` starts and hands in by environment; without one they fail, so leave them
//! out: `cargo test -p cybermesh-tests -- --skip ::kafka::`.
//!
//! [`scenario`] runs a body, [`stage`] is what it plays on, [`cluster`] the broker under it,
//! [`intruder`] someone who may write too and takes producer ids that are not theirs, [`identity`] the keys and who trusts them, [`proxy`] stands between client and broker and loses
//! what is said, [`sasl`] asks clients who they are, [`history`] judges what a consumer did, [`console`] reads a topic with Kafka's own
//! consumer, [`java`] starts Kafka's other programs, [`brokers`] kills, pauses and starts the brokers of a cluster,
//! [`office`] looks after dead letters, [`deliveries`] judges what a producer was told by what the log holds.

pub mod brokers;
pub mod cluster;
pub mod conditions;
pub mod console;
pub mod deliveries;
pub mod drafts;
pub mod forge;
pub mod history;
pub mod identity;
pub mod intruder;
pub mod java;
pub mod link;
pub mod log;
pub mod office;
pub mod offsets;
pub mod play;
pub mod process;
pub mod proxy;
pub mod sasl;
pub mod scenario;
pub mod stage;
pub mod transaction;
pub mod witness;

pub use cluster::{Broker, Cluster};
pub use scenario::Over;
pub use stage::Stage;

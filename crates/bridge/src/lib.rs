//! Signed messages over Kafka, for services that send them and services that handle them.
//!
//! This crate is the policy between two others: `cybermesh-contracts` knows what a message is and
//! whether it may be believed, `cybermesh-transport` brings bytes to and from Kafka. Between them
//! stands what makes that dependable: rate limits, a circuit breaker, resends, nonces in the
//! partition's order, verification before anything else, replay checks, handlers in order per lane,
//! commits that are never ahead of what is done, dead letters that are waited for, and numbers.
//!
//! A node sends an anomaly:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use cybermesh_bridge::{Bridge, Receipt, SendError, Settings};
//! use cybermesh_contracts::message::AnomalyDraft;
//!
//! # async fn node() -> Result<(), Box<dyn std::error::Error>> {
//! // KAFKA_BROKERS, KAFKA_CA_CERT, CYBERMESH_SIGNING_KEY and the others.
//! let settings = Settings::loader().process_environment().load()?;
//! let bridge = Bridge::builder(settings).receives([]).start().await?;
//!
//! let anomaly = AnomalyDraft::builder("7c9e6679-7425-40de-944b-e07fc1f90ae7")
//!     .anomaly_type("port-scan")
//!     .source("10.0.0.7")
//!     .severity(7)
//!     .confidence(0.93)
//!     .model_version("scan-2")
//!     .build()?;
//! match bridge.publisher().send_anomaly(anomaly).await {
//!     Ok(Receipt::Logged { topic, partition, offset }) => println!("{topic}/{partition} at {offset:?}"),
//!     Ok(other) => println!("{other:?}"),
//!     Err(SendError::BreakerOpen { retry_after }) => println!("again in {retry_after:?}"),
//!     Err(error) if error.may_be_written() => println!("nobody knows: {error}"),
//!     Err(error) => println!("not sent: {error}"),
//! }
//! bridge.stop(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! A backend handles it. The handler is given a `Verified` message, which the verifier alone can
//! make: nothing unverified reaches it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use cybermesh_bridge::{Bridge, Settings, handler::{Context, Verdict}};
//! use cybermesh_contracts::{kind::Kind, message::Anomaly, verify::Verified};
//!
//! # async fn backend() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::loader().process_environment().set("role", "backend").load()?;
//! let bridge = Bridge::builder(settings)
//!     .handle(|anomaly: Verified<Anomaly>, context: Context| async move {
//!         println!("{} of severity {}", anomaly.message().id(), anomaly.message().severity());
//!         match context.attempt() {
//!             1..=3 => Ok(Verdict::Done),
//!             _ => Ok(Verdict::reject("tried often enough")),
//!         }
//!     })
//!     .ignore(Kind::Evidence)
//!     .ignore(Kind::Policy)
//!     .start()
//!     .await?;
//! // … until told to stop:
//! let report = bridge.stop(Duration::from_secs(30)).await;
//! println!("{report:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! [`settings`] has every setting with default and range. [`bridge`] builds, starts and stops.
//! [`outbound`] is the way out, [`inbound`] the way in, [`handler`] what a service writes, [`dlq`]
//! where messages go that are given up, and how they are put back. [`keys`], [`trust`] and [`state`] read and keep files;
//! [`clock`] tells the time, and when it cannot be right. [`telemetry`] has metrics, health and the
//! address that shows them. Who comes from the Python or Go services finds familiar names in [`names`].
//!
//! # What is promised
//! A message acknowledged as [`Receipt::Logged`] is not lost while Kafka keeps its own promise. A
//! handler sees the messages of a lane in log order, at least once. There are no transactions. With
//! the cluster away and a state folder, sends are kept on disk ([`Receipt::Spooled`]) and go when it is back, in
//! order; without one they fail ([`SendError::NotSent`], [`SendError::BreakerOpen`]).
#![forbid(unsafe_code)]

pub mod bridge;
pub mod clock;
mod connect;
pub mod dlq;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod handler;
pub mod inbound;
pub mod keys;
pub mod names;
pub mod outbound;
pub mod reload;
pub mod settings;
pub mod state;
pub mod telemetry;
pub mod trust;

pub use bridge::Bridge;
pub use inbound::Subscriber;
pub use outbound::{Publisher, Receipt, SendError, SendOptions};
pub use settings::Settings;

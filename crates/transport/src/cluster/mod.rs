//! The cluster as a whole: brokers, topics, leaders, coordinators, and the connections to them.
//!
//! [`Client`] is what everything else is made from. [`metadata`] turns answers into a view of the cluster,
//! [`freshness`] decides when to ask again and [`wanted`] about which topics, [`pool`] keeps one [`Broker`] per broker
//! and purpose, [`exchange`] gives them other certificates.

mod client;
mod exchange;
mod freshness;
mod metadata;
mod pool;
mod wanted;

pub use client::Client;
pub use metadata::{Leader, PartitionMetadata, TopicMetadata};

pub(crate) use metadata::Generation;

//! The broker as a running thing: a thin shell of tasks and sockets round the state machines.
//!
//! [`builder`] gathers what it is made of, [`state`] is all it knows, [`nodes`] the brokers of the
//! cluster, [`fetch_sessions`] what readers need not say again, [`shared`] lends that to the
//! tasks and wakes those that wait, [`listener`] accepts, [`connection`] answers one client's
//! requests in order, [`dev_broker`] is what a test holds ([`cluster`] its part for several
//! brokers).

mod builder;
mod cluster;
mod connection;
mod dev_broker;
mod fetch_sessions;
mod ids;
mod listener;
mod nodes;
mod principal;
mod shared;
mod state;
mod tls;

pub use builder::{Builder, TopicSpec};
pub use cluster::PartitionLeader;
pub use connection::ConnectionInfo;
pub use dev_broker::{DevBroker, StartError};
pub use fetch_sessions::FetchSession;
pub(crate) use fetch_sessions::Kind as SessionKind;
pub(crate) use nodes::Node;
pub(crate) use shared::{Now, Shared};
pub(crate) use state::State;
pub use tls::{ServerTls, TlsError};

//! Who a client is, said by SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER.
//!
//! A [`Sasl`] says it on every connection, behind TLS, before any other request. Passwords and tokens are kept in
//! memory that is wiped when it is given up, and are in no error, log line or `Debug` text. Copies are made on the
//! way out, in buffers of the protocol engine and of TLS; those are not wiped.
//!
//! Where a broker ends sessions after a time (`connections.max.reauth.ms`, KIP-368), connections are replaced before
//! theirs is over: what is in flight is still answered, what comes after waits for the next connection. No request
//! is lost, and each new connection takes the credentials that are in force by then.

mod bearer;
mod conversation;
mod credentials;
mod plain;
mod scram;
mod secret;

pub use bearer::{Token, TokenError, TokenSource};
pub use credentials::{Mechanism, Sasl};
pub use secret::Secret;

pub(crate) use conversation::{Conversation, Reply};

//! Who a client is, said by SASL: [`config`] is what the broker asks for, [`session`] one
//! connection's state, [`scram`] the server's half of SCRAM.

mod config;
mod scram;
mod session;

pub use config::ServerSasl;
pub(crate) use session::Session;

//! TLS towards brokers, from PEM to a configuration that can be used.
//!
//! [`TlsConfig`] is made once and is valid from then on: the certificate fits its key, the CA bundle holds
//! certificates, the provider runs on this processor. No process-wide provider is ever installed.

mod config;
mod failure;
mod in_use;
mod pem;
mod provider;

pub use config::{MinVersion, TlsConfig, TlsConfigBuilder};
pub use pem::Pem;
pub use provider::{CpuSupport, ProviderChoice};

pub(crate) use failure::failure_of;
pub(crate) use in_use::SecurityInUse;

//! Settings: one list, three ways in, the later ones win: TOML file, environment, command line.
//!
//! ```
//! use cybermesh_bridge::settings::{Role, Settings};
//!
//! let settings = Settings::loader()
//!     .set("KAFKA_BROKERS", "kafka-1:9093,[::1]:9093")
//!     .set("role", "backend")
//!     .load()?;
//! assert_eq!(settings.role, Role::Backend);
//! assert_eq!(settings.kafka.group, "cybermesh-backend");
//!
//! let refused = Settings::loader().set("send.backoff", "soon").set("CYBERMESH_ROLE", "king").load();
//! assert_eq!(refused.unwrap_err().problems().len(), 2);
//! # Ok::<(), cybermesh_bridge::settings::SettingsError>(())
//! ```
//!
//! [`table`] is the list itself; [`values`] what comes of it. Everything wrong is reported at once
//! ([`SettingsError`]), each with the setting's name, where the value came from and what is accepted.

mod judge;
mod load;
mod parse;
pub(crate) mod problem;
mod sections;
pub(crate) mod source;
pub mod table;
pub mod values;
mod verifier;

use std::fmt;

use crate::reload::Stamp;

pub use crate::outbound::outbox::{Sync, WhenFull};
pub use load::Loader;
pub use problem::{Problem, SettingsError, Source};
pub use values::{
    Assignor, Audit, Compression, DeadLetterFormat, GroupProtocol, Guard, Isolation, Kafka, Keys,
    Limits, Log, LogFormat, Node, OnExhausted, OnHang, Ops, Outbox, PayloadRule, RateLimit,
    Receive, Replay, Role, Sasl, SaslMechanism, Send, StartPosition, Tls, TlsMinVersion,
    TlsProvider, Topics, Verify, VerifyMode, VerifyModes,
};

/// A duration as settings have it, such as `90s`, `2h` or `7d`; `None` where the text is none.
#[must_use]
pub fn duration(text: &str) -> Option<std::time::Duration> {
    parse::duration(std::time::Duration::ZERO..=std::time::Duration::MAX)(text).ok()
}

/// All settings of a process, typed and in range.
///
/// Whether they are enough for what the process is to do (a signing key to send, a trust store to
/// receive, readable files) is judged when a bridge is built from them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Which end of the wire this process is.
    pub role: Role,
    /// How to reach the cluster.
    pub kafka: Kafka,
    /// Transport security.
    pub tls: Tls,
    /// Who we are to brokers that go by a name and a password.
    pub sasl: Sasl,
    /// Topic names.
    pub topics: Topics,
    /// The way out.
    pub send: Send,
    /// The way in.
    pub receive: Receive,
    /// What a receiver asks beyond the contract's fixed rules.
    pub verify: Verify,
    /// Bounds of time and order.
    pub replay: Replay,
    /// Form of dead letters.
    pub dead_letter_format: DeadLetterFormat,
    /// What stands between a flood and the dead-letter topic.
    pub guard: Guard,
    /// What is kept on disk of what cannot be sent.
    pub outbox: Outbox,
    /// The audit trail's file.
    pub audit: Audit,
    /// Rate limits.
    pub limits: Limits,
    /// This process among others.
    pub node: Node,
    /// Files with keys.
    pub keys: Keys,
    /// For operators.
    pub ops: Ops,
    /// Logging.
    pub log: Log,
    entries: Vec<Entry>,
    notes: Vec<String>,
    origin: Origin,
}

/// Where settings came from, so that they can be read again. Never shown: the environment is in it.
#[derive(Clone, Default)]
struct Origin {
    loader: Loader,
    file: Option<Stamp>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Settings are equal by what they say.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Settings {
    /// Settings from nothing but what the loader is given.
    pub fn loader() -> Loader {
        Loader::default()
    }

    /// Every setting with its value and source, in the table's order, for `cybermesh-bridge config`.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What deserves a warning at start: names that are nearly settings, aliases used, an empty
    /// audience, plaintext, a group that several nodes would share.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The state of the settings file when it was read, where there is one.
    pub(crate) fn file_stamp(&self) -> Option<&Stamp> {
        self.origin.file.as_ref()
    }

    /// Reads the file again; environment and command line are as they were.
    pub(crate) fn reread(&self) -> Result<Self, SettingsError> {
        self.origin.loader.clone().load()
    }

    /// Takes the limits of `other`, and nothing else.
    pub(crate) fn take_limits(&mut self, other: &Self) {
        self.limits = other.limits.clone();
        for entry in &mut self.entries {
            let limit = entry.key.starts_with("limits.");
            if let Some(new) = other
                .entries
                .iter()
                .find(|new| limit && new.env == entry.env)
            {
                *entry = new.clone();
            }
        }
    }

    pub(crate) fn source_of(&self, env: &str) -> Source {
        self.entries
            .iter()
            .find(|entry| entry.env == env)
            .map_or(Source::Default, |entry| entry.source.clone())
    }
}

/// One setting as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the environment.
    pub env: &'static str,
    /// Its key in the file.
    pub key: &'static str,
    /// Its value as text; `None` where it has none.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: Source,
    /// What the setting is for.
    pub about: &'static str,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("unset");
        write!(f, "{} = {value} ({})", self.env, self.source)
    }
}

#[cfg(test)]
mod tests;

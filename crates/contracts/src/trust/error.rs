//! Why a trust store is refused.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::sign::PublicKeyError;

/// Why a trust store is refused, whole. Which one it is, is for whoever read it to say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// Not the form that is expected.
    #[error("line {line}: {message}")]
    Form {
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A version of the form that is not known here.
    #[error("version is {version}; accepted is 1")]
    Version {
        /// What the file says.
        version: i64,
    },
    /// Another number of keys than the file states: it was cut short, or edited by halves.
    #[error("count is {stated}, but {found} keys are there")]
    Count {
        /// What the file states.
        stated: u64,
        /// What is there.
        found: usize,
    },
    /// Something is wrong with one key.
    #[error("{place}: {fault}")]
    Key {
        /// Which key.
        place: Place,
        /// What is wrong.
        fault: KeyFault,
    },
}

impl TrustError {
    pub(super) fn key(position: usize, id: Option<&str>, fault: KeyFault) -> Self {
        Self::Key {
            place: Place {
                number: position + 1,
                id: id.map(str::to_owned),
            },
            fault,
        }
    }
}

/// Which key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    number: usize,
    id: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "key {} (\"{}\")", self.number, id.escape_debug()),
            None => write!(f, "key {}", self.number),
        }
    }
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// Its name is empty or too long.
    #[error("id must have 1 to 128 bytes without control characters")]
    Name,
    /// Neither of the two ways to give a key, or both.
    #[error("give either public_key or public_key_file")]
    NoOneKey,
    /// The file it stands in could not be read.
    #[error("\"{file}\": {reason}")]
    Unreadable {
        /// As it stands in the trust store.
        file: String,
        /// What the reader said.
        reason: String,
    },
    /// The key is none to verify with.
    #[error("public key: {0}")]
    Unfit(#[from] PublicKeyError),
    /// The file holds another key than the hex digits say.
    #[error("\"{file}\" holds another key than public_key_hex")]
    Disagree {
        /// As it stands in the registry.
        file: String,
    },
    /// `may_sign` names something that nothing is.
    #[error(
        "may_sign \"{name}\"; accepted are anomaly, evidence, policy, commit, reputation, policy_update, \
         evidence_request, dead_letter, redrive, replay_state"
    )]
    Right {
        /// What it names.
        name: String,
    },
    /// `envelope` is none of the three rules.
    #[error("envelope \"{name}\"; accepted are required, accept, off")]
    Envelope {
        /// What it says.
        name: String,
    },
    /// A time without date, time of day or offset, or one that no calendar has.
    #[error("{field} must be a date and time with offset, as 2026-01-01T00:00:00Z")]
    Time {
        /// `not_before` or `not_after`.
        field: &'static str,
    },
    /// The window closes before it opens.
    #[error("not_after lies before not_before")]
    Window,
    /// `producer_id` is not 32 bytes of hex.
    #[error("producer_id must be 64 hex digits")]
    ProducerId,
    /// An earlier entry has the same name.
    #[error("the same id as an earlier key, \"{id}\"")]
    SameName {
        /// The earlier one.
        id: Arc<str>,
    },
    /// An earlier entry has the same key.
    #[error("the same public key as \"{id}\"")]
    SameKey {
        /// The earlier one.
        id: Arc<str>,
    },
    /// An earlier entry's key has the same first 8 bytes of SHA-256.
    #[error("the same key id as \"{id}\"")]
    SameKeyId {
        /// The earlier one.
        id: Arc<str>,
    },
}

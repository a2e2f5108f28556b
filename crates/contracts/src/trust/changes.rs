//! What a reloaded trust store changed, for the log.

use std::sync::Arc;

use super::{Right, TrustStore};
use crate::kind::Kind;

/// The difference between two trust stores, by the keys' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustChanges {
    /// Keys that are new.
    pub added: Vec<Arc<str>>,
    /// Keys that vanished without having been marked as revoked: worth a warning.
    pub vanished: Vec<Arc<str>>,
    /// Keys that are gone after they were revoked.
    pub removed: Vec<Arc<str>>,
    /// Keys that are revoked now, and were not.
    pub revoked: Vec<Arc<str>>,
    /// Keys whose name, rights, window or rules changed otherwise.
    pub altered: Vec<Arc<str>>,
    /// Kinds that had a key and have none now.
    pub kinds_closed: Vec<Kind>,
    /// Kinds that had no key and have one now.
    pub kinds_opened: Vec<Kind>,
}

impl TrustChanges {
    pub(super) fn between(before: &TrustStore, after: &TrustStore) -> Self {
        let mut changes = Self::default();
        for key in &before.keys {
            let id = Arc::clone(key.shared_id());
            match after.key(&key.public_key()) {
                None if key.is_revoked() => changes.removed.push(id),
                None => changes.vanished.push(id),
                Some(now) if now == key => {}
                Some(now) if now.is_revoked() && !key.is_revoked() => {
                    changes.revoked.push(Arc::clone(now.shared_id()));
                }
                Some(now) => changes.altered.push(Arc::clone(now.shared_id())),
            }
        }
        let new = after
            .keys
            .iter()
            .filter(|key| before.key(&key.public_key()).is_none());
        changes.added = new.map(|key| Arc::clone(key.shared_id())).collect();
        for kind in Kind::ALL {
            let right = Right::Kind(kind);
            match (before.has_key_for(right), after.has_key_for(right)) {
                (true, false) => changes.kinds_closed.push(kind),
                (false, true) => changes.kinds_opened.push(kind),
                (true, true) | (false, false) => {}
            }
        }
        changes
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

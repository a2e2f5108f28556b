//! What is settled while the process lives: the table, and which messages of each settled second
//! are known.
//!
//! Seconds are coarse: several control messages share one, so a settled second by itself cannot
//! tell an old message from a new one. As long as every identity of the second is known it is
//! *open*, and an unknown identity passes; a second that came out of a commit is *closed*.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, SignerId};
use super::table::Table;
use crate::sign::KeyId;

/// Identities kept of one settled second of one key; a second with more closes, so that a key
/// which signs without end within one second cannot take memory without end.
pub(super) const MAX_KNOWN_PER_SECOND: usize = 16_384;

#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    table: Table,
    open: BTreeMap<KeyId, BTreeSet<[u8; 32]>>,
}

impl Settled {
    /// As loaded: every second in it is closed.
    pub(super) fn closed(table: Table) -> Self {
        Self {
            table,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether a message that is not in the ring is an old one.
    pub(super) fn binds(&self, claim: &Claim) -> bool {
        match self.table.compare(claim) {
            Ordering::Greater => false,
            Ordering::Less => true,
            Ordering::Equal => self
                .open
                .get(&claim.signer.key())
                .is_none_or(|known| claim.is_single() || known.contains(&claim.digest)),
        }
    }

    /// Takes in an accepted message that left the ring.
    pub(super) fn settle(&mut self, claim: &Claim) {
        if let SignerId::Key(key) = claim.signer {
            match self.table.compare(claim) {
                Ordering::Greater => {
                    self.open.insert(key, BTreeSet::from([claim.digest]));
                }
                Ordering::Equal => self.learn(key, claim.digest),
                Ordering::Less => {}
            }
        }
        self.table.settle(claim);
    }

    fn learn(&mut self, key: KeyId, digest: [u8; 32]) {
        let Some(known) = self.open.get_mut(&key) else {
            return;
        };
        known.insert(digest);
        if known.len() > MAX_KNOWN_PER_SECOND {
            self.open.remove(&key);
        }
    }

    pub(super) fn fold_older_than(&mut self, before_ms: u64) {
        self.table.fold_older_than(before_ms);
        let table = &self.table;
        self.open.retain(|key, _| table.second(*key).is_some());
    }
}

//! For every signer the highest value that is settled, with what was folded together.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::claim::{Claim, SignerId, Value, second_ms};
use crate::sign::KeyId;

/// Instances of one key that are listed by themselves, per partition; older ones fold.
pub(super) const MAX_INSTANCES_PER_KEY: usize = 8;

/// The settled values of one partition.
///
/// Times are Unix milliseconds unless said otherwise; 0 stands for "nothing".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Binds every signer that is not listed.
    pub(super) floor_ms: u64,
    pub(super) keys: BTreeMap<KeyId, KeyEntry>,
}

/// What is settled for one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyEntry {
    /// Binds the instances of this key that are not listed.
    pub(super) fold_ms: u64,
    /// The settled second of its control messages.
    pub(super) second: Option<u64>,
    /// The settled nonce of each listed instance: at most [`MAX_INSTANCES_PER_KEY`].
    pub(super) instances: BTreeMap<u32, Value>,
}

impl KeyEntry {
    fn is_empty(&self) -> bool {
        self.fold_ms == 0 && self.second.is_none() && self.instances.is_empty()
    }

    /// Folds the oldest instances until the listed ones are no more than may be.
    fn fold_surplus(&mut self) {
        while self.instances.len() > MAX_INSTANCES_PER_KEY {
            let Some((oldest, value)) = self
                .instances
                .iter()
                .map(|(instance, value)| (*instance, *value))
                .min_by_key(|(instance, value)| (*value, *instance))
            else {
                return;
            };
            self.instances.remove(&oldest);
            self.fold_ms = self.fold_ms.max(value.time);
        }
    }
}

impl Table {
    /// How `claim` compares with what is settled for its signer: `Greater` is new, `Less` is old.
    ///
    /// Folded values bind as a whole: at or below is `Less`. `Equal` is answered for listed signers alone.
    pub(super) fn compare(&self, claim: &Claim) -> Ordering {
        let entry = self.keys.get(&claim.signer.key());
        let (listed, fold_ms) = match claim.signer {
            SignerId::Instance { instance, .. } => (
                entry.and_then(|entry| entry.instances.get(&instance).copied()),
                entry.map_or(0, |entry| entry.fold_ms),
            ),
            SignerId::Key(_) => (
                entry
                    .and_then(|entry| entry.second)
                    .map(|time| Value { time, counter: 0 }),
                0,
            ),
        };
        match listed {
            Some(value) => claim.value.cmp(&value),
            None if claim.time_ms() <= fold_ms.max(self.floor_ms) => Ordering::Less,
            None => Ordering::Greater,
        }
    }

    /// Takes `claim` into account: nothing at or below it is new any more.
    pub(super) fn settle(&mut self, claim: &Claim) {
        // A signer that a fold already binds more tightly must not be listed: that would loosen it.
        if self.compare(claim) == Ordering::Greater {
            self.list(claim);
        }
    }

    /// As [`settle`](Self::settle), where the floor is the oldest time that was read back: whoever was read back
    /// within its millisecond is listed, or what that signer signed next within it would be taken for old.
    pub(super) fn settle_read_back(&mut self, claim: &Claim) {
        let entry = self.keys.get(&claim.signer.key());
        let is_listed = match claim.signer {
            SignerId::Instance { instance, .. } => {
                entry.is_some_and(|entry| entry.instances.contains_key(&instance))
            }
            SignerId::Key(_) => entry.is_some_and(|entry| entry.second.is_some()),
        };
        let fold_ms = entry.map_or(0, |entry| entry.fold_ms);
        let time_ms = claim.time_ms();
        if !is_listed && time_ms == self.floor_ms && time_ms > fold_ms {
            self.list(claim);
        } else {
            self.settle(claim);
        }
    }

    fn list(&mut self, claim: &Claim) {
        let entry = self.keys.entry(claim.signer.key()).or_default();
        match claim.signer {
            SignerId::Instance { instance, .. } => {
                entry.instances.insert(instance, claim.value);
                entry.fold_surplus();
            }
            SignerId::Key(_) => entry.second = Some(claim.value.time),
        }
    }

    /// Raises the floor and makes it bind listed signers too: those at or below it are listed no longer.
    pub(super) fn raise_floor_over_all(&mut self, floor_ms: u64) {
        self.floor_ms = self.floor_ms.max(floor_ms);
        let floor_ms = self.floor_ms;
        self.take_where(|time_ms| time_ms <= floor_ms);
    }

    /// Stops listing what is older than `before_ms`; the floor takes over, so nothing is forgotten.
    pub(super) fn fold_older_than(&mut self, before_ms: u64) {
        let highest = self.take_where(|time_ms| time_ms < before_ms);
        self.floor_ms = self.floor_ms.max(highest);
    }

    /// The settled second of a key's control messages.
    pub(super) fn second(&self, key: KeyId) -> Option<u64> {
        self.keys.get(&key)?.second
    }

    /// Every value that takes room of its own, as time in milliseconds.
    pub(super) fn times_ms(&self) -> impl Iterator<Item = u64> {
        self.keys.values().flat_map(|entry| {
            let fold = (entry.fold_ms > 0).then_some(entry.fold_ms);
            let second = entry.second.map(second_ms);
            fold.into_iter()
                .chain(second)
                .chain(entry.instances.values().map(|value| value.time))
        })
    }

    /// Removes the values whose time answers `gone`, and gives the highest time of them.
    fn take_where(&mut self, gone: impl Fn(u64) -> bool) -> u64 {
        let mut highest = 0;
        let mut leaves = |time_ms: u64| {
            let leaves = gone(time_ms);
            if leaves {
                highest = highest.max(time_ms);
            }
            leaves
        };
        self.keys.retain(|_, entry| {
            if entry.fold_ms > 0 && leaves(entry.fold_ms) {
                entry.fold_ms = 0;
            }
            entry.second = entry.second.filter(|second| !leaves(second_ms(*second)));
            entry.instances.retain(|_, value| !leaves(value.time));
            !entry.is_empty()
        });
        highest
    }

    /// The same table with all but what is newer than `above_ms` folded into the floor.
    pub(super) fn folded_up_to(&self, above_ms: u64) -> Self {
        let mut folded = self.clone();
        folded.raise_floor_over_all(above_ms);
        folded
    }
}

//! The accepted messages among a partition's last offsets.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, Value};
use super::limits::RingLimits;

/// Where a claim was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nowhere,
    /// At the very offset that was asked about.
    Here,
    /// At another offset.
    Elsewhere,
    /// Its nonce is there, over other content.
    OtherContent,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    by_offset: BTreeSet<(i64, Claim)>,
    by_claim: BTreeSet<(Claim, i64)>,
    /// Bytes of keys, values and headers of every record seen, accepted or not.
    sizes: BTreeMap<i64, usize>,
    total: usize,
}

impl Ring {
    pub(super) fn find(&self, claim: &Claim, offset: i64) -> Found {
        if self.by_claim.contains(&(*claim, offset)) {
            return Found::Here;
        }
        if self.any_between(claim, claim) {
            return Found::Elsewhere;
        }
        let least = Claim {
            digest: [0; 32],
            ..*claim
        };
        let greatest = Claim {
            digest: [0xff; 32],
            ..*claim
        };
        if claim.is_single() && self.any_between(&least, &greatest) {
            return Found::OtherContent;
        }
        Found::Nowhere
    }

    fn any_between(&self, first: &Claim, last: &Claim) -> bool {
        self.by_claim
            .range((*first, i64::MIN)..=(*last, i64::MAX))
            .next()
            .is_some()
    }

    pub(super) fn insert(&mut self, offset: i64, claim: Claim) {
        self.by_offset.insert((offset, claim));
        self.by_claim.insert((claim, offset));
    }

    /// Counts the bytes of the record at `offset`; the same offset counts once.
    pub(super) fn note(&mut self, offset: i64, bytes: usize) {
        let before = self.sizes.insert(offset, bytes).unwrap_or(0);
        self.total = self.total.saturating_sub(before).saturating_add(bytes);
    }

    /// The first offset that belongs to the ring as seen from `position`, the next offset to come:
    /// at most so many offsets before it, and at most so many bytes.
    pub(super) fn first_seen_from(&self, position: i64, limits: RingLimits) -> i64 {
        let by_count = position.saturating_sub(i64::from(limits.offsets())).max(0);
        if self.total <= limits.bytes() || by_count >= position {
            return by_count;
        }
        let mut bytes: usize = 0;
        for (offset, size) in self.sizes.range(by_count..position).rev() {
            bytes = bytes.saturating_add(*size);
            if bytes > limits.bytes() {
                return offset.saturating_add(1);
            }
        }
        by_count
    }

    /// The accepted messages below `first`, in offset order.
    pub(super) fn below(&self, first: i64) -> impl Iterator<Item = &Claim> {
        let end = (first, Claim::least());
        self.by_offset.range(..end).map(|(_, claim)| claim)
    }

    /// The accepted messages at or above `first`, in offset order.
    pub(super) fn from(&self, first: i64) -> impl Iterator<Item = (i64, &Claim)> {
        let start = (first, Claim::least());
        let accepted = self.by_offset.range(start..);
        accepted.map(|(offset, claim)| (*offset, claim))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Claim> {
        self.by_offset.iter().map(|(_, claim)| claim)
    }

    /// Takes out the accepted messages below `first`, in offset order.
    pub(super) fn take_below(&mut self, first: i64) -> Vec<Claim> {
        let kept = self.by_offset.split_off(&(first, Claim::least()));
        let left = std::mem::replace(&mut self.by_offset, kept);
        for (offset, claim) in &left {
            self.by_claim.remove(&(*claim, *offset));
        }
        let kept = self.sizes.split_off(&first);
        let gone: usize = std::mem::replace(&mut self.sizes, kept)
            .into_values()
            .fold(0, usize::saturating_add);
        self.total = self.total.saturating_sub(gone);
        left.into_iter().map(|(_, claim)| claim).collect()
    }

    /// Takes out the accepted messages at or above `first`, but for those that are `kept`.
    pub(super) fn drop_from(&mut self, first: i64, kept: impl Fn(i64, &Claim) -> bool) {
        let late = self.by_offset.split_off(&(first, Claim::least()));
        for (offset, claim) in late {
            if kept(offset, &claim) {
                self.by_offset.insert((offset, claim));
            } else {
                self.by_claim.remove(&(claim, offset));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_offset.len()
    }
}

impl Claim {
    /// Sorts before every other claim.
    const fn least() -> Self {
        Self {
            signer: super::claim::SignerId::Instance {
                key: crate::sign::KeyId([0; 8]),
                instance: 0,
            },
            value: Value {
                time: 0,
                counter: 0,
            },
            digest: [0; 32],
        }
    }
}

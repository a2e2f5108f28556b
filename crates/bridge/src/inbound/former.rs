//! Keys that the trust store named until lately.
//!
//! A wrong trust file buries what is good. What is rejected today and verifies under a store that was
//! in force a while ago says so: then the file is to be mended, and the dead letters redriven.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::sign::PublicKey;
use cybermesh_contracts::trust::{Right, TrustStore};
use tokio::time::Instant;

/// How long a store that was replaced is remembered, and how many of them.
const LATELY: Duration = Duration::from_secs(24 * 60 * 60);
const STORES: usize = 4;
/// How often one key is named in the log.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The stores before the one in force.
#[derive(Debug, Default)]
pub(crate) struct FormerTrust {
    current: Option<Arc<TrustStore>>,
    /// With the time each was replaced, the oldest first.
    former: VecDeque<(Instant, Arc<TrustStore>)>,
    told: HashMap<PublicKey, Instant>,
}

impl FormerTrust {
    /// This store is in force now.
    pub(crate) fn sees(&mut self, store: &Arc<TrustStore>, now: Instant) {
        let before = match &self.current {
            Some(current) if current.generation() == store.generation() => return,
            _ => self.current.replace(Arc::clone(store)),
        };
        self.former.extend(before.map(|replaced| (now, replaced)));
        while self.former.len() > STORES {
            self.former.pop_front();
        }
        self.told.clear();
    }

    /// The stores that believed this key for this kind and were replaced lately, the latest first.
    pub(crate) fn believed(
        &self,
        key: &PublicKey,
        kind: Kind,
        now: Instant,
    ) -> Vec<Arc<TrustStore>> {
        let lately = self
            .former
            .iter()
            .rev()
            .filter(|(replaced, _)| now.saturating_duration_since(*replaced) <= LATELY);
        let believes = |store: &&Arc<TrustStore>| {
            store
                .key(key)
                .is_some_and(|key| !key.is_revoked() && key.may(Right::Kind(kind)))
        };
        lately
            .map(|(_, store)| store)
            .filter(believes)
            .cloned()
            .collect()
    }

    /// Whether this key is to be named in the log now.
    pub(crate) fn tells(&mut self, key: PublicKey, now: Instant) -> bool {
        let told = self.told.get(&key);
        let tells = told.is_none_or(|told| now.saturating_duration_since(*told) >= TOLD_EVERY);
        if tells {
            self.told.insert(key, now);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use cybermesh_contracts::sign::{Ed25519Signer, Signer};
    use cybermesh_contracts::trust::TrustedKey;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        Ed25519Signer::from_seed(&[seed; 32]).public_key()
    }

    fn trusted(seed: u8) -> TrustedKey {
        TrustedKey::new(format!("k{seed}"), key(seed), [Right::Kind(Kind::Commit)]).unwrap()
    }

    fn store(keys: impl IntoIterator<Item = TrustedKey>) -> Arc<TrustStore> {
        Arc::new(TrustStore::of(keys).unwrap())
    }

    #[test]
    fn a_key_that_was_taken_away_is_remembered_for_a_day() {
        let now = Instant::now();
        let mut former = FormerTrust::default();
        former.sees(&store([trusted(1), trusted(2)]), now);
        assert!(former.believed(&key(1), Kind::Commit, now).is_empty());
        former.sees(&store([trusted(2)]), now);
        assert_eq!(former.believed(&key(1), Kind::Commit, now).len(), 1);
        assert!(former.believed(&key(3), Kind::Commit, now).is_empty());
        assert!(former.believed(&key(1), Kind::Policy, now).is_empty());
        let day = Duration::from_secs(86_400);
        assert_eq!(former.believed(&key(1), Kind::Commit, now + day).len(), 1);
        let later = now + day + Duration::from_secs(1);
        assert!(former.believed(&key(1), Kind::Commit, later).is_empty());
    }

    #[test]
    fn a_store_that_had_it_revoked_does_not_speak_for_a_key_and_one_before_it_does() {
        let now = Instant::now();
        let mut former = FormerTrust::default();
        former.sees(&store([trusted(1).revoked()]), now);
        former.sees(&store([]), now);
        assert!(former.believed(&key(1), Kind::Commit, now).is_empty());
        let mut former = FormerTrust::default();
        former.sees(&store([trusted(1)]), now);
        former.sees(&store([trusted(1).revoked()]), now);
        assert_eq!(former.believed(&key(1), Kind::Commit, now).len(), 1);
    }

    #[test]
    fn the_same_store_seen_again_replaces_nothing_and_only_the_last_few_are_kept() {
        let now = Instant::now();
        let mut former = FormerTrust::default();
        let first = store([trusted(1)]);
        former.sees(&first, now);
        former.sees(&first, now);
        assert!(former.former.is_empty());
        for _ in 0..STORES {
            former.sees(&store([]), now);
        }
        assert_eq!(former.believed(&key(1), Kind::Commit, now).len(), 1);
        former.sees(&store([]), now);
        assert!(former.believed(&key(1), Kind::Commit, now).is_empty());
    }

    #[test]
    fn a_key_is_named_in_the_log_once_a_minute() {
        let now = Instant::now();
        let mut former = FormerTrust::default();
        assert!(former.tells(key(1), now));
        assert!(!former.tells(key(1), now + Duration::from_secs(59)));
        assert!(former.tells(key(2), now));
        assert!(former.tells(key(1), now + Duration::from_secs(60)));
    }
}

//! Envelopes that fail for everybody: it is not them, it is the audience we were told.
//!
//! Says so when messages of at least three keys carried a valid signature and an envelope that did
//! not hold, while no envelope has held since the start. Nothing pauses for it: whoever may write to
//! the topic can copy messages of another environment there.

use std::collections::BTreeSet;

use cybermesh_contracts::sign::PublicKey;

/// Envelopes of fewer keys may be their own fault.
const KEYS: usize = 3;

/// Whether our audience is in doubt.
#[derive(Debug, Default)]
pub(crate) struct AudienceGuard {
    failed: BTreeSet<PublicKey>,
    /// One envelope held: our audience is right, whatever else comes.
    held: bool,
}

impl AudienceGuard {
    /// An envelope held.
    pub(crate) fn envelope_held(&mut self) {
        self.held = true;
        self.failed.clear();
    }

    /// The message's signature was this key's, its envelope did not hold.
    pub(crate) fn envelope_failed(&mut self, signer: PublicKey) {
        if !self.held && self.failed.len() < KEYS {
            self.failed.insert(signer);
        }
    }

    /// Whether it is to be doubted now.
    pub(crate) fn is_doubted(&self) -> bool {
        !self.held && self.failed.len() >= KEYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(guard: &mut AudienceGuard, keys: impl IntoIterator<Item = u8>) {
        for number in keys {
            guard.envelope_failed(PublicKey([number; 32]));
        }
    }

    #[test]
    fn it_is_doubted_when_the_envelopes_of_three_keys_fail_and_not_of_two() {
        let mut guard = AudienceGuard::default();
        fail(&mut guard, [1, 2, 1, 2, 1]);
        assert!(!guard.is_doubted());
        fail(&mut guard, [3]);
        assert!(guard.is_doubted());
    }

    #[test]
    fn no_more_keys_are_remembered_than_it_takes_and_none_once_it_is_settled() {
        let mut guard = AudienceGuard::default();
        fail(&mut guard, 1..=200);
        assert_eq!(guard.failed.len(), KEYS);
        guard.envelope_held();
        fail(&mut guard, 1..=200);
        assert!(guard.failed.is_empty());
    }

    #[test]
    fn one_envelope_that_holds_settles_it_for_good() {
        let mut guard = AudienceGuard::default();
        fail(&mut guard, [1, 2, 3]);
        guard.envelope_held();
        assert!(!guard.is_doubted());
        fail(&mut guard, [1, 2, 3, 4]);
        assert!(!guard.is_doubted());
    }
}

//! The keys an object has had so far.

use std::borrow::Cow;
use std::collections::HashSet;

/// Up to here keys are compared one by one, which is faster than to hash them.
const FEW: usize = 16;

/// Keys, unescaped. Beyond a few they are hashed, so that no object takes time that grows with the
/// square of its length.
#[derive(Default)]
pub(super) struct Keys<'a> {
    few: Vec<Cow<'a, [u8]>>,
    many: HashSet<Cow<'a, [u8]>>,
}

impl<'a> Keys<'a> {
    /// Adds a key; whether it is new.
    pub(super) fn insert(&mut self, key: Cow<'a, [u8]>) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(key);
        }
        if self.few.contains(&key) {
            return false;
        }
        self.few.push(key);
        if self.few.len() > FEW {
            self.many.extend(self.few.drain(..));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_and_many_keys_are_told_apart_as_a_set_does(
            added in proptest::collection::vec(0_u8..40, 0..80)
        ) {
            let (mut keys, mut model) = (Keys::default(), HashSet::new());
            for key in added {
                prop_assert_eq!(keys.insert(Cow::Owned(vec![key])), model.insert(key));
            }
        }
    }
}

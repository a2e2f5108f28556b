//! How many characters of commit metadata one partition may use.

/// Characters of commit metadata that a partition's state may take.
///
/// The broker's limit is 4096 (`offset.metadata.max.bytes`, error 12), ours 3800 to begin with. A
/// broker that refuses has a lower one: [`halved`](Self::halved), and remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    characters: usize,
}

/// Bytes that four characters of base64 carry.
const BYTES_PER_QUAD: usize = 3;
const CHARACTERS_PER_QUAD: usize = 4;

impl Budget {
    /// What a partition may use unless a broker refused: 3 800 characters.
    pub const COMMIT: Self = Self { characters: 3800 };
    /// Everything, for the copy in a state folder.
    pub const WHOLE: Self = Self {
        characters: usize::MAX,
    };
    /// All metadata of one commit request together: 512 KiB. A request near 1 MiB fails whole, with
    /// -1 for every partition, so commits are split.
    pub const REQUEST_BYTES: usize = 512 * 1024;

    /// Half of it; nothing once no state can fit any more, and commits go without.
    #[must_use]
    pub const fn halved(self) -> Option<Self> {
        let characters = self.characters / 2;
        if characters < super::metadata::LEAST_CHARACTERS {
            return None;
        }
        Some(Self { characters })
    }

    /// How many characters.
    #[must_use]
    pub const fn characters(self) -> usize {
        self.characters
    }

    /// The budget with `bytes` of it set aside.
    pub(super) const fn less(self, bytes: usize) -> Option<BytesLeft> {
        let whole = self.characters / CHARACTERS_PER_QUAD * BYTES_PER_QUAD;
        match whole.checked_sub(bytes) {
            Some(left) => Some(BytesLeft(left)),
            None => None,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::COMMIT
    }
}

/// Bytes that entries may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct BytesLeft(usize);

impl BytesLeft {
    #[cfg(test)]
    pub(super) const fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    pub(super) const fn fits(self, bytes: usize) -> bool {
        bytes <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::metadata::LEAST_CHARACTERS;

    #[test]
    fn a_budget_is_halved_until_no_state_is_sure_to_fit() {
        let of = |characters| Budget { characters };
        let least = of(LEAST_CHARACTERS);
        assert_eq!(of(2 * LEAST_CHARACTERS).halved(), Some(least));
        assert_eq!(of(2 * LEAST_CHARACTERS - 1).halved(), None);
        assert_eq!(least.halved(), None);
    }

    /// A head of 17 bytes, two numbers of 10 at most, a count of 1, a signature of 72: 110 bytes in base64.
    #[test]
    fn a_signed_state_without_entries_takes_148_characters_at_most() {
        assert_eq!(LEAST_CHARACTERS, 148);
    }

    #[test]
    fn the_metadata_of_a_commit_request_take_half_a_mebibyte_at_most() {
        assert_eq!(Budget::REQUEST_BYTES, 524_288);
    }
}

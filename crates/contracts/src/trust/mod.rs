//! The trust store: which keys are believed, for what, and when.
//!
//! A public key inside a message proves nothing by itself. [`TrustStore`] says which keys count; it
//! is made from text ([`TrustStore::from_toml`], [`TrustStore::from_registry`]), whole or not at all,
//! and replaced by its successor when the file changes ([`TrustStore::succeeded_by`]).

mod changes;
mod error;
mod key;
mod registry;
mod toml_file;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::changes::TrustChanges;
pub use self::error::{KeyFault, Place, TrustError};
pub use self::key::{EnvelopeRule, Right, TrustedKey, Window};

use crate::kind::Kind;
use crate::sign::{KeyId, PublicKey};

/// The generation of the next store that this process makes.
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// The keys that are believed.
#[derive(Clone, Debug)]
pub struct TrustStore {
    keys: Vec<TrustedKey>,
    names: HashSet<Arc<str>>,
    by_key: HashMap<PublicKey, usize>,
    by_key_id: HashMap<KeyId, usize>,
    generation: u64,
}

impl Default for TrustStore {
    /// A store that believes nobody.
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            names: HashSet::new(),
            by_key: HashMap::new(),
            by_key_id: HashMap::new(),
            generation: draw_generation(),
        }
    }
}

impl TrustStore {
    /// A store of these keys.
    ///
    /// # Errors
    /// [`TrustError::Key`] where a name, a key or a key id stands twice.
    pub fn of(keys: impl IntoIterator<Item = TrustedKey>) -> Result<Self, TrustError> {
        let mut store = Self::default();
        for key in keys {
            store.add(key)?;
        }
        Ok(store)
    }

    /// Reads the TOML form.
    ///
    /// `read` is given the path of each `public_key_file` as it stands, and returns the PEM in it or
    /// says why it cannot; it is the place to resolve and confine paths.
    ///
    /// # Errors
    /// [`TrustError`], for the first thing wrong: the file is then refused whole.
    pub fn from_toml(
        text: &str,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, TrustError> {
        toml_file::read(text, read)
    }

    /// Reads the directory form: the text of `validator_registry.json`, and through `read` the PEM
    /// files it names. Each key may sign the four control kinds, without envelopes.
    ///
    /// # Errors
    /// [`TrustError`], for the first thing wrong: the registry is then refused whole.
    pub fn from_registry(
        text: &str,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, TrustError> {
        registry::read(text, read)
    }

    /// The key with these bytes.
    #[must_use]
    pub fn key(&self, key: &PublicKey) -> Option<&TrustedKey> {
        self.keys.get(*self.by_key.get(key)?)
    }

    /// The key with this id.
    #[must_use]
    pub fn key_by_id(&self, id: &KeyId) -> Option<&TrustedKey> {
        self.keys.get(*self.by_key_id.get(id)?)
    }

    /// Every key, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter()
    }

    /// Whether it names no key at all; a process is not started with such a store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether any key that is not revoked has this right.
    #[must_use]
    pub fn has_key_for(&self, right: Right) -> bool {
        self.keys
            .iter()
            .any(|key| !key.is_revoked() && key.may(right))
    }

    /// The kinds among `consumed` that no key may sign.
    #[must_use]
    pub fn kinds_without_keys(&self, consumed: &[Kind]) -> Vec<Kind> {
        let missing = consumed
            .iter()
            .filter(|kind| !self.has_key_for(Right::Kind(**kind)));
        missing.copied().collect()
    }

    /// A number that no other store of this process has, clones of this one aside; later stores have
    /// higher ones. What was judged under another store is looked up again.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Puts `next` in this store's place: it gets a generation above all before it, and what changed
    /// is told.
    #[must_use]
    pub fn succeeded_by(&self, mut next: Self) -> (Self, TrustChanges) {
        next.generation = draw_generation();
        let changes = TrustChanges::between(self, &next);
        (next, changes)
    }

    fn add(&mut self, key: TrustedKey) -> Result<(), TrustError> {
        let position = self.keys.len();
        let public_key = key.public_key();
        let refuse = |fault| TrustError::key(position, Some(key.id()), fault);
        if let Some(earlier) = self.names.get(key.id()) {
            return Err(refuse(KeyFault::SameName {
                id: Arc::clone(earlier),
            }));
        }
        if let Some(earlier) = self.key(&public_key) {
            return Err(refuse(KeyFault::SameKey {
                id: Arc::clone(earlier.shared_id()),
            }));
        }
        if let Some(earlier) = self.key_by_id(&public_key.key_id()) {
            return Err(refuse(KeyFault::SameKeyId {
                id: Arc::clone(earlier.shared_id()),
            }));
        }
        self.names.insert(Arc::clone(key.shared_id()));
        self.by_key.insert(public_key, position);
        self.by_key_id.insert(public_key.key_id(), position);
        self.keys.push(key);
        Ok(())
    }
}

fn draw_generation() -> u64 {
    NEXT_GENERATION.fetch_add(1, Ordering::Relaxed)
}

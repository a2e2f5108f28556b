//! Our signing key, read again when its file changes: the next message is signed with the new one.
//!
//! Nonces go on as they are. A receiver keeps order per key and instance, so to it the new key is
//! another signer, which begins where it likes.

use std::path::{Path, PathBuf};

use super::{Look, Stamp};
use crate::keys::{SigningKey, read_signing_key};

/// The key in force, and the file it came from.
#[derive(Debug)]
pub(crate) struct SigningFile {
    path: PathBuf,
    key: SigningKey,
    seen: Stamp,
}

impl SigningFile {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let seen = Stamp::of(path);
        let key = SigningKey::new(std::sync::Arc::new(read_signing_key(path)?));
        Ok(Self {
            path: path.to_owned(),
            key,
            seen,
        })
    }

    /// The key in force.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn look(&mut self) -> Look {
        if self.seen.still_holds() {
            return Look::Unchanged;
        }
        self.seen = Stamp::of(&self.path);
        match read_signing_key(&self.path) {
            Ok(key) => {
                let key = std::sync::Arc::new(key);
                self.key.replace(key);
                Look::Applied(self.key.current().public_key().to_hex())
            }
            Err(reason) => {
                Look::Refused(format!("{:?}: {reason}", self.path.display().to_string()))
            }
        }
    }
}

//! The trust store on disk: read at start, read again when it changes.
//!
//! A file that does not parse keeps the last good store, and log, metrics and health say so. A file
//! that parses always applies, also when it takes the last key of a kind away: what was withdrawn
//! must not judge. Paths inside the store start at its own folder.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cybermesh_contracts::trust::{TrustChanges, TrustStore};
use tokio::sync::watch;

use crate::{keys::read_file, reload::Stamp};

/// The file that makes a folder a trust store: the form of the Python service.
const REGISTRY: &str = "validator_registry.json";
const LONGEST_STORE_BYTES: usize = 4 << 20;
const LONGEST_KEY_BYTES: usize = 64 << 10;

/// The trust store in force. Cheap to clone; all clones see the same store.
#[derive(Debug, Clone)]
pub struct Trust(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: watch::Sender<Arc<TrustStore>>,
    file: Option<TrustFile>,
}

#[derive(Debug)]
struct TrustFile {
    path: PathBuf,
    /// What the files looked like when they were last read, well or badly.
    seen: Mutex<Vec<Stamp>>,
}

/// What looking at the files brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reload {
    /// The files are as they were.
    Unchanged,
    /// A new store is in force.
    Applied(TrustChanges),
    /// The files do not load, for this reason; the last good store stays in force.
    Refused(String),
}

impl Trust {
    /// A store that never changes.
    #[must_use]
    pub fn fixed(store: TrustStore) -> Self {
        Self(Arc::new(Inner {
            store: watch::Sender::new(Arc::new(store)),
            file: None,
        }))
    }

    /// Reads the file, or the folder with a `validator_registry.json`, at `path`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let (store, seen) = read(&path);
        let store = watch::Sender::new(Arc::new(store?));
        Ok(Self(Arc::new(Inner {
            store,
            file: Some(TrustFile {
                path,
                seen: Mutex::new(seen),
            }),
        })))
    }

    /// The store in force now.
    #[must_use]
    pub fn current(&self) -> Arc<TrustStore> {
        Arc::clone(&self.0.store.borrow())
    }

    /// Told of each new store.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<TrustStore>> {
        self.0.store.subscribe()
    }

    /// Looks whether the files changed, and reads them if so. Blocks on the disk.
    pub fn reload(&self) -> Reload {
        let Some(file) = &self.0.file else {
            return Reload::Unchanged;
        };
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.iter().all(Stamp::still_holds) {
            return Reload::Unchanged;
        }
        let (store, stamps) = read(&file.path);
        *seen = stamps;
        match store {
            Err(reason) => Reload::Refused(reason),
            Ok(next) => {
                let (next, changes) = self.current().succeeded_by(next);
                if !changes.is_empty() {
                    self.0.store.send_replace(Arc::new(next));
                }
                Reload::Applied(changes)
            }
        }
    }

    /// Whether there is a file behind it.
    pub(crate) fn has_file(&self) -> bool {
        self.0.file.is_some()
    }
}

/// The store at `path`, and a stamp of every file that was looked at for it.
fn read(path: &Path) -> (Result<TrustStore, String>, Vec<Stamp>) {
    let is_folder = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let main = if is_folder {
        path.join(REGISTRY)
    } else {
        path.to_owned()
    };
    let folder = main.parent().map(Path::to_owned).unwrap_or_default();
    // Stamped before it is read: a change in between is seen as one the next time.
    let stamps = RefCell::new(vec![Stamp::of(&main)]);
    let mut read_key = |name: &str| {
        let key = folder.join(name);
        stamps.borrow_mut().push(Stamp::of(&key));
        text(&key, LONGEST_KEY_BYTES)
    };
    let store = text(&main, LONGEST_STORE_BYTES).and_then(|content| {
        let store = if is_folder {
            TrustStore::from_registry(&content, &mut read_key)
        } else {
            TrustStore::from_toml(&content, &mut read_key)
        };
        store.map_err(|error| error.to_string())
    });
    (store, stamps.into_inner())
}

fn text(path: &Path, most: usize) -> Result<String, String> {
    let content = read_file(path, most)?;
    std::str::from_utf8(&content)
        .map(str::to_owned)
        .map_err(|_| "not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use cybermesh_contracts::{
        kind::Kind,
        sign::{Ed25519Signer, Signer},
        trust::Right,
    };

    use super::*;

    fn entry(seed: u8, kind: &str) -> String {
        let key = Ed25519Signer::from_seed(&[seed; 32]).public_key().to_hex();
        format!("[[key]]\nid = \"k{seed}\"\npublic_key = \"{key}\"\nmay_sign = [\"{kind}\"]\n")
    }

    fn write(path: &Path, content: &str) {
        let fresh = path.with_extension("new");
        fs::write(&fresh, content).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    #[test]
    fn a_changed_file_applies_even_where_it_takes_the_last_key_of_a_kind_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        write(
            &path,
            &format!("version = 1\n{}{}", entry(1, "commit"), entry(2, "anomaly")),
        );
        let trust = Trust::read(&path).unwrap();
        let first = trust.current();
        assert_eq!(trust.reload(), Reload::Unchanged);

        write(&path, &format!("version = 1\n{}", entry(2, "anomaly")));
        let Reload::Applied(changes) = trust.reload() else {
            panic!("not applied")
        };
        assert_eq!(changes.kinds_closed, [Kind::Commit]);
        assert!(!trust.current().has_key_for(Right::Kind(Kind::Commit)));
        assert!(trust.current().generation() > first.generation());
    }

    #[test]
    fn a_file_that_does_not_parse_leaves_the_last_good_store_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        write(&path, &format!("version = 1\n{}", entry(1, "commit")));
        let trust = Trust::read(&path).unwrap();
        let generation = trust.current().generation();
        write(&path, "version = 1\n[[key]]\nid = ");
        assert!(matches!(trust.reload(), Reload::Refused(_)));
        assert_eq!(
            trust.reload(),
            Reload::Unchanged,
            "told once, not at every look"
        );
        assert_eq!(trust.current().generation(), generation);
        assert!(trust.current().has_key_for(Right::Kind(Kind::Commit)));
        fs::remove_file(&path).unwrap();
        assert_eq!(trust.reload(), Reload::Refused("no such file".to_owned()));
    }

    #[test]
    fn a_key_file_beside_the_store_is_read_and_its_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        let pem = |seed: u8| {
            Ed25519Signer::from_seed(&[seed; 32])
                .public_key()
                .to_spki_pem()
        };
        write(&folder.path().join("backend.pem"), &pem(1));
        write(
            &path,
            "version = 1\n[[key]]\nid = \"b\"\npublic_key_file = \"backend.pem\"\nmay_sign = [\"commit\"]\n",
        );
        let trust = Trust::read(&path).unwrap();
        write(&folder.path().join("backend.pem"), &pem(2));
        assert!(matches!(trust.reload(), Reload::Applied(_)));
        assert!(
            trust
                .current()
                .key(&Ed25519Signer::from_seed(&[2; 32]).public_key())
                .is_some()
        );
    }

    #[test]
    fn the_folder_of_the_python_service_is_a_trust_store() {
        let folder = tempfile::tempdir().unwrap();
        let key = Ed25519Signer::from_seed(&[5; 32]).public_key();
        write(&folder.path().join("v.pem"), &key.to_spki_pem());
        let registry = format!(
            r#"{{"validators":[{{"node_id":"v1","public_key_path":"v.pem","public_key_hex":"{}"}}]}}"#,
            key.to_hex()
        );
        write(&folder.path().join(REGISTRY), &registry);
        let trust = Trust::read(folder.path()).unwrap();
        assert!(trust.current().has_key_for(Right::Kind(Kind::Commit)));
    }

    #[test]
    fn a_missing_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        write(
            &path,
            "version = 1\n[[key]]\nid = \"b\"\npublic_key_file = \"gone.pem\"\nmay_sign = [\"commit\"]\n",
        );
        let refused = Trust::read(&path).unwrap_err();
        assert_eq!(refused.matches("gone.pem").count(), 1, "{refused}");
        assert!(refused.contains("\"gone.pem\": no such file"), "{refused}");
    }

    #[test]
    fn a_file_written_again_with_the_same_keys_disturbs_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        let content = format!("version = 1\n{}", entry(1, "commit"));
        write(&path, &content);
        let trust = Trust::read(&path).unwrap();
        let told = trust.subscribe();
        write(&path, &format!("{content}\n# the same\n"));
        assert!(matches!(trust.reload(), Reload::Applied(changes) if changes.is_empty()));
        assert!(!told.has_changed().unwrap());
    }
}

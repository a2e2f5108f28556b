//! Keys that sign, and trust files that say who may.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, Signer as _};

/// A key of a test, made at random, and its file.
#[derive(Debug)]
pub struct Identity {
    name: String,
    signer: Ed25519Signer,
    key_file: PathBuf,
}

impl Identity {
    /// A fresh key, written to `dir` as the settings want it: PKCS#8 PEM, for its owner alone.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(dir: &Path, name: &str) -> Self {
        let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&halves[0]);
        seed[16..].copy_from_slice(&halves[1]);
        let signer = Ed25519Signer::from_seed(&seed);
        let key_file = dir.join(format!("{name}.key"));
        let pem = signer.to_pkcs8_pem().expect("a key in PEM");
        write_private(&key_file, pem.as_bytes());
        Self {
            name: name.to_owned(),
            signer,
            key_file,
        }
    }

    /// The name it has in trust stores.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signs.
    pub fn signer(&self) -> &Ed25519Signer {
        &self.signer
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// The file with the private half.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// An entry of a trust store that lets it sign `kinds` and `rights` besides.
    pub fn trust_entry(&self, kinds: &[Kind], rights: &[&str]) -> String {
        let may_sign = kinds
            .iter()
            .map(|kind| kind.as_str())
            .chain(rights.iter().copied());
        let may_sign = may_sign
            .map(|right| format!("{right:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        let key = self.public_key().to_hex();
        format!(
            "[[key]]\nid = {:?}\npublic_key = {key:?}\nmay_sign = [{may_sign}]\n",
            self.name
        )
    }
}

/// Writes a trust store with these entries and gives back its path.
///
/// # Panics
/// When the file cannot be written.
pub fn trust_file(dir: &Path, name: &str, entries: &[String]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("version = 1\n{}", entries.concat())).expect("a trust file");
    path
}

/// Writes a file that its owner alone may read.
///
/// # Panics
/// When it cannot be written.
pub fn write_private(path: &Path, content: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(content))
        .expect("a private file");
}

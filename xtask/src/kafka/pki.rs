//! Certificates of the cluster and of its client, made for it and thrown away with it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cybermesh_devbroker::pki::Authority;

use crate::error::TaskError;

/// The PEM files in the cluster's folder.
#[derive(Debug)]
pub(super) struct Pki {
    pub(super) ca: PathBuf,
    /// Key and chain of the brokers in one file, as Kafka's PEM keystore wants them.
    pub(super) broker: PathBuf,
    pub(super) client_cert: PathBuf,
    pub(super) client_key: PathBuf,
    /// Key and chain of the client in one file, for Java's tools.
    pub(super) client_keystore: PathBuf,
    /// A certificate of the right authority whose time is over, and its key.
    pub(super) expired_cert: PathBuf,
    pub(super) expired_key: PathBuf,
}

impl Pki {
    /// Makes the certificates and writes them, keys readable by their owner alone.
    pub(super) fn write(dir: &Path) -> Result<Self, TaskError> {
        let authority = Authority::new("CyberMesh test CA")?;
        let broker = authority
            .server()
            .dns("localhost")
            .ip([127, 0, 0, 1])
            .ip(std::net::Ipv6Addr::LOCALHOST)
            .issue()?;
        let client = authority.client("test-client").issue()?;
        let expired = authority.client("expired-client").expired().issue()?;
        Ok(Self {
            ca: file(dir, "ca.pem", authority.ca_pem())?,
            broker: file(dir, "broker.pem", &broker.keystore_pem())?,
            client_cert: file(dir, "client.pem", client.chain_pem())?,
            client_key: file(dir, "client.key", client.key_pem())?,
            client_keystore: file(dir, "client-keystore.pem", &client.keystore_pem())?,
            expired_cert: file(dir, "expired.pem", expired.chain_pem())?,
            expired_key: file(dir, "expired.key", expired.key_pem())?,
        })
    }
}

fn file(dir: &Path, name: &str, text: &str) -> Result<PathBuf, TaskError> {
    let path = dir.join(name);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(TaskError::file(&path))?;
    file.write_all(text.as_bytes())
        .map_err(TaskError::file(&path))?;
    Ok(path)
}

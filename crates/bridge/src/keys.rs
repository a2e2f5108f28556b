//! Reads key files, and refuses those that others could have read or written.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_transport::Secret;
use zeroize::Zeroizing;

use crate::settings::source::reason;

/// No key or certificate bundle is longer.
const LONGEST_PEM_BYTES: usize = 1 << 20;
const LONGEST_PASSWORD_BYTES: usize = 4096;

/// The signing key in force. Cheap to clone; all clones see the same key.
#[derive(Debug, Clone)]
pub struct SigningKey(Arc<RwLock<Arc<dyn Signer>>>);

impl SigningKey {
    /// `signer` is in force until it is replaced.
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>) -> Self {
        Self(Arc::new(RwLock::new(signer)))
    }

    /// The key in force now. Whoever signs more than once for one message keeps what this gave.
    #[must_use]
    pub fn current(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `signer` is in force from now on.
    pub fn replace(&self, signer: Arc<dyn Signer>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = signer;
    }
}

/// Reads our signing key: PKCS#8 PEM, a regular file that nobody but its owner may read or write.
///
/// # Errors
/// What is wrong with the file, in words, without a byte of its content.
pub fn read_signing_key(path: &Path) -> Result<Ed25519Signer, String> {
    let (file, metadata) = open(path)?;
    private(&metadata)?;
    let content = bounded(file, &metadata, LONGEST_PEM_BYTES)?;
    let text = std::str::from_utf8(&content).map_err(|_| "no PEM: not UTF-8".to_owned())?;
    Ed25519Signer::from_pkcs8_pem(text).map_err(|error| error.to_string())
}

/// Reads certificates, or the key of a TLS certificate, as they are.
pub(crate) fn read_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let (file, metadata) = open(path)?;
    bounded(file, &metadata, LONGEST_PEM_BYTES)
}

/// Reads a password: what is in the file, without the end of its line.
pub(crate) fn read_password(path: &Path) -> Result<Secret, String> {
    let content = read_file(path, LONGEST_PASSWORD_BYTES)?;
    let text = std::str::from_utf8(&content).map_err(|_| "not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("empty".to_owned());
    }
    if line.contains('\n') {
        return Err("more than one line".to_owned());
    }
    Ok(Secret::new(line))
}

/// Reads a regular file of at most `most` bytes.
pub(crate) fn read_file(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let (file, metadata) = open(path)?;
    bounded(file, &metadata, most)
}

/// Asks before it is opened, which a pipe without a writer would never let end, and again afterwards, so that what is
/// judged is what is read.
fn open(path: &Path) -> Result<(File, Metadata), String> {
    regular(&fs::metadata(path).map_err(|error| reason(&error))?)?;
    let file = File::open(path).map_err(|error| reason(&error))?;
    let metadata = file.metadata().map_err(|error| reason(&error))?;
    regular(&metadata)?;
    Ok((file, metadata))
}

fn regular(metadata: &Metadata) -> Result<(), String> {
    if metadata.is_dir() {
        return Err("a folder, not a file".to_owned());
    }
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    Ok(())
}

#[cfg(unix)]
fn private(metadata: &Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(format!(
            "mode {mode:04o} lets others at the key; chmod 600 it"
        ))
    }
}

/// Other systems have no mode to look at.
#[cfg(not(unix))]
fn private(_metadata: &Metadata) -> Result<(), String> {
    Ok(())
}

fn bounded(file: File, metadata: &Metadata, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let too_long = || format!("more than {most} bytes");
    let length = usize::try_from(metadata.len())
        .ok()
        .filter(|length| *length <= most)
        .ok_or_else(too_long)?;
    // Room for all of it at once: a buffer that grows leaves copies of the key behind.
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    let limit = u64::try_from(length).map_err(|_| too_long())? + 1;
    match file.take(limit).read_to_end(&mut content) {
        Ok(_) if content.len() > length => Err("it grew while it was read".to_owned()),
        Ok(_) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err("a folder, not a file".to_owned())
        }
        Err(error) => Err(reason(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &tempfile::TempDir, mode: u32, content: &str) -> std::path::PathBuf {
        let path = folder.path().join("key.pem");
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        path
    }

    #[test]
    fn a_private_key_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = Ed25519Signer::from_seed(&[7; 32]);
        let path = written(&folder, 0o600, &key.to_pkcs8_pem().unwrap());
        assert_eq!(
            read_signing_key(&path).unwrap().public_key(),
            key.public_key()
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let pem = Ed25519Signer::from_seed(&[7; 32]).to_pkcs8_pem().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let path = written(&folder, mode, &pem);
            let refused = read_signing_key(&path).unwrap_err();
            assert!(
                refused.contains(&format!("{mode:04o}")) && refused.contains("chmod 600"),
                "{refused}"
            );
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(
            &folder,
            0o600,
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n",
        );
        let refused = read_signing_key(&path).unwrap_err();
        assert!(!refused.contains("c2VjcmV0"), "{refused}");
        assert_eq!(
            read_signing_key(folder.path()).unwrap_err(),
            "a folder, not a file"
        );
        assert_eq!(
            read_signing_key(&folder.path().join("none")).unwrap_err(),
            "no such file"
        );
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder, 0o600, &"x".repeat(100));
        assert_eq!(read_file(&path, 99).unwrap_err(), "more than 99 bytes");
        assert_eq!(read_file(&path, 100).unwrap().len(), 100);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_file_and_what_is_longer_than_it_says_is_refused() {
        let refused = |path| read_file(Path::new(path), 1 << 20).unwrap_err();
        assert_eq!(refused("/dev/null"), "not a regular file");
        // Says that it has no bytes, and has some.
        assert_eq!(refused("/proc/self/status"), "it grew while it was read");
    }

    #[test]
    fn a_password_file_is_read_without_the_end_of_its_line_and_with_its_blanks() {
        let folder = tempfile::tempdir().unwrap();
        for content in [" pass word ", " pass word \n", " pass word \r\n"] {
            let path = written(&folder, 0o400, content);
            assert_eq!(read_password(&path).unwrap().expose(), " pass word ");
            fs::remove_file(path).unwrap();
        }
        for (content, reason) in [
            ("", "empty"),
            ("\n", "empty"),
            ("a\nb", "more than one line"),
        ] {
            let path = written(&folder, 0o400, content);
            assert_eq!(read_password(&path).unwrap_err(), reason);
            fs::remove_file(path).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let (end, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || end.send(read_pem(&path).unwrap_err()));
        let patience = std::time::Duration::from_secs(10);
        assert_eq!(
            ended.recv_timeout(patience).as_deref(),
            Ok("not a regular file")
        );
    }
}

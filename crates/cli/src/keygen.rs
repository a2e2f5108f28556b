//! `keygen`: a signing key, its public half, and the entry that makes others trust it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, Signer};
use cybermesh_contracts::trust::Right;

use crate::args::{KeygenArgs, RoleArg};
use crate::failure::Failure;

/// Writes `NAME.key` and `NAME.pem`, and prints the trust store entry.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    check_name(&args.name)?;
    let rights = rights(args)?;
    let signer = generate()?;
    let files = write_pair(&args.out, &args.name, &signer)?;
    print_entry(&args.name, &signer.public_key(), &rights)
        .map_err(|error| Failure::no(format!("standard output: {error}")))?;
    // The entry alone goes to standard output, so that it can be appended to a trust store.
    let _ = writeln!(
        io::stderr().lock(),
        "private key: {} (mode 0600)\npublic key:  {}\nappend the entry to the trust store of whoever is to believe this key; a new store begins with the line: version = 1",
        files.private.display(),
        files.public.display(),
    );
    Ok(())
}

const RIGHTS: [&str; 10] = [
    "anomaly",
    "evidence",
    "policy",
    "commit",
    "reputation",
    "policy_update",
    "evidence_request",
    "dead_letter",
    "redrive",
    "replay_state",
];

fn check_name(name: &str) -> Result<(), Failure> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--name {name:?}: give 1 to 64 letters, digits, dots, dashes or underscores, not beginning with a dot or dash"
    )))
}

fn rights(args: &KeygenArgs) -> Result<Vec<Right>, Failure> {
    if args.may_sign.is_empty() {
        let kinds: &[Kind] = match args.role {
            RoleArg::Node => &Kind::NODE,
            RoleArg::Backend => &Kind::CONTROL,
        };
        return Ok(kinds.iter().copied().map(Right::Kind).collect());
    }
    let mut rights = Vec::new();
    for name in &args.may_sign {
        let right: Right = Right::from_name(name).ok_or_else(|| {
            Failure::usage(format!(
                "--may-sign {name:?}: give one of {}",
                RIGHTS.join(", ")
            ))
        })?;
        if !rights.contains(&right) {
            rights.push(right);
        }
    }
    Ok(rights)
}

fn generate() -> Result<Ed25519Signer, Failure> {
    let mut seed = zeroize::Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| Failure::no(format!("no randomness from the system: {error}")))?;
    Ok(Ed25519Signer::from_seed(&seed))
}

struct Files {
    private: PathBuf,
    public: PathBuf,
}

fn write_pair(dir: &Path, name: &str, signer: &Ed25519Signer) -> Result<Files, Failure> {
    fs::create_dir_all(dir)
        .map_err(|error| Failure::usage(format!("--out {}: {error}", dir.display())))?;
    let files = Files {
        private: dir.join(format!("{name}.key")),
        public: dir.join(format!("{name}.pem")),
    };
    let private = signer
        .to_pkcs8_pem()
        .map_err(|error| Failure::no(format!("the key can't be encoded: {error}")))?;
    let public = signer.public_key().to_spki_pem();
    write_new(&files.private, private.as_bytes(), 0o600)?;
    if let Err(failure) = write_new(&files.public, public.as_bytes(), 0o644) {
        // Half a pair would only make the next attempt fail; this process made the file just now.
        let _ = fs::remove_file(&files.private);
        return Err(failure);
    }
    Ok(files)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let refused = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "; keys are never overwritten, choose another --name or --out"
            }
            _ => "",
        };
        let what = match error.kind() {
            io::ErrorKind::AlreadyExists => "exists already".to_owned(),
            _ => error.to_string(),
        };
        Failure::usage(format!("{}: {what}{hint}", path.display()))
    };
    let mut file = create_new(path, mode).map_err(refused)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            // Half a key would only stand in the way of the next attempt.
            let _ = fs::remove_file(path);
            refused(error)
        })
}

#[cfg(unix)]
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn print_entry(name: &str, key: &PublicKey, rights: &[Right]) -> io::Result<()> {
    let mut entry = String::new();
    let rights: Vec<_> = rights
        .iter()
        .map(|right| format!("{:?}", right.as_str()))
        .collect();
    // Writing to a string can't fail.
    let _ = writeln!(entry, "[[key]]");
    let _ = writeln!(entry, "id = {name:?}");
    let _ = writeln!(entry, "public_key = \"{}\"", key.to_hex());
    let _ = writeln!(entry, "may_sign = [{}]", rights.join(", "));
    io::stdout().lock().write_all(entry.as_bytes())
}

//! Why a task could not be done.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use thiserror::Error;

/// Why a task could not be done.
#[derive(Debug, Error)]
pub(crate) enum TaskError {
    /// A program could not be started at all.
    #[error("cannot run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    /// A program ran and said no.
    #[error("{what}: {status}")]
    Status { what: String, status: ExitStatus },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// What a program or file said was not of the expected form.
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s")]
    Late { what: String, seconds: u64 },
    /// The answer is no, for the reason given.
    #[error("{0}")]
    Refused(String),
    /// The protobuf code could not be generated, or is stale.
    #[error(transparent)]
    Proto(#[from] crate::proto::ProtoError),
    /// The test PKI could not be made.
    #[error(transparent)]
    Pki(#[from] cybermesh_devbroker::pki::PkiError),
}

impl TaskError {
    /// An I/O error with the path it happened on.
    pub(crate) fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { path, source }
    }

    /// Text of the wrong form, with where it came from.
    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

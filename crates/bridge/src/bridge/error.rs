//! Why a bridge did not start.

use std::path::PathBuf;

use cybermesh_transport::TransportError;

use crate::{
    handler::HandlersError,
    inbound::SubscriberError,
    outbound::{nonces::NonceFault, outbox::DiskFault},
    settings::SettingsError,
    state::StateError,
    telemetry::{ExpositionError, ServeError, audit::AuditFileError},
};

/// Why a bridge did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings, or the files they name, are wrong; all of it, one problem a line.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The handlers do not fit the kinds received.
    #[error(transparent)]
    Handlers(#[from] HandlersError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The outbox in the state folder cannot be opened.
    #[error("outbox in {folder:?}: {fault}; CYBERMESH_OUTBOX=off starts without it")]
    Outbox {
        /// The state folder.
        folder: PathBuf,
        /// Why not.
        fault: DiskFault,
    },
    /// Nonces cannot be had.
    #[error(transparent)]
    Nonces(#[from] NonceFault),
    /// The audit trail cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditFileError),
    /// Metrics cannot be made.
    #[error(transparent)]
    Metrics(#[from] ExpositionError),
    /// The address for operators cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// The cluster could not be reached, or refused us.
    #[error(transparent)]
    Connect(#[from] TransportError),
    /// The way in could not be started.
    #[error(transparent)]
    Subscribe(#[from] SubscriberError),
}

impl StartError {
    /// Whether it was the cluster, and not what this process was given.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Subscribe(SubscriberError::Transport(_))
        )
    }
}

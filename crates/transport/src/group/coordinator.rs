//! The broker that coordinates a group, and two connections to it: one for JoinGroup and SyncGroup, which may be
//! parked there for as long as a rebalance takes, and one for all the rest.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    broker::{Broker, Purpose},
    cluster::Client,
    error::{ErrorCode, TransportError},
};

#[derive(Debug)]
pub(super) struct Coordinator {
    client: Client,
    group: Arc<str>,
    known: Mutex<Option<Connections>>,
}

/// Of our own: another member of this process must not wait behind our JoinGroup.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    pub(super) join: Broker,
    pub(super) rest: Broker,
}

impl Coordinator {
    pub(super) fn new(client: Client, group: Arc<str>) -> Self {
        Self {
            client,
            group,
            known: Mutex::default(),
        }
    }

    /// The coordinator as known, or looked up now.
    pub(super) async fn connections(&self) -> Result<Connections, TransportError> {
        if let Some(known) = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
        {
            return Ok(known);
        }
        let id = self.client.find_coordinator(&self.group).await?;
        let address = self.client.broker(id, Purpose::Control)?.address().clone();
        let broker =
            |purpose| Broker::new(address.clone(), purpose, Arc::clone(self.client.config()));
        let found = Connections {
            join: broker(Purpose::Join),
            rest: broker(Purpose::Coordinator),
        };
        // Of two look-ups at once the first counts, so that both use the same connections.
        Ok(self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(found)
            .clone())
    }

    /// After an error that says, or may mean, that the coordinator is elsewhere: looks it up again next time.
    pub(super) fn doubt(&self, error: &TransportError) {
        let elsewhere = matches!(
            error.error_code(),
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
        );
        if elsewhere || error.is_unreachable() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

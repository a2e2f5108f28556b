//! One broker handle per broker and purpose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::{Broker, Purpose};
use crate::config::{Address, ClientConfig};

/// Handles by address and purpose: a broker that moves to another address gets new ones.
#[derive(Debug)]
pub(super) struct Pool {
    config: Arc<ClientConfig>,
    brokers: Mutex<HashMap<(Address, Purpose), Broker>>,
}

impl Pool {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            brokers: Mutex::default(),
        }
    }

    pub(super) fn broker(&self, address: &Address, purpose: Purpose) -> Broker {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        brokers
            .entry((address.clone(), purpose))
            .or_insert_with(|| Broker::new(address.clone(), purpose, Arc::clone(&self.config)))
            .clone()
    }

    /// Lets go of the brokers that are neither in the cluster nor among the first to be asked.
    pub(super) fn retain(&self, is_wanted: impl Fn(&Address) -> bool) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.retain(|(address, _), _| is_wanted(address));
    }
}

//! A member, what it says and what it hears.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Assignor, Place};

/// A heartbeat; what is none is as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Option<Duration>,
    pub(crate) names: Option<BTreeSet<String>>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) owned: Option<BTreeSet<Place>>,
}

impl Beat {
    /// Whether all is said: then all is answered.
    pub(super) fn is_full(&self) -> bool {
        let says_all =
            self.rebalance_timeout.is_some() && self.names.is_some() && self.owned.is_some();
        self.epoch == 0 || says_all
    }
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beaten {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    pub(crate) interval: Duration,
    /// What it is to have, where that has changed or all was said.
    pub(crate) assignment: Option<BTreeSet<Place>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) names: BTreeSet<String>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) epoch: i32,
    pub(crate) assigned: BTreeSet<Place>,
    pub(super) previous_epoch: i32,
    /// What it was asked to give up, and has not said to have.
    pub(super) leaving: BTreeSet<Place>,
    pub(super) rebalance_timeout: Duration,
    /// When it is dead.
    pub(super) session_deadline: Option<Instant>,
    /// When it must have given up what is leaving.
    pub(super) revoke_deadline: Option<Instant>,
}

impl Member {
    /// Takes over what is said; whether that asks for another division.
    pub(super) fn update(&mut self, beat: &Beat) -> bool {
        self.client_id.clone_from(&beat.client_id);
        self.client_host.clone_from(&beat.client_host);
        if beat.instance_id.is_some() {
            self.instance_id.clone_from(&beat.instance_id);
        }
        if beat.rack.is_some() {
            self.rack.clone_from(&beat.rack);
        }
        if let Some(timeout) = beat.rebalance_timeout {
            self.rebalance_timeout = timeout;
        }
        if beat.assignor.is_some() {
            self.assignor = beat.assignor;
        }
        match &beat.names {
            Some(names) if *names != self.names => {
                self.names.clone_from(names);
                true
            }
            _ => false,
        }
    }
}

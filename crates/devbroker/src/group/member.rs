//! A member, what it asks for and what it is answered.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error_code::ErrorCode;

/// Names a JoinGroup or SyncGroup request that is yet to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Answers in the order they were decided.
pub(crate) type Replies = Vec<(Ticket, Reply)>;

/// The answer to a request that had a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(Joined),
    Sync(Synced),
    /// The same member asked again: Kafka never answers the older request.
    Superseded,
}

/// What JoinGroup asks for.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    /// Empty where the member has none yet.
    pub(crate) member_id: String,
    /// The id it gets in that case.
    pub(crate) fresh_member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    /// By preference.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Whether a new member must come back with the id it is given (KIP-394; since version 4).
    pub(crate) member_id_required: bool,
    /// Whether the client understands `skip_assignment` (since version 9).
    pub(crate) can_skip_assignment: bool,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) error: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Filled for the leader alone.
    pub(crate) members: Vec<JoinedMember>,
}

impl Joined {
    pub(crate) fn refused(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

/// What SyncGroup asks for.
#[derive(Clone, Debug)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// Filled by the leader.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// The answer to SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) error: ErrorCode,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl Synced {
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
    /// Whether it has asked for its assignment in this generation.
    pub(super) has_synced: bool,
    /// When it is dead; none while a request of its is waiting here.
    pub(super) session_deadline: Option<Instant>,
}

impl Member {
    pub(super) fn new(request: &JoinRequest) -> Self {
        let mut member = Self {
            instance_id: request.instance_id.clone(),
            client_id: String::new(),
            client_host: String::new(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            has_synced: false,
            session_deadline: None,
        };
        member.update(request);
        member
    }

    pub(super) fn update(&mut self, request: &JoinRequest) {
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        self.session_timeout = request.session_timeout;
        self.rebalance_timeout = request.rebalance_timeout;
        self.protocols.clone_from(&request.protocols);
    }

    pub(super) fn heard_of(&mut self, now: Instant) {
        let waiting = self.joining.is_some() || self.syncing.is_some();
        self.session_deadline = (!waiting).then(|| now + self.session_timeout);
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }
}

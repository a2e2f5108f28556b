//! One group: its states, and the rebalance that leads from one generation to the next.
//!
//! `Empty → PreparingRebalance` (waiting for every member to join) `→ CompletingRebalance`
//! (waiting for the leader's assignment) `→ Stable`, and back to `PreparingRebalance` when a
//! member enters, leaves, falls silent or changes what it wants.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::consumer::ConsumerGroup;
use super::member::{Joined, JoinedMember, Member, Replies, Reply, SyncRequest, Synced, Ticket};
use super::offsets::Offsets;
use crate::error_code::ErrorCode;

/// Where a group stands between two generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; maybe offsets.
    #[default]
    Empty,
    /// Members are (re)joining.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Members have their assignments.
    Stable,
    /// Members are giving up or waiting for what the coordinator has divided anew (KIP-848).
    Reconciling,
}

impl GroupState {
    /// Kafka's name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Reconciling => "Reconciling",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(super) state: GroupState,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids given out and not yet come back with, and until when they hold.
    pub(super) pending: BTreeMap<String, Instant>,
    /// Group instance id to member id.
    pub(super) instances: HashMap<String, String>,
    pub(super) join_deadline: Option<Instant>,
    /// Whether the first rebalance of an empty group waits for more members.
    pub(super) is_initial_delay: bool,
    pub(super) sync_deadline: Option<Instant>,
    pub(super) initial_delay: Duration,
    pub(super) offsets: Offsets,
    /// Its members, where the coordinator divides (KIP-848); there are no others then.
    pub(super) consumer: Option<ConsumerGroup>,
}

impl Group {
    pub(super) fn new(initial_delay: Duration) -> Self {
        Self {
            initial_delay,
            ..Self::default()
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        match &self.consumer {
            Some(consumer) => consumer.state(),
            None => self.state,
        }
    }

    /// The group as the coordinator divides it; none where its members do.
    pub(crate) fn divided_here(&self) -> Option<&ConsumerGroup> {
        self.consumer.as_ref()
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        match &self.consumer {
            Some(_) => Some("consumer"),
            None => self.protocol_type.as_deref(),
        }
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Begins a rebalance unless one is being prepared already.
    pub(super) fn rebalance(&mut self, now: Instant, out: &mut Replies) {
        match self.state {
            GroupState::PreparingRebalance => {}
            GroupState::Empty => {
                self.state = GroupState::PreparingRebalance;
                self.is_initial_delay = true;
                self.join_deadline = Some(now + self.initial_delay);
            }
            GroupState::CompletingRebalance | GroupState::Stable | GroupState::Reconciling => {
                for member in self.members.values_mut() {
                    if self.state == GroupState::CompletingRebalance {
                        member.assignment = Bytes::new();
                    }
                    if let Some(ticket) = member.syncing.take() {
                        let reply = Synced::refused(ErrorCode::REBALANCE_IN_PROGRESS);
                        out.push((ticket, Reply::Sync(reply)));
                        member.heard_of(now);
                    }
                }
                self.state = GroupState::PreparingRebalance;
                self.is_initial_delay = false;
                let longest = self.members.values().map(|m| m.rebalance_timeout).max();
                self.join_deadline = Some(now + longest.unwrap_or_default());
                self.sync_deadline = None;
            }
        }
        self.complete_join_if_ready(now, out);
    }

    /// Ends the joining phase when nobody is waited for.
    pub(super) fn complete_join_if_ready(&mut self, now: Instant, out: &mut Replies) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        let all_joined =
            self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        let may_end = if self.is_initial_delay {
            self.join_deadline.is_none_or(|deadline| deadline <= now)
        } else {
            all_joined
        };
        if may_end {
            self.complete_join(now, out);
        }
    }

    /// Goes on to the next generation with those who have joined. Dynamic members who have not
    /// are out; static ones stay (KIP-345).
    pub(super) fn complete_join(&mut self, now: Instant, out: &mut Replies) {
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in silent {
            self.members.remove(&id);
        }
        self.is_initial_delay = false;
        self.join_deadline = None;
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.state = GroupState::Empty;
            self.protocol = None;
            self.leader = None;
            return;
        }
        let joined =
            |group: &Self, id: &String| group.members.get(id).is_some_and(|m| m.joining.is_some());
        if !self.leader.as_ref().is_some_and(|id| joined(self, id)) {
            let first = self.members.keys().find(|id| joined(self, id)).cloned();
            let Some(first) = first else {
                // Static members alone, none of them back: wait another round.
                let longest = self.members.values().map(|m| m.rebalance_timeout).max();
                self.join_deadline = Some(now + longest.unwrap_or_default());
                return;
            };
            self.leader = Some(first);
        }
        self.protocol = self.choose_protocol();
        self.state = GroupState::CompletingRebalance;
        let longest = self.members.values().map(|m| m.rebalance_timeout).max();
        self.sync_deadline = Some(now + longest.unwrap_or_default());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.has_synced = false;
                if let Some(ticket) = member.joining.take() {
                    member.heard_of(now);
                    out.push((ticket, Reply::Join(reply)));
                }
            }
        }
    }

    /// The answer to JoinGroup for a member of the current generation.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let is_leader = self.leader.as_deref() == Some(member_id);
        let members = self.members.iter().filter(|_| is_leader);
        Joined {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: members
                .map(|(id, member)| JoinedMember {
                    member_id: id.clone(),
                    instance_id: member.instance_id.clone(),
                    metadata: member.metadata(&protocol),
                })
                .collect(),
        }
    }

    /// Of the protocols all members support, the one most of them prefer.
    fn choose_protocol(&self) -> Option<String> {
        let leader = self.members.get(self.leader.as_ref()?)?;
        let shared: Vec<&String> = leader
            .protocols
            .iter()
            .map(|(name, _)| name)
            .filter(|name| self.members.values().all(|m| supports(m, name)))
            .collect();
        let votes = |name: &String| {
            self.members
                .values()
                .filter(|member| {
                    let favourite = member.protocols.iter().find(|(n, _)| shared.contains(&n));
                    favourite.is_some_and(|(favourite, _)| favourite == name)
                })
                .count()
        };
        // Reversed, so that among equals the leader's preference wins.
        let chosen = shared.iter().rev().max_by_key(|name| votes(name));
        chosen.map(|name| (*name).clone())
    }

    /// Asks for the assignment of a generation, or gives it out.
    pub(crate) fn sync(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: SyncRequest,
        out: &mut Replies,
    ) {
        if let Err(error) = self.admit_sync(&request) {
            out.push((ticket, Reply::Sync(Synced::refused(error))));
            return;
        }
        let is_leader = self.leader.as_deref() == Some(request.member_id.as_str());
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.has_synced = true;
            if let Some(older) = member.syncing.replace(ticket) {
                out.push((older, Reply::Superseded));
            }
            member.heard_of(now);
        }
        if self.state == GroupState::CompletingRebalance {
            if !is_leader {
                return;
            }
            let mut given: HashMap<String, Bytes> = request.assignments.into_iter().collect();
            for (id, member) in &mut self.members {
                member.assignment = given.remove(id).unwrap_or_default();
            }
            self.state = GroupState::Stable;
        }
        self.answer_syncs(now, out);
    }

    fn admit_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |asked: &Option<String>, is: &Option<String>| {
            asked.is_some() && is.is_some() && asked != is
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            GroupState::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            GroupState::CompletingRebalance | GroupState::Stable | GroupState::Reconciling => {
                Ok(())
            }
        }
    }

    fn answer_syncs(&mut self, now: Instant, out: &mut Replies) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                let reply = Synced {
                    error: ErrorCode::NONE,
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                out.push((ticket, Reply::Sync(reply)));
                member.heard_of(now);
            }
        }
        if self.members.values().all(|member| member.has_synced) {
            self.sync_deadline = None;
        }
    }

    /// Keeps a member alive.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        if let Err(error) = self.check_member(member_id, instance_id) {
            return error;
        }
        if generation != self.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard_of(now);
        }
        match self.state {
            GroupState::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
            GroupState::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            GroupState::CompletingRebalance | GroupState::Stable | GroupState::Reconciling => {
                ErrorCode::NONE
            }
        }
    }

    /// Whether this is a member, and the one that holds the instance id.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            return match self.instances.get(instance) {
                None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(holder) if holder != member_id => Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }
}

pub(super) fn supports(member: &Member, protocol: &str) -> bool {
    member.protocols.iter().any(|(name, _)| name == protocol)
}

//! Who enters a group and who leaves it.

use std::time::Instant;

use super::member::{JoinRequest, Joined, Member, Replies, Reply, Ticket};
use super::rebalance::{Group, GroupState, supports};
use crate::error_code::ErrorCode;

/// Members of a group, those included that have been given an id (`group.max.size`, which Kafka
/// leaves unbounded).
const MAX_MEMBERS: usize = 1000;

impl Group {
    /// Enters the group, or its next generation.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: &JoinRequest,
        out: &mut Replies,
    ) {
        if let Err(error) = self.join_checked(now, ticket, request, out) {
            let id = match error {
                ErrorCode::MEMBER_ID_REQUIRED => &request.fresh_member_id,
                _ => &request.member_id,
            };
            out.push((ticket, Reply::Join(Joined::refused(error, id))));
        }
    }

    fn join_checked(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: &JoinRequest,
        out: &mut Replies,
    ) -> Result<(), ErrorCode> {
        match &self.consumer {
            // Kafka would take such a member in beside the others; see the crate's documentation.
            Some(consumer) if !consumer.is_empty() => {
                return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
            }
            _ => self.consumer = None,
        }
        self.check_protocols(request)?;
        let held_by = request
            .instance_id
            .as_ref()
            .and_then(|instance| self.instances.get(instance))
            .cloned();
        if request.member_id.is_empty() {
            if held_by.is_none() && self.members.len() + self.pending.len() >= MAX_MEMBERS {
                return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
            }
            match (held_by, &request.instance_id) {
                (Some(old), _) => self.replace_static(now, ticket, &old, request, out),
                (None, None) if request.member_id_required => {
                    let until = now + request.session_timeout;
                    self.pending.insert(request.fresh_member_id.clone(), until);
                    return Err(ErrorCode::MEMBER_ID_REQUIRED);
                }
                (None, _) => self.add(now, ticket, &request.fresh_member_id, request, out),
            }
            return Ok(());
        }
        if self.pending.remove(&request.member_id).is_some() {
            self.add(now, ticket, &request.member_id, request, out);
            return Ok(());
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        self.rejoin(now, ticket, request, out)
    }

    fn check_protocols(&self, request: &JoinRequest) -> Result<(), ErrorCode> {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let same_type = self.protocol_type.as_ref() == Some(&request.protocol_type);
        let others = || {
            self.members
                .iter()
                .filter(|(id, _)| **id != request.member_id)
        };
        let shared = request
            .protocols
            .iter()
            .any(|(name, _)| others().all(|(_, member)| supports(member, name)));
        if same_type && shared {
            Ok(())
        } else {
            Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
        }
    }

    fn add(
        &mut self,
        now: Instant,
        ticket: Ticket,
        member_id: &str,
        request: &JoinRequest,
        out: &mut Replies,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let mut member = Member::new(request);
        member.joining = Some(ticket);
        if let Some(instance) = &request.instance_id {
            self.instances
                .insert(instance.clone(), member_id.to_owned());
        }
        self.members.insert(member_id.to_owned(), member);
        self.enter_rebalance(now, out);
    }

    fn rejoin(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: &JoinRequest,
        out: &mut Replies,
    ) -> Result<(), ErrorCode> {
        let id = &request.member_id;
        let is_leader = self.leader.as_ref() == Some(id);
        let member = self
            .members
            .get_mut(id)
            .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let unchanged = member.protocols == request.protocols;
        let already_there = match self.state {
            GroupState::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            GroupState::PreparingRebalance => false,
            // The answer to its last request was lost: it is told again what it was told.
            GroupState::CompletingRebalance => unchanged,
            // A leader that joins anew wants a rebalance: the topics may have changed.
            GroupState::Stable | GroupState::Reconciling => unchanged && !is_leader,
        };
        member.update(request);
        if already_there {
            member.heard_of(now);
            out.push((ticket, Reply::Join(self.joined(id))));
            return Ok(());
        }
        if let Some(older) = member.joining.replace(ticket) {
            out.push((older, Reply::Superseded));
        }
        member.session_deadline = None;
        self.enter_rebalance(now, out);
        Ok(())
    }

    fn enter_rebalance(&mut self, now: Instant, out: &mut Replies) {
        self.rebalance(now, out);
        self.complete_join_if_ready(now, out);
    }

    /// A static member came back under a new member id: it takes the place of its former self,
    /// who is fenced. With the same subscription a stable group needs no rebalance (KIP-345).
    fn replace_static(
        &mut self,
        now: Instant,
        ticket: Ticket,
        old_id: &str,
        request: &JoinRequest,
        out: &mut Replies,
    ) {
        let new_id = request.fresh_member_id.clone();
        let Some(mut member) = self.members.remove(old_id) else {
            return self.add(now, ticket, &new_id, request, out);
        };
        if let Some(older) = member.joining.take() {
            let fenced = Joined::refused(ErrorCode::FENCED_INSTANCE_ID, old_id);
            out.push((older, Reply::Join(fenced)));
        }
        if let Some(older) = member.syncing.take() {
            let fenced = super::Synced::refused(ErrorCode::FENCED_INSTANCE_ID);
            out.push((older, Reply::Sync(fenced)));
        }
        let unchanged = member.protocols == request.protocols;
        let was_leader = self.leader.as_deref() == Some(old_id);
        member.update(request);
        if let Some(instance) = &request.instance_id {
            self.instances.insert(instance.clone(), new_id.clone());
        }
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        if self.state == GroupState::Stable && unchanged {
            member.heard_of(now);
            self.members.insert(new_id.clone(), member);
            let mut reply = self.joined(&new_id);
            if was_leader && request.can_skip_assignment {
                reply.skip_assignment = true;
            } else if was_leader {
                // An older client would compute an assignment; told of another leader it does not.
                old_id.clone_into(&mut reply.leader);
                reply.members.clear();
            }
            out.push((ticket, Reply::Join(reply)));
            return;
        }
        member.joining = Some(ticket);
        member.session_deadline = None;
        self.members.insert(new_id, member);
        self.enter_rebalance(now, out);
    }

    /// Leaves the group; by instance id where the member has one and no member id is given.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        member_id: &str,
        instance_id: Option<&str>,
        out: &mut Replies,
    ) -> ErrorCode {
        let member_id = match instance_id.map(|instance| self.instances.get(instance)) {
            Some(None) => return ErrorCode::UNKNOWN_MEMBER_ID,
            Some(Some(holder)) if !member_id.is_empty() && holder != member_id => {
                return ErrorCode::FENCED_INSTANCE_ID;
            }
            Some(Some(holder)) => holder.clone(),
            None => member_id.to_owned(),
        };
        if self.pending.remove(&member_id).is_some() {
            self.complete_join_if_ready(now, out);
            return ErrorCode::NONE;
        }
        if !self.members.contains_key(&member_id) {
            return ErrorCode::UNKNOWN_MEMBER_ID;
        }
        self.remove(now, &member_id, out);
        ErrorCode::NONE
    }

    /// Takes a member for dead; whether it was there.
    pub(super) fn expire(&mut self, now: Instant, member_id: &str, out: &mut Replies) -> bool {
        if let Some(consumer) = &mut self.consumer {
            return consumer.remove(member_id);
        }
        let was_there = self.members.contains_key(member_id);
        self.remove(now, member_id, out);
        was_there
    }

    /// Answers JoinGroup and SyncGroup requests that wait with `NOT_COORDINATOR`. Their members
    /// ask again at the new one.
    pub(super) fn hand_over(&mut self, out: &mut Replies) {
        let elsewhere = ErrorCode::NOT_COORDINATOR;
        for (id, member) in &mut self.members {
            if let Some(ticket) = member.joining.take() {
                out.push((ticket, Reply::Join(Joined::refused(elsewhere, id))));
            }
            if let Some(ticket) = member.syncing.take() {
                out.push((ticket, Reply::Sync(super::Synced::refused(elsewhere))));
            }
        }
    }

    /// Takes a member out and lets the others rebalance.
    pub(super) fn remove(&mut self, now: Instant, member_id: &str, out: &mut Replies) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if let Some(ticket) = member.joining {
            let gone = Joined::refused(ErrorCode::UNKNOWN_MEMBER_ID, member_id);
            out.push((ticket, Reply::Join(gone)));
        }
        if let Some(ticket) = member.syncing {
            let gone = super::Synced::refused(ErrorCode::UNKNOWN_MEMBER_ID);
            out.push((ticket, Reply::Sync(gone)));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = None;
        }
        self.rebalance(now, out);
    }
}

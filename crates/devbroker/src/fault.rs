//! Faults on request: which requests are hit, when, and what happens to them.
//!
//! Faults are matched in the order they were injected; a request takes the effects of all that
//! match it. Before its effects a request passes the faults that skip it, so "the third produce"
//! is `skip(2).once()`.

mod access;
mod handle;
mod plan;

use std::time::Duration;

pub use access::{Operation, Resource};
pub use handle::FaultHandle;
pub(crate) use plan::{Asked, Change, Faults, Injected, Plan, Step, Target};

use crate::api::Api;
use crate::error_code::ErrorCode;

/// A fault to be injected by [`DevBroker::fault`](crate::DevBroker::fault): what happens, and
/// then to which requests.
///
/// Hits every request of its type until narrowed: by place ([`topic`](Self::topic),
/// [`partition`](Self::partition), [`group`](Self::group), [`broker`](Self::broker)), by client
/// ([`client`](Self::client), [`principal`](Self::principal)) and by number
/// ([`skip`](Self::skip), [`times`](Self::times)).
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    cause: Cause,
    stage: Stage,
    effect: Effect,
    topic: Option<String>,
    partitions: Vec<i32>,
    records: Vec<i32>,
    group: Option<String>,
    broker: Option<i32>,
    client_id: Option<String>,
    principal: Option<String>,
    skip: u64,
    times: Option<u64>,
}

/// Which requests a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Api(Api),
    /// Those that need this right.
    Access(Operation, Resource),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    BeforeApply,
    AfterApply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Drop,
    Delay(Duration),
    Error(ErrorCode),
    Hold,
    Duplicate,
    Cut,
    Swap,
    Change(Event),
}

/// What else happens in the cluster, just before a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    MoveLeader { to: i32 },
    LoseTopic,
    RenewTopic,
    ExpireMember,
}

impl Fault {
    fn new(api: Api, stage: Stage, effect: Effect) -> Self {
        Self::because(Cause::Api(api), stage, effect)
    }

    fn because(cause: Cause, stage: Stage, effect: Effect) -> Self {
        Self {
            cause,
            stage,
            effect,
            topic: None,
            partitions: Vec::new(),
            records: Vec::new(),
            group: None,
            broker: None,
            client_id: None,
            principal: None,
            skip: 0,
            times: None,
        }
    }

    /// Closes the connection without having done what was asked.
    pub fn drop_before_apply(api: Api) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Drop)
    }

    /// Does what was asked, then closes the connection: the answer is lost.
    pub fn drop_after_apply(api: Api) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Drop)
    }

    /// Does what was asked at once, and answers this much later.
    pub fn delay(api: Api, delay: Duration) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Delay(delay))
    }

    /// Waits this long before it does what was asked.
    pub fn delay_before_apply(api: Api, delay: Duration) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Delay(delay))
    }

    /// Answers this error without having done what was asked. Where a request names partitions,
    /// those that match get the error and the others are served.
    pub fn error(api: Api, code: ErrorCode) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Error(code))
    }

    /// Does what was asked and answers this error all the same. For requests that change
    /// something: Produce, InitProducerId, OffsetCommit, JoinGroup, SyncGroup, Heartbeat,
    /// LeaveGroup and ConsumerGroupHeartbeat; others are answered truly.
    pub fn error_after_apply(api: Api, code: ErrorCode) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Error(code))
    }

    /// Keeps the request, not yet done, until [`FaultHandle::release`]. What follows on its
    /// connection waits behind it.
    pub fn hold(api: Api) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Hold)
    }

    /// Does what was asked and keeps the answer until [`FaultHandle::release`].
    pub fn hold_after_apply(api: Api) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Hold)
    }

    /// Does what was asked and answers twice with the same bytes.
    pub fn duplicate(api: Api) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Duplicate)
    }

    /// Does what was asked, answers with the first half of the frame, and closes the connection.
    pub fn cut(api: Api) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Cut)
    }

    /// Does what was asked and keeps the answer until the next one of its connection has been
    /// sent: two answers change places. A client that sends nothing more waits in vain.
    pub fn swap(api: Api) -> Self {
        Self::new(api, Stage::AfterApply, Effect::Swap)
    }

    /// Makes another broker the leader of the partitions a request names, just before it is
    /// served.
    pub fn move_leader(api: Api, to: i32) -> Self {
        let event = Event::MoveLeader { to };
        Self::new(api, Stage::BeforeApply, Effect::Change(event))
    }

    /// Deletes the topics a request names, just before it is served.
    pub fn lose_topic(api: Api) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Change(Event::LoseTopic))
    }

    /// Deletes the topics a request names and makes them again, empty and with other ids, just
    /// before it is served.
    pub fn renew_topic(api: Api) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Change(Event::RenewTopic))
    }

    /// Takes the member that a request of a group comes from for dead, just before it is served.
    pub fn expire_member(api: Api) -> Self {
        Self::new(api, Stage::BeforeApply, Effect::Change(Event::ExpireMember))
    }

    /// Refuses what needs this right, as an authorizer would: with
    /// `TOPIC_AUTHORIZATION_FAILED`, `GROUP_AUTHORIZATION_FAILED` or
    /// `CLUSTER_AUTHORIZATION_FAILED`.
    ///
    /// ```
    /// use cybermesh_devbroker::{Fault, Operation, Resource};
    /// let read_only = Fault::deny(Operation::Write, Resource::Topic)
    ///     .topic("ai.policy.v1")
    ///     .principal("User:CN=node-1");
    /// # let _ = read_only;
    /// ```
    pub fn deny(operation: Operation, resource: Resource) -> Self {
        let cause = Cause::Access(operation, resource);
        Self::because(cause, Stage::BeforeApply, Effect::Error(resource.refusal()))
    }

    /// Only requests that name this topic. Requests without topics are not hit any more.
    pub fn topic(mut self, name: &str) -> Self {
        self.topic = Some(name.to_owned());
        self
    }

    /// Only requests that name this partition, or one of those given before.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partitions.push(partition);
        self
    }

    /// Blames these records, by their place in the batch, for the error a Produce is answered
    /// (KIP-467; with [`ErrorCode::INVALID_RECORD`] it is what an interceptor or a schema would
    /// refuse).
    pub fn records(mut self, indexes: impl IntoIterator<Item = i32>) -> Self {
        self.records.extend(indexes);
        self
    }

    /// Only requests of this group. Requests of no group are not hit any more.
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Only requests to the broker with this id.
    pub fn broker(mut self, id: i32) -> Self {
        self.broker = Some(id);
        self
    }

    /// Only requests of this principal, written as
    /// [`ConnectionInfo::principal`](crate::ConnectionInfo::principal) is: `User:CN=node-1`.
    pub fn principal(mut self, principal: &str) -> Self {
        self.principal = Some(principal.to_owned());
        self
    }

    /// Only requests with this client id.
    pub fn client(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// Lets so many matching requests pass first.
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends after so many hits.
    pub fn times(mut self, hits: u64) -> Self {
        self.times = Some(hits);
        self
    }

    /// Ends after one hit.
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let names_place = self.topic.is_some() || !self.partitions.is_empty();
        let place_fits = !names_place
            || asked
                .targets
                .iter()
                .any(|target| self.covers(&target.topic, target.partition));
        let cause_fits = match self.cause {
            Cause::Api(api) => api == asked.api,
            Cause::Access(operation, resource) => access::needs(asked.api, operation, resource),
        };
        cause_fits
            && place_fits
            && fits(self.client_id.as_deref(), asked.client_id)
            && fits(self.group.as_deref(), asked.group)
            && fits(self.principal.as_deref(), Some(asked.principal))
            && self.broker.is_none_or(|broker| broker == asked.broker)
    }

    fn covered(&self, targets: &[Target]) -> Vec<Target> {
        let covered = targets
            .iter()
            .filter(|target| self.covers(&target.topic, target.partition));
        covered.cloned().collect()
    }

    fn covers(&self, topic: &str, partition: Option<i32>) -> bool {
        let topic_fits = self.topic.as_deref().is_none_or(|wanted| wanted == topic);
        let listed = |partition| self.partitions.contains(&partition);
        topic_fits && (self.partitions.is_empty() || partition.is_some_and(listed))
    }
}

fn fits(wanted: Option<&str>, is: Option<&str>) -> bool {
    wanted.is_none() || wanted == is
}

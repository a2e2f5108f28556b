//! Faults on request: which requests are hit, when, and what happens to them.
//!
//! Faults are matched in the order they were injected; a request takes the effects of all that
//! match it. Before its effects a request passes the faults that skip it, so "the third produce"
//! is `skip(2).once()`.

mod handle;
mod plan;

use std::time::Duration;

pub use handle::FaultHandle;
pub(crate) use plan::{Faults, Injected, Plan, Step, Target};

use crate::api::Api;
use crate::error_code::ErrorCode;

/// A fault to be injected by [`DevBroker::fault`](crate::DevBroker::fault).
///
/// Hits every request of its type until narrowed: by [`topic`](Self::topic),
/// [`partition`](Self::partition), [`client`](Self::client), [`skip`](Self::skip),
/// [`times`](Self::times).
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    api: Api,
    stage: Stage,
    effect: Effect,
    topic: Option<String>,
    partitions: Vec<i32>,
    records: Vec<i32>,
    client_id: Option<String>,
    skip: u64,
    times: Option<u64>,
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
}

impl Fault {
    fn new(api: Api, stage: Stage, effect: Effect) -> Self {
        Self {
            api,
            stage,
            effect,
            topic: None,
            partitions: Vec::new(),
            records: Vec::new(),
            client_id: None,
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
    /// something: Produce, InitProducerId, OffsetCommit, JoinGroup, SyncGroup, Heartbeat and
    /// LeaveGroup; others are answered truly.
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

    fn matches(&self, api: Api, client_id: Option<&str>, targets: &[Target]) -> bool {
        let client_fits = self.client_id.is_none() || self.client_id.as_deref() == client_id;
        let names_place = self.topic.is_some() || !self.partitions.is_empty();
        let place_fits = !names_place
            || targets
                .iter()
                .any(|target| self.covers(&target.topic, target.partition));
        self.api == api && client_fits && place_fits
    }

    fn covers(&self, topic: &str, partition: Option<i32>) -> bool {
        let topic_fits = self.topic.as_deref().is_none_or(|wanted| wanted == topic);
        let listed = |partition| self.partitions.contains(&partition);
        topic_fits && (self.partitions.is_empty() || partition.is_some_and(listed))
    }
}

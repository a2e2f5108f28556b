//! Which faults hit a request.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Effect, Event, Fault, FaultHandle, Stage};
use crate::api::Api;
use crate::error_code::ErrorCode;

/// A place a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
}

/// A request, as far as faults look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) api: Api,
    pub(crate) broker: i32,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) principal: &'a str,
    /// Of the first group it names.
    pub(crate) group: Option<&'a str>,
    pub(crate) targets: &'a [Target],
}

/// An event, and the places of the request that the fault covers.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) event: Event,
    pub(crate) targets: Vec<Target>,
}

/// All faults that still work.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    fault: Fault,
    passed: u64,
    handle: FaultHandle,
}

/// What is to be done with a request, besides what it asks for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) before: Vec<Step>,
    pub(crate) injected: Injected,
    pub(crate) after: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Drop,
    Delay(Duration),
    Hold(CancellationToken),
    Change(Change),
    /// The answer is sent twice.
    Duplicate,
    /// Half of the answer is sent.
    Cut,
    /// The answer waits for the next one.
    Swap,
}

/// Errors to be answered instead of the truth.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    instead: Vec<(Fault, ErrorCode)>,
    afterwards: Vec<(Fault, ErrorCode)>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) -> FaultHandle {
        let handle = FaultHandle::new();
        self.entries.push(Entry {
            fault,
            passed: 0,
            handle: handle.clone(),
        });
        handle
    }

    pub(crate) fn clear(&mut self) {
        for entry in self.entries.drain(..) {
            entry.handle.remove();
        }
    }

    /// The effects on one request; counts it.
    pub(crate) fn plan(&mut self, asked: &Asked<'_>) -> Plan {
        let mut plan = Plan::default();
        self.entries.retain_mut(|entry| {
            if entry.handle.is_removed() {
                return false;
            }
            if !entry.fault.matches(asked) {
                return true;
            }
            if entry.passed < entry.fault.skip {
                entry.passed += 1;
                return true;
            }
            plan.add(entry, asked.targets);
            entry.handle.hit();
            entry
                .fault
                .times
                .is_none_or(|times| entry.handle.hits() < times)
        });
        plan
    }
}

impl Plan {
    fn add(&mut self, entry: &Entry, targets: &[Target]) {
        let fault = &entry.fault;
        let step = match fault.effect {
            Effect::Drop => Step::Drop,
            Effect::Delay(delay) => Step::Delay(delay),
            Effect::Hold => Step::Hold(entry.handle.released()),
            Effect::Duplicate => Step::Duplicate,
            Effect::Cut => Step::Cut,
            Effect::Swap => Step::Swap,
            Effect::Change(event) => Step::Change(Change {
                event,
                targets: fault.covered(targets),
            }),
            Effect::Error(code) => {
                let errors = match fault.stage {
                    Stage::BeforeApply => &mut self.injected.instead,
                    Stage::AfterApply => &mut self.injected.afterwards,
                };
                errors.push((fault.clone(), code));
                return;
            }
        };
        match fault.stage {
            Stage::BeforeApply => self.before.push(step),
            Stage::AfterApply => self.after.push(step),
        }
    }
}

impl Injected {
    /// The error for a partition that is not to be served.
    pub(crate) fn instead(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        find(&self.instead, topic, Some(partition))
    }

    /// The records blamed for it.
    pub(crate) fn bad_records(&self, topic: &str, partition: i32) -> &[i32] {
        let fault = self
            .instead
            .iter()
            .find(|(fault, _)| fault.covers(topic, Some(partition)));
        fault.map_or(&[], |(fault, _)| fault.records.as_slice())
    }

    /// The error for a topic that is not to be served.
    pub(crate) fn instead_of_topic(&self, topic: &str) -> Option<ErrorCode> {
        find(&self.instead, topic, None)
    }

    /// The error for a request that names no partitions and is not to be served.
    pub(crate) fn instead_of_all(&self) -> Option<ErrorCode> {
        self.instead.first().map(|(_, code)| *code)
    }

    /// What is told of a partition that came out as `truth`.
    pub(crate) fn tell(&self, topic: &str, partition: i32, truth: ErrorCode) -> ErrorCode {
        find(&self.afterwards, topic, Some(partition)).unwrap_or(truth)
    }

    /// The error told of a partition that was served all the same.
    pub(crate) fn told(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        find(&self.afterwards, topic, Some(partition))
    }

    /// What is told of a request that names no partitions.
    pub(crate) fn tell_of_all(&self, truth: ErrorCode) -> ErrorCode {
        self.afterwards.first().map_or(truth, |(_, code)| *code)
    }
}

fn find(errors: &[(Fault, ErrorCode)], topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
    errors
        .iter()
        .find(|(fault, _)| fault.covers(topic, partition))
        .map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(api: Api, targets: &[Target]) -> Asked<'_> {
        Asked {
            api,
            broker: 1,
            client_id: None,
            principal: "User:ANONYMOUS",
            group: None,
            targets,
        }
    }

    fn place(topic: &str, partition: i32) -> Target {
        Target {
            topic: topic.to_owned(),
            partition: Some(partition),
        }
    }

    #[test]
    fn a_fault_hits_the_requests_after_those_it_skips_and_then_ends() {
        let mut faults = Faults::default();
        let handle = faults.inject(Fault::drop_before_apply(Api::Produce).skip(1).times(2));
        let hits: Vec<usize> = (0..5)
            .map(|_| faults.plan(&asked(Api::Produce, &[])).before.len())
            .collect();
        assert_eq!(hits, [0, 1, 1, 0, 0]);
        assert_eq!(handle.hits(), 2);
    }

    #[test]
    fn a_fault_of_one_partition_leaves_the_others_of_the_request_alone() {
        let mut faults = Faults::default();
        faults.inject(
            Fault::error(Api::Produce, ErrorCode(6))
                .topic("a")
                .partition(1),
        );
        let plan = faults.plan(&asked(Api::Produce, &[place("a", 0), place("a", 1)]));
        assert_eq!(plan.injected.instead("a", 0), None);
        assert_eq!(plan.injected.instead("a", 1), Some(ErrorCode(6)));
        let elsewhere = faults.plan(&asked(Api::Produce, &[place("b", 1)]));
        assert_eq!(elsewhere.injected.instead("b", 1), None);
    }

    #[test]
    fn a_removed_fault_hits_nothing_and_releases_what_it_held() {
        let mut faults = Faults::default();
        let handle = faults.inject(Fault::hold(Api::Fetch));
        let plan = faults.plan(&asked(Api::Fetch, &[]));
        handle.remove();
        let [Step::Hold(released)] = plan.before.as_slice() else {
            panic!("one hold expected");
        };
        assert!(released.is_cancelled());
        assert!(faults.plan(&asked(Api::Fetch, &[])).before.is_empty());
    }
}

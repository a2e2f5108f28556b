//! Pipeline: the task that carries out what the flows decide.
//!
//! It owns every assigned partition's [`Flow`], the in-flight budget and the tasks: workers that
//! judge, handlers, dead letters on their way, commits. It waits for the first of them to report,
//! lets the flows decide, and carries that out. It waits for nothing else, so a slow handler, broker
//! or coordinator holds up no one but itself.

mod commit;
mod cut;
mod effects;
mod health;
mod judging;
mod keeping;
mod opening;
mod rebalance;
mod request;
mod stop;
mod works;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use request::{Request, ResumeRequest, StopRequest};
pub use stop::{LeftBehind, SubscriberReport};

use super::attempts::RetryPolicy;
use super::budget::Budget;
use super::effect::Moment;
use super::flow::{At, Flow};
use super::group::{Fetched, Group, GroupCommand, GroupEvent, Life};
use super::guard::{GuardPolicy, OwnFaults};
use super::hang::HangWatch;
use super::judge::{Bury, Handle, Judge, OrderStore};
use super::origin::TopicPartition;
use super::pause::Pause;
use crate::clock::{WallClock, is_plausible};
use crate::settings::OnHang;
use crate::telemetry::{Condition, Health, Metrics, PartitionGauges};
use commit::Committed;
use cut::Cut;
use keeping::LastKept;
use opening::{Opened, Read};
use rebalance::Revocation;
use works::{Finished, Works};

/// How late a commit may still be carried out whose answer was given up, by a coordinator that had it already.
const CARRIED_OUT_LATE: Duration = Duration::from_secs(30);

/// How the pipeline is told to behave.
#[derive(Debug, Clone)]
pub(crate) struct PipelineConfig {
    /// The kind each topic carries.
    pub(crate) kinds: HashMap<Arc<str>, Kind>,
    pub(crate) max_inflight: usize,
    pub(crate) max_inflight_bytes: usize,
    pub(crate) retry: RetryPolicy,
    /// Deadline of one call of a handler.
    pub(crate) handler_timeout: Duration,
    /// How long a revoke waits for running handlers.
    pub(crate) revoke_timeout: Duration,
    /// How often the watermarks are committed.
    pub(crate) commit_interval: Duration,
    /// Records judged at a time.
    pub(crate) workers: NonZeroUsize,
    pub(crate) guard: GuardPolicy,
    /// How often the guard tries messages while it has a partition paused.
    pub(crate) try_every: Duration,
    /// Time without progress, while work is in flight, after which handlers count as hung.
    pub(crate) hang_after: Duration,
    pub(crate) on_hang: OnHang,
}

/// What the pipeline works with.
pub(crate) struct Parts<J: Judge> {
    pub(crate) judge: Arc<J>,
    pub(crate) handlers: Arc<dyn Handle<J::Message>>,
    pub(crate) dead_letters: Arc<dyn Bury>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) orders: Box<dyn OrderStore<J::Message>>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
}

/// One assigned partition.
struct Held<M> {
    /// Which assignment this is; answers to an earlier one are dropped.
    assignment: u64,
    /// The life of the partition that the flow's offsets are of.
    life: Life,
    kind: Kind,
    flow: Flow<M>,
    /// Where its log was cut, while what lies before that is being finished.
    cut: Option<Cut>,
    committed: i64,
    /// The offset that the group has committed, if any.
    stands: Option<i64>,
    /// The last commit of it did not come through.
    is_uncommitted: bool,
    /// When it was learnt last that one did not: it may be carried out yet.
    unheard: Option<Instant>,
    kept: LastKept,
    high_watermark: i64,
    fetching: bool,
    /// Its watermark is being committed for the last time: what ends now counts for its next owner.
    closing: bool,
    hang: HangWatch,
    /// The message that hangs, where one does.
    hung_at: Option<i64>,
    gauges: PartitionGauges,
}

impl<M: super::judge::Believed> Held<M> {
    /// Whether its watermark has moved since it was committed, and is one of the log as it is now.
    fn has_moved(&self) -> bool {
        self.cut.is_none() && self.flow.watermark() > self.committed
    }

    /// The same, or whether it is to be committed once more; which it is in any case where there is no later time.
    fn is_to_be_committed(&self, now: Instant, is_last: bool) -> bool {
        let once_more = self.is_unheard_until(now) || (is_last && self.unheard.is_some());
        self.has_moved() || (self.cut.is_none() && once_more)
    }

    /// Whether a commit that was given up has had its time: brokers carry it out late, after later ones, and the group's
    /// offset goes back. Where nothing moves any more it would stay there.
    fn is_unheard_until(&self, now: Instant) -> bool {
        self.unheard.is_some_and(|at| at + CARRIED_OUT_LATE <= now)
    }

    /// Whether reading stands until a commit comes through, and there is no reason why one should not.
    fn waits_for_a_commit(&self) -> bool {
        !self.is_uncommitted && self.flow.waits_for_commits() && self.cut.is_none()
    }
}

/// See the [module](self).
pub(crate) struct Pipeline<J: Judge> {
    config: PipelineConfig,
    held: BTreeMap<TopicPartition, Held<J::Message>>,
    /// Assigned, and not held yet.
    opening: BTreeMap<TopicPartition, Opened>,
    reading: JoinSet<Read<J::Message>>,
    budget: Budget<TopicPartition>,
    faults: OwnFaults,
    orders: Box<dyn OrderStore<J::Message>>,
    works: Works<J>,
    group: Group,
    revocations: Vec<Revocation>,
    committing: FuturesUnordered<BoxFuture<'static, Committed>>,
    commit_due: Instant,
    /// Assignments and revocations so far.
    serial: u64,
    clock: Arc<dyn WallClock>,
    health: Health,
    raised: BTreeMap<Condition, String>,
    assigned: bool,
    /// Whether it ever was.
    was_assigned: bool,
}

/// How the pipeline ended.
#[derive(Debug)]
pub(crate) enum PipelineEnd {
    /// In order, as asked.
    Stopped,
    /// Nobody held it any more.
    Abandoned,
    /// The consumer group came to its end.
    GroupEnded(String),
    /// It left its group because a handler hangs.
    Hung(String, SubscriberReport),
}

impl<J: Judge> Pipeline<J> {
    pub(crate) fn new(config: PipelineConfig, parts: Parts<J>, group: Group) -> Self {
        let works = Works::new(
            &config,
            parts.judge,
            parts.handlers,
            parts.dead_letters,
            parts.metrics,
            parts.health.audit().clone(),
        );
        Self {
            budget: Budget::new(config.max_inflight, config.max_inflight_bytes),
            faults: OwnFaults::new(config.guard),
            commit_due: Instant::now() + config.commit_interval,
            config,
            held: BTreeMap::new(),
            opening: BTreeMap::new(),
            reading: JoinSet::new(),
            orders: parts.orders,
            works,
            group,
            revocations: Vec::new(),
            committing: FuturesUnordered::new(),
            serial: 0,
            clock: parts.clock,
            health: parts.health,
            raised: BTreeMap::new(),
            assigned: false,
            was_assigned: false,
        }
    }

    /// Runs until it is told to stop, nobody can tell it any more, or the group ends.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> PipelineEnd {
        let beat = self.health.watch("pipeline");
        loop {
            beat.now();
            self.advance();
            if let Some(reason) = self.reason_to_leave() {
                drop(beat);
                return self.leave_hung(reason, requests).await;
            }
            let timer = self.next_timer();
            tokio::select! {
                request = requests.recv() => match request {
                    None => return PipelineEnd::Abandoned,
                    Some(Request::Stop(request)) => {
                        // Ending has a deadline of its own.
                        drop(beat);
                        self.wind_down(request).await;
                        return PipelineEnd::Stopped;
                    }
                    Some(Request::Resume(request)) => self.on_resume(request),
                },
                event = self.group.events.recv() => match event {
                    Some(GroupEvent::Ended(reason)) => return self.group_ended(reason),
                    Some(event) => self.on_group(event),
                    None => return self.group_ended("its task is gone".to_owned()),
                },
                Some(finished) = self.works.next() => self.on_finished(finished),
                Some(committed) = self.committing.next() => self.on_committed(committed),
                Some(read) = self.reading.join_next() => self.on_read(read),
                () = tokio::time::sleep_until(timer) => {}
            }
        }
    }

    fn group_ended(&self, reason: String) -> PipelineEnd {
        tracing::error!(
            reason,
            "the consumer group ended; nothing is received any more"
        );
        self.health.raise(Condition::Unassigned, reason.clone());
        PipelineEnd::GroupEnded(reason)
    }

    /// Lets every flow decide, and carries it out.
    fn advance(&mut self) {
        let now = Instant::now();
        self.go_on_after_cuts();
        let wall_ms = self.wall_ms();
        let clock_is_wrong =
            !is_plausible(self.clock.unix_ms()) || self.faults.clock.is_behind(wall_ms, now);
        let trust = self.works.trust();
        let at = At { now, wall_ms };
        for (partition, held) in &mut self.held {
            let flow = &mut held.flow;
            let clock_was_wrong = set(flow, Pause::Clock, clock_is_wrong);
            set(flow, Pause::NoKeys, !self.works.has_keys(&trust, held.kind));
            if flow.pauses().any(|pause| pause == Pause::FormerHandler) {
                let running = self.works.former_handler_runs(partition, held.assignment);
                set(flow, Pause::FormerHandler, running);
            }
            let place = works::Place {
                partition,
                assignment: held.assignment,
                kind: held.kind,
            };
            if clock_was_wrong && !clock_is_wrong {
                let again = flow.judge_again();
                self.works.judge_again(&place, &trust, wall_ms, again);
            }
            for effect in flow.settle(&mut self.budget, &mut self.faults, at) {
                self.works.carry_out(&place, effect);
            }
            while let Some(start) = flow.start(now) {
                match self.works.recheck(&trust, &start.item.message) {
                    Ok(()) => self.works.handle(&place, start, now),
                    Err(rejection) => {
                        self.works.note_former_trust(
                            &place,
                            &start.item.origin,
                            &rejection,
                            wall_ms,
                        );
                        let effect =
                            flow.distrusted(&start.item, start.attempt, &rejection, wall_ms);
                        self.works.carry_out(&place, effect);
                    }
                }
            }
            for burial in flow.due_burials(now) {
                self.works.bury(&place, burial, works::Try::Again);
            }
            let admitted = flow.admit(&mut self.budget, now);
            self.works.judge(&place, &trust, wall_ms, admitted);
            let wants = flow.wants_records() && held.cut.is_none();
            if wants != held.fetching {
                held.fetching = wants;
                let command = if wants {
                    GroupCommand::Resume
                } else {
                    GroupCommand::Pause
                };
                self.group.tell(command(partition.clone()));
            }
        }
        self.look_for_hangs(now);
        self.works.spawn_judging();
        self.works.gauge_inflight(self.budget.messages_in_flight());
        self.advance_revocations(now);
        self.open_again(now);
        if now >= self.commit_due {
            self.commit_due = now + self.config.commit_interval;
            self.commit_periodically();
            self.keep_copies(now);
            self.gauge(now);
        } else if self.held.values().any(Held::waits_for_a_commit) {
            self.commit_periodically();
        }
        self.report_health();
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX)
    }

    fn next_timer(&self) -> Instant {
        let flows = self.held.values().filter_map(|held| held.flow.next_timer());
        let revocations = self.revocations.iter().filter_map(Revocation::deadline);
        let openings = self.opening.values().filter_map(Opened::deadline);
        let timers = flows.chain(revocations).chain(openings);
        timers.fold(self.commit_due, Instant::min)
    }

    fn on_group(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(assignments) => self.on_assigned(assignments),
            GroupEvent::Revoked(partitions) => self.on_revoked(partitions),
            GroupEvent::Lost(partitions) => self.on_lost(&partitions),
            GroupEvent::Reset {
                partition,
                to,
                topic_id,
                life,
            } => self.on_reset(partition, to, topic_id, life),
            GroupEvent::Fetched(fetched) => self.on_fetched(fetched),
            GroupEvent::Refused(partition, reason) => {
                tracing::error!(%partition, reason, "the partition cannot be read; it stands still");
                if let Some(held) = self.held.get_mut(&partition) {
                    held.flow.pause(Pause::Refused);
                }
            }
            GroupEvent::Ended(reason) => tracing::error!(reason, "the consumer group ended"),
        }
    }

    fn on_fetched(&mut self, fetched: Fetched) {
        let (now, wall_ms) = (Instant::now(), self.wall_ms());
        if let Some(held) = self.held.get_mut(&fetched.partition) {
            held.high_watermark = fetched.high_watermark;
            if self.faults.is_on()
                && let Some(appended) = fetched
                    .records
                    .iter()
                    .filter_map(|record| record.append_time_ms)
                    .max()
            {
                self.faults.clock.appended(appended, wall_ms, now);
            }
            match &mut held.cut {
                Some(cut) => cut.fetched(fetched.records, fetched.end),
                None => held.flow.fetched(fetched.records, fetched.end),
            }
        }
    }

    fn on_finished(&mut self, finished: Finished<J::Message>) {
        let now = Instant::now();
        let wall_ms = self.wall_ms();
        let (partition, assignment) = finished.place();
        let Some(held) = self
            .held
            .get_mut(partition)
            .filter(|held| held.assignment == assignment && !held.closing)
        else {
            return;
        };
        match finished {
            Finished::Judged { results, .. } => {
                for (origin, judged) in results {
                    held.flow.judged(origin, judged);
                }
            }
            Finished::Handled {
                partition,
                job,
                attempt,
                ended,
                took,
                ..
            } => {
                let moment = Moment {
                    now,
                    wall_ms,
                    jitter: draw_jitter(),
                };
                let failure = ended.error_type();
                let effect = held
                    .flow
                    .ended(&job, attempt, ended, moment, &mut self.budget);
                if let Some(effect) = effect {
                    let place = works::Place {
                        partition: &partition,
                        assignment,
                        kind: held.kind,
                    };
                    self.works.processed(&place, failure, took);
                    self.works.carry_out(&place, effect);
                }
            }
            Finished::Cancelled { .. } => {}
            Finished::Buried { offset, result, .. } => match result {
                Ok(()) => held.flow.buried(offset, now, &mut self.budget),
                Err(_) => held.flow.burial_failed(offset, now),
            },
        }
    }

    fn gauge(&self, now: Instant) {
        let mut oldest = Duration::ZERO;
        for held in self.held.values() {
            let watermark = held.flow.watermark();
            held.gauges.watermark(watermark);
            held.gauges
                .lag(held.high_watermark.saturating_sub(watermark).max(0));
            if let Some((_, since)) = held.flow.oldest() {
                oldest = oldest.max(now.saturating_duration_since(since));
            }
        }
        self.works.gauge_oldest(oldest);
    }
}

/// Answers whether it held before.
fn set<M: super::judge::Believed>(flow: &mut Flow<M>, pause: Pause, holds: bool) -> bool {
    if holds {
        !flow.pause(pause)
    } else {
        flow.resume(pause)
    }
}

/// Evenly from `0.0..1.0`; a source that fails spreads nothing and hurts nothing.
fn draw_jitter() -> f64 {
    cybermesh_transport::host::random_u32()
        .map_or(0.5, |drawn| f64::from(drawn) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests;

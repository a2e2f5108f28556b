//! The end in order: stop fetching, finish or cancel, dead letters acknowledged, commit, leave.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::commit::Committed;
use super::health::hung_in_words;
use super::request::{Request, StopRequest};
use super::{Held, Pipeline, PipelineEnd};
use crate::inbound::group::{GroupCommand, GroupEvent};
use crate::inbound::judge::Judge;
use crate::inbound::origin::TopicPartition;
use crate::settings::OnHang;
use crate::telemetry::Condition;

/// The longest share of a stop's deadline that is kept for committing and leaving.
const KEPT_FOR_LEAVING: Duration = Duration::from_secs(5);

/// The longest share of that in which no commit is tried once more: leaving takes its time too.
const KEPT_FOR_LEAVING_ALONE: Duration = Duration::from_secs(1);
/// Between a commit that did not come through and the next.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What a subscriber left where when it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriberReport {
    /// Partitions with messages that were taken up and did not end; they are delivered again.
    pub left: Vec<LeftBehind>,
    /// Whether every watermark that had moved was committed.
    pub committed: bool,
    /// Whether the group was left in time (a static member never leaves: its partitions are kept for it).
    pub left_group: bool,
}

impl SubscriberReport {
    /// Whether nothing was left unfinished or uncommitted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.committed && self.left_group
    }

    /// Messages that were taken up and did not end.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.left.iter().map(|left| left.unfinished).sum()
    }
}

/// Messages of one partition that did not end before the stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Which partition.
    pub partition: TopicPartition,
    /// The offset from which its next owner reads.
    pub watermark: i64,
    /// How many messages at or above it were taken up and did not end.
    pub unfinished: usize,
}

impl<J: Judge> Pipeline<J> {
    pub(super) async fn wind_down(mut self, request: StopRequest) {
        let report = self.leave_by(request.deadline).await;
        for condition in std::mem::take(&mut self.raised).into_keys() {
            self.health.clear(&condition);
        }
        if request.reply.send(report).is_err() {
            tracing::debug!("nobody waits for the end of the subscriber any more");
        }
    }

    /// Why the group is to be left without being asked to, if it is.
    pub(super) fn reason_to_leave(&self) -> Option<String> {
        let hung = self
            .held
            .iter()
            .find_map(|(partition, held)| Some((partition, held.hung_at?)));
        let (partition, offset) = hung.filter(|_| self.config.on_hang == OnHang::Leave)?;
        Some(hung_in_words(partition, offset, self.config.hang_after))
    }

    /// Gives everything up that does not end soon, so that others may have it. The process stays
    /// unready: what hangs still hangs here.
    pub(super) async fn leave_hung(
        mut self,
        reason: String,
        mut requests: mpsc::Receiver<Request>,
    ) -> PipelineEnd {
        tracing::error!(target: "audit", reason, "leaves its group");
        let report = self
            .leave_by(Instant::now() + self.config.revoke_timeout)
            .await;
        self.health.raise(Condition::Unassigned, reason.clone());
        requests.close();
        while let Some(request) = requests.recv().await {
            if let Request::Stop(request) = request
                && request.reply.send(report.clone()).is_err()
            {
                tracing::debug!("nobody waits for the end of the subscriber any more");
            }
        }
        PipelineEnd::Hung(reason, report)
    }

    async fn leave_by(&mut self, deadline: Instant) -> SubscriberReport {
        let whole = deadline.saturating_duration_since(Instant::now());
        let handlers_until = deadline - KEPT_FOR_LEAVING.min(whole / 4);
        self.opening.clear();
        self.reading.abort_all();
        for (partition, held) in &mut self.held {
            held.flow.drain();
            self.group.tell(GroupCommand::Pause(partition.clone()));
        }
        while !self.held.values().all(|held| held.flow.is_drained()) {
            tokio::select! {
                Some(finished) = self.works.next() => self.on_finished(finished),
                Some(committed) = self.committing.next() => {
                    self.on_committed_while_stopping(committed);
                }
                Some(event) = self.group.events.recv() => self.on_group_while_stopping(event),
                () = tokio::time::sleep_until(handlers_until) => break,
            }
        }
        let partitions: Vec<TopicPartition> = self.held.keys().cloned().collect();
        for partition in &partitions {
            self.works.cancel(partition);
        }
        let mut report = SubscriberReport {
            committed: self.commit_all(deadline).await,
            ..SubscriberReport::default()
        };
        for partition in &partitions {
            self.keep_copy(partition, Instant::now());
        }
        let (left, leaving) = oneshot::channel();
        self.group.tell(GroupCommand::Leave(left));
        report.left_group = self.left_in_time(leaving, deadline).await;
        report.left = self
            .held
            .iter()
            .filter(|(_, held)| held.flow.in_flight() > 0)
            .map(|(partition, held)| LeftBehind {
                partition: partition.clone(),
                watermark: held.flow.watermark(),
                unfinished: held.flow.in_flight(),
            })
            .collect();
        report
    }

    /// Commits what moved, again and again where that may help; answers whether all is committed.
    async fn commit_all(&mut self, deadline: Instant) -> bool {
        let whole = deadline.saturating_duration_since(Instant::now());
        let tries_until = deadline - KEPT_FOR_LEAVING_ALONE.min(whole / 4);
        self.commit_held(true);
        while let Some(answer) = self.committed_by(deadline).await {
            let is_refused = matches!(&answer.result, Err(error) if error.is_final());
            self.on_committed_while_stopping(answer);
            if !self.committing.is_empty() {
                continue;
            }
            let again_at = Instant::now() + COMMIT_AGAIN_AFTER;
            if is_refused || self.is_all_committed() || again_at > tries_until {
                break;
            }
            self.hear_until(again_at).await;
            self.commit_held(false);
        }
        self.is_all_committed()
    }

    fn commit_held(&mut self, is_first: bool) {
        let partitions: Vec<_> = self.held.keys().cloned().collect();
        self.commit(partitions.into_iter(), None, is_first);
    }

    fn is_all_committed(&self) -> bool {
        !self.held.values().any(Held::has_moved)
    }

    /// The next answer to a commit; nothing where none is waited for any more.
    async fn committed_by(&mut self, deadline: Instant) -> Option<Committed> {
        loop {
            tokio::select! {
                answer = timeout_at(deadline, self.committing.next()) => return answer.ok().flatten(),
                Some(event) = self.group.events.recv() => self.on_group_while_stopping(event),
            }
        }
    }

    async fn hear_until(&mut self, until: Instant) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                Some(event) = self.group.events.recv() => self.on_group_while_stopping(event),
            }
        }
    }

    /// What was revoked and is not committed stays ours, to be committed again: leaving releases it as well.
    fn on_committed_while_stopping(&mut self, mut committed: Committed) {
        if committed.result.is_err() {
            committed.revocation = None;
        }
        self.on_committed(committed);
    }

    async fn left_in_time(
        &mut self,
        mut leaving: oneshot::Receiver<()>,
        deadline: Instant,
    ) -> bool {
        loop {
            tokio::select! {
                left = timeout_at(deadline, &mut leaving) => return matches!(left, Ok(Ok(()))),
                Some(event) = self.group.events.recv() => self.on_group_while_stopping(event),
            }
        }
    }

    /// Nothing new is taken up any more; what was lost, or is of a log that is not there any more, must not be committed.
    fn on_group_while_stopping(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Lost(partitions) => self.on_lost(&partitions),
            GroupEvent::Reset {
                partition,
                to,
                topic_id,
                life,
            } => self.on_reset(partition, to, topic_id, life),
            _ => {}
        }
    }
}

//! Heartbeats to a coordinator that divides: when the next one goes, what it leaves out, and since when nothing was heard.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::PartitionsById;

/// Shortest interval, whatever the coordinator asks for.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// A heartbeat to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beat {
    /// Which one; its outcome is reported with it.
    pub(super) number: u64,
    /// 0 joins.
    pub(super) epoch: i32,
    /// Whether all is said, or only what has changed.
    pub(super) is_full: bool,
    /// What is held, where that has changed or all is said.
    pub(super) owned: Option<PartitionsById>,
}

/// A heartbeat that was answered.
#[derive(Debug)]
pub(super) struct Sent {
    number: u64,
    at: Instant,
    owned: Option<PartitionsById>,
}

/// The heartbeats of one member, of which one at a time is on its way.
#[derive(Debug)]
pub(super) struct Pulse {
    sent: Option<Sent>,
    count: u64,
    next_at: Instant,
    interval: Duration,
    /// Whether the next follows the answer to the one on its way at once.
    hurries: bool,
    /// Whether the coordinator may have missed what was said last.
    says_all: bool,
    /// What the coordinator was last told to be held.
    told_owned: PartitionsById,
    /// When the last was sent that was answered as to a member.
    alive_at: Instant,
    /// Since when the coordinator may have been asked without its answer arriving.
    asked_since: Option<Instant>,
    /// How many were answered as to a member.
    answers: u64,
}

impl Pulse {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            sent: None,
            count: 0,
            next_at: now,
            interval,
            hurries: false,
            says_all: true,
            told_owned: Vec::new(),
            alive_at: now,
            asked_since: None,
            answers: 0,
        }
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// How many will have been answered when one is that was sent after now.
    pub(super) fn answers_to_come(&self) -> u64 {
        self.answers + 1 + u64::from(self.sent.is_some())
    }

    pub(super) fn alive_at(&self) -> Instant {
        self.alive_at
    }

    /// When the next goes; `None` while one is on its way.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.sent.is_none().then_some(self.next_at)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_at().is_some_and(|at| at <= now)
    }

    /// The one that joins, with empty hands.
    pub(super) fn join(&mut self, now: Instant) -> Beat {
        self.send(now, 0, Some(Vec::new()))
    }

    /// The next as a member that holds this.
    pub(super) fn beat(&mut self, now: Instant, epoch: i32, owned: PartitionsById) -> Beat {
        let is_told = !self.says_all && self.has_told(&owned);
        self.send(now, epoch, (!is_told).then_some(owned))
    }

    fn send(&mut self, now: Instant, epoch: i32, owned: Option<PartitionsById>) -> Beat {
        self.count += 1;
        self.asked_since.get_or_insert(now);
        self.sent = Some(Sent {
            number: self.count,
            at: now,
            owned: owned.clone(),
        });
        Beat {
            number: self.count,
            epoch,
            is_full: epoch == 0 || self.says_all,
            owned,
        }
    }

    /// The one on its way, if it is of this number: it has an answer, or will have none.
    pub(super) fn take(&mut self, number: u64) -> Option<Sent> {
        self.sent.take_if(|sent| sent.number == number)
    }

    /// The coordinator has heard it, and asks for the next within this interval. Since when it may be waiting for what it
    /// says: an answer that was lost may have said the same already.
    pub(super) fn heard(&mut self, now: Instant, sent: Sent, interval: Duration) -> Instant {
        self.answers += 1;
        self.says_all = false;
        self.alive_at = sent.at;
        if let Some(owned) = sent.owned {
            self.told_owned = owned;
        }
        self.interval = interval.max(SHORTEST_INTERVAL);
        self.next_at = now + self.interval;
        if std::mem::take(&mut self.hurries) {
            self.next_at = now;
        }
        self.asked_since.take().unwrap_or(sent.at)
    }

    /// It may not have been heard: everything is said again, soon.
    pub(super) fn missed(&mut self, now: Instant) {
        self.says_all = true;
        self.next_at = now + self.interval.min(Duration::from_secs(1));
    }

    pub(super) fn has_told(&self, owned: &PartitionsById) -> bool {
        self.told_owned == *owned
    }

    /// There is something to say.
    pub(super) fn at_once(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// There is something to hear, which the answer on its way may be too early for.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.hurries = self.sent.is_some();
        self.next_at = now;
    }

    /// The member is none any more; what is on its way is of no interest.
    pub(super) fn stop(&mut self) {
        self.sent = None;
        self.asked_since = None;
        self.says_all = true;
        self.hurries = false;
        self.told_owned.clear();
    }
}

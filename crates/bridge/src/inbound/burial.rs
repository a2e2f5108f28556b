//! What is to be written about messages that were given up, and how often it was tried.
//!
//! A dead letter that does not get through is tried again, for ever and ever more slowly. While any
//! does not, only the oldest is tried: a topic that is away is asked one question at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::redrive::Terms;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::PublicKey;
use tokio::time::Instant;

use super::guard::burials::Summary;
use super::origin::Origin;

/// Waits between attempts to write a dead letter that did not get through.
const BURIAL_BACKOFF_BASE: Duration = Duration::from_secs(1);
const BURIAL_BACKOFF_CAP: Duration = Duration::from_secs(60);

/// One message on its way to the dead-letter topic, or many in a summary, with what is known about its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Burial {
    /// Of many the first, without its content.
    pub(crate) origin: Arc<Origin>,
    /// All of them, where it stands for many.
    pub(crate) summary: Option<Summary>,
    pub(crate) disposition: Disposition,
    /// For people; neither secrets nor payload.
    pub(crate) reason: Cow<'static, str>,
    /// Who claims to have signed it, where it could be read.
    pub(crate) claimed: Option<PublicKey>,
    /// Its verified redrive, where it was redriven: its first origin is kept.
    pub(crate) redrive: Option<Terms>,
    /// How often a handler was called.
    pub(crate) attempts: u32,
    /// Unix milliseconds.
    pub(crate) first_failed_ms: i64,
    /// Unix milliseconds.
    pub(crate) last_failed_ms: i64,
}

impl Burial {
    /// Of a message that no handler saw.
    pub(crate) fn rejected(
        origin: Arc<Origin>,
        disposition: Disposition,
        reason: Cow<'static, str>,
        claimed: Option<PublicKey>,
        wall_ms: i64,
    ) -> Self {
        Self {
            origin,
            summary: None,
            disposition,
            reason,
            claimed,
            redrive: None,
            attempts: 0,
            first_failed_ms: wall_ms,
            last_failed_ms: wall_ms,
        }
    }

    /// The offsets that are done when it is acknowledged.
    pub(crate) fn offsets(&self) -> &[i64] {
        match &self.summary {
            Some(summary) => &summary.offsets,
            None => std::slice::from_ref(&self.origin.offset),
        }
    }
}

/// The dead letters of one partition that are not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct Burials {
    pending: BTreeMap<i64, Pending>,
    failing: bool,
}

#[derive(Debug)]
struct Pending {
    burial: Arc<Burial>,
    tries: u32,
    /// `None` while it is being written.
    due: Option<Instant>,
}

impl Burials {
    /// One is on its way to be written.
    pub(crate) fn begin(&mut self, burial: Arc<Burial>) {
        let offset = burial.origin.offset;
        let pending = Pending {
            burial,
            tries: 0,
            due: None,
        };
        self.pending.insert(offset, pending);
    }

    /// One was acknowledged; the others need not wait any longer. Gives it back where it was known.
    pub(crate) fn acknowledged(&mut self, offset: i64, now: Instant) -> Option<Arc<Burial>> {
        let acknowledged = self.pending.remove(&offset)?;
        if std::mem::take(&mut self.failing) {
            for pending in self.pending.values_mut() {
                if let Some(due) = &mut pending.due {
                    *due = now;
                }
            }
        }
        Some(acknowledged.burial)
    }

    /// One did not get through and will be tried again. Answers whether it was known.
    pub(crate) fn failed(&mut self, offset: i64, now: Instant) -> bool {
        let Some(pending) = self.pending.get_mut(&offset) else {
            return false;
        };
        let backoff = BURIAL_BACKOFF_BASE
            .saturating_mul(1 << pending.tries.min(16))
            .min(BURIAL_BACKOFF_CAP);
        pending.tries = pending.tries.saturating_add(1);
        pending.due = Some(now + backoff);
        self.failing = true;
        true
    }

    /// Those to be written again now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Arc<Burial>> {
        let tried = self.tried_at_a_time();
        let mut due = Vec::new();
        for pending in self.pending.values_mut().take(tried) {
            if pending.due.is_some_and(|at| at <= now) {
                pending.due = None;
                due.push(Arc::clone(&pending.burial));
            }
        }
        due
    }

    /// When the next one is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.pending
            .values()
            .take(self.tried_at_a_time())
            .filter_map(|pending| pending.due)
            .min()
    }

    /// Forgets one, for whoever reads the partition next.
    pub(crate) fn forget(&mut self, offset: i64) -> bool {
        self.pending.remove(&offset).is_some()
    }

    /// Forgets those that are not being written, and names them.
    pub(crate) fn forget_waiting(&mut self) -> Vec<i64> {
        self.pending
            .extract_if(.., |_, pending| pending.due.is_some())
            .map(|(offset, _)| offset)
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn tried_at_a_time(&self) -> usize {
        if self.failing { 1 } else { usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burial(offset: i64) -> Arc<Burial> {
        let origin = Origin {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            append_time_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
            unreadable: None,
        };
        let reason = Cow::Borrowed("not a message");
        Arc::new(Burial::rejected(
            Arc::new(origin),
            Disposition::Decode,
            reason,
            None,
            0,
        ))
    }

    fn offsets(due: &[Arc<Burial>]) -> Vec<i64> {
        due.iter().map(|burial| burial.origin.offset).collect()
    }

    #[test]
    fn waits_double_from_one_second_to_a_minute_and_never_end() {
        let mut now = Instant::now();
        let mut burials = Burials::default();
        burials.begin(burial(0));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert!(burials.failed(0, now));
            let due = now + Duration::from_secs(seconds);
            assert_eq!(burials.next_timer(), Some(due));
            assert!(burials.due(due - Duration::from_millis(1)).is_empty());
            assert_eq!(offsets(&burials.due(due)), [0]);
            now = due;
        }
    }

    #[test]
    fn while_one_is_being_written_it_is_not_due_again() {
        let now = Instant::now();
        let mut burials = Burials::default();
        burials.begin(burial(0));
        assert!(burials.due(now + Duration::from_secs(3600)).is_empty());
        burials.failed(0, now);
        assert_eq!(offsets(&burials.due(now + Duration::from_secs(1))), [0]);
        assert!(burials.due(now + Duration::from_secs(3600)).is_empty());
        assert_eq!(burials.next_timer(), None);
    }

    #[test]
    fn while_any_fails_the_oldest_alone_is_tried_and_its_success_frees_the_others() {
        let now = Instant::now();
        let mut burials = Burials::default();
        for offset in [3, 1, 2] {
            burials.begin(burial(offset));
            burials.failed(offset, now);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(offsets(&burials.due(later)), [1]);
        assert!(burials.due(later).is_empty());
        assert!(burials.acknowledged(1, later).is_some());
        assert_eq!(offsets(&burials.due(later)), [2, 3]);
    }

    #[test]
    fn an_answer_about_one_that_nobody_waits_for_changes_nothing() {
        let now = Instant::now();
        let mut burials = Burials::default();
        assert!(
            burials.acknowledged(0, now).is_none() && !burials.failed(0, now) && !burials.forget(0)
        );
        burials.begin(burial(0));
        assert!(burials.acknowledged(0, now).is_some());
        assert!(burials.acknowledged(0, now).is_none());
        assert!(burials.is_empty());
    }

    #[test]
    fn those_on_their_way_are_not_forgotten_with_those_that_wait() {
        let now = Instant::now();
        let mut burials = Burials::default();
        for offset in 0..3 {
            burials.begin(burial(offset));
        }
        burials.failed(0, now);
        burials.failed(2, now);
        assert_eq!(burials.forget_waiting(), [0, 2]);
        assert!(burials.forget(1));
        assert!(burials.is_empty());
    }
}

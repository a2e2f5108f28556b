//! The breaker as the transport meets it: asked before each attempt, told how each ended.
//!
//! A shell: it takes the lock, calls the state machine, and tells metrics, health and log of changes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cybermesh_transport::producer::{Admission as Answer, AttemptOutcome, Gate, Permit};
use tokio::{sync::watch, time::Instant};

use super::breaker::{Admission, Breaker, BreakerConfig, Outcome, State, Ticket, Transition};
use crate::telemetry::{AuditEvent, Condition, Health, Metrics};

/// The breaker of one cluster, shared by everything that produces to it: messages and dead letters.
#[derive(Debug, Clone)]
pub struct ClusterGate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    breaker: Mutex<Breaker>,
    metrics: Metrics,
    health: Health,
    /// Counts what may have changed the breaker's answer besides time.
    changes: watch::Sender<u64>,
    /// When a look-up that no broker answered was last counted.
    unreachable: Mutex<Option<Instant>>,
}

impl ClusterGate {
    /// A closed breaker that tells `metrics` and `health` of its changes; `seed` decides its jitter.
    #[must_use]
    pub fn new(config: BreakerConfig, seed: u64, metrics: Metrics, health: Health) -> Self {
        let breaker = Breaker::new(config, seed);
        metrics.breaker(breaker.state().as_number());
        let breaker = Mutex::new(breaker);
        Self(Arc::new(Inner {
            breaker,
            metrics,
            health,
            changes: watch::Sender::default(),
            unreachable: Mutex::default(),
        }))
    }

    /// How long new messages are to be refused, where they are.
    #[must_use]
    pub fn refuses(&self, now: Instant) -> Option<Duration> {
        self.lock().refuses(now.into_std())
    }

    /// The breaker's state.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state()
    }

    /// From when on the cluster may be tried with a question of our own; `None` while it is closed.
    pub(super) fn probe_from(&self, now: Instant) -> Option<Instant> {
        let breaker = self.lock();
        match breaker.state() {
            State::Closed => None,
            State::Open | State::HalfOpen => {
                Some(breaker.next_change().map_or(now, Instant::from_std))
            }
        }
    }

    /// Told whenever the breaker's answer may be another for a reason that is not the time.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// No broker could be asked for metadata by a look-up that began at `since`: counts as an attempt that failed, where
    /// one may be made. Those who waited for one look-up together count once.
    pub(super) fn unreachable(&self, since: Instant, now: Instant) {
        {
            let mut counted = self
                .0
                .unreachable
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if counted.is_some_and(|counted| since <= counted) {
                return;
            }
            *counted = Some(now);
        }
        if let Answer::Admitted(permit) = self.admit(now) {
            self.record(now, permit, AttemptOutcome::Unreachable);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.0
            .breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, transition: Option<Transition>) {
        let Some(Transition { to }) = transition else {
            return;
        };
        self.0.metrics.breaker(to.as_number());
        self.0.metrics.breaker_transition(to.as_str());
        let health = &self.0.health;
        health
            .audit()
            .record(&AuditEvent::Breaker { to: to.as_str() });
        match to {
            State::Open => health.raise(Condition::BreakerOpen, "the cluster does not answer"),
            State::HalfOpen => {}
            State::Closed => health.clear(&Condition::BreakerOpen),
        }
    }
}

impl Gate for ClusterGate {
    fn admit(&self, now: Instant) -> Answer {
        let (admission, transition) = self.lock().admit(now.into_std());
        self.tell(transition);
        match admission {
            Admission::Admitted(Ticket(number)) => Answer::Admitted(Permit(number)),
            Admission::Refused { retry_after } => Answer::Wait(retry_after),
        }
    }

    fn record(&self, now: Instant, Permit(number): Permit, outcome: AttemptOutcome) {
        let outcome = match outcome {
            AttemptOutcome::Answered => Outcome::Answered,
            AttemptOutcome::Unreachable => Outcome::Unreachable,
            AttemptOutcome::Abandoned => Outcome::Abandoned,
        };
        let (transition, state) = {
            let mut breaker = self.lock();
            let transition = breaker.record(now.into_std(), Ticket(number), outcome);
            (transition, breaker.state())
        };
        self.tell(transition);
        // A probe that ended makes room for another; while closed nobody waits.
        if transition.is_some() || state == State::HalfOpen {
            self.0
                .changes
                .send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Exposition;

    fn attempt(gate: &ClusterGate, outcome: AttemptOutcome) {
        let Answer::Admitted(permit) = gate.admit(Instant::now()) else {
            panic!("refused")
        };
        gate.record(Instant::now(), permit, outcome);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_hear_of_every_probe_that_ended_and_of_nothing_while_closed() {
        let exposition = Exposition::new().unwrap();
        let config = BreakerConfig::default();
        let gate = ClusterGate::new(config, 1, exposition.metrics(), Health::new());
        let mut changes = gate.subscribe();
        attempt(&gate, AttemptOutcome::Answered);
        assert!(!changes.has_changed().unwrap());
        for _ in 0..5 {
            attempt(&gate, AttemptOutcome::Unreachable);
        }
        assert!(changes.has_changed().unwrap());
        tokio::time::advance(Duration::from_secs(60)).await;
        for outcome in [AttemptOutcome::Abandoned, AttemptOutcome::Answered] {
            changes.mark_unchanged();
            attempt(&gate, outcome);
            assert!(changes.has_changed().unwrap(), "{outcome:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_for_one_look_up_together_count_as_one_failure() {
        let exposition = Exposition::new().unwrap();
        let config = BreakerConfig::default();
        let gate = ClusterGate::new(config, 1, exposition.metrics(), Health::new());
        for look_up in 1..=5 {
            let since = Instant::now();
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(
                gate.state(),
                State::Closed,
                "before look-up {look_up} ended"
            );
            for _ in 0..5 {
                gate.unreachable(since, Instant::now());
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(gate.state(), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_makes_the_process_unready_until_it_does() {
        let exposition = Exposition::new().unwrap();
        let health = Health::new();
        let gate = ClusterGate::new(
            BreakerConfig::default(),
            1,
            exposition.metrics(),
            health.clone(),
        );
        for _ in 0..5 {
            attempt(&gate, AttemptOutcome::Unreachable);
        }
        assert_eq!(gate.state(), State::Open);
        assert!(!health.is_ready());
        let Answer::Wait(wait) = gate.admit(Instant::now()) else {
            panic!("admitted while open")
        };
        assert_eq!(gate.refuses(Instant::now()), Some(wait));
        tokio::time::advance(wait).await;
        for _ in 0..2 {
            attempt(&gate, AttemptOutcome::Answered);
        }
        assert_eq!(gate.state(), State::Closed);
        assert!(health.is_ready());
        let text = exposition.text().unwrap();
        assert!(text.contains("bridge_breaker_state 0"), "{text}");
        assert!(
            text.contains(r#"bridge_breaker_transitions_total{to="half-open"} 1"#),
            "{text}"
        );
    }
}

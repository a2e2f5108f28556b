//! Circuit breaker: stops asking a cluster that is not answering.
//!
//! Trips on consecutive failures (a dead cluster) or on a failure share (a dying one); neither
//! alone is enough: a half-dead cluster answers often enough to reset a run. Only connection
//! failures and time-outs of all reachable brokers are failures; any answer of a broker, also an
//! unwelcome one, is a success. Open for 30 s with jitter, doubling to 5 min while probes fail;
//! half-open lets one attempt at a time through, and two answers close it.
//!
//! A state machine: it is told the time, and owns no task, socket or lock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use cybermesh_transport::host;

use super::jitter::Jitter;

/// What trips the breaker, and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// Consecutive failures that open it. Default 5.
    pub run: u32,
    /// Outcomes looked back on for the share. Default 20.
    pub window: usize,
    /// Failures among `window` outcomes, in percent, that open it. Default 50.
    pub share_percent: usize,
    /// First time open, before jitter of a fifth either way. Default 30 s.
    pub open_for: Duration,
    /// Longest time open, before jitter. Default 5 min.
    pub open_for_most: Duration,
    /// Answers that close it again. Default 2.
    pub answers_to_close: u32,
    /// After this long without an outcome a probe is given up and another may go. Default 60 s.
    pub probe_patience: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            run: 5,
            window: 20,
            share_percent: 50,
            open_for: Duration::from_secs(30),
            open_for_most: Duration::from_secs(300),
            answers_to_close: 2,
            probe_patience: Duration::from_secs(60),
        }
    }
}

/// Whether an attempt may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may; its outcome comes with this ticket.
    Admitted(Ticket),
    /// It may not, and asking again before this has passed is in vain.
    Refused {
        /// Until the breaker's answer can change by itself.
        retry_after: Duration,
    },
}

/// Belongs to one admitted attempt, and ties its outcome to the state it was admitted in. Tickets
/// are numbered in the order of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How an admitted attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A broker answered, whatever it said.
    Answered,
    /// No broker could be reached, or none answered in time.
    Unreachable,
    /// The attempt was given up for reasons of its own; says nothing about the cluster.
    Abandoned,
}

/// The breaker's three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Attempts go.
    Closed,
    /// One attempt at a time goes.
    HalfOpen,
    /// No attempt goes.
    Open,
}

impl State {
    /// As in the metric `bridge_breaker_transitions_total{to}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    /// As in the metric `bridge_breaker_state`.
    pub fn as_number(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state now.
    pub to: State,
}

#[derive(Debug)]
enum Phase {
    Closed {
        run: u32,
        window: VecDeque<bool>,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        answers: u32,
        probe: Option<(Ticket, Instant)>,
    },
}

/// The breaker of one cluster.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    jitter: Jitter,
    phase: Phase,
    /// The first ticket of this state: outcomes of attempts from an earlier one say nothing about it.
    first_ticket: Ticket,
    next_ticket: Ticket,
    /// How long the next opening lasts, before jitter.
    next_open_for: Duration,
}

impl Breaker {
    /// A closed breaker; `seed` decides its jitter.
    pub fn new(config: BreakerConfig, seed: u64) -> Self {
        Self {
            config,
            jitter: Jitter::new(seed),
            phase: Phase::Closed {
                run: 0,
                window: VecDeque::new(),
            },
            first_ticket: Ticket(0),
            next_ticket: Ticket(0),
            next_open_for: config.open_for,
        }
    }

    /// Whether an attempt may start at `now`, and the change of state that asking brought about
    /// (from open to half-open, when the time is up).
    pub fn admit(&mut self, now: Instant) -> (Admission, Option<Transition>) {
        let mut transition = None;
        if let Phase::Open { until } = self.phase {
            if now < until {
                return (
                    Admission::Refused {
                        retry_after: until - now,
                    },
                    None,
                );
            }
            transition = Some(self.enter(Phase::HalfOpen {
                answers: 0,
                probe: None,
            }));
        }
        let ticket = self.next_ticket;
        if let Phase::HalfOpen { probe, .. } = &mut self.phase {
            if let Some((_, patience_ends)) = *probe
                && now < patience_ends
            {
                return (
                    Admission::Refused {
                        retry_after: patience_ends - now,
                    },
                    transition,
                );
            }
            *probe = Some((ticket, now + self.config.probe_patience));
        }
        self.next_ticket = Ticket(ticket.0 + 1);
        (Admission::Admitted(ticket), transition)
    }

    /// The outcome of an admitted attempt, once; late ones of an earlier state are passed over.
    pub fn record(&mut self, now: Instant, ticket: Ticket, outcome: Outcome) -> Option<Transition> {
        if ticket < self.first_ticket {
            return None;
        }
        match &mut self.phase {
            Phase::Closed { run, window } => {
                let failed = match outcome {
                    Outcome::Abandoned => return None,
                    Outcome::Answered => false,
                    Outcome::Unreachable => true,
                };
                *run = if failed { *run + 1 } else { 0 };
                window.push_back(failed);
                if window.len() > self.config.window {
                    window.pop_front();
                }
                let failures = window.iter().filter(|failed| **failed).count();
                let share = window.len() >= self.config.window
                    && failures * 100 >= self.config.share_percent * window.len();
                // An answer may complete the window, but a breaker does not open on an answer.
                (failed && (*run >= self.config.run || share)).then(|| self.open(now))
            }
            Phase::HalfOpen { answers, probe } => {
                if probe.is_none_or(|(probe, _)| probe != ticket) {
                    return None;
                }
                *probe = None;
                match outcome {
                    Outcome::Abandoned => None,
                    Outcome::Unreachable => Some(self.open(now)),
                    Outcome::Answered => {
                        *answers += 1;
                        if *answers < self.config.answers_to_close {
                            return None;
                        }
                        self.next_open_for = self.config.open_for;
                        Some(self.enter(Phase::Closed {
                            run: 0,
                            window: VecDeque::new(),
                        }))
                    }
                }
            }
            Phase::Open { .. } => None,
        }
    }

    /// How long new work is to be refused, where it is: only while open, since half-open needs work to probe with.
    pub fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until } if now < until => Some(until - now),
            _ => None,
        }
    }

    /// When [`admit`](Self::admit) will next change its answer by itself.
    pub fn next_change(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } => Some(until),
            Phase::HalfOpen { probe, .. } => probe.map(|(_, patience_ends)| patience_ends),
        }
    }

    /// The state it is in. An opening whose time is up counts as open until somebody asks for admission.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn open(&mut self, now: Instant) -> Transition {
        let full = self.next_open_for;
        self.next_open_for = (full * 2).min(self.config.open_for_most);
        let fifth = full / 5;
        let chance = u64::try_from((fifth * 2).as_nanos()).unwrap_or(u64::MAX);
        let mut open_for = full - fifth + Duration::from_nanos(self.jitter.up_to(chance));
        if host::bug("breaker-stays-open") {
            open_for *= 1_000_000;
        }
        self.enter(Phase::Open {
            until: now + open_for,
        })
    }

    fn enter(&mut self, phase: Phase) -> Transition {
        self.phase = phase;
        self.first_ticket = self.next_ticket;
        Transition { to: self.state() }
    }
}

#[cfg(test)]
mod tests;

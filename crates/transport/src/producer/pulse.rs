//! Whether the task that sends goes on.

use tokio::sync::watch;

/// How the task of a producer is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// It has been round its loop.
    Beats,
    /// It ended in order: the producer was closed, and everything was settled.
    Ended,
    /// It is gone without having come to its end: it panicked, or its runtime was shut down.
    Gone,
}

/// How far the task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Turn {
    /// It goes on; the number of rounds it has begun.
    Round(u64),
    /// Made, not begun.
    #[default]
    First,
    /// Ended in order.
    Last,
}

/// The task's own end.
#[derive(Debug)]
pub(super) struct Turns(watch::Sender<Turn>);

impl Turns {
    pub(super) fn new() -> (Self, watch::Receiver<Turn>) {
        let (turns, seen) = watch::channel(Turn::First);
        (Self(turns), seen)
    }

    pub(super) fn next(&self) {
        self.0.send_modify(|turn| {
            *turn = match *turn {
                Turn::Round(number) => Turn::Round(number.wrapping_add(1)),
                Turn::First | Turn::Last => Turn::Round(0),
            };
        });
    }

    pub(super) fn end(&self) {
        self.0.send_replace(Turn::Last);
    }
}

/// Waits for the next round.
pub(super) async fn next_turn(mut seen: watch::Receiver<Turn>) -> Pulse {
    match seen.changed().await {
        Ok(()) if *seen.borrow() != Turn::Last => Pulse::Beats,
        _ if *seen.borrow() == Turn::Last => Pulse::Ended,
        _ => Pulse::Gone,
    }
}

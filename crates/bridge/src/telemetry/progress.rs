//! Whether the tasks that must never stand still do go on.
//!
//! A readiness reason says that work cannot be done; this says that the process itself is stuck, or
//! a task of it is gone, and that nothing but a restart will help.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A task that has not been round its loop for so long is stuck: each is woken many times as often.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Seen {
    At(Instant),
    Panicked,
    Gone,
}

/// The tasks that are watched. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Mutex<BTreeMap<&'static str, Seen>>>);

/// Held by a task that is watched. A task that ends lets it go, and is watched no longer; one that
/// panics is told of for ever.
#[derive(Debug)]
pub(crate) struct Beat {
    task: &'static str,
    is_gone: bool,
    progress: Progress,
}

impl Progress {
    pub(super) fn watch(&self, task: &'static str) -> Beat {
        let beat = Beat {
            task,
            is_gone: false,
            progress: self.clone(),
        };
        beat.now();
        beat
    }

    /// What stands still at `now`, and for how long, in words.
    pub(super) fn stuck(&self, now: Instant) -> Vec<(&'static str, String)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = seen.iter().filter_map(|(task, seen)| match seen {
            Seen::Panicked => Some((*task, "its task panicked".to_owned())),
            Seen::Gone => Some((*task, "its task is gone".to_owned())),
            Seen::At(at) => {
                let still = now.saturating_duration_since(*at);
                (still >= STUCK_AFTER)
                    .then(|| (*task, format!("no progress for {} s", still.as_secs())))
            }
        });
        told.collect()
    }

    fn note(&self, task: &'static str, seen: Option<Seen>) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some(seen) => tasks.insert(task, seen),
            None => tasks.remove(task),
        };
    }
}

impl Beat {
    /// The task is at the top of its loop.
    pub(crate) fn now(&self) {
        self.progress
            .note(self.task, Some(Seen::At(Instant::now())));
    }

    /// Waits for what may take as long as it likes without the task standing still.
    pub(crate) async fn during<T>(&self, waited_for: impl Future<Output = T>) -> T {
        tokio::pin!(waited_for);
        let mut beats = tokio::time::interval(STUCK_AFTER / 6);
        loop {
            tokio::select! {
                done = &mut waited_for => return done,
                _ = beats.tick() => self.now(),
            }
        }
    }

    /// The task it was held for is gone without having come to its end.
    pub(crate) fn gone(mut self) {
        self.is_gone = true;
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let seen = match self.is_gone {
            true => Some(Seen::Gone),
            false => std::thread::panicking().then_some(Seen::Panicked),
        };
        self.progress.note(self.task, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_stands_still_is_named_until_it_goes_on() {
        let progress = Progress::default();
        let beat = progress.watch("pipeline");
        tokio::time::advance(STUCK_AFTER - Duration::from_millis(1)).await;
        assert_eq!(progress.stuck(Instant::now()), []);
        tokio::time::advance(Duration::from_millis(1)).await;
        let stuck = [("pipeline", "no progress for 30 s".to_owned())];
        assert_eq!(progress.stuck(Instant::now()), stuck);
        beat.now();
        assert_eq!(progress.stuck(Instant::now()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_for_long_does_not_stand_still() {
        let progress = Progress::default();
        let beat = progress.watch("group");
        let long = tokio::time::sleep(10 * STUCK_AFTER);
        beat.during(long).await;
        assert_eq!(progress.stuck(Instant::now()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ended_is_not_missed_and_one_that_panicked_is() {
        let progress = Progress::default();
        drop(progress.watch("first"));
        let beat = progress.watch("second");
        let ended = tokio::spawn(async move {
            beat.now();
            panic!("as told");
        });
        assert!(ended.await.is_err());
        tokio::time::advance(2 * STUCK_AFTER).await;
        let stuck = [("second", "its task panicked".to_owned())];
        assert_eq!(progress.stuck(Instant::now()), stuck);
    }
}

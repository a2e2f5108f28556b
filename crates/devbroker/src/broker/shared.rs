//! The state, lent to tasks for moments, and the news that it has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::state::State;
use crate::sasl::ServerSasl;

/// The two times a request is served at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    clock_shift_ms: watch::Sender<i64>,
    /// Where the wall clock goes with tokio's: what it showed when.
    virtual_from: Option<(Instant, i64)>,
    frozen: watch::Sender<bool>,
    sasl: watch::Sender<Option<Arc<ServerSasl>>>,
    /// Ends a broker's connections of now; replaced when they are cut.
    connections: Mutex<HashMap<i32, CancellationToken>>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) max_frame_bytes: usize,
}

impl Shared {
    pub(crate) fn new(
        state: State,
        max_frame_bytes: usize,
        virtual_from_ms: Option<i64>,
    ) -> Arc<Self> {
        let begun = tokio::time::Instant::now().into_std();
        let stop = CancellationToken::new();
        Arc::new(Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            clock_shift_ms: watch::Sender::new(0),
            virtual_from: virtual_from_ms.map(|unix_ms| (begun, unix_ms)),
            frozen: watch::Sender::new(false),
            sasl: watch::Sender::new(None),
            connections: Mutex::new(HashMap::new()),
            stop,
            tasks: TaskTracker::new(),
            max_frame_bytes,
        })
    }

    /// Looks at the state. Nothing waits while the lock is held.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and wakes all who wait for a change.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Monotonic time follows tokio's clock, so that it can be paused; wall time is the
    /// system's, shifted as the test wants.
    pub(crate) fn now(&self) -> Now {
        let instant = tokio::time::Instant::now().into_std();
        let (since, from_ms) = match self.virtual_from {
            Some((begun, unix_ms)) => (instant.saturating_duration_since(begun), unix_ms),
            None => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
                (since_1970.unwrap_or_default(), 0)
            }
        };
        let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Now {
            instant,
            unix_ms: from_ms
                .saturating_add(since_ms)
                .saturating_add(*self.clock_shift_ms.borrow()),
        }
    }

    pub(crate) fn shift_clock(&self, shift_ms: i64) {
        self.clock_shift_ms.send_replace(shift_ms);
    }

    /// What connections accepted from now on are asked for.
    pub(crate) fn set_sasl(&self, sasl: Option<ServerSasl>) {
        self.sasl.send_replace(sasl.map(Arc::new));
    }

    pub(crate) fn sasl(&self) -> Option<Arc<ServerSasl>> {
        self.sasl.borrow().clone()
    }

    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Returns when the broker is not frozen.
    pub(crate) async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        // The sender lives in `self`, so this ends only by the condition.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    /// Ends a connection that a broker accepts now.
    pub(crate) fn connection_token(&self, broker: i32) -> CancellationToken {
        let mut tokens = self.connection_lock();
        let token = tokens.entry(broker);
        token.or_insert_with(|| self.stop.child_token()).clone()
    }

    pub(crate) fn cut_connections(&self, broker: i32) {
        if let Some(token) = self.connection_lock().remove(&broker) {
            token.cancel();
        }
    }

    fn connection_lock(&self) -> MutexGuard<'_, HashMap<i32, CancellationToken>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due in groups, when it is due, until the broker stops.
    pub(crate) async fn run_timers(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            let deadline = self.read(|state| state.coordinator.next_deadline());
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = due => {
                    let now = self.now().instant;
                    self.update(|state| state.handle_timeout(now));
                }
            }
        }
    }
}

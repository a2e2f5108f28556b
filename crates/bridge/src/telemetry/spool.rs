//! What waits in the outbox.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::metrics::Meter;

/// No outbox, or an empty one.
const NONE: u64 = u64::MAX;

/// The outbox's gauges, as of its last change.
pub(crate) struct Spool {
    entries: AtomicU64,
    bytes: AtomicU64,
    oldest_ms: AtomicU64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            entries: AtomicU64::new(NONE),
            bytes: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(NONE),
        }
    }
}

impl Spool {
    pub(super) fn observe(self: &Arc<Self>, meter: &Meter) {
        let number = |name: &'static str, about: &'static str, of: fn(&Self) -> &AtomicU64| {
            let spool = Arc::clone(self);
            meter
                .u64_observable_gauge(name)
                .with_description(about)
                .with_callback(move |observer| {
                    if spool.entries.load(Ordering::Relaxed) != NONE {
                        observer.observe(of(&spool).load(Ordering::Relaxed), &[]);
                    }
                })
                .build();
        };
        number("bridge_outbox_entries", "Messages in the outbox", |spool| {
            &spool.entries
        });
        number(
            "bridge_outbox_bytes",
            "What they take, as counted against its bound",
            |spool| &spool.bytes,
        );
        let spool = Arc::clone(self);
        meter
            .f64_observable_gauge("bridge_outbox_oldest_seconds")
            .with_description("Time since the first message in the outbox was accepted")
            .with_callback(move |observer| {
                if spool.entries.load(Ordering::Relaxed) != NONE {
                    observer.observe(spool.oldest_age().as_secs_f64(), &[]);
                }
            })
            .build();
    }

    fn oldest_age(&self) -> Duration {
        match self.oldest_ms.load(Ordering::Relaxed) {
            NONE => Duration::ZERO,
            accepted_ms => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH + Duration::from_millis(accepted_ms))
                .unwrap_or_default(),
        }
    }

    pub(crate) fn set(&self, entries: usize, bytes: u64, oldest_ms: Option<u64>) {
        let entries = u64::try_from(entries).unwrap_or(NONE - 1);
        self.entries.store(entries, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.oldest_ms
            .store(oldest_ms.unwrap_or(NONE), Ordering::Relaxed);
    }
}

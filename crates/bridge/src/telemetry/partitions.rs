//! Watermark, lag and pause of the partitions held at this moment.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use opentelemetry::{KeyValue, metrics::Meter};

/// The handles of one partition; more than one while it is handed over.
type Handles = Vec<Arc<PartitionNumbers>>;

/// Numbers of the partitions held at this moment, read when somebody looks.
#[derive(Default)]
pub(super) struct Partitions {
    held: Mutex<BTreeMap<(String, i32), Handles>>,
}

#[derive(Default)]
struct PartitionNumbers {
    watermark: AtomicI64,
    lag: AtomicI64,
    guarded: AtomicBool,
}

impl Partitions {
    pub(super) fn observe(self: &Arc<Self>, meter: &Meter) {
        let observed =
            |name: &'static str, about: &'static str, read: fn(&PartitionNumbers) -> i64| {
                let partitions = Arc::clone(self);
                meter
                    .i64_observable_gauge(name)
                    .with_description(about)
                    .with_callback(move |observer| {
                        let held = partitions
                            .held
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner);
                        for ((topic, partition), numbers) in held.iter() {
                            let Some(numbers) = numbers.last() else {
                                continue;
                            };
                            let labels = [
                                KeyValue::new("topic", topic.clone()),
                                KeyValue::new("partition", i64::from(*partition)),
                            ];
                            observer.observe(read(numbers), &labels);
                        }
                    })
                    .build();
            };
        observed(
            "bridge_watermark",
            "Offset before which everything is done",
            |numbers| numbers.watermark.load(Ordering::Relaxed),
        );
        observed(
            "bridge_lag",
            "Records between the watermark and the end of the log",
            |numbers| numbers.lag.load(Ordering::Relaxed),
        );
        observed(
            "bridge_flood_guard_paused",
            "1 while the partition is paused because authentic messages fail, our clock is in doubt or its kind has no key, else 0",
            |numbers| i64::from(numbers.guarded.load(Ordering::Relaxed)),
        );
    }

    pub(super) fn open(self: &Arc<Self>, topic: &str, partition: i32) -> PartitionGauges {
        let numbers = Arc::new(PartitionNumbers::default());
        let key = (topic.to_owned(), partition);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entry(key.clone())
            .or_default()
            .push(Arc::clone(&numbers));
        PartitionGauges {
            partitions: Arc::clone(self),
            key,
            numbers,
        }
    }
}

/// Numbers of one assigned partition; dropping it takes them off the page.
pub struct PartitionGauges {
    partitions: Arc<Partitions>,
    key: (String, i32),
    numbers: Arc<PartitionNumbers>,
}

impl PartitionGauges {
    /// The offset before which everything is done.
    pub fn watermark(&self, offset: i64) {
        self.numbers.watermark.store(offset, Ordering::Relaxed);
    }

    /// Records between the watermark and the end of the log.
    pub fn lag(&self, records: i64) {
        self.numbers.lag.store(records, Ordering::Relaxed);
    }

    /// Whether it is paused because authentic messages fail one after the other, our clock is in doubt, or
    /// the trust store has no key for its kind. With the guard switched off it still is for want of keys,
    /// and for a clock that shows a time that cannot be.
    pub fn flood_guard_paused(&self, paused: bool) {
        self.numbers.guarded.store(paused, Ordering::Relaxed);
    }
}

impl Drop for PartitionGauges {
    fn drop(&mut self) {
        let mut held = self
            .partitions
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = held.get_mut(&self.key) {
            handles.retain(|numbers| !Arc::ptr_eq(numbers, &self.numbers));
            if handles.is_empty() {
                held.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for PartitionGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionGauges")
            .field("topic", &self.key.0)
            .field("partition", &self.key.1)
            .finish_non_exhaustive()
    }
}

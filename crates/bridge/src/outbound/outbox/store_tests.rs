//! The writer over a disk that fails.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    super::{
        entry::{Body, Entry},
        simulated::{Disk, Fault},
    },
    *,
};
use crate::clock::SystemClock;

/// Whether it is the fault that was meant.
type IsIt = fn(&DiskFault) -> bool;

fn entry(number: u64) -> Entry {
    Entry {
        kind: cybermesh_contracts::kind::Kind::Anomaly,
        topic: "t".into(),
        partition: None,
        key: None,
        headers: Vec::new(),
        traceparent: None,
        accepted_at_ms: number,
        body: Body::Draft(format!("payload number {number}, long enough to be found").into_bytes()),
    }
}

fn put(place: u64) -> Change {
    let bytes = entry(place).encode().seal(place);
    Change::Put { place, bytes }
}

struct Bench {
    disk: Disk,
    health: Health,
    store: Store,
    found: Found,
}

fn open(disk: &Disk, sync: Sync) -> Bench {
    let health = Health::new();
    let storage = Box::new(disk.clone());
    let (store, found) = Store::open(storage, sync, health.clone(), Arc::new(SystemClock)).unwrap();
    Bench {
        disk: disk.clone(),
        health,
        store,
        found,
    }
}

impl Bench {
    fn start(sync: Sync) -> Self {
        open(&Disk::default(), sync)
    }

    async fn write(&self, change: Change) -> Result<(), DiskFault> {
        written(self.store.write(vec![change], Urgency::BySetting)).await
    }

    /// Another process, after this one ended.
    async fn after(self, sync: Sync) -> Self {
        self.store.close().await;
        open(&self.disk, sync)
    }

    fn places(&self) -> Vec<u64> {
        self.found
            .entries
            .iter()
            .map(|(place, ..)| *place)
            .collect()
    }

    async fn until_it_writes(&self, change: Change) {
        let writing = async { while self.write(change.clone()).await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(20), writing)
            .await
            .expect("it never wrote again");
    }

    fn holds(&self, condition: &Condition) -> Option<String> {
        let conditions = self.health.conditions();
        let found = conditions.into_iter().find(|(held, _)| held == condition);
        found.map(|(_, detail)| detail)
    }
}

#[tokio::test]
async fn what_was_written_is_there_in_order_for_the_next_process() {
    let bench = Bench::start(Sync::Always);
    for place in [7, 3, 5] {
        bench.write(put(place)).await.unwrap();
    }
    bench.write(Change::Remove { place: 5 }).await.unwrap();
    assert_eq!(
        bench.store.read(vec![3, 5, 7]).await.unwrap(),
        [Some(entry(3)), None, Some(entry(7))]
    );
    let next = bench.after(Sync::Always).await;
    assert_eq!(next.places(), [3, 7]);
    assert_eq!(next.found.next_place, 8);
}

#[tokio::test]
async fn a_place_is_not_given_out_twice_though_all_was_taken_out() {
    let bench = Bench::start(Sync::Always);
    bench.write(put(41)).await.unwrap();
    bench.write(Change::Remove { place: 41 }).await.unwrap();
    let next = bench.after(Sync::Always).await;
    assert_eq!((next.places(), next.found.next_place), (vec![], 42));
}

#[tokio::test]
async fn writes_that_wait_together_share_a_sync() {
    let bench = Bench::start(Sync::Always);
    bench.write(put(1)).await.unwrap();
    let before = bench.disk.syncs();
    let writes: Vec<_> = (2..202)
        .map(|place| bench.store.write(vec![put(place)], Urgency::BySetting))
        .collect();
    for write in writes {
        written(write).await.unwrap();
    }
    // The first goes alone, the others meanwhile wait; a slow machine may part them oftener.
    let syncs = bench.disk.syncs() - before;
    assert!(syncs < 100, "{syncs} syncs for 200 writes");
}

#[tokio::test]
async fn nothing_is_told_before_it_is_synced_unless_the_setting_says_so() {
    for (sync, survives) in [(Sync::Always, true), (Sync::Interval, false)] {
        let bench = Bench::start(sync);
        let before = bench.disk.syncs();
        bench.write(put(1)).await.unwrap();
        assert_eq!(bench.disk.syncs() > before, survives, "{sync:?}");
    }
}

#[tokio::test]
async fn what_goes_out_next_is_synced_in_either_case() {
    let bench = Bench::start(Sync::Interval);
    let before = bench.disk.syncs();
    written(bench.store.write(vec![put(1)], Urgency::Synced))
        .await
        .unwrap();
    assert!(bench.disk.syncs() > before);
}

#[tokio::test]
async fn what_is_told_at_once_is_on_disk_after_the_interval_and_read_before() {
    let bench = Bench::start(Sync::Interval);
    bench.write(put(1)).await.unwrap();
    assert_eq!(bench.store.read(vec![1]).await.unwrap(), [Some(entry(1))]);
    bench.write(put(2)).await.unwrap();
    let next = bench.after(Sync::Interval).await;
    assert_eq!(next.places(), [1, 2]);
}

#[tokio::test]
async fn each_fault_is_told_by_its_name_and_all_goes_on_when_it_is_gone() {
    let full = |fault: &DiskFault| matches!(fault, DiskFault::Full(_));
    let read_only = |fault: &DiskFault| matches!(fault, DiskFault::ReadOnly(_));
    let io = |fault: &DiskFault| matches!(fault, DiskFault::Io(_));
    let faults: [(Fault, IsIt); 4] = [
        (Fault::Full, full),
        (Fault::ReadOnly, read_only),
        (Fault::Broken, io),
        (Fault::Sync, io),
    ];
    for (fault, is_it) in faults {
        let bench = Bench::start(Sync::Always);
        bench.write(put(1)).await.unwrap();
        bench.disk.fail(Some(fault));
        // A full disk has room in the file for a while.
        let mut refused = Vec::new();
        let mut kept = vec![1];
        for place in 2..600 {
            match bench.write(put(place)).await {
                Ok(()) => kept.push(place),
                Err(said) => {
                    assert!(is_it(&said), "{fault:?}: {said}");
                    refused.push(place);
                }
            }
            if refused.len() > 3 {
                break;
            }
        }
        assert!(!refused.is_empty(), "{fault:?}");
        assert!(bench.holds(&Condition::Outbox).is_some(), "{fault:?}");
        bench.disk.fail(None);
        bench.until_it_writes(put(1_000)).await;
        assert_eq!(bench.holds(&Condition::Outbox), None, "{fault:?}");
        kept.push(1_000);
        let next = bench.after(Sync::Always).await;
        assert_eq!(
            next.places(),
            kept,
            "{fault:?}: what was refused is not there"
        );
    }
}

#[tokio::test]
async fn what_was_to_be_taken_out_while_the_disk_failed_is_taken_out_later() {
    let bench = Bench::start(Sync::Always);
    bench.write(put(1)).await.unwrap();
    bench.disk.fail(Some(Fault::Broken));
    bench.write(Change::Remove { place: 1 }).await.unwrap_err();
    bench.disk.fail(None);
    bench.until_it_writes(put(2)).await;
    assert_eq!(bench.after(Sync::Always).await.places(), [2]);
}

#[tokio::test]
async fn a_file_of_anything_is_set_aside_named_and_replaced() {
    let disk = Disk::default();
    disk.overwrite(0, &[0xA5; 20_000]);
    let bench = open(&disk, Sync::Always);
    let named = bench.holds(&Condition::OutboxSetAside).unwrap();
    assert!(named.contains("corrupt-"), "{named}");
    bench.write(put(1)).await.unwrap();
    assert_eq!(bench.after(Sync::Always).await.places(), [1]);
}

#[tokio::test]
async fn a_file_whose_pages_were_overwritten_is_set_aside() {
    let bench = Bench::start(Sync::Always);
    for place in 1..50 {
        bench.write(put(place)).await.unwrap();
    }
    let disk = bench.disk.clone();
    bench.store.close().await;
    let at = disk.find(b"payload number 25,").unwrap();
    disk.overwrite(at, b"something else 25,");
    let next = open(&disk, Sync::Always);
    assert!(next.holds(&Condition::OutboxSetAside).is_some());
    assert_eq!(next.places(), [0; 0]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_set_aside_alone() {
    let bench = Bench::start(Sync::Always);
    bench.write(put(1)).await.unwrap();
    let of_another = entry(3).encode().seal(3);
    let wrong = Change::Put {
        place: 2,
        bytes: of_another,
    };
    bench.write(wrong).await.unwrap();
    bench.write(put(4)).await.unwrap();
    let next = bench.after(Sync::Always).await;
    assert_eq!(next.places(), [1, 4]);
    assert_eq!(next.found.unreadable, [2]);
}

#[tokio::test]
async fn what_is_owed_is_written_at_the_close_though_the_disk_failed_a_moment_ago() {
    let bench = Bench::start(Sync::Always);
    bench.write(put(1)).await.unwrap();
    bench.disk.fail(Some(Fault::Broken));
    bench.write(Change::Remove { place: 1 }).await.unwrap_err();
    bench.disk.fail(None);
    let next = bench.after(Sync::Always).await;
    assert!(next.places().is_empty(), "{:?}", next.places());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whenever_the_power_goes_nothing_that_was_told_is_lost(
        crashes in prop::collection::vec((1_u64..120, prop::collection::vec(any::<u16>(), 64)), 1..4),
        removes in prop::collection::vec(any::<bool>(), 64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::default();
            // What must be there, and what may be: whoever was refused, or not told, has no claim either way.
            let (mut told, mut unsure) = (BTreeMap::new(), Vec::new());
            let mut next = 1;
            for (power, tears) in crashes {
                let bench = open(&disk, Sync::Always);
                let there = bench.places();
                for place in told.keys() {
                    prop_assert!(there.contains(place), "{place} was told, and is lost: {there:?}");
                }
                for place in &there {
                    prop_assert!(told.contains_key(place) || unsure.contains(place), "{place} was taken out");
                }
                next = next.max(bench.found.next_place);
                told = there.iter().map(|place| (*place, ())).collect();
                unsure.clear();
                disk.lose_power_after(power);
                for remove in &removes {
                    let oldest = told.keys().next().copied();
                    let outcome = match oldest.filter(|_| *remove) {
                        Some(place) => {
                            told.remove(&place);
                            let removed = bench.write(Change::Remove { place }).await;
                            if removed.is_err() { unsure.push(place); }
                            removed
                        }
                        None => {
                            let place = next;
                            next += 1;
                            let written = bench.write(put(place)).await;
                            match written { Ok(()) => { told.insert(place, ()); } Err(_) => unsure.push(place) }
                            written
                        }
                    };
                    if outcome.is_err() { break; }
                }
                bench.store.close().await;
                let mut tears = tears.into_iter().cycle();
                disk.restart(|| tears.next().unwrap_or_default());
            }
            Ok(())
        })?;
    }
}

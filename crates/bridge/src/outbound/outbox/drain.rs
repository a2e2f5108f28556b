//! Sends what is in the outbox, while the breaker lets it: a task of the publisher.
//!
//! Group by group, many at once, one worker each ([`turn`](super::turn)). What did not get through is tried again by the
//! schedule of resends, and at once when the breaker has closed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Outbox,
    database::Change,
    index::Group,
    store::Urgency,
    turn::{NotNow, Turn},
};
use crate::{
    outbound::{breaker::State, gate::ClusterGate, publisher::Inner, retry::RetrySchedule},
    telemetry::Left,
};

/// Groups that are sent from at once.
const AT_ONCE: usize = 16;
/// How often it is looked for what has grown too old, at least.
const LOOKED_OVER: Duration = Duration::from_secs(1);

/// When a group that was hindered is tried again.
struct Pause {
    failures: u32,
    until: Instant,
}

struct Drain {
    outbox: Arc<Outbox>,
    pace: RetrySchedule,
    pauses: HashMap<Group, Pause>,
    busy: HashSet<Group>,
    workers: FuturesUnordered<BoxFuture<'static, (Group, Turn)>>,
}

/// Drains until `closing`. What is under way then is waited for: the transport's end settles it.
pub(in crate::outbound) async fn run(
    publisher: Weak<Inner>,
    outbox: Arc<Outbox>,
    gate: ClusterGate,
    pace: RetrySchedule,
    closing: CancellationToken,
) {
    let mut changes = gate.subscribe();
    let mut drain = Drain {
        outbox: Arc::clone(&outbox),
        pace,
        pauses: HashMap::new(),
        busy: HashSet::new(),
        workers: FuturesUnordered::new(),
    };
    loop {
        let wakeup = match publisher.upgrade() {
            Some(publisher) => drain.step(&publisher, &gate, Instant::now()),
            None => break,
        };
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            Some((group, turn)) = drain.workers.next() => drain.ended(group, turn),
            () = outbox.changed.notified() => {}
            Ok(()) = changes.changed() => drain.pauses.clear(),
            () = sleep_until(wakeup) => {}
        }
    }
    while drain.workers.next().await.is_some() {}
}

impl Drain {
    /// Starts what may go; says when to look again.
    fn step(&mut self, publisher: &Arc<Inner>, gate: &ClusterGate, now: Instant) -> Instant {
        let look_over = now + LOOKED_OVER;
        self.outbox.expire();
        // Told when it closes; until then it is tried with a question.
        if gate.state() != State::Closed {
            return look_over;
        }
        let ready = self.outbox.lock().ready();
        let mut wakeup = look_over;
        for group in ready {
            if self.workers.len() >= AT_ONCE {
                break;
            }
            if self.busy.contains(&group) {
                continue;
            }
            match self.pauses.get(&group) {
                Some(pause) if pause.until > now => wakeup = wakeup.min(pause.until),
                _ => {
                    self.busy.insert(group.clone());
                    let (publisher, outbox) = (Arc::clone(publisher), Arc::clone(&self.outbox));
                    self.workers.push(
                        async move {
                            let turn = publisher.drain(&outbox, &group).await;
                            (group, turn)
                        }
                        .boxed(),
                    );
                }
            }
        }
        wakeup
    }

    fn ended(&mut self, group: Group, turn: Turn) {
        self.busy.remove(&group);
        match turn {
            Turn::Went => drop(self.pauses.remove(&group)),
            Turn::Hindered(NotNow::Waits(reason)) => {
                tracing::debug!(topic = %group.0, reason, "what is in the outbox waits its turn");
                let until = Instant::now() + LOOKED_OVER;
                let pause = self.pauses.entry(group);
                let pause = pause.or_insert(Pause { failures: 0, until });
                pause.until = until;
            }
            Turn::Hindered(NotNow::Failed(reason)) => {
                self.outbox
                    .status
                    .send_modify(|status| status.failures += 1);
                let failures = self.pauses.get(&group).map_or(0, |pause| pause.failures) + 1;
                if failures == 1 {
                    tracing::warn!(topic = %group.0, reason, "what is in the outbox cannot be sent yet");
                }
                let wait = self.pace.wait(failures).unwrap_or(LOOKED_OVER);
                let until = Instant::now() + wait;
                self.pauses.insert(group, Pause { failures, until });
            }
        }
    }
}

impl Outbox {
    fn expire(&self) {
        let now_ms = self.clock.unix_ms();
        let mut index = self.lock();
        let expired = index.expire(now_ms, Instant::now(), self.age);
        if expired.is_empty() {
            return;
        }
        let remove = |(place, _): &(u64, _)| Change::Remove { place: *place };
        let changes = expired.iter().map(remove).collect();
        // Nobody waits for it: what is not taken out now expires again in the next process.
        drop(self.store.write(changes, Urgency::BySetting));
        self.show(&index);
        drop(index);
        self.tell_lost(&expired, Left::Expired);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{index::Slot, simulated::Disk},
        *,
    };
    use crate::{
        clock::SystemClock,
        outbound::outbox::{Sync, WhenFull},
        settings,
        telemetry::{Exposition, Health},
    };

    #[tokio::test]
    async fn waiting_its_turn_is_no_failed_attempt() {
        let settings = settings::Outbox {
            enabled: true,
            bytes: 1 << 20,
            age: Duration::from_secs(60),
            when_full: WhenFull::Refuse,
            sync: Sync::Always,
        };
        let (clock, disk) = (Arc::new(SystemClock), Box::new(Disk::default()));
        let metrics = Exposition::new().unwrap().metrics();
        let opened = Outbox::open(disk, &settings, clock, metrics, Health::new());
        let outbox = Arc::new(opened.unwrap());
        let mut drain = Drain {
            outbox: Arc::clone(&outbox),
            pace: RetrySchedule::new(Duration::from_secs(1), 9, 1),
            pauses: HashMap::new(),
            busy: HashSet::new(),
            workers: FuturesUnordered::new(),
        };
        let failures = |outbox: &Outbox| outbox.status().borrow().failures;
        let group: Group = ("t".into(), Slot::Keyless);
        for _ in 0..3 {
            drain.ended(group.clone(), Turn::Hindered(NotNow::Waits("its turn")));
        }
        assert_eq!(failures(&outbox), 0);
        assert!(drain.pauses[&group].until > Instant::now());
        drain.ended(
            group.clone(),
            Turn::Hindered(NotNow::Failed("gone".to_owned())),
        );
        assert_eq!((failures(&outbox), drain.pauses[&group].failures), (1, 1));
        drain.ended(group.clone(), Turn::Went);
        assert!(drain.pauses.is_empty());
    }
}

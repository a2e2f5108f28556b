//! Has things go wrong, one after the other, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_checker::Event;
use cybermesh_devbroker::{Api, ErrorCode, Fault};
use tokio::time::Instant;

use crate::attacker::Attacker;
use crate::dice::Dice;
use crate::plan::Kind;
use crate::process::{Role, Slot};
use crate::world::{BROKERS, GROUP, NODES, PARTITIONS, TOPIC, World};

/// Requests whose answers are played with.
const APIS: [Api; 10] = [
    Api::Produce,
    Api::Produce,
    Api::OffsetCommit,
    Api::OffsetCommit,
    Api::Fetch,
    Api::Metadata,
    Api::JoinGroup,
    Api::SyncGroup,
    Api::Heartbeat,
    Api::OffsetFetch,
];

pub(crate) struct Nemesis {
    world: Arc<World>,
    dice: Dice,
    pub(crate) slots: Vec<Slot>,
    attacker: Attacker,
    /// Brokers that are to come up again, and processes that are to be started.
    brokers_back: Vec<(Instant, i32)>,
    back: Vec<(Instant, usize)>,
    revoked: bool,
}

impl Nemesis {
    pub(crate) fn new(world: &Arc<World>, slots: Vec<Slot>, attacker: Attacker) -> Self {
        Self {
            world: Arc::clone(world),
            dice: world.dice("nemesis"),
            slots,
            attacker,
            brokers_back: Vec::new(),
            back: Vec::new(),
            revoked: false,
        }
    }

    /// Goes on until `until`.
    pub(crate) async fn run(&mut self, until: Instant) {
        loop {
            let next = Instant::now() + self.dice.ms(200..=self.world.plan.pause_ms);
            self.wait_until(next.min(until)).await;
            if Instant::now() >= until {
                return;
            }
            let kinds = self.world.plan.kinds.clone();
            if let Some(kind) = self.dice.pick(&kinds) {
                self.strike(*kind).await;
            }
        }
    }

    /// Waits, and meanwhile brings back what was away for long enough.
    async fn wait_until(&mut self, until: Instant) {
        loop {
            self.reap();
            let due = self.back.iter().map(|(at, _)| *at);
            let due = due.chain(self.brokers_back.iter().map(|(at, _)| *at)).min();
            let next = due.map_or(until, |due| due.min(until));
            let next = next.min(Instant::now() + Duration::from_millis(500));
            tokio::time::sleep_until(next).await;
            self.bring_back(Instant::now()).await;
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Processes that died by themselves are started again after a while.
    fn reap(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].reap(&self.world) {
                let at = Instant::now() + self.dice.ms(50..=3_000);
                self.back.push((at, index));
            }
        }
    }

    async fn bring_back(&mut self, now: Instant) {
        let due = |(at, _): &(Instant, usize)| *at <= now;
        let (due_now, later): (Vec<_>, Vec<_>) = self.back.drain(..).partition(due);
        self.back = later;
        for (_, index) in due_now {
            self.slots[index].start(&self.world);
        }
        let due = |(at, _): &(Instant, i32)| *at <= now;
        let (due_now, later): (Vec<_>, Vec<_>) = self.brokers_back.drain(..).partition(due);
        self.brokers_back = later;
        for (_, broker) in due_now {
            self.world
                .recorder
                .note(format_args!("broker {broker} is back"));
            // Nothing is listened on, so nothing can be taken.
            let _ = self.world.broker.start_broker(broker).await;
        }
    }

    async fn strike(&mut self, kind: Kind) {
        self.world
            .recorder
            .note(format_args!("fault: {}", kind.name()));
        let api = *self.dice.pick(&APIS).unwrap_or(&Api::Produce);
        let broker = self.a_broker();
        // What finds nobody to strike is none.
        let mut struck = true;
        match kind {
            Kind::LostAnswer => self.fault(Fault::drop_after_apply(api)),
            Kind::LostRequest => self.fault(Fault::drop_before_apply(api)),
            Kind::DoubleAnswer => self.fault(Fault::duplicate(api)),
            Kind::SwappedAnswers => self.fault(Fault::swap(api)),
            Kind::HalfAnswer => self.fault(Fault::cut(api)),
            Kind::LateAnswer => {
                let late = self.dice.ms(500..=6_000);
                match self.dice.percent(50) {
                    true => self.fault(Fault::delay(api, late)),
                    false => self.fault(Fault::delay_before_apply(api, late)),
                }
            }
            Kind::Refusal => self.refuse(),
            Kind::SlowNetwork => {
                let slowest = self.dice.ms(50..=1_500);
                self.world.network.slow_down(slowest);
            }
            Kind::TornConnection => self.world.network.tear_one(),
            Kind::CutLine => {
                let index = self.dice.index(self.slots.len());
                let name = self.slots[index].name.clone();
                let time = self.dice.ms(500..=15_000);
                let loses = self.dice.percent(30);
                if self.dice.percent(40) {
                    for broker in 1..=i32::from(BROKERS) {
                        self.world.network.cut(&name, broker, time, loses);
                    }
                } else {
                    self.world.network.cut(&name, broker, time, loses);
                }
            }
            Kind::Outage => {
                let time = self.dice.ms(20_000..=40_000);
                for slot in &self.slots {
                    for broker in 1..=i32::from(BROKERS) {
                        self.world.network.cut(&slot.name, broker, time, true);
                    }
                }
            }
            Kind::LeaderMoves => {
                let partition = self.a_partition();
                self.world.broker.move_leader(TOPIC, partition, broker);
            }
            Kind::BrokerStops => {
                // At most one is away: acknowledged is what the others have.
                let is_alone = self.brokers_back.is_empty();
                if is_alone {
                    self.world.broker.stop_broker(broker).await;
                    let at = Instant::now() + self.dice.ms(1_000..=12_000);
                    self.brokers_back.push((at, broker));
                }
                struck = is_alone;
            }
            Kind::CoordinatorMoves => {
                self.world.broker.move_coordinator(GROUP, broker);
            }
            Kind::MemberExpires => {
                let members = self.world.broker.group(GROUP);
                let members = members.map(|group| group.members).unwrap_or_default();
                let member = self.dice.pick(&members);
                struck = member.is_some();
                if let Some(member) = member {
                    self.world.broker.expire_member(GROUP, &member.member_id);
                }
            }
            Kind::NodeCrashes => struck = self.crash(Role::Node),
            Kind::BackendCrashes => struck = self.crash(Role::Backend),
            Kind::Rebalance => struck = self.rebalance().await,
            Kind::DiskFails => self.fail_a_disk(),
            Kind::ClockSteps => self.step_a_clock(),
            Kind::KeyRevoked => struck = self.revoke(),
            Kind::Forgery => self.attacker.forge().await,
            Kind::Copy => self.attacker.copy().await,
        }
        if struck {
            self.world.recorder.count(kind.name());
        }
    }

    /// Of requests of nodes and backends, never of the attacker's.
    fn fault(&self, fault: Fault) {
        let index = self.dice.index(self.slots.len());
        let client = format!("cybermesh-{}", self.slots[index].name);
        let skip = self.dice.within(0..=2);
        self.world
            .broker
            .fault(fault.client(&client).skip(skip).once());
    }

    fn refuse(&self) {
        let produce = [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::KAFKA_STORAGE_ERROR,
        ];
        let group = [
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
        ];
        let of_group = [
            Api::OffsetCommit,
            Api::Heartbeat,
            Api::JoinGroup,
            Api::OffsetFetch,
        ];
        match self.dice.within(0..=2) {
            0 => {
                if let Some(code) = self.dice.pick(&produce) {
                    self.fault(Fault::error(Api::Produce, *code));
                }
            }
            // Written, though the answer says no.
            1 => self.fault(Fault::error_after_apply(
                Api::Produce,
                match self.dice.percent(50) {
                    true => ErrorCode::REQUEST_TIMED_OUT,
                    false => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                },
            )),
            _ => {
                if let (Some(api), Some(code)) = (self.dice.pick(&of_group), self.dice.pick(&group))
                {
                    self.fault(Fault::error(*api, *code));
                }
            }
        }
    }

    fn one_of(&self, role: Role) -> Option<usize> {
        let there: Vec<usize> = (0..self.slots.len())
            .filter(|index| self.slots[*index].role == role)
            .filter(|index| self.slots[*index].running.is_some())
            .collect();
        self.dice.pick(&there).copied()
    }

    /// Whether there was one.
    fn crash(&mut self, role: Role) -> bool {
        let Some(index) = self.one_of(role) else {
            return false;
        };
        self.slots[index].crash(&self.world);
        let at = Instant::now() + self.dice.ms(10..=8_000);
        self.back.push((at, index));
        true
    }

    /// A member leaves in order and comes back; whether there was one.
    async fn rebalance(&mut self) -> bool {
        let Some(index) = self.one_of(Role::Backend) else {
            return false;
        };
        let world = Arc::clone(&self.world);
        self.slots[index].stop(&world).await;
        let at = Instant::now() + self.dice.ms(10..=6_000);
        self.back.push((at, index));
        true
    }

    fn fail_a_disk(&mut self) {
        let index = self.dice.index(self.slots.len());
        let disk = &self.slots[index].disk;
        match self.dice.within(0..=2) {
            0 => {
                let full = self.dice.percent(60);
                disk.set_full(full);
            }
            1 => disk.fail_next_sync(),
            _ => disk.tear_next_step(),
        }
    }

    fn step_a_clock(&mut self) {
        let index = self.dice.index(self.slots.len());
        let process = self.slots[index].name.clone();
        let off_by_ms = *self
            .dice
            .pick(&[-3_600_000, 3_600_000, 0, -60_000, 60_000])
            .unwrap_or(&0);
        self.world.clocks.set(&process, off_by_ms);
        self.world
            .recorder
            .event(Event::ClockStepped { process, off_by_ms });
        // A machine whose clock was wrong is often started again.
        let may_crash = self.world.plan.kinds.contains(&Kind::NodeCrashes);
        if may_crash && self.slots[index].role == Role::Node && self.dice.percent(40) {
            self.world.recorder.count(Kind::NodeCrashes.name());
            let world = Arc::clone(&self.world);
            self.slots[index].crash(&world);
            let at = Instant::now() + self.dice.ms(10..=8_000);
            self.back.push((at, index));
        }
    }

    /// Whether it was the first.
    fn revoke(&mut self) -> bool {
        if std::mem::replace(&mut self.revoked, true) {
            return false;
        }
        let Some(node) = self.dice.pick(&NODES) else {
            return false;
        };
        // A folder of this run's own: nothing else writes there.
        let is_written = self.world.write_trust(Some(node)).is_ok();
        if is_written {
            self.world.recorder.event(Event::Withdrawn {
                signer: (*node).to_owned(),
            });
        }
        is_written
    }

    fn a_broker(&self) -> i32 {
        let broker = self.dice.within(1..=u64::from(BROKERS));
        i32::try_from(broker).unwrap_or(1)
    }

    fn a_partition(&self) -> i32 {
        let last = u64::try_from(PARTITIONS - 1).unwrap_or(0);
        i32::try_from(self.dice.within(0..=last)).unwrap_or(0)
    }

    /// Everything is well from now on: faults off, everybody there.
    pub(crate) async fn heal(&mut self) {
        self.world.broker.clear_faults();
        self.world.network.heal();
        self.world.clocks.heal();
        self.brokers_back.clear();
        for broker in 1..=i32::from(BROKERS) {
            let _ = self.world.broker.start_broker(broker).await;
        }
        self.back.clear();
        for slot in &mut self.slots {
            slot.disk.heal();
            slot.reap(&self.world);
            slot.start(&self.world);
        }
    }

    /// Waits for a moment, and starts again who died by itself meanwhile.
    pub(crate) async fn look_after(&mut self, until: Instant) {
        self.wait_until(until).await;
    }
}

//! Some members and a model of their coordinator: whatever comes, goes, dies, falls silent, is answered late or into the
//! void, no partition is ever two members' at once, and in the end each is somebody's.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::*;
use super::*;

const PARTITIONS: i32 = 7;
/// The coordinator's clock runs behind the members': they notice first.
const BEHIND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_secs(1);

/// A member as the coordinator counts it.
#[derive(Debug, Default, Clone)]
struct Counted {
    epoch: i32,
    previous: i32,
    assigned: BTreeSet<i32>,
    /// What it was asked to give up, and has not said to have.
    leaving: BTreeSet<i32>,
    give_up_by: Option<Instant>,
    silent_at: Option<Instant>,
}

/// Kafka's coordinator of such groups, in short (`CurrentAssignmentBuilder` and its callers).
#[derive(Debug, Default)]
struct Coordinator {
    epoch: i32,
    members: BTreeMap<String, Counted>,
    target: BTreeMap<String, BTreeSet<i32>>,
}

impl Coordinator {
    /// As few move as can be, and nobody has two more than another.
    fn retarget(&mut self) {
        self.epoch += 1;
        let count = self.members.len();
        if count == 0 {
            self.target.clear();
            return;
        }
        let all = usize::try_from(PARTITIONS).expect("few");
        let (share, mut larger) = (all / count, all % count);
        let mut free: BTreeSet<i32> = (0..PARTITIONS).collect();
        let mut target = BTreeMap::new();
        for id in self.members.keys() {
            let before = self.target.get(id).into_iter().flatten().copied();
            let mut kept: Vec<i32> = before.filter(|number| free.contains(number)).collect();
            let most = share + usize::from(larger > 0);
            if kept.len() > share && larger > 0 {
                larger -= 1;
            }
            kept.truncate(most);
            free.retain(|number| !kept.contains(number));
            target.insert(id.clone(), kept.into_iter().collect::<BTreeSet<i32>>());
        }
        for number in free {
            let least = target.values_mut().min_by_key(|has| has.len());
            least.expect("a member").insert(number);
        }
        self.target = target;
    }

    fn beat(&mut self, now: Instant, id: &str, beat: &Beat) -> Result<Answer, TransportError> {
        let owned = beat.owned.as_ref().map(|topics| {
            let numbers = topics.iter().flat_map(|(_, numbers)| numbers);
            numbers.copied().collect::<BTreeSet<i32>>()
        });
        match self.members.get(id) {
            None if beat.epoch == 0 => {
                self.members.insert(id.to_owned(), Counted::default());
                self.retarget();
            }
            None => return Err(error(ErrorCode::UnknownMemberId)),
            Some(member) if beat.epoch != member.epoch => {
                let may_have_missed_it = beat.epoch == member.previous
                    && owned
                        .as_ref()
                        .is_some_and(|owned| owned.is_subset(&member.assigned));
                if !may_have_missed_it || beat.epoch > member.epoch {
                    return Err(error(ErrorCode::FencedMemberEpoch));
                }
            }
            Some(_) => {}
        }
        let before = self.members[id].assigned.clone();
        self.reconcile(now, id, owned.as_ref());
        let member = self.members.get_mut(id).expect("a member");
        member.silent_at = Some(now + TIMES.session_timeout + BEHIND);
        let tells = beat.is_full || member.assigned != before;
        let numbers: Vec<i32> = member.assigned.iter().copied().collect();
        Ok(Answer {
            epoch: member.epoch,
            interval: INTERVAL,
            assignment: tells.then(|| vec![(TOPIC, numbers)]),
        })
    }

    fn reconcile(&mut self, now: Instant, id: &str, owned: Option<&BTreeSet<i32>>) {
        let target = self.target.get(id).cloned().unwrap_or_default();
        let others = |number: i32| {
            let others = self.members.iter().filter(|(other, _)| *other != id);
            others
                .map(|(_, other)| other)
                .any(|other| other.assigned.contains(&number) || other.leaving.contains(&number))
        };
        let taken: BTreeSet<i32> = target
            .iter()
            .copied()
            .filter(|number| others(*number))
            .collect();
        let epoch = self.epoch;
        let member = self.members.get_mut(id).expect("a member");
        let has_let_go =
            |leaving: &BTreeSet<i32>| owned.is_some_and(|owned| owned.is_disjoint(leaving));
        if !member.leaving.is_empty() {
            if !has_let_go(&member.leaving) {
                return;
            }
            member.leaving.clear();
            member.give_up_by = None;
        }
        let leaving: BTreeSet<i32> = member.assigned.difference(&target).copied().collect();
        member.assigned.retain(|number| target.contains(number));
        if !leaving.is_empty() && !has_let_go(&leaving) {
            member.leaving = leaving;
            member.give_up_by = Some(now + TIMES.rebalance_timeout + BEHIND);
            return;
        }
        member.assigned.extend(target.difference(&taken));
        if member.epoch != epoch {
            (member.previous, member.epoch) = (member.epoch, epoch);
        }
    }

    fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_some() {
            self.retarget();
        }
    }

    fn watch_the_clock(&mut self, now: Instant) {
        let over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let gone = self.members.iter();
        let gone: Vec<String> = gone
            .filter(|(_, member)| over(member.silent_at) || over(member.give_up_by))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(&id);
        }
    }
}

/// A member and its caller.
struct Player {
    machine: ConsumerMembership,
    /// What the caller has: told, and neither released nor lost.
    has: BTreeSet<TopicPartition>,
    to_release: Vec<TopicPartition>,
    /// Nothing comes or goes.
    is_cut_off: bool,
    /// The coordinator hears the next request, and its answer goes nowhere.
    loses_next_answer: bool,
    /// The next answer to a heartbeat comes late.
    is_slow: bool,
    late: Option<(u64, Result<Answer, TransportError>)>,
}

struct World {
    now: Instant,
    coordinator: Coordinator,
    players: Vec<Player>,
    ids: u32,
    /// Epochs in which each partition was given, ever rising.
    given_in: BTreeMap<TopicPartition, i32>,
}

impl World {
    fn start(&mut self) {
        self.ids += 1;
        let id = format!("m-{:02}", self.ids);
        self.players.push(Player {
            machine: ConsumerMembership::new("g".into(), TIMES, id, false, self.now),
            has: BTreeSet::new(),
            to_release: Vec::new(),
            is_cut_off: false,
            loses_next_answer: false,
            is_slow: false,
            late: None,
        });
    }

    /// Lets everything happen that can without time going on.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let acting = (0..self.players.len()).find_map(|at| {
                let action = self.players[at].machine.poll(self.now);
                action.map(|action| (at, action))
            });
            let Some((at, action)) = acting else {
                return;
            };
            self.carry_out(at, action);
        }
        panic!("the group never comes to rest");
    }

    fn carry_out(&mut self, at: usize, action: Action) {
        let now = self.now;
        let player = &mut self.players[at];
        let id = player.machine.own_id().to_owned();
        let is_request = !matches!(action, Action::Tell(_));
        let is_lost = is_request && std::mem::take(&mut player.loses_next_answer);
        let comes = !player.is_cut_off && !is_lost;
        match action {
            Action::Beat(beat) => {
                let answer = if player.is_cut_off {
                    Err(gone())
                } else {
                    self.coordinator.beat(now, &id, &beat)
                };
                let answer = if comes { answer } else { Err(gone()) };
                if std::mem::take(&mut player.is_slow) {
                    player.late = Some((beat.number, answer));
                } else {
                    player.machine.answered(now, beat.number, answer);
                }
            }
            Action::Withdraw => {
                if !player.is_cut_off {
                    self.coordinator.remove(&id);
                }
                let answer = if comes { Ok(()) } else { Err(gone()) };
                player.machine.withdrawn(now, answer);
            }
            Action::Name(ids) => {
                let names = ids.into_iter().map(|id| (id, "t".into())).collect();
                player
                    .machine
                    .named(now, if comes { Ok(names) } else { Err(gone()) });
            }
            Action::FetchOffsets { epoch, partitions } => {
                let read = partitions.iter().map(|one| assigned(one.partition));
                let answer = match self.coordinator.members.get(&id) {
                    _ if !comes => Err(gone()),
                    None => Err(error(ErrorCode::UnknownMemberId)),
                    Some(member) if member.epoch != epoch => {
                        Err(error(ErrorCode::StaleMemberEpoch))
                    }
                    Some(_) => Ok(read.collect()),
                };
                player.machine.offsets(now, epoch, answer);
            }
            Action::Tell(news) => self.tell(at, news),
            Action::FallBack(_) => panic!("it must not"),
        }
    }

    fn tell(&mut self, at: usize, news: News) {
        let player = &mut self.players[at];
        match news {
            News::Assigned {
                generation,
                partitions,
            } => {
                for one in partitions {
                    assert!(
                        player.has.insert(one.partition.clone()),
                        "given twice: {one:?}"
                    );
                    let before = self.given_in.insert(one.partition, generation);
                    assert!(before <= Some(generation), "given in an older epoch");
                }
            }
            News::Revoked(partitions) => {
                assert!(partitions.iter().all(|one| player.has.contains(one)));
                player.to_release.extend(partitions);
            }
            News::Lost { partitions, .. } => {
                let lost: BTreeSet<_> = partitions.into_iter().collect();
                assert_eq!(lost, player.has, "all or nothing is lost");
                player.has.clear();
                player.to_release.clear();
            }
            News::Failed(_) => {}
        }
        let mut seen = BTreeSet::new();
        for one in self.players.iter().flat_map(|player| &player.has) {
            assert!(seen.insert(one), "{one} is two members' at once");
        }
    }

    fn release(&mut self, at: usize) {
        let now = self.now;
        let player = &mut self.players[at];
        let released = std::mem::take(&mut player.to_release);
        for one in &released {
            player.has.remove(one);
        }
        player.machine.released(now, &released);
    }

    fn catch_up(&mut self, at: usize) {
        let player = &mut self.players[at];
        if let Some((number, answer)) = player.late.take() {
            player.machine.answered(self.now, number, answer);
        }
    }

    fn pass(&mut self, time: Duration, all_is_well: bool) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP.min(until - self.now);
            if all_is_well {
                for at in 0..self.players.len() {
                    self.catch_up(at);
                    self.release(at);
                }
            }
            self.settle();
            self.coordinator.watch_the_clock(self.now);
            self.settle();
        }
    }

    fn end(&mut self, at: usize, leaves: bool) {
        let player = self.players.remove(at);
        if leaves && !player.is_cut_off && player.machine.member_id().is_some() {
            self.coordinator.remove(player.machine.own_id());
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    Leave,
    Die,
    CutOff,
    Heal,
    Release,
    LoseAnswer,
    SlowDown,
    CatchUp,
    Pass(u64),
}

fn step() -> impl Strategy<Value = (Step, prop::sample::Index)> {
    let step = prop_oneof![
        4 => Just(Step::Start),
        2 => Just(Step::Leave),
        1 => Just(Step::Die),
        1 => Just(Step::CutOff),
        2 => Just(Step::Heal),
        6 => Just(Step::Release),
        2 => Just(Step::LoseAnswer),
        2 => Just(Step::SlowDown),
        3 => Just(Step::CatchUp),
        3 => (100..6_000_u64).prop_map(Step::Pass),
        1 => (6_000..70_000_u64).prop_map(Step::Pass),
    ];
    (step, any::<prop::sample::Index>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_partition_is_ever_two_members_and_in_the_end_each_is_somebodys(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World {
            now: Instant::now(),
            coordinator: Coordinator::default(),
            players: Vec::new(),
            ids: 0,
            given_in: BTreeMap::new(),
        };
        world.start();
        for (step, index) in steps {
            let count = world.players.len();
            let at = (count > 0).then(|| index.index(count));
            match (step, at) {
                (Step::Start, _) if count < 6 => world.start(),
                (Step::Leave, Some(at)) => world.end(at, true),
                (Step::Die, Some(at)) => world.end(at, false),
                (Step::CutOff, Some(at)) => world.players[at].is_cut_off = true,
                (Step::Heal, Some(at)) => world.players[at].is_cut_off = false,
                (Step::Release, Some(at)) => world.release(at),
                (Step::LoseAnswer, Some(at)) => world.players[at].loses_next_answer = true,
                (Step::SlowDown, Some(at)) => world.players[at].is_slow = true,
                (Step::CatchUp, Some(at)) => world.catch_up(at),
                (Step::Pass(millis), _) => world.pass(Duration::from_millis(millis), false),
                _ => {}
            }
            world.settle();
        }
        for player in &mut world.players {
            (player.is_cut_off, player.loses_next_answer, player.is_slow) = (false, false, false);
        }
        world.pass(Duration::from_secs(300), true);
        let owned: usize = world.players.iter().map(|player| player.has.len()).sum();
        prop_assert!(world.players.is_empty() || owned == 7, "{owned} of 7 are owned");
        let loads = world.players.iter().map(|player| player.has.len());
        let (least, most) = (loads.clone().min(), loads.max());
        prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
    }
}

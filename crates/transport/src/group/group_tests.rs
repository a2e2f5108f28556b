//! Some members and a model of their coordinator: whatever comes, goes, dies, falls silent or is answered into the void,
//! no partition is ever two members' at once, and in the end each is somebody's.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PARTITIONS: i32 = 7;
/// The coordinator's clock runs behind the members': they notice first.
const BEHIND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_secs(1);

type Owned = (Vec<TopicPartition>, i32);

/// A member as the coordinator counts it.
#[derive(Debug)]
struct Counted {
    owned: Owned,
    has_joined: bool,
    /// Whether somebody still waits for the answers.
    waits_for_join: bool,
    waits_for_sync: bool,
    /// Whether it has asked for its assignment and was not answered: until it is nobody takes it for dead.
    has_asked: bool,
    heard_at: Instant,
    assignment: Vec<TopicPartition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preparing(Instant),
    Completing,
    Stable,
}

enum Answer {
    Join(Result<Joined, TransportError>),
    Sync(Result<Vec<TopicPartition>, TransportError>),
}

/// Kafka's classic coordinator, in short.
#[derive(Debug)]
struct Coordinator {
    state: State,
    generation: i32,
    members: BTreeMap<String, Counted>,
    /// Ids that were given out and have not come back.
    pending: BTreeSet<String>,
    leader: String,
    ids: u32,
}

type Answers = Vec<(String, Answer)>;

impl Coordinator {
    fn begin(&mut self, now: Instant, answers: &mut Answers) {
        if matches!(self.state, State::Preparing(_)) {
            return;
        }
        self.state = State::Preparing(now);
        for (id, member) in &mut self.members {
            member.has_joined = false;
            if std::mem::take(&mut member.has_asked) {
                member.heard_at = now;
            }
            if std::mem::take(&mut member.waits_for_sync) {
                let over = error(ErrorCode::RebalanceInProgress);
                answers.push((id.clone(), Answer::Sync(Err(over))));
            }
        }
    }

    fn complete_if_ready(&mut self, now: Instant, answers: &mut Answers) {
        let all = self.members.values().all(|member| member.has_joined);
        if !matches!(self.state, State::Preparing(_)) || !all || self.members.is_empty() {
            return;
        }
        self.generation += 1;
        self.state = State::Completing;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.in_the_group(&id);
            let member = self.members.get_mut(&id).expect("a member");
            member.heard_at = now;
            member.assignment.clear();
            if std::mem::take(&mut member.waits_for_join) {
                answers.push((id, Answer::Join(Ok(answer))));
            }
        }
    }

    fn in_the_group(&self, id: &str) -> Joined {
        let everybody = || {
            let members = self.members.iter();
            let member = |(id, member): (&String, &Counted)| Member {
                id: id.clone(),
                instance_id: None,
                topics: vec!["t".into()],
                owned: [(
                    "t".to_owned(),
                    member.owned.0.iter().map(|one| one.partition).collect(),
                )]
                .into(),
                generation: member.owned.1,
            };
            members.map(member).collect()
        };
        Joined::In {
            member_id: id.into(),
            generation: self.generation,
            assignor: Assignor::CooperativeSticky,
            led: (self.leader == id).then(everybody),
        }
    }

    fn join(&mut self, now: Instant, id: String, owned: Owned, waits: bool, answers: &mut Answers) {
        if id.is_empty() {
            self.ids += 1;
            let new = format!("m-{:02}", self.ids);
            self.pending.insert(new.clone());
            if waits {
                answers.push((id, Answer::Join(Ok(Joined::MemberIdRequired(new)))));
            }
            return;
        }
        let is_new = self.pending.remove(&id);
        if !is_new && !self.members.contains_key(&id) {
            if waits {
                let unknown = error(ErrorCode::UnknownMemberId);
                answers.push((id, Answer::Join(Err(unknown))));
            }
            return;
        }
        let same = self
            .members
            .get(&id)
            .is_some_and(|member| member.owned == owned);
        if same && self.state != State::Stable && !matches!(self.state, State::Preparing(_))
            || same && self.state == State::Stable && self.leader != id
        {
            if waits {
                answers.push((id.clone(), Answer::Join(Ok(self.in_the_group(&id)))));
            }
            return;
        }
        self.begin(now, answers);
        let counted = Counted {
            owned,
            has_joined: true,
            waits_for_join: waits,
            waits_for_sync: false,
            has_asked: false,
            heard_at: now,
            assignment: Vec::new(),
        };
        self.members.insert(id, counted);
        self.complete_if_ready(now, answers);
    }

    fn check(&self, id: &str, generation: i32) -> Result<(), TransportError> {
        if !self.members.contains_key(id) {
            return Err(error(ErrorCode::UnknownMemberId));
        }
        if generation != self.generation {
            return Err(error(ErrorCode::IllegalGeneration));
        }
        match self.state {
            State::Preparing(_) => Err(error(ErrorCode::RebalanceInProgress)),
            _ => Ok(()),
        }
    }

    fn sync(
        &mut self,
        now: Instant,
        id: String,
        generation: i32,
        led: Option<Vec<Member>>,
        waits: bool,
        answers: &mut Answers,
    ) {
        if let Err(refused) = self.check(&id, generation) {
            if waits {
                answers.push((id, Answer::Sync(Err(refused))));
            }
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.waits_for_sync = waits;
            member.has_asked = true;
        }
        if let Some(led) = led.filter(|_| self.state == State::Completing) {
            let topics = [("t".to_owned(), PARTITIONS)].into();
            let mut divided = Assignor::CooperativeSticky.divide(&led, &topics);
            for (id, member) in &mut self.members {
                let numbers = divided.remove(id).and_then(|mut by| by.remove("t"));
                member.assignment = numbers
                    .unwrap_or_default()
                    .into_iter()
                    .map(partition)
                    .collect();
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            for (id, member) in &mut self.members {
                if std::mem::take(&mut member.has_asked) {
                    member.heard_at = now;
                }
                if std::mem::take(&mut member.waits_for_sync) {
                    answers.push((id.clone(), Answer::Sync(Ok(member.assignment.clone()))));
                }
            }
        }
    }

    fn heartbeat(&mut self, now: Instant, id: &str, generation: i32) -> Result<(), TransportError> {
        let answer = self.check(id, generation);
        let heard = match &answer {
            Ok(()) => true,
            Err(refused) => refused.error_code() == Some(ErrorCode::RebalanceInProgress),
        };
        if let Some(member) = self.members.get_mut(id).filter(|_| heard) {
            member.heard_at = now;
        }
        answer
    }

    fn remove(&mut self, now: Instant, id: &str, answers: &mut Answers) {
        if self.members.remove(id).is_some() {
            self.begin(now, answers);
            self.complete_if_ready(now, answers);
        }
    }

    fn watch_the_clock(&mut self, now: Instant, answers: &mut Answers) {
        let silent = |member: &Counted| {
            let waits = matches!(self.state, State::Preparing(_)) && member.has_joined;
            !waits && !member.has_asked && now >= member.heard_at + TIMES.session_timeout + BEHIND
        };
        let late = |member: &Counted| match self.state {
            State::Preparing(since) => {
                !member.has_joined && now >= since + TIMES.rebalance_timeout + BEHIND
            }
            _ => false,
        };
        let gone = self.members.iter();
        let gone: Vec<String> = gone
            .filter(|(_, member)| silent(member) || late(member))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(now, &id, answers);
        }
    }
}

/// A member and its caller.
struct Player {
    machine: Membership,
    /// What the caller has: told, and neither released nor lost.
    has: BTreeSet<TopicPartition>,
    to_release: Vec<TopicPartition>,
    /// Nothing comes or goes.
    is_cut_off: bool,
    /// The coordinator hears the next request, and its answer goes nowhere.
    loses_next_answer: bool,
}

struct World {
    now: Instant,
    coordinator: Coordinator,
    players: Vec<Player>,
    /// Generations in which each partition was given, ever rising.
    given_in: BTreeMap<TopicPartition, i32>,
}

fn gone() -> TransportError {
    let kind = ErrorKind::ConnectionLost {
        reason: "reset".into(),
        sent: true,
    };
    TransportError::new(Operation::JoinGroup, Target::default(), kind)
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            coordinator: Coordinator {
                state: State::Stable,
                generation: 0,
                members: BTreeMap::new(),
                pending: BTreeSet::new(),
                leader: String::new(),
                ids: 0,
            },
            players: Vec::new(),
            given_in: BTreeMap::new(),
        }
    }

    fn start(&mut self, is_cooperative: bool) {
        self.players.push(Player {
            machine: Membership::new("g".into(), TIMES, is_cooperative, self.now),
            has: BTreeSet::new(),
            to_release: Vec::new(),
            is_cut_off: false,
            loses_next_answer: false,
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
        let cut_off = player.is_cut_off;
        let is_request = !matches!(action, Action::Tell(_));
        let waits = !(is_request && std::mem::take(&mut player.loses_next_answer));
        let mut answers = Answers::new();
        match action {
            Action::Join { .. } if cut_off => player.machine.joined(now, Err(gone())),
            Action::Join {
                member_id,
                owned,
                generation,
            } => {
                let owned = (owned, generation);
                self.coordinator
                    .join(now, member_id, owned, waits, &mut answers);
                if !waits {
                    player.machine.joined(now, Err(gone()));
                }
            }
            Action::Sync { .. } if cut_off => player.machine.synced(now, Err(gone())),
            Action::Sync {
                member_id,
                generation,
                led,
                ..
            } => {
                self.coordinator
                    .sync(now, member_id, generation, led, waits, &mut answers);
                if !waits {
                    player.machine.synced(now, Err(gone()));
                }
            }
            Action::Heartbeat {
                member_id,
                generation,
            } => {
                let answer = if cut_off {
                    Err(gone())
                } else {
                    let answer = self.coordinator.heartbeat(now, &member_id, generation);
                    if waits { answer } else { Err(gone()) }
                };
                player.machine.heartbeat(now, generation, answer);
            }
            Action::FetchOffsets {
                generation,
                partitions,
            } => {
                let read = partitions.iter().map(|one| assigned(one.partition));
                let answer = if cut_off || !waits {
                    Err(gone())
                } else {
                    Ok(read.collect())
                };
                player.machine.offsets(now, generation, answer);
            }
            Action::Tell(news) => self.tell(at, news),
        }
        self.deliver(at, answers);
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
                    assert!(before <= Some(generation), "given in an older generation");
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
        self.assert_nothing_is_two_members();
    }

    fn assert_nothing_is_two_members(&self) {
        let mut seen = BTreeSet::new();
        for one in self.players.iter().flat_map(|player| &player.has) {
            assert!(seen.insert(one), "{one} is two members' at once");
        }
    }

    /// Gives answers to whom they are for: who asked without an id is the one at `at`.
    fn deliver(&mut self, at: usize, answers: Answers) {
        for (id, answer) in answers {
            let known = self.players.iter().position(|player| {
                !id.is_empty() && player.machine.member_id() == Some(id.as_str())
            });
            let Some(to) = known.or_else(|| id.is_empty().then_some(at)) else {
                continue;
            };
            let player = &mut self.players[to];
            let lost = player.is_cut_off;
            match answer {
                Answer::Join(answer) => {
                    player
                        .machine
                        .joined(self.now, if lost { Err(gone()) } else { answer });
                }
                Answer::Sync(answer) => {
                    player
                        .machine
                        .synced(self.now, if lost { Err(gone()) } else { answer });
                }
            }
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

    fn pass(&mut self, time: Duration, releases: bool) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP.min(until - self.now);
            if releases {
                (0..self.players.len()).for_each(|at| self.release(at));
            }
            self.settle();
            let mut answers = Answers::new();
            self.coordinator.watch_the_clock(self.now, &mut answers);
            self.deliver(usize::MAX, answers);
            self.settle();
        }
    }

    fn end(&mut self, at: usize, leaves: bool) {
        let player = self.players.remove(at);
        let mut answers = Answers::new();
        if let Some(id) = player
            .machine
            .member_id()
            .filter(|_| leaves && !player.is_cut_off)
        {
            self.coordinator.remove(self.now, id, &mut answers);
        }
        self.deliver(usize::MAX, answers);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Start(bool),
    Leave,
    Die,
    CutOff,
    Heal,
    Release,
    LoseAnswer,
    Pass(u64),
}

fn step() -> impl Strategy<Value = (Step, prop::sample::Index)> {
    let step = prop_oneof![
        4 => prop::bool::weighted(0.8).prop_map(Step::Start),
        2 => Just(Step::Leave),
        1 => Just(Step::Die),
        1 => Just(Step::CutOff),
        2 => Just(Step::Heal),
        6 => Just(Step::Release),
        2 => Just(Step::LoseAnswer),
        3 => (100..5_000_u64).prop_map(Step::Pass),
        1 => (5_000..70_000_u64).prop_map(Step::Pass),
    ];
    (step, any::<prop::sample::Index>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_partition_is_ever_two_members_and_in_the_end_each_is_somebodys(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new();
        world.start(true);
        for (step, index) in steps {
            let count = world.players.len();
            let at = (count > 0).then(|| index.index(count));
            match (step, at) {
                (Step::Start(is_cooperative), _) if count < 6 => world.start(is_cooperative),
                (Step::Leave, Some(at)) => world.end(at, true),
                (Step::Die, Some(at)) => world.end(at, false),
                (Step::CutOff, Some(at)) => world.players[at].is_cut_off = true,
                (Step::Heal, Some(at)) => world.players[at].is_cut_off = false,
                (Step::Release, Some(at)) => world.release(at),
                (Step::LoseAnswer, Some(at)) => world.players[at].loses_next_answer = true,
                (Step::Pass(millis), _) => world.pass(Duration::from_millis(millis), false),
                _ => {}
            }
            world.settle();
        }
        for player in &mut world.players {
            (player.is_cut_off, player.loses_next_answer) = (false, false);
        }
        world.pass(Duration::from_secs(300), true);
        let owned: usize = world.players.iter().map(|player| player.has.len()).sum();
        prop_assert!(world.players.is_empty() || owned == 7, "{owned} of 7 are owned");
        let loads = world.players.iter().map(|player| player.has.len());
        let (least, most) = (loads.clone().min(), loads.max());
        prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
    }
}

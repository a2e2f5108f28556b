//! One member against a coordinator played by hand, and against one that answers at random.

use proptest::prelude::*;

use super::*;
use crate::consumer::Position;

pub(super) const TIMES: Times = Times {
    session_timeout: Duration::from_secs(45),
    heartbeat_interval: Duration::from_secs(3),
    rebalance_timeout: Duration::from_secs(60),
};
/// What the coordinator asks for.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
pub(super) const TOPIC: TopicId = [7; 16];

pub(super) fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

pub(super) fn assigned(number: i32) -> AssignedPartition {
    AssignedPartition {
        partition: partition(number),
        committed: None,
        start: Some(Position::Earliest),
        topic_id: None,
    }
}

pub(super) fn error(code: ErrorCode) -> TransportError {
    TransportError::code(Operation::Heartbeat, Target::default(), code)
}

pub(super) fn gone() -> TransportError {
    let kind = ErrorKind::ConnectionLost {
        reason: "reset".into(),
        sent: true,
    };
    TransportError::new(Operation::Heartbeat, Target::default(), kind)
}

fn of(topic: TopicId, numbers: &[i32]) -> PartitionsById {
    if numbers.is_empty() {
        return Vec::new();
    }
    vec![(topic, numbers.to_vec())]
}

fn answer(epoch: i32, assignment: Option<&[i32]>) -> Result<Answer, TransportError> {
    Ok(Answer {
        epoch,
        interval: INTERVAL,
        assignment: assignment.map(|numbers| of(TOPIC, numbers)),
    })
}

fn named(topic: TopicId) -> Result<Vec<(TopicId, Arc<str>)>, TransportError> {
    Ok(vec![(topic, "t".into())])
}

/// Polls until there is nothing more to do, answering nothing.
fn drain(member: &mut ConsumerMembership, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| member.poll(now)).collect()
}

/// The only thing to do, a heartbeat.
fn beat(member: &mut ConsumerMembership, now: Instant) -> Beat {
    let mut actions = drain(member, now);
    match (actions.pop(), actions.is_empty()) {
        (Some(Action::Beat(beat)), true) => beat,
        (last, _) => panic!("{actions:?} and {last:?}"),
    }
}

fn new(now: Instant) -> ConsumerMembership {
    ConsumerMembership::new("g".into(), TIMES, "m".into(), false, now)
}

/// A member that holds partitions 0 and 1 in epoch 5, and has said so.
fn stable() -> (ConsumerMembership, Instant) {
    let now = Instant::now();
    let mut member = new(now);
    let join = beat(&mut member, now);
    assert_eq!(
        (join.epoch, join.is_full, join.owned),
        (0, true, Some(Vec::new()))
    );
    member.answered(now, join.number, answer(5, Some(&[0, 1])));
    assert_eq!(drain(&mut member, now), [Action::Name(vec![TOPIC])]);
    member.named(now, named(TOPIC));
    let mut actions = drain(&mut member, now);
    let both = vec![partition(0), partition(1)];
    let read = Action::FetchOffsets {
        epoch: 5,
        partitions: both,
    };
    assert_eq!(actions.pop(), Some(read));
    let [Action::Beat(acknowledged)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((acknowledged.epoch, acknowledged.is_full), (5, false));
    assert_eq!(acknowledged.owned, Some(of(TOPIC, &[0, 1])));
    member.answered(now, acknowledged.number, answer(5, None));
    member.offsets(now, 5, Ok(vec![assigned(0), assigned(1)]));
    let told = drain(&mut member, now);
    assert!(
        matches!(&told[..], [Action::Tell(News::Assigned { generation: 5, partitions })] if partitions.len() == 2),
        "{told:?}"
    );
    (member, now)
}

#[test]
fn heartbeats_go_at_the_coordinators_interval_one_at_a_time_and_say_only_what_has_changed() {
    let (mut member, now) = stable();
    assert_eq!(member.next_wakeup(), Some(now + INTERVAL));
    let later = now + INTERVAL;
    let sent = beat(&mut member, later);
    assert_eq!((sent.epoch, sent.is_full, sent.owned), (5, false, None));
    assert_eq!(drain(&mut member, later + INTERVAL), []);
    member.answered(later, sent.number, answer(5, None));
    assert_eq!(member.next_wakeup(), Some(later + INTERVAL));
}

#[test]
fn an_interval_that_makes_no_sense_is_neither_busy_nor_late() {
    for (asked, kept) in [
        (Duration::ZERO, SHORTEST_INTERVAL),
        (Duration::from_secs(86_400), TIMES.session_timeout / 3),
    ] {
        let (mut member, now) = stable();
        let later = now + INTERVAL;
        let sent = beat(&mut member, later);
        let odd = Answer {
            epoch: 5,
            interval: asked,
            assignment: None,
        };
        member.answered(later, sent.number, Ok(odd));
        assert_eq!(member.next_wakeup(), Some(later + kept));
    }
}

#[test]
fn what_goes_is_drained_first_and_then_said_to_be_gone_before_anything_is_taken() {
    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    // Not what Kafka does at once, but nothing hangs on that.
    member.answered(now, sent.number, answer(5, Some(&[1, 2])));
    assert_eq!(
        drain(&mut member, now),
        [Action::Tell(News::Revoked(vec![partition(0)]))]
    );
    // It is still held, and can be committed, while it is drained.
    assert!(member.holds(&partition(0)));
    assert_eq!(member.may_commit(), MayCommit::As("m", 5));
    let later = now + INTERVAL;
    let sent = beat(&mut member, later);
    assert_eq!(sent.owned, None, "nothing has changed yet");
    member.answered(later, sent.number, answer(5, None));
    assert_eq!(drain(&mut member, later), []);
    member.released(later, &[partition(0)]);
    let mut actions = drain(&mut member, later);
    let read = Action::FetchOffsets {
        epoch: 5,
        partitions: vec![partition(2)],
    };
    let Some(Action::Beat(sent)) = actions.first() else {
        panic!("{actions:?}");
    };
    assert_eq!(sent.owned, Some(of(TOPIC, &[1, 2])));
    assert_eq!(actions.pop(), Some(read));
    assert!(!member.holds(&partition(0)));
}

#[test]
fn a_drain_that_takes_longer_than_the_rebalance_timeout_loses_everything_and_leaves_before_it_joins()
 {
    let (mut member, now) = stable();
    let asked_at = now + INTERVAL;
    let sent = beat(&mut member, asked_at);
    // The answer takes a second; the coordinator's clock began before.
    let now = asked_at + Duration::from_secs(1);
    member.answered(now, sent.number, answer(5, Some(&[1])));
    drain(&mut member, now);
    let mut at = now;
    let end = asked_at + TIMES.rebalance_timeout;
    while at < end {
        for action in drain(&mut member, at) {
            let Action::Beat(sent) = action else {
                panic!("{action:?}");
            };
            member.answered(at, sent.number, answer(5, None));
        }
        at = member.next_wakeup().expect("a heartbeat or the end");
    }
    assert_eq!(at, end);
    let actions = drain(&mut member, at);
    let [
        Action::Tell(News::Lost { partitions, .. }),
        Action::Withdraw,
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(partitions, &[partition(0), partition(1)]);
    assert_eq!(member.may_commit(), MayCommit::No);
    member.withdrawn(at, Ok(()));
    assert_eq!(beat(&mut member, at).epoch, 0);
}

#[test]
fn after_an_answer_that_did_not_come_everything_is_said_again() {
    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    member.answered(now, sent.number, Err(gone()));
    let again_at = member.next_wakeup().expect("again");
    assert_eq!(again_at, now + Duration::from_secs(1));
    let again = beat(&mut member, again_at);
    assert!(again.is_full);
    assert_eq!((again.epoch, again.owned), (5, Some(of(TOPIC, &[0, 1]))));
    // The lost answer told of a new epoch; this one does too.
    member.answered(again_at, again.number, answer(6, Some(&[0, 1])));
    assert_eq!(member.epoch(), Some(6));
    assert_eq!(
        drain(&mut member, again_at),
        [Action::Tell(News::Assigned {
            generation: 6,
            partitions: Vec::new()
        })]
    );
}

#[test]
fn the_time_to_give_up_counts_from_the_first_answer_that_may_have_asked_for_it() {
    let (mut member, now) = stable();
    let first_at = now + INTERVAL;
    let first = beat(&mut member, first_at);
    member.answered(first_at, first.number, Err(gone()));
    let second_at = member.next_wakeup().expect("again");
    let second = beat(&mut member, second_at);
    member.answered(second_at, second.number, answer(5, Some(&[1])));
    drain(&mut member, second_at);
    assert_eq!(member.give_up_by, Some(first_at + TIMES.rebalance_timeout));
}

#[test]
fn what_is_released_is_given_up_only_when_the_coordinator_has_heard_of_it() {
    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    member.answered(now, sent.number, answer(5, Some(&[1])));
    drain(&mut member, now);
    let end = now + TIMES.rebalance_timeout;
    member.released(now, &[partition(0)]);
    let lost = beat(&mut member, now);
    member.answered(now, lost.number, Err(gone()));
    assert_eq!(member.give_up_by, Some(end));
    let later = member.next_wakeup().expect("again");
    let heard = beat(&mut member, later);
    assert_eq!(heard.owned, Some(of(TOPIC, &[1])));
    member.answered(later, heard.number, answer(6, Some(&[1])));
    assert_eq!(member.give_up_by, None);
}

#[test]
fn a_session_without_an_answer_counts_from_when_the_last_answered_heartbeat_was_sent() {
    let (mut member, now) = stable();
    let sent_at = now + INTERVAL;
    let sent = beat(&mut member, sent_at);
    let answered_at = sent_at + Duration::from_secs(10);
    member.answered(answered_at, sent.number, answer(5, None));
    let next = beat(&mut member, answered_at + INTERVAL);
    let end = sent_at + TIMES.session_timeout;
    assert_eq!(member.next_wakeup(), Some(end));
    let actions = drain(&mut member, end);
    assert!(
        matches!(
            &actions[..],
            [Action::Tell(News::Lost { .. }), Action::Withdraw]
        ),
        "{actions:?}"
    );
    // What comes late is about a member that is no more.
    member.answered(end, next.number, answer(5, Some(&[0, 1])));
    assert_eq!(drain(&mut member, end), []);
    assert!(!member.holds(&partition(0)));
}

#[test]
fn a_member_that_is_not_counted_joins_at_once_and_one_that_is_fenced_leaves_first() {
    for (code, leaves) in [
        (ErrorCode::UnknownMemberId, false),
        (ErrorCode::GroupIdNotFound, false),
        (ErrorCode::FencedMemberEpoch, true),
    ] {
        let (mut member, now) = stable();
        let now = now + INTERVAL;
        let sent = beat(&mut member, now);
        member.answered(now, sent.number, Err(error(code)));
        let mut actions = drain(&mut member, now).into_iter();
        assert!(matches!(
            actions.next(),
            Some(Action::Tell(News::Lost { partitions, .. })) if partitions.len() == 2
        ));
        match actions.next() {
            Some(Action::Withdraw) => assert!(leaves, "{code}"),
            Some(Action::Beat(beat)) => assert!(!leaves && beat.epoch == 0, "{code}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_join_whose_answer_did_not_come_is_taken_back_before_the_next() {
    let now = Instant::now();
    let mut member = new(now);
    let join = beat(&mut member, now);
    member.answered(now, join.number, Err(gone()));
    assert_eq!(
        drain(&mut member, now),
        [Action::Tell(News::Failed(gone()))]
    );
    let later = member.next_wakeup().expect("again");
    assert_eq!(drain(&mut member, later), [Action::Withdraw]);
    member.withdrawn(later, Err(gone()));
    assert_eq!(
        drain(&mut member, later),
        [Action::Tell(News::Failed(gone()))]
    );
    let later = member.next_wakeup().expect("again");
    assert_eq!(drain(&mut member, later), [Action::Withdraw]);
    member.withdrawn(later, Ok(()));
    assert_eq!(beat(&mut member, later).epoch, 0);
}

#[test]
fn a_static_member_waits_for_its_name_to_be_free_and_ends_when_somebody_takes_it() {
    let now = Instant::now();
    let mut member = new(now);
    let join = beat(&mut member, now);
    let held = error(ErrorCode::UnreleasedInstanceId);
    member.answered(now, join.number, Err(held.clone()));
    assert_eq!(drain(&mut member, now), [Action::Tell(News::Failed(held))]);
    let later = member.next_wakeup().expect("again");
    assert_eq!(beat(&mut member, later).epoch, 0);

    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    let taken = error(ErrorCode::FencedInstanceId);
    member.answered(now, sent.number, Err(taken.clone()));
    let actions = drain(&mut member, now);
    assert!(matches!(actions[0], Action::Tell(News::Lost { .. })));
    assert_eq!(actions[1..], [Action::Tell(News::Failed(taken))]);
    assert!(member.has_ended());
}

#[test]
fn a_coordinator_without_the_protocol_ends_the_member_unless_it_may_fall_back() {
    let unsupported = || {
        let kind = ErrorKind::UnsupportedVersion {
            api: "ConsumerGroupHeartbeat",
            ours: "0 to 1".into(),
            theirs: "none".into(),
        };
        TransportError::new(Operation::JoinGroup, Target::default(), kind)
    };
    let refusals = [
        unsupported(),
        error(ErrorCode::UnsupportedVersion),
        error(ErrorCode::GroupIdNotFound),
    ];
    for refusal in refusals {
        let now = Instant::now();
        let mut member = new(now);
        let join = beat(&mut member, now);
        member.answered(now, join.number, Err(refusal.clone()));
        assert_eq!(
            drain(&mut member, now),
            [Action::Tell(News::Failed(refusal.clone()))]
        );
        assert!(member.has_ended());

        let mut member = ConsumerMembership::new("g".into(), TIMES, "m".into(), true, now);
        let join = beat(&mut member, now);
        member.answered(now, join.number, Err(refusal.clone()));
        assert_eq!(drain(&mut member, now), [Action::FallBack(refusal)]);
    }
    // What else may be wrong is no reason to fall back.
    let now = Instant::now();
    let mut member = ConsumerMembership::new("g".into(), TIMES, "m".into(), true, now);
    let join = beat(&mut member, now);
    member.answered(
        now,
        join.number,
        Err(error(ErrorCode::GroupAuthorizationFailed)),
    );
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::Tell(News::Failed(_))]
    ));
    assert!(member.has_ended());
}

#[test]
fn a_topic_that_was_made_again_is_begun_anew_once_the_old_one_is_released() {
    const AGAIN: TopicId = [8; 16];
    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    let anew = Answer {
        epoch: 5,
        interval: INTERVAL,
        assignment: Some(of(AGAIN, &[0, 1])),
    };
    member.answered(now, sent.number, Ok(anew));
    let both = vec![partition(0), partition(1)];
    let actions = drain(&mut member, now);
    assert_eq!(
        actions,
        [
            Action::Tell(News::Revoked(both.clone())),
            Action::Name(vec![AGAIN])
        ]
    );
    member.named(now, named(AGAIN));
    assert_eq!(drain(&mut member, now), []);
    member.released(now, &both);
    let actions = drain(&mut member, now);
    let Some(Action::Beat(sent)) = actions.first() else {
        panic!("{actions:?}");
    };
    assert_eq!(sent.owned, Some(of(AGAIN, &[0, 1])));
    assert!(matches!(actions[1..], [Action::FetchOffsets { .. }]));
}

#[test]
fn a_topic_without_a_name_is_asked_for_again_and_neither_held_nor_said_to_be() {
    let now = Instant::now();
    let mut member = new(now);
    let join = beat(&mut member, now);
    member.answered(now, join.number, answer(5, Some(&[0])));
    assert_eq!(drain(&mut member, now), [Action::Name(vec![TOPIC])]);
    member.named(now, Ok(Vec::new()));
    assert_eq!(drain(&mut member, now), []);
    let later = member.next_wakeup().expect("again");
    assert_eq!(drain(&mut member, later), [Action::Name(vec![TOPIC])]);
    // Names nobody asked for do no harm.
    member.named(
        later,
        Ok(vec![([9; 16], "other".into()), (TOPIC, "t".into())]),
    );
    assert!(matches!(
        &drain(&mut member, later)[..],
        [Action::Beat(_), Action::FetchOffsets { .. }]
    ));
    // One that may not be known of at all ends the member, as where it joins.
    let join = {
        member = new(later);
        beat(&mut member, later)
    };
    member.answered(later, join.number, answer(5, Some(&[0])));
    drain(&mut member, later);
    member.named(later, Err(error(ErrorCode::TopicAuthorizationFailed)));
    assert!(matches!(
        &drain(&mut member, later)[..],
        [Action::Tell(News::Failed(_))]
    ));
    assert!(member.has_ended());
}

#[test]
fn a_commit_refused_for_a_stale_epoch_has_the_epoch_asked_for_at_once() {
    let (mut member, now) = stable();
    let stale = error(ErrorCode::StaleMemberEpoch);
    member.commit_refused(now, 5, &stale);
    assert!(member.commits_again(&stale));
    assert_eq!((member.answers(), member.answers_to_come()), (2, 3));
    let sent = beat(&mut member, now);
    // A refusal while a heartbeat is on its way has another follow it.
    member.commit_refused(now, 5, &stale);
    assert_eq!(member.answers_to_come(), 4);
    member.answered(now, sent.number, answer(5, None));
    let sent = beat(&mut member, now);
    member.answered(now, sent.number, answer(6, None));
    assert_eq!(member.answers(), 4);
    assert_eq!(member.may_commit(), MayCommit::As("m", 6));
    // One of an epoch that is over says nothing.
    drain(&mut member, now);
    member.commit_refused(now, 5, &error(ErrorCode::UnknownMemberId));
    assert!(member.holds(&partition(0)));
}

#[test]
fn offsets_that_are_read_for_what_is_gone_meanwhile_are_thrown_away() {
    let (mut member, now) = stable();
    let now = now + INTERVAL;
    let sent = beat(&mut member, now);
    member.answered(now, sent.number, answer(6, Some(&[0, 1, 2])));
    let actions = drain(&mut member, now);
    let [Action::Beat(sent), Action::FetchOffsets { .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
    // It goes to another before it was begun, and comes back: the other may have committed more.
    member.answered(now, sent.number, answer(6, Some(&[0, 1])));
    let beats = drain(&mut member, now).into_iter();
    let sent = beats.last().and_then(|action| match action {
        Action::Beat(beat) => Some(beat.number),
        _ => None,
    });
    let sent = sent.expect("it says that it has it no more");
    member.answered(now, sent, answer(7, Some(&[0, 1, 2])));
    member.offsets(now, 6, Ok(vec![assigned(2)]));
    assert!(!member.holds(&partition(2)));
    let actions = drain(&mut member, now);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::FetchOffsets { epoch: 7, .. })),
        "{actions:?}"
    );
}

#[derive(Debug, Clone)]
enum Input {
    Answer(i32, Option<Vec<i32>>),
    Refuse(ErrorCode),
    Lose,
    Named(bool),
    Offsets,
    Withdrawn(bool),
    Release(i32),
    Refused(ErrorCode),
    Pass(u64),
}

fn input() -> impl Strategy<Value = Input> {
    let code = || {
        prop::sample::select(vec![
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedMemberEpoch,
            ErrorCode::StaleMemberEpoch,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::UnreleasedInstanceId,
            ErrorCode::GroupIdNotFound,
        ])
    };
    let assignment = prop::option::of(prop::collection::vec(-1..5, 0..5));
    prop_oneof![
        6 => (-1..9, assignment).prop_map(|(epoch, numbers)| Input::Answer(epoch, numbers)),
        2 => code().prop_map(Input::Refuse),
        1 => Just(Input::Lose),
        3 => any::<bool>().prop_map(Input::Named),
        3 => Just(Input::Offsets),
        2 => any::<bool>().prop_map(Input::Withdrawn),
        4 => (0..5).prop_map(Input::Release),
        1 => code().prop_map(Input::Refused),
        3 => (0..50_000_u64).prop_map(Input::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a coordinator says, in whatever order: what the caller hears fits together, and the member never spins.
    #[test]
    fn whatever_a_coordinator_answers_the_caller_hears_what_fits_together(
        inputs in prop::collection::vec(input(), 1..80)
    ) {
        let mut now = Instant::now();
        let mut member = new(now);
        let mut has = std::collections::BTreeSet::new();
        let mut sent = 0;
        let mut reading = None;
        for input in inputs {
            match input {
                Input::Answer(epoch, assignment) => member.answered(now, sent, answer(epoch, assignment.as_deref())),
                Input::Refuse(code) => member.answered(now, sent, Err(error(code))),
                Input::Lose => member.answered(now, sent, Err(gone())),
                Input::Named(true) => member.named(now, named(TOPIC)),
                Input::Named(false) => member.named(now, Err(gone())),
                Input::Offsets => if let Some((epoch, partitions)) = reading.take() {
                    let partitions: Vec<TopicPartition> = partitions;
                    let read = partitions.iter().map(|one| assigned(one.partition));
                    member.offsets(now, epoch, Ok(read.collect()));
                },
                Input::Withdrawn(true) => member.withdrawn(now, Ok(())),
                Input::Withdrawn(false) => member.withdrawn(now, Err(gone())),
                Input::Release(number) => {
                    has.remove(&partition(number));
                    member.released(now, &[partition(number)]);
                }
                Input::Refused(code) => member.commit_refused(now, 5, &error(code)),
                Input::Pass(millis) => now += Duration::from_millis(millis),
            }
            let mut actions = 0;
            while let Some(action) = member.poll(now) {
                actions += 1;
                prop_assert!(actions < 20, "it spins");
                match action {
                    Action::Beat(beat) => {
                        prop_assert!(beat.number > sent);
                        sent = beat.number;
                        let owned: std::collections::BTreeSet<i32> = beat.owned.iter().flatten()
                            .flat_map(|(_, numbers)| numbers.iter().copied()).collect();
                        if beat.is_full {
                            // What the caller has is never said to be gone.
                            prop_assert!(has.iter().all(|one: &TopicPartition| owned.contains(&one.partition)));
                        }
                    }
                    Action::FetchOffsets { epoch, partitions } => reading = Some((epoch, partitions)),
                    Action::Tell(News::Assigned { partitions, .. }) => for one in partitions {
                        prop_assert!(one.partition.partition >= 0);
                        prop_assert!(member.holds(&one.partition));
                        prop_assert!(has.insert(one.partition), "given twice");
                    },
                    Action::Tell(News::Revoked(partitions)) => {
                        prop_assert!(partitions.iter().all(|one| has.contains(one)));
                    }
                    Action::Tell(News::Lost { partitions, .. }) => {
                        let lost: std::collections::BTreeSet<_> = partitions.into_iter().collect();
                        prop_assert_eq!(&lost, &has);
                        has.clear();
                    }
                    Action::Tell(News::Failed(_)) | Action::Withdraw | Action::Name(_) => {}
                    Action::FallBack(_) => prop_assert!(false, "it must not"),
                }
            }
            prop_assert!(has.iter().all(|one| member.holds(one)));
        }
    }
}

//! One member against a coordinator played by hand, and against one that answers at random.

#[path = "cooperative_tests.rs"]
mod cooperative;
#[path = "group_tests.rs"]
mod group;

use proptest::prelude::*;

use super::*;

const TIMES: Times = Times {
    session_timeout: Duration::from_secs(45),
    heartbeat_interval: Duration::from_secs(3),
    rebalance_timeout: Duration::from_secs(60),
};

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

fn assigned(number: i32) -> AssignedPartition {
    AssignedPartition {
        partition: partition(number),
        committed: None,
        start: None,
        topic_id: None,
    }
}

fn error(code: ErrorCode) -> TransportError {
    TransportError::code(Operation::Heartbeat, Target::default(), code)
}

fn joined(generation: i32) -> Joined {
    Joined::In {
        member_id: "m-1".into(),
        generation,
        assignor: Assignor::RoundRobin,
        led: None,
    }
}

/// Joining with empty hands.
fn join(member_id: &str) -> Action {
    Action::Join {
        member_id: member_id.into(),
        owned: Vec::new(),
        generation: -1,
    }
}

/// Polls until there is nothing more to do, answering nothing.
fn drain(member: &mut Membership, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| member.poll(now)).collect()
}

/// A member that holds partitions 0 and 1 in generation 5.
fn stable() -> (Membership, Instant) {
    let now = Instant::now();
    let mut member = Membership::new("g".into(), TIMES, false, now);
    assert_eq!(drain(&mut member, now), [join("")]);
    member.joined(now, Ok(Joined::MemberIdRequired("m-1".into())));
    assert_eq!(drain(&mut member, now), [join("m-1")]);
    member.joined(now, Ok(joined(5)));
    assert_eq!(
        drain(&mut member, now),
        [Action::Sync {
            member_id: "m-1".into(),
            generation: 5,
            assignor: Assignor::RoundRobin,
            led: None
        }]
    );
    member.synced(now, Ok(vec![partition(0), partition(1)]));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::FetchOffsets { generation: 5, .. }]
    ));
    member.offsets(now, 5, Ok(vec![assigned(0), assigned(1)]));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::Tell(News::Assigned { generation: 5, .. })]
    ));
    (member, now)
}

#[test]
fn heartbeats_go_at_their_interval_one_at_a_time() {
    let (mut member, now) = stable();
    assert_eq!(member.next_wakeup(), Some(now + TIMES.heartbeat_interval));
    let later = now + TIMES.heartbeat_interval;
    assert!(matches!(
        &drain(&mut member, later)[..],
        [Action::Heartbeat { generation: 5, .. }]
    ));
    assert_eq!(drain(&mut member, later + TIMES.heartbeat_interval), []);
    member.heartbeat(later, 5, Ok(()));
    assert_eq!(member.next_wakeup(), Some(later + TIMES.heartbeat_interval));
}

#[test]
fn a_rebalance_revokes_and_waits_for_the_release_while_heartbeats_go_on() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::RebalanceInProgress)));
    assert_eq!(
        drain(&mut member, now),
        [Action::Tell(News::Revoked(vec![
            partition(0),
            partition(1)
        ]))]
    );
    let later = now + TIMES.heartbeat_interval;
    assert!(matches!(
        &drain(&mut member, later)[..],
        [Action::Heartbeat { .. }]
    ));
    member.heartbeat(later, 5, Err(error(ErrorCode::RebalanceInProgress)));
    assert_eq!(drain(&mut member, later), []);
    assert_eq!(
        member.may_commit(),
        MayCommit::As("m-1", 5),
        "commits are still possible"
    );
    member.released(later, &[partition(0)]);
    assert_eq!(drain(&mut member, later), []);
    member.released(later, &[partition(1)]);
    assert_eq!(drain(&mut member, later), [join("m-1")]);
    assert_eq!(member.may_commit(), MayCommit::No);
}

#[test]
fn draining_may_take_as_long_as_the_group_can_have_waited_not_as_long_as_it_is_known() {
    let (mut member, now) = stable();
    let heard = now + TIMES.heartbeat_interval;
    drain(&mut member, heard);
    member.heartbeat(heard, 5, Err(error(ErrorCode::RebalanceInProgress)));
    assert!(matches!(
        &drain(&mut member, heard)[..],
        [Action::Tell(News::Revoked(_))]
    ));
    let mut at = heard;
    while at + TIMES.heartbeat_interval < now + TIMES.rebalance_timeout {
        at += TIMES.heartbeat_interval;
        drain(&mut member, at);
        member.heartbeat(at, 5, Err(error(ErrorCode::RebalanceInProgress)));
    }
    assert!(matches!(
        &drain(&mut member, now + TIMES.rebalance_timeout)[0],
        Action::Tell(News::Lost { .. })
    ));
}

#[test]
fn a_missed_generation_loses_everything_and_keeps_the_member_id() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::IllegalGeneration)));
    let actions = drain(&mut member, now);
    assert!(
        matches!(&actions[0], Action::Tell(News::Lost { partitions, .. }) if partitions.len() == 2)
    );
    assert_eq!(actions[1], join("m-1"));
}

#[test]
fn an_unknown_member_loses_everything_and_its_id() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::UnknownMemberId)));
    assert_eq!(drain(&mut member, now)[1], join(""));
}

#[test]
fn a_fenced_instance_loses_everything_and_ends() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::FencedInstanceId)));
    let actions = drain(&mut member, now);
    assert!(matches!(
        &actions[..],
        [
            Action::Tell(News::Lost { .. }),
            Action::Tell(News::Failed(_))
        ]
    ));
    assert!(member.has_ended());
}

#[test]
fn without_a_sign_of_life_for_the_session_timeout_everything_is_lost() {
    let (mut member, now) = stable();
    let lost = ErrorKind::ConnectionLost {
        reason: "reset".into(),
        sent: true,
    };
    let later = now + TIMES.heartbeat_interval;
    drain(&mut member, later);
    member.heartbeat(
        later,
        5,
        Err(TransportError::new(
            Operation::Heartbeat,
            Target::default(),
            lost,
        )),
    );
    assert!(matches!(
        &drain(&mut member, now + TIMES.session_timeout)[..],
        [Action::Tell(News::Lost { .. }), Action::Join { .. }]
    ));
}

#[test]
fn draining_for_longer_than_the_rebalance_timeout_loses_everything() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::RebalanceInProgress)));
    drain(&mut member, now);
    for second in 0..60 {
        let at = now + Duration::from_secs(second);
        if !drain(&mut member, at).is_empty() {
            member.heartbeat(at, 5, Err(error(ErrorCode::RebalanceInProgress)));
        }
    }
    assert!(matches!(
        &drain(&mut member, now + TIMES.rebalance_timeout)[0],
        Action::Tell(News::Lost { .. })
    ));
}

#[test]
fn answers_of_an_earlier_generation_change_nothing() {
    let (mut member, now) = stable();
    member.heartbeat(now, 4, Err(error(ErrorCode::UnknownMemberId)));
    assert_eq!(drain(&mut member, now), []);
}

#[test]
fn a_refused_commit_reveals_the_loss_before_the_next_heartbeat() {
    let (mut member, now) = stable();
    member.commit_refused(now, 5, &error(ErrorCode::IllegalGeneration));
    assert!(matches!(
        &drain(&mut member, now)[0],
        Action::Tell(News::Lost { .. })
    ));
}

#[test]
fn a_commit_refused_for_another_reason_leaves_the_membership_alone() {
    let (mut member, now) = stable();
    member.commit_refused(now, 5, &error(ErrorCode::OffsetMetadataTooLarge));
    assert_eq!(drain(&mut member, now), []);
    assert_eq!(member.next_wakeup(), Some(now + TIMES.heartbeat_interval));
}

#[test]
fn a_coordinator_that_is_away_takes_nothing_from_a_member_and_is_asked_again_soon() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::NotCoordinator)));
    assert_eq!(drain(&mut member, now), []);
    let soon = now + Duration::from_secs(1);
    assert_eq!(member.next_wakeup(), Some(soon));
    assert!(matches!(
        &drain(&mut member, soon)[..],
        [Action::Heartbeat { generation: 5, .. }]
    ));
}

#[test]
fn a_member_that_may_not_be_in_the_group_any_more_loses_everything_and_ends() {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::GroupAuthorizationFailed)));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [
            Action::Tell(News::Lost { .. }),
            Action::Tell(News::Failed(_))
        ]
    ));
    assert!(member.has_ended());
}

#[test]
fn whoever_has_the_group_divided_anew_has_the_rebalance_timeout_to_drain() {
    let (mut member, now) = stable();
    member.rebalance(now);
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::Tell(News::Revoked(_))]
    ));
    for second in 1..60 {
        let at = now + Duration::from_secs(second);
        for action in drain(&mut member, at) {
            assert!(matches!(action, Action::Heartbeat { .. }), "{action:?}");
            member.heartbeat(at, 5, Ok(()));
        }
    }
    assert!(matches!(
        &drain(&mut member, now + TIMES.rebalance_timeout)[0],
        Action::Tell(News::Lost { .. })
    ));
}

/// A member of generation 6 that reads where to begin with partition 0.
fn reading_offsets() -> (Membership, Instant) {
    let (mut member, now) = stable();
    member.rebalance(now);
    member.released(now, &[partition(0), partition(1)]);
    drain(&mut member, now);
    member.joined(now, Ok(joined(6)));
    drain(&mut member, now);
    member.synced(now, Ok(vec![partition(0)]));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::FetchOffsets { generation: 6, .. }]
    ));
    (member, now)
}

#[test]
fn offsets_that_could_not_be_read_are_asked_for_again_in_measure() {
    let (mut member, now) = reading_offsets();
    member.offsets(now, 6, Err(error(ErrorCode::CoordinatorLoadInProgress)));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::Tell(News::Failed(_))]
    ));
    let again = now + RETRY_FROM;
    assert_eq!(member.next_wakeup(), Some(again));
    assert!(matches!(
        &drain(&mut member, again)[..],
        [Action::FetchOffsets { generation: 6, .. }]
    ));
}

#[test]
fn a_member_that_learns_from_its_offsets_that_it_is_unknown_joins_anew() {
    let (mut member, now) = reading_offsets();
    member.offsets(now, 6, Err(error(ErrorCode::UnknownMemberId)));
    // The caller has not heard of what is lost.
    assert_eq!(drain(&mut member, now), [join("")]);
}

#[test]
fn a_member_that_may_not_read_its_offsets_ends() {
    let (mut member, now) = reading_offsets();
    member.offsets(now, 6, Err(error(ErrorCode::GroupAuthorizationFailed)));
    assert!(matches!(
        &drain(&mut member, now)[..],
        [Action::Tell(News::Failed(_))]
    ));
    assert!(member.has_ended());
}

#[test]
fn a_coordinator_that_gives_no_id_or_one_after_the_other_is_asked_in_measure() {
    for ids in [&[""][..], &["m-1", "m-2"]] {
        let now = Instant::now();
        let mut member = Membership::new("g".into(), TIMES, false, now);
        for id in ids {
            assert!(matches!(
                &drain(&mut member, now)[..],
                [Action::Join { .. }]
            ));
            member.joined(now, Ok(Joined::MemberIdRequired((*id).into())));
        }
        assert_eq!(drain(&mut member, now), [], "{ids:?}");
        assert_eq!(member.next_wakeup(), Some(now + RETRY_FROM), "{ids:?}");
    }
}

#[test]
fn a_generation_that_has_passed_before_its_sync_is_joined_anew_without_a_word() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::RebalanceInProgress] {
        let (mut member, now) = stable();
        member.rebalance(now);
        member.released(now, &[partition(0), partition(1)]);
        drain(&mut member, now);
        member.joined(now, Ok(joined(6)));
        drain(&mut member, now);
        member.synced(now, Err(error(code)));
        assert_eq!(drain(&mut member, now), [], "{code:?}");
        assert_eq!(drain(&mut member, now + RETRY_FROM), [join("m-1")]);
    }
}

#[test]
fn it_has_a_generation_only_while_it_has_an_assignment() {
    let now = Instant::now();
    assert_eq!(
        Membership::new("g".into(), TIMES, false, now).generation(),
        None
    );
    let (mut member, now) = stable();
    assert_eq!(member.generation(), Some(5));
    member.rebalance(now);
    member.released(now, &[partition(0), partition(1)]);
    assert_eq!(member.generation(), None);
}

#[test]
fn an_id_is_awaited_while_the_first_join_is_on_its_way() {
    let now = Instant::now();
    let mut member = Membership::new("g".into(), TIMES, false, now);
    assert!(!member.awaits_member_id());
    drain(&mut member, now);
    assert!(member.awaits_member_id());
    member.joined(now, Ok(Joined::MemberIdRequired("m-1".into())));
    assert!(!member.awaits_member_id());
    drain(&mut member, now);
    assert!(!member.awaits_member_id(), "it has one");
}

#[test]
fn it_has_ended_when_all_that_led_to_it_is_told() {
    let (mut member, now) = stable();
    assert!(!member.has_ended());
    member.heartbeat(now, 5, Err(error(ErrorCode::FencedInstanceId)));
    assert!(!member.has_ended());
    drain(&mut member, now);
    assert!(member.has_ended());
}

#[test]
fn what_can_never_work_ends_the_membership_with_one_word() {
    let now = Instant::now();
    let mut member = Membership::new("g".into(), TIMES, false, now);
    drain(&mut member, now);
    member.joined(now, Err(error(ErrorCode::GroupAuthorizationFailed)));
    assert_eq!(
        drain(&mut member, now),
        [Action::Tell(News::Failed(error(
            ErrorCode::GroupAuthorizationFailed
        )))]
    );
    assert!(member.has_ended());
    assert_eq!(member.next_wakeup(), None);
}

#[test]
fn a_coordinator_that_is_away_is_asked_again_ever_more_slowly() {
    let mut now = Instant::now();
    let mut member = Membership::new("g".into(), TIMES, false, now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        drain(&mut member, now);
        member.joined(now, Err(error(ErrorCode::CoordinatorNotAvailable)));
        drain(&mut member, now);
        let next = member.next_wakeup().unwrap();
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits[..3], [100, 200, 400].map(Duration::from_millis));
    assert_eq!(waits[7], RETRY_UP_TO);
}

#[derive(Debug, Clone)]
enum Reply {
    Good,
    Bad(ErrorCode),
}

fn reply() -> impl Strategy<Value = (Reply, u64, bool)> {
    let codes = vec![
        ErrorCode::RebalanceInProgress,
        ErrorCode::IllegalGeneration,
        ErrorCode::UnknownMemberId,
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorLoadInProgress,
    ];
    let reply =
        prop_oneof![3 => Just(Reply::Good), 1 => prop::sample::select(codes).prop_map(Reply::Bad)];
    (reply, 0..70_000_u64, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The caller's view: partitions come with `Assigned`, and before they come again they went by `Revoked` and
    /// release, or by `Lost`. A JoinGroup is never sent while any is held.
    #[test]
    fn nothing_is_assigned_twice_and_nothing_is_held_while_joining(replies in prop::collection::vec(reply(), 1..150)) {
        let mut now = Instant::now();
        let mut member = Membership::new("g".into(), TIMES, false, now);
        let mut held: Vec<TopicPartition> = Vec::new();
        let mut to_release = Vec::new();
        let mut generation = 0;
        for (reply, millis, release) in replies {
            if release && !to_release.is_empty() {
                held.clear();
                member.released(now, &std::mem::take(&mut to_release));
            }
            let Some(action) = member.poll(now) else {
                let wakeup = member.next_wakeup();
                prop_assert!(wakeup.is_some() || matches!(member.phase, Phase::Ended));
                now += Duration::from_millis(millis);
                continue;
            };
            let failure = match reply { Reply::Good => None, Reply::Bad(code) => Some(error(code)) };
            match action {
                Action::Join { owned, .. } => {
                    prop_assert!(held.is_empty() && owned.is_empty());
                    generation += 1;
                    member.joined(now, failure.map_or(Ok(joined(generation)), Err));
                }
                Action::Sync { .. } => member.synced(now, failure.map_or(Ok(vec![partition(0)]), Err)),
                Action::FetchOffsets { generation, .. } => {
                    member.offsets(now, generation, failure.map_or(Ok(vec![assigned(0)]), Err));
                }
                Action::Heartbeat { generation, .. } => member.heartbeat(now, generation, failure.map_or(Ok(()), Err)),
                Action::Tell(News::Assigned { partitions, .. }) => {
                    prop_assert!(held.is_empty());
                    held = partitions.into_iter().map(|assigned| assigned.partition).collect();
                }
                Action::Tell(News::Revoked(partitions)) => {
                    prop_assert_eq!(&partitions, &held);
                    to_release = partitions;
                }
                Action::Tell(News::Lost { partitions, .. }) => {
                    // The loss may have been on its way while the release came.
                    prop_assert!(held.is_empty() || partitions == held);
                    held.clear();
                    to_release.clear();
                }
                Action::Tell(News::Failed(_)) => {}
            }
        }
    }
}

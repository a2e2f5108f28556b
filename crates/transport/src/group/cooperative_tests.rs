//! A member that keeps what it holds, against a coordinator played by hand.

use super::*;

fn join_owning(owned: &[i32], generation: i32) -> Action {
    Action::Join {
        member_id: "m-1".into(),
        owned: owned.iter().copied().map(partition).collect(),
        generation,
    }
}

fn partitions(numbers: &[i32]) -> Vec<TopicPartition> {
    numbers.iter().copied().map(partition).collect()
}

fn told_assigned(generation: i32, numbers: &[i32]) -> Action {
    Action::Tell(News::Assigned {
        generation,
        partitions: numbers.iter().copied().map(assigned).collect(),
    })
}

/// A member that holds partitions 0 and 1 in generation 5.
fn stable() -> (Membership, Instant) {
    let now = Instant::now();
    let mut member = Membership::new("g".into(), TIMES, true, now);
    drain(&mut member, now);
    member.joined(now, Ok(Joined::MemberIdRequired("m-1".into())));
    assert_eq!(drain(&mut member, now), [join("m-1")]);
    sync(&mut member, now, 5, &[0, 1]);
    drain(&mut member, now);
    member.offsets(now, 5, Ok(vec![assigned(0), assigned(1)]));
    assert_eq!(drain(&mut member, now), [told_assigned(5, &[0, 1])]);
    (member, now)
}

/// Has it join a generation, and be given these in it.
fn sync(member: &mut Membership, now: Instant, generation: i32, given: &[i32]) {
    member.joined(now, Ok(joined(generation)));
    assert!(matches!(&drain(member, now)[..], [Action::Sync { .. }, ..]));
    member.synced(now, Ok(partitions(given)));
}

/// A member that is asked for a rebalance, and has sent its JoinGroup.
fn joining() -> (Membership, Instant) {
    let (mut member, now) = stable();
    member.heartbeat(now, 5, Err(error(ErrorCode::RebalanceInProgress)));
    assert_eq!(drain(&mut member, now), [join_owning(&[0, 1], 5)]);
    (member, now)
}

fn assert_lost(actions: &[Action]) {
    assert!(
        matches!(&actions[0], Action::Tell(News::Lost { partitions, .. }) if partitions.len() == 2),
        "{actions:?}"
    );
}

#[test]
fn a_rebalance_is_joined_at_once_while_all_is_held_and_heartbeats_and_commits_go_on() {
    let (mut member, now) = joining();
    assert!(member.holds(&partition(0)) && member.holds(&partition(1)));
    assert_eq!(member.may_commit(), MayCommit::As("m-1", 5));
    let later = now + TIMES.heartbeat_interval;
    assert!(matches!(
        &drain(&mut member, later)[..],
        [Action::Heartbeat { generation: 5, .. }]
    ));
    member.heartbeat(later, 5, Err(error(ErrorCode::RebalanceInProgress)));
    assert_eq!(drain(&mut member, later), []);
}

#[test]
fn what_is_not_given_any_more_is_given_up_alone_and_then_it_joins_again() {
    let (mut member, now) = joining();
    sync(&mut member, now, 6, &[0]);
    assert_eq!(
        drain(&mut member, now),
        [
            Action::Tell(News::Revoked(partitions(&[1]))),
            told_assigned(6, &[])
        ]
    );
    assert!(member.holds(&partition(1)), "it is being drained");
    assert_eq!(member.may_commit(), MayCommit::As("m-1", 6));
    // Another rebalance meanwhile waits for that.
    member.heartbeat(now, 6, Err(error(ErrorCode::RebalanceInProgress)));
    assert_eq!(drain(&mut member, now), []);
    member.released(now, &partitions(&[1]));
    assert!(!member.holds(&partition(1)));
    assert_eq!(drain(&mut member, now), [join_owning(&[0], 6)]);
}

#[test]
fn what_is_given_besides_is_told_alone() {
    let (mut member, now) = joining();
    sync(&mut member, now, 6, &[0, 1, 2]);
    assert_eq!(
        drain(&mut member, now),
        [Action::FetchOffsets {
            generation: 6,
            partitions: partitions(&[2])
        }]
    );
    member.offsets(now, 6, Ok(vec![assigned(2)]));
    assert_eq!(drain(&mut member, now), [told_assigned(6, &[2])]);
    assert!((0..3).all(|number| member.holds(&partition(number))));
}

#[test]
fn a_rebalance_that_changes_nothing_revokes_nothing_and_joins_no_more() {
    let (mut member, now) = joining();
    sync(&mut member, now, 6, &[0, 1]);
    assert_eq!(drain(&mut member, now), [told_assigned(6, &[])]);
    assert_eq!(member.next_wakeup(), Some(now + TIMES.heartbeat_interval));
}

#[test]
fn draining_for_longer_than_the_rebalance_timeout_loses_everything() {
    let (mut member, now) = joining();
    sync(&mut member, now, 6, &[0]);
    drain(&mut member, now);
    let end = now + TIMES.rebalance_timeout;
    let mut at = now;
    while at + TIMES.heartbeat_interval < end {
        at += TIMES.heartbeat_interval;
        assert!(matches!(
            &drain(&mut member, at)[..],
            [Action::Heartbeat { .. }]
        ));
        member.heartbeat(at, 6, Ok(()));
    }
    assert_lost(&drain(&mut member, end));
}

#[test]
fn what_is_held_is_lost_when_the_group_can_have_waited_no_longer_for_a_join_that_does_not_get_through()
 {
    let (mut member, now) = joining();
    let by = now + TIMES.rebalance_timeout;
    let mut at = now;
    while at + TIMES.heartbeat_interval < by {
        // Signs of life do.
        member.heartbeat(at, 5, Err(error(ErrorCode::RebalanceInProgress)));
        member.joined(at, Err(error(ErrorCode::NotCoordinator)));
        at += TIMES.heartbeat_interval;
        let actions = drain(&mut member, at);
        assert!(member.holds(&partition(0)), "{actions:?}");
    }
    drain(&mut member, by);
    assert!(member.holds(&partition(0)), "this one may have been heard");
    member.joined(by, Err(error(ErrorCode::NotCoordinator)));
    assert_lost(&drain(&mut member, by)[1..]);
}

#[test]
fn a_commit_that_is_refused_because_the_generation_went_on_is_made_again_in_the_next() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::RebalanceInProgress] {
        let (mut member, now) = joining();
        let refused = error(code);
        member.commit_refused(now, 5, &refused);
        assert!(member.commits_again(5, &refused));
        member.joined(now, Ok(joined(6)));
        drain(&mut member, now);
        assert_eq!(member.may_commit(), MayCommit::Later);
        member.commit_refused(now, 5, &refused);
        assert!(member.commits_again(5, &refused));
        member.synced(now, Ok(partitions(&[0, 1])));
        assert_eq!(member.may_commit(), MayCommit::As("m-1", 6));
        member.commit_refused(now, 5, &refused);
        assert!(member.commits_again(5, &refused));
        assert_eq!(drain(&mut member, now), [told_assigned(6, &[])]);
    }
}

#[test]
fn a_commit_that_is_refused_in_its_own_generation_is_not_made_again() {
    let (mut member, now) = stable();
    let missed = error(ErrorCode::IllegalGeneration);
    member.commit_refused(now, 5, &missed);
    assert!(!member.commits_again(5, &missed));
    assert_lost(&drain(&mut member, now));
    let (member, _) = joining();
    let other = error(ErrorCode::OffsetMetadataTooLarge);
    assert!(!member.commits_again(5, &other));
}

#[test]
fn a_rebalance_that_starts_over_takes_nothing() {
    for fails_to_join in [false, true] {
        let (mut member, now) = joining();
        let over = error(ErrorCode::RebalanceInProgress);
        let generation = if fails_to_join {
            member.joined(now, Err(error(ErrorCode::NotCoordinator)));
            5
        } else {
            member.joined(now, Ok(joined(6)));
            drain(&mut member, now);
            member.synced(now, Err(over));
            6
        };
        let at = now + RETRY_FROM;
        let actions = drain(&mut member, at);
        assert_eq!(actions.last(), Some(&join_owning(&[0, 1], generation)));
        assert!(member.holds(&partition(0)) && member.holds(&partition(1)));
    }
}

#[test]
fn a_missed_generation_and_an_unknown_member_lose_everything_at_any_time() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId] {
        let (mut member, now) = joining();
        member.joined(now, Err(error(code)));
        assert_lost(&drain(&mut member, now));
        let (mut member, now) = joining();
        member.joined(now, Ok(joined(6)));
        drain(&mut member, now);
        member.synced(now, Err(error(code)));
        assert_lost(&drain(&mut member, now));
        let (mut member, now) = joining();
        member.joined(now, Ok(joined(6)));
        drain(&mut member, now);
        member.heartbeat(now, 6, Err(error(code)));
        assert_lost(&drain(&mut member, now));
    }
}

#[test]
fn a_coordinator_that_gives_out_another_id_has_forgotten_what_was_held_under_the_old_one() {
    let (mut member, now) = joining();
    member.joined(now, Ok(Joined::MemberIdRequired("m-2".into())));
    assert_lost(&drain(&mut member, now));
    let (mut member, now) = joining();
    let Joined::In {
        assignor,
        generation,
        led,
        ..
    } = joined(6)
    else {
        panic!("it is in");
    };
    let member_id = "m-2".into();
    member.joined(
        now,
        Ok(Joined::In {
            member_id,
            generation,
            assignor,
            led,
        }),
    );
    assert_lost(&drain(&mut member, now));
}

#[test]
fn a_fenced_instance_loses_everything_and_ends_while_it_joins_too() {
    let fenced = error(ErrorCode::FencedInstanceId);
    let (mut member, now) = joining();
    member.heartbeat(now, 5, Err(fenced.clone()));
    assert_lost(&drain(&mut member, now));
    assert!(member.has_ended());
    let (mut member, now) = joining();
    member.joined(now, Err(fenced));
    assert_lost(&drain(&mut member, now));
    assert!(member.has_ended());
}

#[test]
fn while_it_joins_a_heartbeat_of_the_generation_before_tells_nothing_of_its_being_over() {
    let (mut member, now) = joining();
    member.heartbeat(now, 5, Err(error(ErrorCode::IllegalGeneration)));
    assert_eq!(drain(&mut member, now), []);
    assert!(member.holds(&partition(0)));
    member.heartbeat(now, 5, Err(error(ErrorCode::UnknownMemberId)));
    assert_lost(&drain(&mut member, now));
}

#[test]
fn a_session_that_ends_while_it_joins_loses_everything_and_what_it_said_it_held_is_let_go() {
    let (mut member, now) = joining();
    let later = now + TIMES.session_timeout;
    assert_lost(&drain(&mut member, later));
    assert_eq!(member.may_commit(), MayCommit::No);
    // The group goes by what it said: what it is given of that it has to start anew.
    sync(&mut member, later, 6, &[0]);
    let actions = drain(&mut member, later);
    let fetch = Action::FetchOffsets {
        generation: 6,
        partitions: partitions(&[0]),
    };
    assert_eq!(
        actions,
        [join_owning(&[0], 6), fetch],
        "the group waits for partition 1 to be given up"
    );
    assert!(!member.holds(&partition(0)));
    member.offsets(later, 6, Ok(vec![assigned(0)]));
    assert_eq!(drain(&mut member, later), [told_assigned(6, &[0])]);
}

#[test]
fn what_was_given_and_not_started_is_kept_and_its_offsets_count_unless_it_was_taken_meanwhile() {
    for (given, told) in [(&[0, 1, 2, 3][..], &[2, 3][..]), (&[0, 1, 3], &[3])] {
        let (mut member, now) = joining();
        sync(&mut member, now, 6, &[0, 1, 2, 3]);
        assert!(matches!(
            &drain(&mut member, now)[..],
            [Action::FetchOffsets { generation: 6, .. }]
        ));
        member.heartbeat(now, 6, Err(error(ErrorCode::RebalanceInProgress)));
        assert_eq!(drain(&mut member, now), [join_owning(&[0, 1, 2, 3], 6)]);
        sync(&mut member, now, 7, given);
        drain(&mut member, now);
        member.offsets(now, 6, Ok(vec![assigned(2), assigned(3)]));
        assert_eq!(drain(&mut member, now)[0], told_assigned(6, told));
    }
}

#[test]
fn what_was_taken_and_given_again_is_started_where_its_offsets_are_then() {
    let (mut member, now) = joining();
    sync(&mut member, now, 6, &[0, 1, 2]);
    drain(&mut member, now);
    for (generation, given) in [(7, &[0, 1][..]), (8, &[0, 1, 2])] {
        member.heartbeat(
            now,
            generation - 1,
            Err(error(ErrorCode::RebalanceInProgress)),
        );
        let joins = drain(&mut member, now);
        assert!(matches!(&joins[..], [.., Action::Join { .. }]), "{joins:?}");
        sync(&mut member, now, generation, given);
        let again = drain(&mut member, now);
        // It joins once more to let the group know that it has let go.
        if let Some(Action::Join { .. }) = again.last() {
            sync(&mut member, now, generation, given);
            drain(&mut member, now);
        }
    }
    member.offsets(now, 6, Ok(vec![assigned(2)]));
    assert_eq!(
        drain(&mut member, now),
        [Action::FetchOffsets {
            generation: 8,
            partitions: partitions(&[2])
        }]
    );
}

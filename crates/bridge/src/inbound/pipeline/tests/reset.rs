//! Logs whose offsets are out of range.

use std::time::Duration;

use super::stage::{Rig, offset_of};
use super::stand_ins::{Call, tp};
use crate::inbound::group::{CommitError, GroupCommand, GroupEvent, Life};

#[tokio::test(start_paused = true)]
async fn a_partition_whose_log_begins_again_below_what_was_committed_is_handled_from_there() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("a", "fine"), ("b", "hang")])
        .await;
    for offset in 0..3 {
        let Call::Started(started, 1) = rig.call().await else {
            panic!("offset {offset}")
        };
        assert!((0..3).contains(&started));
    }
    rig.committed_up_to(0, 2).await;
    rig.reset(0, 0, 2).await;
    assert_eq!(rig.call().await, Call::Dropped(2));
    assert!(rig.log_began_again());
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_in_flight_before_the_place_where_its_log_was_cut_is_finished_before_reading_goes_on()
 {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("b", "fine"), ("c", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    rig.reset(0, 1, 2).await;
    rig.next_offset.insert(0, 1);
    rig.deliver(0, &[("d", "fine")]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.nothing_is_committed();
    assert!(!rig.log_began_again());
    rig.gate.add_permits(1);
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 2).await;
    assert!(rig.log_began_again());
}

#[tokio::test(start_paused = true)]
async fn a_log_cut_twice_goes_on_from_the_lower_place_with_what_was_fetched_before_the_other() {
    for (second, expected) in [(1, vec![1]), (3, vec![2])] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(
            0,
            &[("a", "gate"), ("b", "fine"), ("c", "fine"), ("d", "fine")],
        )
        .await;
        for _ in 0..4 {
            rig.call().await;
        }
        rig.reset(0, 2, 2).await;
        rig.next_offset.insert(0, 2);
        rig.deliver(0, &[("e", "fine"), ("f", "gate")]).await;
        rig.reset(0, second, 3).await;
        rig.next_offset.insert(0, second);
        rig.deliver(0, &[("g", "fine")]).await;
        rig.settle().await;
        rig.gate.add_permits(1);
        for offset in expected {
            assert_eq!(rig.call().await, Call::Started(offset, 1), "{second}");
        }
        rig.committed_up_to(0, second + 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_taken_away_before_its_cut_log_is_read_on_leaves_the_unfinished_to_its_next_owner()
 {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang"), ("c", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    rig.reset(0, 2, 2).await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let released = rig
        .command(|command| {
            assert!(!matches!(command, GroupCommand::Commit(..)), "{command:?}");
            matches!(command, GroupCommand::Release(_))
        })
        .await;
    assert!(matches!(released, GroupCommand::Release(_)));
    assert!(!rig.log_began_again());
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_skips_what_is_gone_leaves_what_is_in_flight_alone() {
    for to in [1, 7] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", "gate")]).await;
        assert_eq!(rig.call().await, Call::Started(0, 1));
        rig.reset(0, to, 2).await;
        rig.settle().await;
        rig.nothing_is_committed();
        rig.gate.add_permits(1);
        rig.next_offset.insert(0, to);
        rig.deliver(0, &[("b", "fine")]).await;
        assert_eq!(rig.call().await, Call::Started(to, 1));
        rig.committed_up_to(0, to + 1).await;
        assert!(!rig.log_began_again(), "reset to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_partition_on_its_way_out_ends_it_and_nothing_of_the_former_log_is_committed()
{
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    for _ in 0..2 {
        rig.call().await;
    }
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    rig.reset(0, 0, 2).await;
    assert_eq!(rig.call().await, Call::Dropped(1));
    let released = rig
        .command(|command| {
            assert!(!matches!(command, GroupCommand::Commit(..)), "{command:?}");
            matches!(command, GroupCommand::Release(_))
        })
        .await;
    assert!(matches!(released, GroupCommand::Release(partitions) if partitions == [tp(0)]));
    assert!(rig.log_began_again());
}

#[tokio::test(start_paused = true)]
async fn a_reset_during_a_stop_drops_what_was_done_of_the_former_log_and_commits_the_others() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.deliver(1, &[("a", "fine")]).await;
    for _ in 0..3 {
        rig.call().await;
    }
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(1)))
        .await;
    rig.reset(0, 0, 2).await;
    assert_eq!(rig.call().await, Call::Dropped(1));
    let command = rig.commands.recv().await;
    let Some(GroupCommand::Commit(offsets, reply)) = command else {
        panic!("{command:?}")
    };
    assert_eq!(
        (offset_of(&offsets, 0), offset_of(&offsets, 1)),
        (None, Some(1))
    );
    reply.send(Ok(())).unwrap();
    let command = rig.commands.recv().await;
    let Some(GroupCommand::Leave(reply)) = command else {
        panic!("{command:?}")
    };
    reply.send(()).unwrap();
    assert!(report.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_commit_says_of_which_life_of_its_partition_it_is() {
    for to in [0, 1] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", "fine")]).await;
        rig.call().await;
        let life_of_commit = async |rig: &mut Rig| {
            let command = rig
                .command(|command| matches!(command, GroupCommand::Commit(..)))
                .await;
            let GroupCommand::Commit(offsets, reply) = command else {
                unreachable!()
            };
            reply.send(Ok(())).unwrap();
            offsets[0].life
        };
        assert_eq!(life_of_commit(&mut rig).await, Life(1));
        rig.reset(0, to, 2).await;
        rig.next_offset.insert(0, to);
        rig.deliver(0, &[("a", "fine")]).await;
        assert_eq!(life_of_commit(&mut rig).await, Life(2), "reset to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_commit_left_out_is_committed_again_and_nothing_else() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.deliver(1, &[("a", "fine")]).await;
    for _ in 0..2 {
        rig.call().await;
    }
    let command = rig
        .command(
            |command| matches!(command, GroupCommand::Commit(offsets, _) if offsets.len() == 2),
        )
        .await;
    let GroupCommand::Commit(_, reply) = command else {
        unreachable!()
    };
    let partly = CommitError::Partly {
        left_out: vec![tp(0)],
        why: Box::new(CommitError::NotNow("it was made again".to_owned())),
    };
    reply.send(Err(partly)).unwrap();
    let command = rig
        .command(|command| matches!(command, GroupCommand::Commit(..)))
        .await;
    let GroupCommand::Commit(offsets, _reply) = command else {
        unreachable!()
    };
    assert_eq!(
        (offset_of(&offsets, 0), offset_of(&offsets, 1)),
        (Some(1), None)
    );
}

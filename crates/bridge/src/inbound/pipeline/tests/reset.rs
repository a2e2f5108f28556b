//! Logs whose offsets are out of range.

use super::stage::Rig;
use super::stand_ins::{Call, OrderCall, tp};
use crate::inbound::group::{GroupCommand, GroupEvent};

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
    rig.events
        .send(GroupEvent::Reset {
            partition: tp(0),
            to: 0,
        })
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(2));
    assert!(rig.order_was_told().contains(&OrderCall::LogBeginsAgain));
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_skips_what_is_gone_leaves_what_is_in_flight_alone() {
    for to in [1, 7] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", "gate")]).await;
        assert_eq!(rig.call().await, Call::Started(0, 1));
        rig.events
            .send(GroupEvent::Reset {
                partition: tp(0),
                to,
            })
            .await
            .unwrap();
        rig.settle().await;
        rig.nothing_is_committed();
        rig.gate.add_permits(1);
        rig.next_offset.insert(0, to);
        rig.deliver(0, &[("b", "fine")]).await;
        assert_eq!(rig.call().await, Call::Started(to, 1));
        rig.committed_up_to(0, to + 1).await;
        assert!(
            !rig.order_was_told().contains(&OrderCall::LogBeginsAgain),
            "reset to {to}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_partition_on_its_way_out_does_not_bring_it_back() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (partition, to) = (tp(0), 0);
    rig.events
        .send(GroupEvent::Reset { partition, to })
        .await
        .unwrap();
    rig.settle().await;
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

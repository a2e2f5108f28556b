//! Logs whose offsets are out of range.

use super::stage::Rig;
use super::stand_ins::{Call, tp};
use crate::inbound::group::GroupEvent;

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
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_skips_what_is_gone_leaves_what_is_in_flight_alone() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Reset {
            partition: tp(0),
            to: 7,
        })
        .await
        .unwrap();
    rig.settle().await;
    rig.gate.add_permits(1);
    rig.next_offset.insert(0, 7);
    rig.deliver(0, &[("b", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(7, 1));
    rig.committed_up_to(0, 8).await;
}

//! What belongs to a former assignment says nothing about the one in force.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::stage::{Rig, paused};
use super::stand_ins::{Call, OrderCall, tp};
use crate::inbound::group::{GroupCommand, GroupEvent};

/// A handler that blocks its thread cannot be cancelled: it takes a second thread to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_comes_back_waits_for_a_handler_that_could_not_be_cancelled() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "block")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    // Time is not paused here.
    let soon = Duration::from_secs(20);
    let pauses =
        rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)));
    timeout(soon, pauses).await.expect("the partition pauses");
    assert!(rig.calls.try_recv().is_err());
    rig.unblock.send(()).unwrap();
    let started = timeout(soon, rig.call()).await;
    assert_eq!(started.unwrap(), Call::Started(0, 1));
    timeout(soon, rig.committed_up_to(0, 1)).await.unwrap();
    assert_eq!(rig.reason_for(&paused(0)), None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_a_log_that_began_again_speaks_for_no_message_of_the_new_one() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.grave.answers.forget_permits(Semaphore::MAX_PERMITS);
    rig.deliver(0, &[("a", "bad")]).await;
    rig.burial().await;
    rig.reset(0, 0, 2).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "bad")]).await;
    assert!(!rig.burial().await.1);

    // The one before is acknowledged.
    rig.grave.answers.add_permits(1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.nothing_is_committed();
    rig.grave.open.store(true, Ordering::SeqCst);
    rig.grave.answers.add_permits(10);
    assert!(rig.burial().await.1);
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_a_former_assignment_does_not_stand_in_for_one_of_the_next() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"); 5]).await;
    let reply = loop {
        let (offset, reply) = rig.commit(0).await;
        if offset == Some(5) {
            break reply;
        }
        reply.send(Ok(())).unwrap();
    };
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.assign(&[0]).await;
    reply.send(Ok(())).unwrap();
    rig.settle().await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_assigned_again_begins_anew_and_is_read_whatever_paused_it() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.command(|command| matches!(command, GroupCommand::Resume(resumed) if *resumed == tp(0)))
        .await;
    rig.deliver(0, &[("a", "hang")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.assign(&[0]).await;
    assert_eq!(rig.call().await, Call::Dropped(0));
    assert!(matches!(rig.told().await, OrderCall::Closed(0)));
    rig.deliver(0, &[("a", "fine")]).await;
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_below_the_committed_offset_counts_as_done_here() {
    let mut rig = Rig::start();
    rig.assign_at(0, 5).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(5, 1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.nothing_is_committed();
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_goes_takes_nothing_of_the_bounds_with_it() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let lanes: Vec<String> = (0..50).map(|lane| lane.to_string()).collect();
    let hang: Vec<_> = lanes.iter().map(|lane| (lane.as_str(), "hang")).collect();
    rig.deliver(0, &hang).await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.assign(&[1]).await;
    let gate: Vec<_> = lanes.iter().map(|lane| (lane.as_str(), "gate")).collect();
    rig.deliver(1, &gate).await;
    rig.settle().await;
    let mut started = 0;
    while let Ok(call) = rig.calls.try_recv() {
        started += usize::from(matches!(call, Call::Started(..)));
    }
    assert!(started >= 8 + 7, "only {started} were started");
}

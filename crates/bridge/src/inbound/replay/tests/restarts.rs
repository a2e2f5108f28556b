//! What is accepted, and what is not, after the process or the partition's owner has changed.

use super::stage::*;
use crate::inbound::judge::Order;
use crate::state::StateDir;
use cybermesh_contracts::replay::Handled;
use cybermesh_contracts::sign::Ed25519Signer;
use cybermesh_transport::{Position, TopicPartition};
use std::sync::Arc;

#[tokio::test]
async fn after_a_crash_a_copy_in_the_ring_is_a_duplicate_and_an_older_one_a_replay() {
    let (world, process) = after(60, 60, World::new()).await;
    drop(process);
    let mut process = Process::started(&world).await;
    assert_eq!(process.started_from(), r#"{from="commit"} 1"#);
    world.append(message(50, 50));
    world.append(message(3, 3));
    world.append(message(60, 60));
    assert_eq!(
        process.reads(&world),
        [Order::Duplicate, Order::Replay, Order::Passes]
    );
    assert_eq!(process.alarms(), "");
}

#[tokio::test]
async fn after_a_crash_what_was_not_committed_is_handled_again() {
    let (world, process) = after(60, 40, World::new()).await;
    drop(process);
    let mut process = Process::started(&world).await;
    assert_eq!(process.reads(&world), [Order::Passes; 20]);
}

#[tokio::test]
async fn a_partition_that_comes_back_goes_on_from_memory_where_its_commit_still_stands() {
    let (world, mut process) = after(60, 60, World::new()).await;
    process.gives_up(&world, Handled::default());
    *world.log.away.lock().unwrap() = true;
    process.opens(&world).await.unwrap();
    world.append(message(3, 3));
    assert_eq!(process.reads(&world), [Order::Replay]);
}

#[tokio::test]
async fn what_was_accepted_and_not_handled_passes_wherever_it_stands_when_its_partition_comes_back()
{
    let (mut world, mut process) = after(60, 40, World::new()).await;
    let order = process.order.as_ref().unwrap();
    let handled = order.handled_from(40, &|offset| offset == 58);
    process.gives_up(&world, handled);
    // The log lost its end meanwhile, and senders sent it again.
    world.log.records.lock().unwrap().truncate(50);
    for height in [55, 58, 3, 20] {
        world.append(message(height, height.unsigned_abs()));
    }
    process.opens(&world).await.unwrap();
    assert!(process.started_from().contains(r#"{from="memory"} 1"#));
    let verdicts = process.reads(&world);
    assert_eq!(verdicts[..11], [Order::Passes; 11]);
    assert_eq!(
        verdicts[11..],
        [Order::Duplicate, Order::Replay, Order::Replay]
    );
    process.commits(&mut world, 54).await;
    world.append(message(55, 55));
    assert_eq!(process.reads(&world), [Order::Duplicate]);
}

#[tokio::test]
async fn a_partition_that_comes_back_goes_by_what_another_member_committed_meanwhile() {
    let (mut world, mut first) = after(60, 60, World::new()).await;
    first.gives_up(&world, Handled::default());
    let mut second = Process::started(&world).await;
    world.append(message(60, 60));
    assert_eq!(second.reads(&world), [Order::Passes]);
    second.commits(&mut world, 61).await;
    first.opens(&world).await.unwrap();
    world.append(message(60, 60));
    world.append(message(3, 3));
    assert_eq!(first.reads(&world), [Order::Duplicate, Order::Replay]);
    assert_eq!(first.alarms(), "");
}

#[tokio::test]
async fn after_a_reset_by_another_tool_messages_from_there_on_pass_again_and_copies_of_earlier_ones_do_not()
 {
    let (mut world, mut process) = after(60, 60, World::new()).await;
    process.gives_up(&world, Handled::default());
    // Tools know nothing of our states.
    world.committed = Some((30, String::new()));
    process.opens(&world).await.unwrap();
    assert_eq!(process.reads(&world), [Order::Passes; 30]);
    assert_eq!(process.alarms(), r#"{reason="missing"} 1"#);
    let mut process = Process::started(&world).await;
    assert_eq!(process.reads(&world), [Order::Passes; 30]);
    world.append(message(3, 3));
    assert_eq!(
        process.reads(&world),
        [Order::Replay],
        "older than what was read back"
    );
}

#[tokio::test]
async fn after_a_reset_to_the_start_of_the_log_everything_passes_again_and_nothing_is_wrong() {
    let (mut world, process) = after(60, 60, World::new()).await;
    drop(process);
    world.committed = Some((0, String::new()));
    let mut process = Process::started(&world).await;
    assert_eq!(process.reads(&world), [Order::Passes; 60]);
    assert_eq!(process.alarms(), "");
}

#[tokio::test]
async fn at_the_first_offset_that_the_log_has_copies_of_what_was_deleted_before_it_do_not_pass() {
    let (mut world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.start.lock().unwrap() = 30;
    world.committed = Some((30, String::new()));
    let mut process = Process::started(&world).await;
    assert_eq!(process.alarms(), "");
    assert_eq!(process.reads(&world), [Order::Passes; 30]);
    world.append(message(3, 3));
    assert_eq!(process.reads(&world), [Order::Replay]);
}

#[tokio::test]
async fn at_offset_0_copies_of_what_was_deleted_do_not_pass_either() {
    for text in ["", "AgID"] {
        let (mut world, process) = after(60, 60, World::new()).await;
        drop(process);
        *world.log.start.lock().unwrap() = 30;
        world.committed = Some((0, text.to_owned()));
        let mut process = Process::started(&world).await;
        let order = process.order.as_mut().unwrap();
        for height in 30..60 {
            let passes = order.judge(height, 1, &message(height, height.unsigned_abs()));
            assert_eq!(passes, Order::Passes);
        }
        assert_eq!(order.judge(60, 1, &message(3, 3)), Order::Replay, "{text}");
    }
}

#[tokio::test]
async fn after_its_offsets_expired_everything_that_the_log_has_passes_again_in_the_same_process_as_well()
 {
    let (mut world, mut process) = after(60, 60, World::new()).await;
    process.gives_up(&world, Handled::default());
    world.committed = None;
    process.opens(&world).await.unwrap();
    assert_eq!(process.reads(&world), [Order::Passes; 60]);
    let mut process = Process::started(&world).await;
    assert_eq!(process.reads(&world), [Order::Passes; 60]);
}

#[tokio::test]
async fn a_group_that_begins_at_the_end_knows_copies_of_what_came_just_before() {
    let mut world = World::new();
    for height in 0..60 {
        world.append(message(height, height.unsigned_abs()));
    }
    world.start = Position::Latest;
    let mut process = Process::started(&world).await;
    let order = process.order.as_mut().unwrap();
    assert_eq!(order.judge(60, 1, &message(59, 59)), Order::Duplicate);
    assert_eq!(order.judge(61, 1, &message(3, 3)), Order::Replay);
    assert_eq!(order.judge(62, 1, &message(60, 60)), Order::Passes);
    assert_eq!(process.alarms(), "");
}

#[tokio::test]
async fn a_state_of_another_group_cluster_topic_or_partition_is_foreign_and_the_log_tells_what_it_can()
 {
    type Change = fn(&mut World);
    let changes: [Change; 4] = [
        |world| world.group = "other",
        |world| world.cluster_id = "other",
        |world| world.topic_id = [3; 16],
        |world| world.partition = TopicPartition::new("control.commits.v1", 1),
    ];
    for change in changes {
        let (mut world, process) = after(60, 60, World::new()).await;
        drop(process);
        change(&mut world);
        let mut process = Process::started(&world).await;
        assert_eq!(process.alarms(), r#"{reason="foreign"} 1"#);
        assert_eq!(process.started_from(), r#"{from="read-back"} 1"#);
        world.append(message(59, 59));
        world.append(message(3, 3));
        world.append(message(60, 60));
        assert_eq!(
            process.reads(&world),
            [Order::Duplicate, Order::Replay, Order::Passes]
        );
    }
}

#[tokio::test]
async fn a_state_without_the_signature_that_the_trust_store_demands_is_not_used() {
    let (ours, theirs) = ([5; 32], [6; 32]);
    for (signer, alarm) in [
        (None, r#"{reason="not-signed"} 1"#),
        (Some(theirs), r#"{reason="not-signed"} 1"#),
        (Some(ours), ""),
    ] {
        let mut world = World::new().demanding(&Ed25519Signer::from_seed(&ours));
        world.signer = signer.map(|seed| Ed25519Signer::from_seed(&seed));
        let (world, process) = after(60, 60, world).await;
        drop(process);
        assert_eq!(Process::started(&world).await.alarms(), alarm, "{signer:?}");
    }
}

#[tokio::test]
async fn where_the_log_was_cut_above_the_ring_what_is_missing_counts_as_settled() {
    let (world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.start.lock().unwrap() = 55;
    let mut process = Process::started(&world).await;
    assert_eq!(process.alarms(), r#"{reason="ring-cut"} 1"#);
    world.append(message(50, 50));
    world.append(message(57, 57));
    assert_eq!(process.reads(&world), [Order::Replay, Order::Duplicate]);
}

/// The fake log's clock is an hour ahead of the first message.
const NOW_S: u64 = 3_600;

#[tokio::test]
async fn where_everything_was_deleted_copies_of_it_do_not_pass_with_a_state_or_without() {
    for (has_state, alarms) in [(true, r#"{reason="ring-cut"} 1"#), (false, "")] {
        let (mut world, process) = after(60, 60, World::new()).await;
        drop(process);
        *world.log.start.lock().unwrap() = 60;
        if !has_state {
            world.committed = Some((60, String::new()));
        }
        let mut process = Process::started(&world).await;
        assert_eq!(process.alarms(), alarms);
        world.append(message(50, 50));
        world.append(message(60, NOW_S + 1));
        assert_eq!(process.reads(&world), [Order::Replay, Order::Passes]);
        // What was appended meanwhile tells how old the rest was.
        world.log.records.lock().unwrap().truncate(60);
        world.append(message(60, 60));
        let mut process = Process::started(&world).await;
        world.append(message(50, 50));
        world.append(message(61, 61));
        assert_eq!(
            process.reads(&world),
            [Order::Passes, Order::Replay, Order::Passes]
        );
    }
}

#[tokio::test]
async fn a_group_that_begins_at_the_end_of_an_emptied_log_has_accepted_nothing() {
    let (mut world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.start.lock().unwrap() = 60;
    (world.committed, world.start) = (None, Position::Latest);
    let mut process = Process::started(&world).await;
    let order = process.order.as_mut().unwrap();
    assert_eq!(order.judge(60, 1, &message(60, 60)), Order::Passes);
}

#[tokio::test]
async fn where_the_log_cannot_be_read_now_the_order_is_not_known_and_later_it_is() {
    let (world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.away.lock().unwrap() = true;
    let mut process = world.process();
    assert_eq!(process.opens(&world).await, Err("away".to_owned()));
    assert_eq!(process.started_from(), "");
    *world.log.away.lock().unwrap() = false;
    process.opens(&world).await.unwrap();
    assert_eq!(process.started_from(), r#"{from="commit"} 1"#);
}

#[tokio::test]
async fn a_topic_made_again_while_the_partition_was_elsewhere_brings_nothing_back_that_was_accepted()
 {
    let (mut world, mut process) = after(60, 60, World::new()).await;
    process.gives_up(&world, Handled::default());
    world.topic_id = [3; 16];
    // With a topic go the offsets that were committed of it.
    world.committed = None;
    world.log.records.lock().unwrap().clear();
    process.opens(&world).await.unwrap();
    world.append(message(50, 50));
    world.append(message(60, 60));
    assert_eq!(process.reads(&world), [Order::Replay, Order::Passes]);
    assert_eq!(process.alarms(), r#"{reason="log-began-again"} 1"#);
}

#[tokio::test]
async fn a_log_that_begins_again_is_committed_with_everything_settled_and_another_process_knows() {
    let (mut world, mut process) = after(60, 60, World::new()).await;
    world.topic_id = [3; 16];
    world.log.records.lock().unwrap().clear();
    let order = process.order.as_mut().unwrap();
    order.log_begins_again(Some([3; 16]));
    assert_eq!(order.judge(0, 1, &message(70, 70)), Order::Passes);
    world.append(message(70, 70));
    process.commits(&mut world, 1).await;
    let mut process = Process::started(&world).await;
    world.append(message(50, 50));
    world.append(message(70, 70));
    world.append(message(71, 71));
    assert_eq!(
        process.reads(&world),
        [Order::Replay, Order::Duplicate, Order::Passes]
    );
    assert_eq!(process.alarms(), "");
}

#[tokio::test]
async fn what_was_in_flight_when_the_log_began_again_passes_when_it_is_read_again() {
    let (world, mut process) = after(60, 40, World::new()).await;
    let order = process.order.as_mut().unwrap();
    let handled = order.handled_from(0, &|offset| offset < 50);
    order.given_up(handled);
    order.log_begins_again(Some(world.topic_id));
    for (height, verdict) in [
        (3, Order::Replay),
        (39, Order::Replay),
        (49, Order::Replay),
        (50, Order::Passes),
        (59, Order::Passes),
    ] {
        let message = message(height, height.unsigned_abs());
        assert_eq!(order.judge(height, BYTES, &message), verdict, "{height}");
    }
}

#[tokio::test]
async fn what_an_operator_sets_to_nothing_settled_passes_again_copies_and_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.state = Some(Arc::new(StateDir::open(folder.path()).unwrap()));
    let (mut world, mut process) = after(30, 30, world).await;
    // A copy of that very offset, of the time when it was reached.
    process.keeps(&world, |_| false).await;
    for height in 30..60 {
        world.append(message(height, height.unsigned_abs()));
    }
    process.reads(&world);
    process.commits(&mut world, 60).await;
    world.append(message(3, 3));
    drop(process);
    let text = world.process().nothing_settled(&world, 30);
    world.committed = Some((30, text));
    let mut process = Process::started(&world).await;
    assert_eq!(process.started_from(), r#"{from="commit"} 1"#);
    assert_eq!(process.alarms(), "");
    assert_eq!(process.reads(&world), [Order::Passes; 31]);
}

#[tokio::test(start_paused = true)]
async fn partitions_whose_leader_does_not_answer_keep_no_other_from_being_read_back() {
    let (world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.silent.lock().unwrap() = (1..20).collect();
    let mut process = world.process();
    let silent = process.opens_others(&world, 1..20);
    tokio::task::yield_now().await;
    let opens = tokio::time::timeout(std::time::Duration::from_secs(1), process.opens(&world));
    opens.await.unwrap().unwrap();
    assert!(silent.iter().all(|one| !one.is_finished()));
}

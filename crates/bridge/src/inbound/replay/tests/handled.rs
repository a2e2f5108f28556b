//! What was handled beyond the committed watermark, behind a message that was not.

use super::stage::*;
use crate::inbound::judge::Order;
use crate::state::StateDir;
use std::sync::Arc;

fn with_folder(folder: &tempfile::TempDir) -> World {
    let mut world = World::new();
    world.state = Some(Arc::new(StateDir::open(folder.path()).unwrap()));
    world
}

#[tokio::test]
async fn what_was_handled_behind_a_stuck_message_is_not_handled_again_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (world, process) = after(60, 40, with_folder(&folder)).await;
    process
        .keeps(&world, |offset| offset != 40 && offset < 58)
        .await;
    drop(process);
    let mut process = Process::started(&world).await;
    assert_eq!(process.started_from(), r#"{from="copy"} 1"#);
    let verdicts = process.reads(&world);
    let again: Vec<usize> = (0..20)
        .filter(|at| verdicts[*at] == Order::Passes)
        .collect();
    assert_eq!(again, [0, 18, 19]);
    assert_eq!(verdicts[1], Order::HandledBefore);
}

#[tokio::test]
async fn a_copy_that_is_written_again_before_all_was_read_again_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (world, process) = after(60, 40, with_folder(&folder)).await;
    process.keeps(&world, |offset| offset > 40).await;
    drop(process);
    let process = Process::started(&world).await;
    process.keeps(&world, |_| false).await;
    drop(process);
    let mut process = Process::started(&world).await;
    assert_eq!(process.reads(&world)[1..], [Order::HandledBefore; 19]);
}

#[tokio::test]
async fn a_copy_of_another_offset_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, mut process) = after(60, 40, with_folder(&folder)).await;
    process.keeps(&world, |offset| offset > 40).await;
    process.commits(&mut world, 41).await;
    drop(process);
    let mut process = Process::started(&world).await;
    assert_eq!(process.started_from(), r#"{from="commit"} 1"#);
    assert_eq!(process.reads(&world), [Order::Passes; 19]);
}

#[tokio::test]
async fn what_was_written_anew_at_a_handled_offset_is_handled() {
    let folder = tempfile::tempdir().unwrap();
    let (world, process) = after(60, 40, with_folder(&folder)).await;
    process.keeps(&world, |offset| offset > 40).await;
    drop(process);
    world.log.records.lock().unwrap()[45] = message(100, 100);
    let mut process = Process::started(&world).await;
    let verdicts = process.reads(&world);
    assert_eq!(
        (verdicts[4], verdicts[5]),
        (Order::HandledBefore, Order::Passes)
    );
}

#[tokio::test]
async fn what_was_handled_before_a_partition_went_and_came_back_is_not_handled_again() {
    let (world, mut process) = after(60, 40, World::new()).await;
    let order = process.order.as_ref().unwrap();
    let handled = order.handled_from(0, &|offset| offset > 41);
    process.gives_up(&world, handled);
    process.opens(&world).await.unwrap();
    let verdicts = process.reads(&world);
    assert_eq!(verdicts[..2], [Order::Passes; 2]);
    assert_eq!(verdicts[2..], [Order::HandledBefore; 18]);
}

//! What operators see of the way in.

use std::time::Duration;

use super::stage::{Rig, paused};
use super::stand_ins::tp;
use crate::inbound::group::{CommitError, Fetched, GroupCommand, GroupEvent};

#[tokio::test(start_paused = true)]
async fn watermark_lag_and_what_is_in_flight_are_shown_and_nothing_of_them_afterwards() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate"), ("c", "fine")])
        .await;
    rig.events
        .send(GroupEvent::Fetched(Fetched {
            partition: tp(0),
            records: Vec::new(),
            end: 3,
            high_watermark: 9,
        }))
        .await
        .unwrap();
    rig.committed_up_to(0, 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ends = |name: &str, value: &str| {
        let shown = rig.shown(name);
        assert!(shown.len() == 1 && shown[0].ends_with(value), "{shown:?}");
    };
    ends("bridge_watermark{", " 1");
    ends("bridge_lag{", " 8");
    ends("bridge_inflight_messages", " 1");
    ends("bridge_oldest_unfinished_seconds", " 5");
    drop(rig.requests);
    rig.task.await.unwrap();
    let text = rig.exposition.text().unwrap();
    let inflight = text
        .lines()
        .find(|line| line.starts_with("bridge_inflight_messages"));
    assert!(inflight.unwrap().ends_with(" 0"), "{inflight:?}");
    assert!(!text.contains("bridge_lag{"));
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_committed_no_more_than_100_000_offsets_are_read_and_health_says_why()
{
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let fetched = async |rig: &mut Rig, end| {
        let fetched = Fetched {
            partition: tp(0),
            records: Vec::new(),
            end,
            high_watermark: end,
        };
        let fetched = GroupEvent::Fetched(fetched);
        rig.events.send(fetched).await.unwrap();
    };
    let refused = || CommitError::NotNow("not enough replicas".into());
    fetched(&mut rig, 100_000).await;
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(100_000));
    reply.send(Err(refused())).unwrap();
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)), None);
    fetched(&mut rig, 100_001).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(partition) if *partition == tp(0)))
        .await;
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)).unwrap(), "commits");
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(100_001));
    reply.send(Ok(())).unwrap();
    rig.command(
        |command| matches!(command, GroupCommand::Resume(partition) if *partition == tp(0)),
    )
    .await;
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)), None);
}

#[tokio::test(start_paused = true)]
async fn so_much_that_no_more_is_read_is_committed_at_once() {
    let mut rig = Rig::start_with(|config| config.commit_interval = Duration::from_secs(3_600));
    rig.assign(&[0]).await;
    let fetched = Fetched {
        partition: tp(0),
        records: Vec::new(),
        end: 100_001,
        high_watermark: 100_001,
    };
    let begun = tokio::time::Instant::now();
    let fetched = GroupEvent::Fetched(fetched);
    rig.events.send(fetched).await.unwrap();
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(100_001));
    assert!(begun.elapsed() < Duration::from_secs(1), "by virtual time");
    reply.send(Ok(())).unwrap();
    rig.command(
        |command| matches!(command, GroupCommand::Resume(partition) if *partition == tp(0)),
    )
    .await;
}

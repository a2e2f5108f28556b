//! How much a running bridge logs: per change of state, and not per message.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "stage/events.rs"]
mod events;
mod stage;

use std::time::Duration;

use cybermesh_bridge::{
    Bridge,
    handler::{Context, Verdict},
};
use cybermesh_contracts::{kind::Kind, message::Anomaly, verify::Verified};
use events::Events;
use futures_util::future::join_all;
use stage::{Stage, anomaly, soon, trust};
use tracing::Level;

const STOP: Duration = Duration::from_secs(10);

/// What was logged from the start to the end of a bridge that sent so many messages and handled them.
async fn logged(events: &Events, messages: usize) -> Vec<(Level, String)> {
    let stage = Stage::set().await;
    events.take();
    let settings = stage.settings(&[
        ("role", "backend"),
        ("limits.anomaly", "off"),
        // A thousand at once may take their time: that is no change of state.
        ("kafka.request_timeout", "30s"),
    ]);
    let bridge = Bridge::builder(settings)
        .trust(trust())
        .sends([Kind::Anomaly])
        .receives([Kind::Anomaly])
        .handle(|_: Verified<Anomaly>, _: Context| async { Ok(Verdict::Done) })
        .start()
        .await
        .unwrap();
    // Assigned before there is anything to read, so that each run sees the same changes of state.
    let assigned = async {
        while !bridge.health().is_ready() {
            tokio::task::yield_now().await;
        }
    };
    soon(assigned).await;
    let sent = join_all((0..messages).map(|_| bridge.publisher().send(anomaly())));
    assert!(soon(sent).await.iter().all(Result::is_ok));
    let topic = Kind::Anomaly.default_topic();
    soon(stage.broker.wait_until(|broker| {
        let committed = (0..3)
            .filter_map(|partition| broker.committed("cybermesh-backend", topic, partition))
            .map(|committed| usize::try_from(committed.offset).unwrap());
        committed.sum::<usize>() == messages
    }))
    .await;
    assert!(bridge.stop(STOP).await.is_clean());
    events.take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_log_nothing_above_debug_that_ten_do_not() {
    let events = Events::listen();
    let (ten, thousand) = (logged(&events, 10).await, logged(&events, 1000).await);
    let loud = |lines: &[(Level, String)]| {
        let loud = lines.iter().filter(|(level, _)| *level <= Level::INFO);
        loud.map(|(level, line)| format!("{level} {line}"))
            .collect::<Vec<_>>()
    };
    let (loud_ten, loud_thousand) = (loud(&ten), loud(&thousand));
    assert!(!loud_ten.is_empty());
    assert_eq!(
        loud_ten.len(),
        loud_thousand.len(),
        "{loud_ten:#?}\n{loud_thousand:#?}"
    );
    // Each message is told of at debug: it is seen from here.
    let told = |lines: &[(Level, String)]| {
        let quiet = lines.iter().filter(|(level, _)| *level == Level::DEBUG);
        let ours = quiet.filter(|(_, line)| line.starts_with("cybermesh_bridge"));
        ours.count()
    };
    assert!(told(&thousand) >= told(&ten) + 990, "{}", told(&thousand));
}

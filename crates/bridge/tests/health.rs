//! `/healthz`: whether the process makes progress, and what of it does not.

mod stage;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cybermesh_devbroker::{Api, ErrorCode, Fault};
use stage::{Stage, anomaly, get, soon};
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

const LISTEN: [(&str, &str); 1] = [("CYBERMESH_LISTEN", "127.0.0.1:0")];
const STOP: Duration = Duration::from_secs(10);

/// Panics in whatever task tells of an error: the only way to have one of ours panic.
#[derive(Default)]
struct Panics(AtomicU64);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().contains("producer")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        assert!(!first, "as the test wants");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_sender_that_panicked_makes_the_process_unhealthy_and_is_named() {
    let _panics = tracing::subscriber::set_default(Panics::default());
    let stage = Stage::set().await;
    let bridge = stage.sender(&LISTEN).start().await.unwrap();
    let address = bridge.ops_address().unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    let healthy = get(address, "/healthz").await;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");

    // Says that somebody else has taken our place, which the sender tells as an error.
    let fenced = Fault::error(Api::Produce, ErrorCode::INVALID_PRODUCER_EPOCH).once();
    stage.broker.fault(fenced);
    let lost = soon(bridge.publisher().send(anomaly())).await;
    assert!(lost.is_err(), "{lost:?}");
    let unhealthy = soon(async {
        loop {
            let answer = get(address, "/healthz").await;
            if !answer.starts_with("HTTP/1.1 200") {
                return answer;
            }
        }
    })
    .await;
    assert!(unhealthy.starts_with("HTTP/1.1 503"), "{unhealthy}");
    let body: serde_json::Value =
        serde_json::from_str(unhealthy.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected = serde_json::json!({
        "healthy": false,
        "reasons": [{ "condition": "stuck publisher", "detail": "its task is gone" }],
    });
    assert_eq!(body, expected);
    bridge.stop(STOP).await;
}

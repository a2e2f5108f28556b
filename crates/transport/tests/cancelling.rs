//! Callers that go away at any await: what they leave behind is no hole, no copy and no disorder.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::task::Poll;

use cybermesh_devbroker::{Api, Fault};
use cybermesh_transport::{Producer, ProducerConfig};
use proptest::prelude::*;
use support::*;

const PARTITIONS: usize = 2;

/// One caller.
#[derive(Debug, Clone, Copy)]
struct Caller {
    /// How often its future is polled before it is dropped, if it is not ready before.
    polls: usize,
    /// Whether it waits for the delivery at the end.
    stays: bool,
}

fn caller() -> impl Strategy<Value = Caller> {
    (0..6_usize, any::<bool>()).prop_map(|(polls, stays)| Caller { polls, stays })
}

#[derive(Debug, Clone, Copy)]
enum Loss {
    Request,
    Answer,
}

/// Sends as the callers do and checks the log.
async fn run(callers: Vec<Caller>, losses: Vec<(u64, Loss)>) {
    let broker = broker("t", PARTITIONS).await;
    for (after, loss) in losses {
        let fault = match loss {
            Loss::Request => Fault::drop_before_apply(Api::Produce),
            Loss::Answer => Fault::drop_after_apply(Api::Produce),
        };
        broker.fault(fault.skip(after).once());
    }
    let config = ProducerConfig {
        // Room for three, so that callers are often dropped while they wait for it.
        buffer_bytes: 1000,
        ..eager(1000)
    };
    let producer = Producer::new(client(&broker).await, config);
    let (mut sent, mut staying) = (Vec::new(), Vec::new());
    for (number, caller) in callers.into_iter().enumerate() {
        let value = format!("{number:04}");
        let mut sending = Box::pin(producer.send("t", record(&value)));
        for _ in 0..caller.polls {
            if let Poll::Ready(delivery) = futures_util::poll!(&mut sending) {
                sent.push(value);
                if caller.stays {
                    staying.push(delivery.unwrap());
                }
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    within(producer.flush()).await;
    for delivery in staying {
        within(delivery).await.unwrap();
    }
    for _ in 0..PARTITIONS {
        let last = within(producer.send("t", record("last"))).await.unwrap();
        within(last).await.unwrap();
    }
    let mut logged: Vec<String> = Vec::new();
    for partition in 0..PARTITIONS {
        let values = in_order(&broker, i32::try_from(partition).unwrap());
        logged.extend(values.into_iter().filter(|value| value != "last"));
    }
    logged.sort();
    assert_eq!(
        logged, sent,
        "what was appended is there once, and nothing else"
    );
}

/// The values of a partition, which are in order.
fn in_order(broker: &cybermesh_devbroker::DevBroker, partition: i32) -> Vec<String> {
    let values = logged(broker, "t", partition);
    assert!(values.is_sorted(), "{values:?}");
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn callers_that_go_away_at_any_await_leave_no_hole_no_copy_and_no_disorder(
        callers in prop::collection::vec(caller(), 1..60),
        losses in prop::collection::vec(
            (0..20_u64, prop_oneof![Just(Loss::Request), Just(Loss::Answer)]), 0..3
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(callers, losses));
    }
}

//! What the child processes do: the built-in broker, a sender, a receiver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use cybermesh_bridge::handler::{Context, Verdict};
use cybermesh_bridge::outbound::Enqueued;
use cybermesh_bridge::{Bridge, Receipt, Settings};
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Anomaly;
use cybermesh_contracts::sign::Signer;
use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::Verified;
use cybermesh_devbroker::DevBroker;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use crate::clock::{process_time, unix_ms};
use crate::{Failure, event};

/// Messages a sender has on their way at most.
const WINDOW: usize = 10_000;
/// Messages that are sent and handled before the clocks start.
pub(crate) const WARM_UP: u64 = 1_000;
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What a sender or receiver is told. How it reaches the cluster, and how it behaves, stands in its
/// environment as for any process.
#[derive(Debug, Args)]
pub(crate) struct Task {
    /// Messages that count; as many as the warm-up come before them
    #[arg(long)]
    pub(crate) count: u64,
    /// What a receiver asks of envelopes
    #[arg(long, default_value = "required")]
    pub(crate) envelope: String,
}

/// What it took, as it is told on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) begun_unix_ms: u64,
    pub(crate) ended_unix_ms: u64,
    pub(crate) cpu_seconds: f64,
}

struct Begun {
    unix_ms: u64,
    cpu: Duration,
}

impl Begun {
    fn now() -> Self {
        Self {
            unix_ms: unix_ms(),
            cpu: process_time(),
        }
    }

    fn end(&self) -> Took {
        Took {
            begun_unix_ms: self.unix_ms,
            ended_unix_ms: unix_ms(),
            cpu_seconds: (process_time() - self.cpu).as_secs_f64(),
        }
    }
}

/// Runs the built-in broker until standard input ends.
pub(crate) async fn broker() -> Result<(), Failure> {
    let broker = DevBroker::builder().start().await?;
    println!("{}", broker.bootstrap());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    broker.stop().await;
    Ok(())
}

/// Sends the warm-up, then what counts, and waits until all of it is acknowledged.
pub(crate) async fn send(task: &Task) -> Result<(), Failure> {
    let settings = Settings::loader()
        .process_environment()
        .set("role", "node")
        .load()?;
    let bridge = Bridge::builder(settings)
        .signer(Arc::new(event::signer()))
        .receives([])
        .start()
        .await?;
    send_numbers(&bridge, 0..WARM_UP).await?;
    let begun = Begun::now();
    send_numbers(&bridge, WARM_UP..WARM_UP + task.count).await?;
    println!("{}", serde_json::to_string(&begun.end())?);
    bridge.stop(STOP_WITHIN).await;
    Ok(())
}

async fn send_numbers(bridge: &Bridge, numbers: std::ops::Range<u64>) -> Result<(), Failure> {
    let mut on_their_way = VecDeque::<Enqueued>::with_capacity(WINDOW);
    for number in numbers {
        if on_their_way.len() == WINDOW {
            acknowledged(on_their_way.pop_front()).await?;
        }
        let draft = event::anomaly(number)?;
        on_their_way.push_back(bridge.publisher().enqueue(draft).await?);
    }
    while !on_their_way.is_empty() {
        acknowledged(on_their_way.pop_front()).await?;
    }
    Ok(())
}

async fn acknowledged(sent: Option<Enqueued>) -> Result<(), Failure> {
    let Some(sent) = sent else { return Ok(()) };
    match sent.receipt().await? {
        Receipt::Logged { .. } => Ok(()),
        other => Err(format!("not in the log: {other:?}").into()),
    }
}

/// Handles the warm-up, then what counts.
pub(crate) async fn receive(task: &Task) -> Result<(), Failure> {
    let rule = match task.envelope.as_str() {
        "required" => EnvelopeRule::Required,
        "off" => EnvelopeRule::Off,
        other => return Err(format!("{other:?} is neither required nor off").into()),
    };
    let key = TrustedKey::new(
        "bench",
        event::signer().public_key(),
        [Right::Kind(Kind::Anomaly)],
    )?;
    let settings = Settings::loader()
        .process_environment()
        .set("role", "backend")
        .load()?;
    let (began, has_begun) = oneshot::channel();
    let (all, all_handled) = oneshot::channel();
    let ends = std::sync::Mutex::new((Some(began), Some(all)));
    let (handled, last) = (AtomicU64::new(0), WARM_UP + task.count);
    let handled = Arc::new((handled, ends));
    let handler = move |anomaly: Verified<Anomaly>, _: Context| {
        let handled = Arc::clone(&handled);
        async move {
            std::hint::black_box(anomaly);
            let (count, ends) = &*handled;
            let count = count.fetch_add(1, Ordering::Relaxed) + 1;
            if count == WARM_UP || count == last {
                let mut ends = ends
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let end = if count == last {
                    ends.1.take()
                } else {
                    ends.0.take()
                };
                if let Some(end) = end {
                    // Nobody listens any more only where the run has failed.
                    let _ = end.send(Begun::now());
                }
            }
            Ok(Verdict::Done)
        }
    };
    let bridge = Bridge::builder(settings)
        .trust(TrustStore::of([key.with_envelope(rule)])?)
        .sends([])
        .receives([Kind::Anomaly])
        .handle(handler)
        .start()
        .await?;
    let begun = has_begun.await?;
    all_handled.await?;
    println!("{}", serde_json::to_string(&begun.end())?);
    bridge.stop(STOP_WITHIN).await;
    Ok(())
}

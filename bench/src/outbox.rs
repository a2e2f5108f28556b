//! What it costs to keep a message on disk: each way of syncing, one message alone and a hundred in flight.
//!
//! No broker answers: every message ends in the outbox, whose file is in the folder that is named. The breaker is open
//! before the first message that counts, so that nobody waits for the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use cybermesh_bridge::{Bridge, Receipt, SendError, Settings};
use cybermesh_contracts::kind::Kind;
use serde::Serialize;

use crate::{Failure, event};

/// Messages that are sent and not told at a time.
const TOGETHER: usize = 100;
const STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Where the outbox is: what is measured is this folder's disk. It is made, and removed at the end
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Messages sent one after the other; with a hundred in flight ten times as many
    #[arg(long, value_name = "N", default_value_t = 500)]
    messages: usize,
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    sync: &'static str,
    in_flight: usize,
    messages: usize,
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
}

pub(crate) async fn run(place: &Place) -> Result<(), Failure> {
    println!("sync      in flight  messages/s  median ms  99 % ms");
    for sync in ["always", "interval"] {
        for in_flight in [1, TOGETHER] {
            let messages = if in_flight == 1 {
                place.messages
            } else {
                place.messages * 10
            };
            let row = measure(&place.folder, sync, in_flight, messages).await?;
            println!(
                "{:<9} {:>9}  {:>10.0}  {:>9.3}  {:>7.3}",
                row.sync, row.in_flight, row.per_second, row.median_ms, row.p99_ms
            );
        }
    }
    Ok(())
}

async fn measure(
    folder: &Path,
    sync: &'static str,
    in_flight: usize,
    messages: usize,
) -> Result<Row, Failure> {
    let state = folder.join(format!("{sync}-{in_flight}"));
    let settings = Settings::loader()
        // Nobody listens there.
        .set("KAFKA_BROKERS", "127.0.0.1:1")
        .set("KAFKA_TLS_ENABLED", "false")
        .set(
            "CYBERMESH_STATE_DIR",
            state.to_str().ok_or("the folder is not UTF-8")?,
        )
        .set("CYBERMESH_OUTBOX_SYNC", sync)
        .set("CYBERMESH_RATE_LIMIT_ANOMALY", "off")
        .load()?;
    let bridge = Bridge::builder(settings)
        .sends([Kind::Anomaly])
        .receives([])
        .signer(Arc::new(event::signer()))
        .start()
        .await?;
    let publisher = bridge.publisher();
    // Enough that the breaker has heard of the cluster.
    for number in 0..20 {
        spooled(publisher.send(event::anomaly(number)?).await)?;
    }
    let begun = Instant::now();
    let senders = (0..in_flight).map(|sender| {
        let publisher = publisher.clone();
        async move {
            let mut took = Vec::new();
            for number in (sender..messages).step_by(in_flight) {
                let number = u64::try_from(number)? + 1_000;
                let one = Instant::now();
                spooled(publisher.send(event::anomaly(number)?).await)?;
                took.push(one.elapsed());
            }
            Ok::<_, Failure>(took)
        }
    });
    let mut took: Vec<Duration> = Vec::new();
    for of_sender in futures_util::future::join_all(senders).await {
        took.extend(of_sender?);
    }
    let whole = begun.elapsed();
    bridge.stop(STOP).await;
    std::fs::remove_dir_all(&state)?;
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    let in_ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let count = u32::try_from(took.len())?;
    Ok(Row {
        sync,
        in_flight,
        messages,
        per_second: f64::from(count) / whole.as_secs_f64(),
        median_ms: in_ms(at(50)),
        p99_ms: in_ms(at(99)),
    })
}

fn spooled(sent: Result<Receipt, SendError>) -> Result<(), Failure> {
    match sent? {
        Receipt::Spooled { .. } => Ok(()),
        other => Err(format!("not in the outbox: {other:?}").into()),
    }
}

//! `send`: signs drafts and sends them, with a receipt line for each in the order they came.

use std::io::{self, Write};

use cybermesh_bridge::outbound::{Publisher, Receipt, SendError};
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::Kind;
use cybermesh_contracts::message::Draft;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::args::{SendArgs, SettingsArgs};
use crate::failure::Failure;
use crate::json::{self, MadeUp};
use crate::lines::{Line, Lines};
use crate::{config, log};

/// Drafts on their way at once: enough to fill batches, few enough to keep receipts coming.
const IN_FLIGHT: usize = 512;
/// Lines read ahead.
const READ_AHEAD: usize = 64;

/// Sends every draft; exit code 1 when one was neither logged nor spooled.
pub(crate) async fn run(args: SendArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let mut loader = config::loader(settings);
    if let Some(key) = &args.key {
        let key = key
            .to_str()
            .ok_or_else(|| Failure::usage("--key: a path that is not UTF-8"))?;
        loader = loader.set("keys.signing", key);
    }
    let settings = config::finish(loader)?;
    log::init(&settings);
    let lines = Lines::open(args.file.as_ref())?;
    let bridge = Bridge::builder(settings.clone())
        .sends([args.kind])
        .receives([])
        .start()
        .await
        .map_err(Failure::start)?;
    let sent = send_all(bridge.publisher(), &settings, args.kind, lines).await;
    let left = bridge.stop(settings.receive.stop_timeout).await;
    match sent? {
        true if left.is_clean() => Ok(()),
        _ => Err(Failure::silent_no()),
    }
}

/// Whether every line was logged or spooled.
async fn send_all(
    publisher: &Publisher,
    settings: &Settings,
    kind: Kind,
    lines: Lines,
) -> Result<bool, Failure> {
    let mut lines = read_ahead(lines);
    let mut sending = FuturesOrdered::new();
    let (mut open, mut all) = (true, true);
    while open || !sending.is_empty() {
        tokio::select! {
            line = lines.recv(), if open && sending.len() < IN_FLIGHT => match line {
                Some(line) => {
                    let line = line?;
                    sending.push_back(send_one(publisher, settings, kind, line));
                }
                None => open = false,
            },
            Some((receipt, safe)) = sending.next() => {
                all &= safe;
                writeln!(io::stdout().lock(), "{receipt}")
                    .map_err(|error| Failure::no(format!("standard output: {error}")))?;
            }
        }
    }
    Ok(all)
}

/// Reads on a thread of its own: standard input blocks.
fn read_ahead(mut lines: Lines) -> mpsc::Receiver<Result<Line, Failure>> {
    let (send, receive) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        while let Some(line) = lines.next().transpose() {
            let last = line.is_err();
            if send.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receive
}

async fn send_one(
    publisher: &Publisher,
    settings: &Settings,
    kind: Kind,
    line: Line,
) -> (Value, bool) {
    let draft: Result<Draft, String> = line
        .text
        .and_then(|text| json::draft(kind, &text, MadeUp::now()));
    let (outcome, safe) = match draft {
        Err(reason) => (Outcome::failed("invalid", reason), false),
        Ok(draft) => match publisher.send(draft).await {
            Ok(Receipt::Logged {
                topic,
                partition,
                offset,
                ..
            }) => (
                Outcome {
                    result: "logged",
                    topic: Some(topic.to_string()),
                    partition: Some(partition),
                    offset,
                    reason: None,
                },
                true,
            ),
            // Receipts may grow; whatever is one says that the message is safe.
            Ok(_) => (
                Outcome {
                    result: "spooled",
                    ..Outcome::default()
                },
                true,
            ),
            Err(error) => (Outcome::failed(result(&error), error.to_string()), false),
        },
    };
    let topic = outcome
        .topic
        .or_else(|| (outcome.result != "invalid").then(|| settings.topics.of(kind).to_owned()));
    let receipt = json!({
        "line": line.number,
        "result": outcome.result,
        "topic": topic,
        "partition": outcome.partition,
        "offset": outcome.offset,
        "reason": outcome.reason,
    });
    (receipt, safe)
}

#[derive(Debug, Default)]
struct Outcome {
    result: &'static str,
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    reason: Option<String>,
}

impl Outcome {
    fn failed(result: &'static str, reason: String) -> Self {
        Self {
            result,
            reason: Some(reason),
            ..Self::default()
        }
    }
}

fn result(error: &SendError) -> &'static str {
    match error {
        SendError::Unknown(_) => "unknown",
        SendError::Invalid(_) => "invalid",
        SendError::TooLarge(_) => "too_large",
        SendError::RateLimited { .. } => "rate_limited",
        SendError::BreakerOpen { .. } => "breaker_open",
        SendError::Closed => "closed",
        _ => "not_sent",
    }
}

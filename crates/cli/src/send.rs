//! `send`: signs drafts and sends them, with a receipt line for each in the order they came.

use cybermesh_bridge::outbound::{Enqueued, Publisher, Receipt, SendError};
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::Kind;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::args::{SendArgs, SettingsArgs};
use crate::failure::Failure;
use crate::json::{self, MadeUp};
use crate::lines::{Line, Lines};
use crate::output::Output;
use crate::signal::Signals;
use crate::{config, log, outbox};

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
    let signals = Signals::hear();
    let starting = Bridge::builder(settings.clone())
        .sends([args.kind])
        .receives([])
        .start();
    let started = signals.unless_ended(starting).await;
    let bridge = started.ok_or_else(interrupted)?.map_err(Failure::start)?;
    if signals
        .unless_ended(send_what_waits(&bridge))
        .await
        .is_none()
    {
        bridge.stop(settings.receive.stop_timeout).await;
        return Err(interrupted());
    }
    let sending = send_all(bridge.publisher(), &settings, args.kind, lines, &signals);
    let sent = signals.rereading(bridge.reloader(), sending).await;
    let left = bridge.stop(settings.receive.stop_timeout).await;
    match sent? {
        true if left.is_clean() => Ok(()),
        true => Err(Failure::no(
            "every message was logged or spooled, but the end was not in order",
        )),
        false => Err(Failure::silent_no()),
    }
}

/// What earlier runs left goes first, if it goes at all.
async fn send_what_waits(bridge: &Bridge) {
    if let Some(mut status) = bridge.publisher().outbox() {
        let last = status.borrow().next;
        let _ = outbox::until_drained(bridge, &mut status, last, 1, |_| {}).await;
    }
}

/// Whether every line was logged or spooled.
async fn send_all(
    publisher: &Publisher,
    settings: &Settings,
    kind: Kind,
    lines: Lines,
    signals: &Signals,
) -> Result<bool, Failure> {
    let mut lines = read_ahead(lines);
    let output = Output::new();
    let mut sending = FuturesOrdered::new();
    let (mut open, mut all, mut failure) = (true, true, None);
    let mut signal = std::pin::pin!(signals.end());
    // What was begun is waited for, whatever happens meanwhile: without its receipt it would be sent again.
    while open || !sending.is_empty() {
        tokio::select! {
            () = &mut signal, if open => {
                open = false;
                failure.get_or_insert_with(interrupted);
            }
            line = lines.recv(), if open && sending.len() < IN_FLIGHT => match line {
                // Each has its place before the next line is looked at: the log has them in the order of their lines.
                Some(Ok(line)) => {
                    let number = line.number;
                    tokio::select! {
                        begun = begin(publisher, kind, line) => {
                            sending.push_back(async move { (number, end(begun).await) });
                        }
                        () = &mut signal => {
                            open = false;
                            failure.get_or_insert_with(interrupted);
                        }
                    }
                }
                Some(Err(unreadable)) => {
                    open = false;
                    failure.get_or_insert(unreadable);
                }
                None => open = false,
            },
            Some((number, outcome)) = sending.next() => {
                all &= outcome.is_safe();
                let receipt = outcome.receipt(number, settings.topics.of(kind));
                let stalled = async {
                    signals.end().await;
                    tokio::time::sleep(settings.receive.stop_timeout).await;
                };
                tokio::select! {
                    written = output.write(receipt.to_string()) => if let Err(error) = written {
                        open = false;
                        failure.get_or_insert_with(|| Failure::no(format!("standard output: {error}")));
                    },
                    () = stalled => {
                        return Err(Failure::no("interrupted, and nobody reads the receipts; what was sent is not told"));
                    }
                }
            }
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(all),
    }
}

fn interrupted() -> Failure {
    Failure::no("interrupted; lines without a receipt were not sent")
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

async fn begin(publisher: &Publisher, kind: Kind, line: Line) -> Result<Enqueued, Outcome> {
    let draft = line
        .text
        .and_then(|text| json::draft(kind, &text, MadeUp::now()))
        .map_err(|reason| Outcome::failed("invalid", reason))?;
    publisher
        .enqueue(draft)
        .await
        .map_err(|error| Outcome::of_error(&error))
}

async fn end(begun: Result<Enqueued, Outcome>) -> Outcome {
    let enqueued = match begun {
        Ok(enqueued) => enqueued,
        Err(outcome) => return outcome,
    };
    match enqueued.receipt().await {
        Ok(Receipt::Logged {
            topic,
            partition,
            offset,
            ..
        }) => Outcome {
            result: "logged",
            topic: Some(topic.to_string()),
            partition: Some(partition),
            offset,
            ..Outcome::default()
        },
        Ok(Receipt::Spooled { sequence, .. }) => Outcome {
            result: "spooled",
            sequence: Some(sequence),
            ..Outcome::default()
        },
        // Receipts may grow; whatever is one says that the message is safe.
        Ok(_) => Outcome {
            result: "safe",
            ..Outcome::default()
        },
        Err(error) => Outcome::of_error(&error),
    }
}

#[derive(Debug, Default)]
struct Outcome {
    result: &'static str,
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    sequence: Option<u64>,
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

    fn of_error(error: &SendError) -> Self {
        Self::failed(result(error), error.to_string())
    }

    fn is_safe(&self) -> bool {
        self.reason.is_none()
    }

    /// The line; `topic` is where a valid draft was to go.
    fn receipt(self, line: u64, topic: &str) -> Value {
        let valid = self.result != "invalid";
        let mut receipt = json!({
            "line": line,
            "result": self.result,
            "topic": self.topic.or_else(|| valid.then(|| topic.to_owned())),
            "partition": self.partition,
            "offset": self.offset,
            "reason": self.reason,
        });
        if let Some(sequence) = self.sequence {
            receipt["sequence"] = sequence.into();
        }
        receipt
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

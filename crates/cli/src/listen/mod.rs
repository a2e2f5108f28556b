//! `listen`: verified messages as JSON lines, what is rejected as lines on standard error.
//!
//! [`member`] listens as a member of a consumer group, [`reader`] on its own, where nothing is
//! committed and nothing buried.

mod member;
mod reader;

use std::io;

use cybermesh_bridge::trust::Trust;
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::Kind;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::trust::Right;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Notify};

use crate::args::{From, ListenArgs, SettingsArgs};
use crate::failure::Failure;
use crate::output::Output;
use crate::{config, log};

/// Listens until enough was printed, or a signal comes.
pub(crate) async fn run(args: ListenArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let mut loader = config::loader(settings).set(
        "receive.start",
        match args.from {
            From::Earliest => "earliest",
            From::Latest => "latest",
        },
    );
    if let Some(group) = &args.group {
        // One at a time: lines then come in log order, and what is printed is what is committed.
        loader = loader
            .set("kafka.group", group)
            .set("receive.max_inflight", "1")
            // What is not printed any more is put off, and must never be given up for that.
            .set("receive.handler_attempts", "5")
            .set("receive.on_exhausted", "pause");
    }
    let settings = config::finish(loader)?;
    log::init_with(&settings, Some("audit=warn"));
    let kinds = kinds(&args.kinds, &settings)?;
    let printer = Printer::new(args.count);
    match args.group {
        Some(_) => member::listen(settings, kinds, printer).await,
        None => reader::listen(settings, kinds, printer).await,
    }
}

/// The kinds asked for, else every one that the trust store has a key for.
fn kinds(asked: &[Kind], settings: &Settings) -> Result<Vec<Kind>, Failure> {
    if !asked.is_empty() {
        let mut kinds = asked.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        return Ok(kinds);
    }
    let path = settings.keys.trust.as_ref().ok_or_else(|| {
        Failure::usage("CYBERMESH_TRUST: unset, and required to receive; give a trust store")
    })?;
    let trust = Trust::read(path)
        .map_err(|error| Failure::usage(format!("CYBERMESH_TRUST {}: {error}", path.display())))?
        .current();
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| trust.has_key_for(Right::Kind(*kind)))
        .collect();
    if kinds.is_empty() {
        return Err(Failure::usage(format!(
            "CYBERMESH_TRUST {}: names no key for any kind",
            path.display()
        )));
    }
    Ok(kinds)
}

/// A bridge that only connects, with what `prepare` adds.
async fn connect(
    settings: &Settings,
    prepare: impl FnOnce(cybermesh_bridge::bridge::Builder) -> cybermesh_bridge::bridge::Builder,
) -> Result<Bridge, Failure> {
    prepare(Bridge::builder(settings.clone()).sends([]))
        .start()
        .await
        .map_err(Failure::start)
}

/// Where a message stood.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// Prints at most as many messages as were asked for, and tells when that is done.
#[derive(Debug)]
struct Printer {
    output: Output,
    left: Mutex<Left>,
    done: Notify,
}

#[derive(Debug)]
struct Left {
    /// Messages still to be printed; `None` where there is no end.
    count: Option<u64>,
    failed: Option<io::Error>,
}

impl Left {
    fn is_over(&self) -> bool {
        self.count == Some(0) || self.failed.is_some()
    }
}

impl Printer {
    fn new(count: Option<u64>) -> Self {
        Self {
            output: Output::new(),
            left: Mutex::new(Left {
                count,
                failed: None,
            }),
            done: Notify::new(),
        }
    }

    /// Prints one verified message; false when no more are wanted, or can be printed.
    async fn print(&self, message: &Message, signer: &str, place: Place<'_>) -> bool {
        let mut left = self.left.lock().await;
        if left.is_over() {
            return false;
        }
        let printed = match line(message, signer, place) {
            Ok(line) => self.output.write(line.to_string()).await,
            Err(error) => Err(error),
        };
        match printed {
            Ok(()) => left.count = left.count.map(|count| count - 1),
            Err(error) => left.failed = Some(error),
        }
        if left.is_over() {
            self.done.notify_one();
        }
        left.failed.is_none()
    }

    async fn is_done(&self) -> bool {
        self.left.lock().await.is_over()
    }

    /// Ends when enough was printed, or nothing more can be.
    async fn done(&self) {
        while !self.is_done().await {
            self.done.notified().await;
        }
    }

    /// How it ended: a reader that went away is no failure.
    fn result(self) -> Result<(), Failure> {
        match self.left.into_inner().failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::no(format!("standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

fn line(message: &Message, signer: &str, place: Place<'_>) -> io::Result<Value> {
    let mut line = Map::new();
    line.insert("kind".to_owned(), message.kind().as_str().into());
    line.insert("topic".to_owned(), place.topic.into());
    line.insert("partition".to_owned(), place.partition.into());
    line.insert("offset".to_owned(), place.offset.into());
    line.insert("signer".to_owned(), signer.into());
    if let Value::Object(fields) = message.to_json().map_err(io::Error::other)? {
        line.extend(fields);
    }
    Ok(Value::Object(line))
}

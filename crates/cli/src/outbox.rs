//! `outbox`: what a state folder holds that could not be sent: list it, show it, send it, throw it away.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::bridge::StartError;
use cybermesh_bridge::clock::{SystemClock, WallClock};
use cybermesh_bridge::outbound::outbox::{
    Body, DiskFault, Entry, Listed, OutboxFile, OutboxStatus,
};
use cybermesh_bridge::state::StateDir;
use cybermesh_bridge::telemetry::Condition;
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::Kind;
use cybermesh_contracts::headers::Header;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::args::{OutboxArgs, OutboxCommand, OutboxDropArgs, SettingsArgs};
use crate::failure::Failure;
use crate::signal::Signals;
use crate::{config, log, stderr};

/// Runs one of them.
pub(crate) fn run(args: OutboxArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = config::load(settings)?;
    match args.command {
        OutboxCommand::List { json } => list(&open(&settings)?, json),
        OutboxCommand::Show { sequence } => show(&open(&settings)?, sequence),
        OutboxCommand::Drop(args) => drop_entries(&mut open(&settings)?, &args),
        OutboxCommand::Drain => crate::run_async(drain(settings)),
    }
}

/// The outbox of the state folder, with its lock: a process that runs there is in the way.
fn open(settings: &Settings) -> Result<OutboxFile, Failure> {
    let folder = settings.node.state_dir.clone().ok_or_else(|| {
        Failure::usage("CYBERMESH_STATE_DIR (unset): there is no outbox without a state folder")
    })?;
    let state = StateDir::open(&folder).map_err(Failure::usage)?;
    let outbox = OutboxFile::open(Arc::new(state))
        .map_err(|fault| at_fault(&folder.display().to_string(), &fault))?;
    if outbox.unreadable() > 0 {
        stderr::say(&format!(
            "warning: {} entries cannot be read, and are set aside in the file",
            outbox.unreadable()
        ));
    }
    Ok(outbox)
}

fn at_fault(folder: &str, fault: &DiskFault) -> Failure {
    Failure::usage(format!("outbox in {folder}: {fault}"))
}

fn list(outbox: &OutboxFile, as_json: bool) -> Result<(), Failure> {
    let now_ms = SystemClock.unix_ms();
    let mut out = io::stdout().lock();
    for listed in outbox.entries() {
        let line = if as_json {
            of(&listed, now_ms).to_string()
        } else {
            line(&listed, now_ms)
        };
        writeln!(out, "{line}").map_err(unwritten)?;
    }
    Ok(())
}

fn unwritten(error: io::Error) -> Failure {
    Failure::no(format!("standard output: {error}"))
}

fn line(listed: &Listed, now_ms: u64) -> String {
    let Listed {
        sequence,
        entry,
        bytes,
    } = listed;
    let partition = entry
        .partition
        .map_or("-".to_owned(), |partition| partition.to_string());
    let key = entry.key.as_deref().map_or("-".to_owned(), key_text);
    format!(
        "{sequence}  {:<6}  {}  {}/{partition}  key {key}  {} s  {bytes} bytes",
        entry.state(),
        entry.kind,
        entry.topic,
        age(entry, now_ms).as_secs(),
    )
}

/// Text where it is that, and nothing in it would be taken for something else; else `0x` and hex digits.
fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => {
            text.to_owned()
        }
        _ => format!("0x{}", hex::encode(key)),
    }
}

fn age(entry: &Entry, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(entry.accepted_at_ms))
}

fn of(listed: &Listed, now_ms: u64) -> Value {
    let entry = &listed.entry;
    json!({
        "sequence": listed.sequence,
        "state": entry.state(),
        "kind": entry.kind.as_str(),
        "topic": &*entry.topic,
        "partition": entry.partition,
        "key": entry.key.as_deref().map(key_text),
        "accepted_at_ms": entry.accepted_at_ms,
        "age_ms": u64::try_from(age(entry, now_ms).as_millis()).unwrap_or(u64::MAX),
        "bytes": listed.bytes,
    })
}

/// Prints one entry whole: the message too.
fn show(outbox: &OutboxFile, sequence: u64) -> Result<(), Failure> {
    let gone = || Failure::no(format!("{sequence}: there is no such entry"));
    let listed = outbox
        .entries()
        .find(|listed| listed.sequence == sequence)
        .ok_or_else(gone)?;
    let entry = outbox
        .entry(sequence)
        .map_err(|fault| at_fault("the state folder", &fault))?
        .ok_or_else(gone)?;
    let mut shown = of(&listed, SystemClock.unix_ms());
    let (content, name) = match &entry.body {
        Body::Draft(content) => (content, "draft"),
        Body::Signed { value, .. } => (value, "value"),
    };
    shown["traceparent"] = json!(entry.traceparent);
    shown["headers"] = headers(&entry.headers);
    if let Body::Signed {
        timestamp_ms,
        headers: of_record,
        ..
    } = &entry.body
    {
        shown["timestamp_ms"] = json!(timestamp_ms);
        shown["record_headers"] = headers(of_record);
    }
    shown[name] = json!(hex::encode(content));
    shown["message"] = crate::json::message(&entry.draft().map_err(Failure::no)?);
    writeln!(io::stdout().lock(), "{shown:#}").map_err(unwritten)
}

fn headers(headers: &[Header]) -> Value {
    let pair = |header: &Header| json!([header.name, header.value.as_ref().map(hex::encode)]);
    headers.iter().map(pair).collect()
}

/// Takes entries out; without `--yes` only says which.
fn drop_entries(outbox: &mut OutboxFile, args: &OutboxDropArgs) -> Result<(), Failure> {
    let now_ms = SystemClock.unix_ms();
    let names_none = !args.all
        && args.sequences.is_empty()
        && args.kind.is_none()
        && args.topic.is_none()
        && args.older_than.is_none();
    if names_none {
        return Err(Failure::usage(
            "say which: sequences, --all, --kind, --topic or --older-than",
        ));
    }
    let chosen: Vec<Listed> = outbox
        .entries()
        .filter(|listed| {
            let entry = &listed.entry;
            (args.sequences.is_empty() || args.sequences.contains(&listed.sequence))
                && args.kind.is_none_or(|kind| kind == entry.kind)
                && args
                    .topic
                    .as_ref()
                    .is_none_or(|topic| **topic == *entry.topic)
                && args
                    .older_than
                    .is_none_or(|least| age(entry, now_ms) > least)
        })
        .collect();
    let missing = args
        .sequences
        .iter()
        .find(|wanted| !chosen.iter().any(|listed| listed.sequence == **wanted));
    if let Some(missing) = missing {
        return Err(Failure::no(format!(
            "{missing}: there is no such entry, or the other conditions leave it out; nothing was dropped"
        )));
    }
    let sequences: Vec<u64> = chosen.iter().map(|listed| listed.sequence).collect();
    if args.yes {
        outbox
            .drop_entries(&sequences)
            .map_err(|fault| at_fault("the state folder", &fault))?;
    }
    let mut out = io::stdout().lock();
    let verb = if args.yes { "dropped" } else { "would drop" };
    for listed in &chosen {
        writeln!(out, "{verb} {}", line(listed, now_ms)).map_err(unwritten)?;
    }
    if !args.yes {
        writeln!(out, "{} entries; --yes drops them", chosen.len()).map_err(unwritten)?;
    }
    Ok(())
}

/// Sends all there is, and says how it goes.
async fn drain(settings: Settings) -> Result<(), Failure> {
    if settings.node.state_dir.is_none() {
        return Err(Failure::usage(
            "CYBERMESH_STATE_DIR (unset): there is no outbox without a state folder",
        ));
    }
    log::init(&settings);
    let signals = Signals::hear();
    let starting = Bridge::builder(settings.clone())
        .sends(Kind::ALL)
        .receives([])
        .start();
    let started = signals.unless_ended(starting).await;
    let bridge: Result<Bridge, StartError> = started.ok_or_else(|| Failure::no("interrupted"))?;
    let bridge = bridge.map_err(Failure::start)?;
    let Some(mut status) = bridge.publisher().outbox() else {
        bridge.stop(settings.receive.stop_timeout).await;
        return Err(Failure::usage("CYBERMESH_OUTBOX: it is switched off"));
    };
    let last = status.borrow().next;
    let before = status.borrow().entries;
    let drained = signals
        .unless_ended(until_drained(
            &bridge,
            &mut status,
            last,
            ATTEMPTS,
            say_left,
        ))
        .await;
    let left = *status.borrow();
    let reachable = bridge.client().reach().await;
    bridge.stop(settings.receive.stop_timeout).await;
    let went = before.saturating_sub(left.entries);
    writeln!(io::stdout().lock(), "{went} sent, {} left", left.entries).map_err(unwritten)?;
    match (drained, reachable) {
        (Some(Drained::All), _) => Ok(()),
        (None, _) => Err(Failure::no("interrupted")),
        (Some(Drained::Stuck), Err(error)) => Err(Failure::cluster(error)),
        (Some(Drained::Stuck), Ok(())) => Err(Failure::silent_no()),
    }
}

fn say_left(status: &OutboxStatus) {
    stderr::say(&format!("{} left", status.entries));
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing is left that was there at its start.
    All,
    /// What is left cannot be sent now.
    Stuck,
}

/// How often an attempt may fail before a drain is given up.
const ATTEMPTS: u64 = 3;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Waits until all entries before `last` are gone, or so many attempts have failed; says from time to time what is left.
pub(crate) async fn until_drained(
    bridge: &Bridge,
    status: &mut watch::Receiver<OutboxStatus>,
    last: u64,
    attempts: u64,
    told: impl Fn(&OutboxStatus),
) -> Drained {
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    ticks.tick().await;
    let mut before = status.borrow().entries;
    loop {
        let now = *status.borrow_and_update();
        if now.first.is_none_or(|first| first >= last) {
            return Drained::All;
        }
        let open = |(condition, _): &(Condition, String)| *condition == Condition::BreakerOpen;
        if now.failures >= attempts || bridge.health().conditions().iter().any(open) {
            return Drained::Stuck;
        }
        tokio::select! {
            changed = status.changed() => if changed.is_err() {
                return Drained::Stuck;
            },
            _ = ticks.tick() => if now.entries != before {
                before = now.entries;
                told(&now);
            }
        }
    }
}

//! `dlq list`: what lies in the dead-letter topic, a line each.

use std::collections::BTreeMap;

use cybermesh_bridge::dlq::{Desk, Entry, Ledger, Standing, State, Topics};
use cybermesh_contracts::dead_letter::{Content, DeadLetter};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::time::written;
use super::words::{count, json_line, plain};
use super::{begin, print, read_failed};
use crate::failure::Failure;

/// Prints them; a summary follows where it is not JSON.
pub(super) async fn run(args: &ListArgs, desk: &Desk, ledger: &Ledger) -> Result<(), Failure> {
    let topics = Topics::of(desk).await.map_err(Failure::cluster)?;
    let filter = args.filter.filter(None);
    let mut entries = desk
        .entries(begin(&args.filter))
        .await
        .map_err(read_failed)?;
    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (mut shown, mut hidden) = (0_u64, 0_u64);
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        if !filter.matches(desk, &entry) {
            continue;
        }
        let state = State::of(&entry, &topics, ledger);
        if state.is_dealt_with() && !args.all {
            hidden += 1;
            continue;
        }
        shown += 1;
        if args.count {
            *counted.entry(kind_of(&entry)).or_default() += 1;
        } else if args.json {
            print(&json_line(&as_json(&entry, state)))?;
        } else {
            if shown == 1 {
                print(&row(&HEADINGS))?;
            }
            print(&row(&cells(&entry, state).each_ref().map(String::as_str)))?;
        }
    }
    for ((disposition, topic), number) in &counted {
        if args.json {
            let line = json!({"disposition": disposition, "topic": topic, "count": number});
            print(&json_line(&line))?;
        } else {
            print(&format!("{number:>8}  {disposition:<18}  {}", plain(topic)))?;
        }
    }
    if !args.json {
        let mut sum = count(shown, "dead letter", "dead letters");
        if hidden > 0 {
            sum += &format!(", and {hidden} dealt with (--all)");
        }
        print(&sum)?;
    }
    Ok(())
}

fn kind_of(entry: &Entry) -> (String, String) {
    match &entry.read {
        Err(_) => ("no dead letter".to_owned(), "-".to_owned()),
        Ok(read) if matches!(read.standing, Standing::Forged(_)) => {
            ("forged".to_owned(), read.letter.origin().topic.clone())
        }
        Ok(read) => (
            read.letter.disposition().to_string(),
            read.letter.origin().topic.clone(),
        ),
    }
}

const HEADINGS: [&str; 8] = [
    "AT",
    "WRITTEN",
    "DISPOSITION",
    "MESSAGE",
    "GROUP",
    "REDRIVEN",
    "SIGNED BY",
    "STATE, REASON",
];

fn row(cells: &[&str; 8]) -> String {
    let [at, when, disposition, origin, group, redriven, by, rest] = cells;
    format!(
        "{at:<8}  {when:<20}  {disposition:<18}  {origin:<28}  {group:<17}  {redriven:<8}  {by:<12}  {rest}"
    )
}

fn cells(entry: &Entry, state: State) -> [String; 8] {
    let at = entry.at.to_string();
    let when = written(entry.timestamp_ms);
    let dash = || "-".to_owned();
    let state = match state {
        State::Open => String::new(),
        state => format!("{}: ", state.as_str()),
    };
    match &entry.read {
        Err(fault) => {
            let rest = format!("{state}no dead letter: {fault}");
            [at, when, dash(), dash(), dash(), dash(), dash(), rest]
        }
        Ok(read) => {
            let letter = &read.letter;
            let by = match &read.standing {
                Standing::Forged(_) => "FORGED".to_owned(),
                other => other.to_string(),
            };
            let rest = match &read.standing {
                Standing::Forged(fault) => format!("{state}{fault}"),
                _ => format!("{state}{}", letter.reason()),
            };
            [
                at,
                when,
                letter.disposition().to_string(),
                plain(&origin(letter)),
                plain(letter.group().unwrap_or("-")),
                letter.redrive_count().to_string(),
                plain(&by),
                plain(&rest),
            ]
        }
    }
}

/// `topic:partition@offset`, or for a summary `topic:partition@first..last`.
pub(super) fn origin(letter: &DeadLetter) -> String {
    let origin = letter.origin();
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let partition = number(origin.partition.map(i64::from));
    let last = match letter.content() {
        Content::Reference(reference) if reference.count > 1 => {
            format!("..{}", number(reference.last_offset))
        }
        _ => String::new(),
    };
    format!(
        "{}:{partition}@{}{last}",
        origin.topic,
        number(origin.offset)
    )
}

/// Everything about one but what was in the message.
pub(super) fn as_json(entry: &Entry, state: State) -> Value {
    let mut line = json!({
        "at": entry.at.to_string(),
        "partition": entry.at.partition,
        "offset": entry.at.offset,
        "timestamp_ms": entry.timestamp_ms,
        "state": state.as_str(),
    });
    let more = match &entry.read {
        Err(fault) => json!({"fault": fault.to_string()}),
        Ok(read) => {
            let letter = &read.letter;
            let origin = letter.origin();
            let (signed_by, standing) = match &read.standing {
                Standing::Signed(id) => (Some(id.to_string()), "signed"),
                Standing::Unsigned => (None, "unsigned"),
                Standing::Forged(_) => (None, "forged"),
            };
            let fault = match &read.standing {
                Standing::Forged(fault) => Some(fault.to_string()),
                _ => None,
            };
            let many = match letter.content() {
                Content::Reference(reference) if reference.count > 1 => Some(reference),
                _ => None,
            };
            json!({
                "standing": standing,
                "signed_by": signed_by,
                "fault": fault,
                "format": letter.form().as_str(),
                "disposition": letter.disposition().as_str(),
                "reason": letter.reason(),
                "origin": {
                    "topic": origin.topic,
                    "partition": origin.partition,
                    "offset": origin.offset,
                    "last_offset": many.and_then(|many| many.last_offset),
                    "timestamp_ms": origin.timestamp_ms,
                },
                "messages": many.map_or(1, |many| many.count),
                "group": letter.group(),
                "node": letter.node(),
                "attempts": letter.attempts(),
                "first_failed_at_ms": letter.first_failed_at_ms(),
                "last_failed_at_ms": letter.last_failed_at_ms(),
                "redrive_count": letter.redrive_count(),
            })
        }
    };
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}

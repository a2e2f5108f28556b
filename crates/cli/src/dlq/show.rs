//! `dlq show` and `dlq verify`: all there is to say of one, and the verdict on many.

use cybermesh_bridge::dlq::{
    Appraisal, Asked, Begin, Desk, Entry, Filter, Index, Judged, Ledger, Origin, Position,
    Standing, State, Today, Topics, appraise,
};
use cybermesh_contracts::Disposition;
use cybermesh_contracts::dead_letter::DeadLetter;
use serde_json::{Map, Value, json};

use super::args::{ShowArgs, VerifyArgs, Which};
use super::list;
use super::redrive::terms;
use super::time::now_ms;
use super::words::{json_line, plain};
use super::{begin, print, read_failed};
use crate::failure::Failure;

/// Prints one; exit code 1 where there is none.
pub(super) async fn show(args: &ShowArgs, desk: &Desk, ledger: &Ledger) -> Result<(), Failure> {
    let topics = Topics::of(desk).await.map_err(Failure::cluster)?;
    let filter = match &args.which {
        Which::Letter(at) => Filter {
            at: Some(*at),
            ..Filter::default()
        },
        Which::Origin(topic, at) => Filter {
            topic: Some(topic.clone()),
            partition: Some(at.partition),
            offsets: Some(at.offset..=at.offset),
            ..Filter::default()
        },
    };
    let (index, found) = read(desk, &filter).await?;
    if found.is_empty() {
        return Err(Failure::no(
            "there is no such record in the dead-letter topic",
        ));
    }
    for at in found {
        // Deleted meanwhile.
        let Some(entry) = desk.entry(at).await.map_err(read_failed)? else {
            continue;
        };
        let entry = &entry;
        let state = State::of(entry, &topics, ledger);
        let appraisal = look(desk, entry, &index, ledger, state).await?;
        let mut shown = list::as_json(entry, state);
        if let Value::Object(shown) = &mut shown {
            shown.extend(verdict(entry, &appraisal));
            let names = entry.record.headers.iter().map(|header| &header.name);
            let names: Vec<_> = names.collect();
            shown.insert("headers".to_owned(), json!(names));
            if args.payload {
                shown.insert("original".to_owned(), payload(entry, &appraisal));
            }
        }
        if args.json {
            print(&json_line(&shown))?;
        } else {
            print_lines(&shown)?;
        }
    }
    Ok(())
}

/// Prints a line for each that is meant; exit code 1 where one is forged, or would not be put back and is not
/// dealt with.
pub(super) async fn verify(args: &VerifyArgs, desk: &Desk, ledger: &Ledger) -> Result<(), Failure> {
    let topics = Topics::of(desk).await.map_err(Failure::cluster)?;
    let mut index = Index::default();
    let mut entries = desk.entries(Begin::Earliest).await.map_err(read_failed)?;
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        index.note(&entry);
    }
    let filter = args.filter.filter(args.at);
    let mut entries = desk
        .entries(begin(&args.filter))
        .await
        .map_err(read_failed)?;
    let (mut all, mut bad) = (0_u64, 0_u64);
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        if !filter.matches(desk, &entry) {
            continue;
        }
        all += 1;
        let state = State::of(&entry, &topics, ledger);
        let appraisal = look(desk, &entry, &index, ledger, state).await?;
        let is_fine = appraisal.is_in_order();
        bad += u64::from(!is_fine);
        let mut line = Map::new();
        line.insert("at".to_owned(), entry.at.to_string().into());
        line.insert("ok".to_owned(), is_fine.into());
        line.insert("standing".to_owned(), standing(&entry).into());
        line.extend(verdict(&entry, &appraisal));
        if args.json {
            print(&json_line(&Value::Object(line)))?;
        } else {
            let told = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or("-");
            let mark = if is_fine { "ok" } else { "no" };
            let text = format!(
                "{:<8}  {mark}  by {}; message {}; today {}; redrive: {}",
                entry.at,
                told("standing"),
                told("message"),
                told("today"),
                told("redrive"),
            );
            print(&plain(&text))?;
        }
    }
    if all == 0 && args.at.is_some() {
        return Err(Failure::no(
            "there is no such record in the dead-letter topic",
        ));
    }
    if !args.json {
        print(&format!("{all} judged, {bad} not in order"))?;
    }
    if bad > 0 {
        return Err(Failure::silent_no());
    }
    Ok(())
}

/// Where they are; not what they hold: whoever may write to the topic can make any number of them.
async fn read(desk: &Desk, filter: &Filter) -> Result<(Index, Vec<Position>), Failure> {
    let mut index = Index::default();
    let mut found = Vec::new();
    let mut entries = desk.entries(Begin::Earliest).await.map_err(read_failed)?;
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        index.note(&entry);
        if filter.matches(desk, &entry) {
            found.push(entry.at);
        }
    }
    Ok((index, found))
}

async fn look(
    desk: &Desk,
    entry: &Entry,
    index: &Index,
    ledger: &Ledger,
    state: State,
) -> Result<Appraisal, Failure> {
    // As if it were named by itself: what its disposition keeps from a bulk redrive is told by its name.
    let asked = Asked {
        one: true,
        ..Asked::default()
    };
    let is_discarded = state == State::Discarded;
    let known = (index, ledger);
    appraise(desk, entry, &asked, known, is_discarded, now_ms())
        .await
        .map_err(read_failed)
}

fn standing(entry: &Entry) -> String {
    match &entry.read {
        Ok(read) => match &read.standing {
            Standing::Signed(id) => id.to_string(),
            other => other.to_string(),
        },
        Err(_) => "nobody".to_owned(),
    }
}

/// What is said of the message, of today and of a redrive.
fn verdict(entry: &Entry, appraisal: &Appraisal) -> Map<String, Value> {
    let mut said = Map::new();
    let disposition = entry.letter().map(DeadLetter::disposition);
    let message = appraisal.origin.as_ref().map(in_place);
    said.insert("message".to_owned(), json!(message));
    let today = match appraisal.originals.as_slice() {
        [] => None,
        [one] => Some(today(&one.today)),
        many => {
            let verify = many
                .iter()
                .filter(|judged| matches!(judged.today, Today::Verifies { .. }));
            Some(format!("{} of {} verify", verify.count(), many.len()))
        }
    };
    said.insert("today".to_owned(), json!(today));
    let mut redrive = redrive(appraisal);
    let would = appraisal
        .originals
        .iter()
        .any(|judged| judged.decision.is_ok());
    if would && !disposition.is_none_or(Disposition::redriven_by_default) {
        redrive += " (by its position alone)";
    }
    said.insert("redrive".to_owned(), redrive.into());
    said
}

fn in_place(origin: &Origin) -> String {
    match origin {
        Origin::There(originals) if originals.len() > 1 => {
            format!("all {} still there and the same", originals.len())
        }
        Origin::There(_) => "still there and the same".to_owned(),
        Origin::Differs(what) => format!("another is in its place: {what} differs"),
        Origin::GoneButCopied(_) => "gone, and copied here".to_owned(),
        Origin::Gone => "gone, and there is no copy".to_owned(),
        Origin::SomeOfThem { count } => {
            format!("{count} of those in this range, and not told which")
        }
        Origin::TooMuch { bytes, .. } => format!("{bytes} bytes, too much to be looked at"),
        Origin::Draft => "a draft, never sent".to_owned(),
        Origin::NoKind => "in a topic that carries no kind by these settings".to_owned(),
        Origin::NoTopic => "gone with its topic or partition".to_owned(),
    }
}

fn today(today: &Today) -> String {
    match today {
        Today::Verifies { signer } => format!("verifies, signed by {signer}"),
        Today::NotYet { ahead_ms } => format!("{ahead_ms} ms ahead of our clock"),
        Today::Rejected {
            disposition,
            reason,
        } => format!("{disposition}: {reason}"),
    }
}

fn redrive(appraisal: &Appraisal) -> String {
    if let Some(refusal) = &appraisal.refusal {
        return refusal.to_string();
    }
    let said = |judged: &Judged| match &judged.decision {
        Ok(put_back) => terms(put_back),
        Err(refusal) => refusal.to_string(),
    };
    match appraisal.originals.as_slice() {
        [one] => said(one),
        many => {
            let would = many.iter().filter(|judged| judged.decision.is_ok()).count();
            let refused = many.iter().find(|judged| judged.decision.is_err());
            let why = refused.map_or_else(String::new, |judged| format!(" ({})", said(judged)));
            format!("{would} of {}{why}", many.len())
        }
    }
}

/// What was in the message, as `cybermesh-bridge verify` reads it.
fn payload(entry: &Entry, appraisal: &Appraisal) -> Value {
    let hex = |bytes: Option<&[u8]>| bytes.map(hex::encode);
    if let Some(letter) = entry.letter() {
        let topic = &letter.origin().topic;
        let originals = appraisal.originals.iter().map(|judged| {
            let original = &judged.original;
            let headers = original
                .headers
                .iter()
                .map(|header| json!([header.name, hex(header.value.as_deref())]));
            json!({
                "topic": topic,
                "partition": original.at.partition,
                "offset": original.at.offset,
                "key": hex(original.key.as_deref()),
                "headers": headers.collect::<Vec<_>>(),
                "value": hex(original.value.as_deref()),
            })
        });
        let originals: Vec<_> = originals.collect();
        if let [one] = originals.as_slice() {
            return one.clone();
        }
        if !originals.is_empty() {
            return originals.into();
        }
    }
    // Nothing else is to be had than the record as it is.
    json!({"key": hex(entry.record.key.as_deref()), "value": hex(entry.record.value.as_deref())})
}

fn print_lines(shown: &Value) -> Result<(), Failure> {
    let Value::Object(fields) = shown else {
        return Ok(());
    };
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                items.join(" ")
            }
            other => other.to_string(),
        };
        print(&format!("{name:<20}{}", plain(&text)))?;
    }
    Ok(())
}

//! `dlq redrive`: says what would be put back, or puts it back.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::clock::SystemClock;
use cybermesh_bridge::dlq::{
    Asked, Batch, Desk, Fate, Outcome, PutBack, Recovered, RedriveFault, Redriver, SignedRedrive,
    Told, Totals,
};
use cybermesh_contracts::redrive::MAX_COUNT;
use serde_json::json;
use tokio::time::Instant;

use super::args::RedriveArgs;
use super::words::{count, json_line, plain};
use super::{Folder, print, read_failed};
use crate::failure::Failure;
use crate::signal::Signals;

/// What closing may take: nothing is on its way any more.
const CLOSING: Duration = Duration::from_secs(5);

/// Prints a line for each; exit code 1 where something was refused or is unknown.
pub(super) async fn run(
    args: &RedriveArgs,
    desk: Desk,
    folder: &Folder,
    signals: &Signals,
) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock);
    let redriver = if args.yes {
        let state = folder.hold().await?;
        let opened = Redriver::open(desk.clone(), state, clock.clone());
        Some(opened.map_err(not_begun)?)
    } else {
        None
    };
    let ledger = match &redriver {
        Some(redriver) => redriver.ledger().clone(),
        None => folder.glance()?,
    };
    let unknown = ledger.unknown().len();
    let asked = Asked {
        one: args.at.is_some(),
        for_group: args.for_group.clone(),
        danger_unsigned: args.danger_unsigned,
        danger_origin_gone: args.danger_origin_gone,
    };
    let filter = args.filter.filter(args.at);
    let mut batch = Batch::select(desk, clock, &filter, asked, ledger)
        .await
        .map_err(read_failed)?;
    let mut is_settled = true;
    if let Some(redriver) = redriver {
        for (signed, end) in batch.doing(redriver, args.rate).await.map_err(failed)? {
            is_settled &= matches!(
                end,
                Recovered::Found(_)
                    | Recovered::Lapsed
                    | Recovered::OtherTopic
                    | Recovered::SentAgain(Outcome::Acknowledged(_))
            );
            tell_recovered(args, &signed, &end)?;
        }
    } else if unknown > 0 && !args.json {
        let redrives = count(
            unknown as u64,
            "earlier redrive has",
            "earlier redrives have",
        );
        print(&format!(
            "{redrives} an unknown outcome; --yes finds out first"
        ))?;
    }
    let mut told = 0_u64;
    let mut interrupted = false;
    let ended = loop {
        // Between two of them: what is begun is ended, and written down.
        if signals.is_ending() {
            interrupted = true;
            break Ok(());
        }
        match batch.next().await {
            Ok(Some(one)) => {
                told += 1;
                // What is dealt with would only bury the lines that matter.
                if !one.is_left_alone() || args.at.is_some() {
                    tell(args, &one)?;
                }
            }
            Ok(None) => break Ok(()),
            Err(fault) => break Err(failed(fault)),
        }
    };
    let (totals, is_halted, untold) = (batch.totals(), batch.is_halted(), batch.untold());
    batch.close(Instant::now() + CLOSING).await;
    if ended.is_ok() && told == 0 && args.at.is_some() && !is_halted && !interrupted {
        return Err(Failure::no(
            "there is no such record in the dead-letter topic",
        ));
    }
    if untold > 0 {
        tell_untold(args, untold)?;
    }
    tell_totals(args, totals)?;
    ended?;
    if interrupted {
        return Err(Failure::no(
            "interrupted; what is left is left to the next run",
        ));
    }
    if is_halted && totals == Totals::default() {
        return Err(Failure::no(
            "an earlier redrive does not get through; nothing else is put back before it",
        ));
    }
    if is_halted {
        return Err(Failure::no(
            "it does not get through; what is left is left to the next run",
        ));
    }
    if totals.refused > 0 || totals.unknown > 0 || !is_settled {
        return Err(Failure::silent_no());
    }
    Ok(())
}

/// Nothing was done yet: where it is not the cluster's, what was given is wrong.
fn not_begun(fault: RedriveFault) -> Failure {
    match fault {
        RedriveFault::State(_) => Failure::usage(fault),
        fault => failed(fault),
    }
}

fn failed(fault: RedriveFault) -> Failure {
    match fault {
        fault if fault.is_cluster() => Failure::cluster(fault),
        RedriveFault::NoRight(_) | RedriveFault::Clock { .. } => Failure::usage(fault),
        fault => Failure::no(fault),
    }
}

fn tell_recovered(
    args: &RedriveArgs,
    signed: &SignedRedrive,
    end: &Recovered,
) -> Result<(), Failure> {
    let end = match end {
        Recovered::Found(offset) => format!("is in the log at {offset}"),
        Recovered::SentAgain(outcome) => {
            format!("sent again, the same bytes: {}", outcome_of(outcome).1)
        }
        Recovered::Lapsed => "never arrived, and holds no longer: it may be signed anew".to_owned(),
        Recovered::Lapsing => {
            "is not in the log, and about to lapse: try again in two minutes".to_owned()
        }
        Recovered::NothingLeft => "is not in the log, and its message is gone".to_owned(),
        Recovered::Untold { begins_at } => {
            let begins_at = begins_at.map_or_else(
                || "its partition is gone".to_owned(),
                |offset| format!("its partition begins at {offset} now"),
            );
            format!(
                "stays unknown: it is not in the log, but {begins_at}, behind where it would be; it is not put back again"
            )
        }
        Recovered::OtherTopic => {
            "was for another topic of that name, made anew since or on another cluster".to_owned()
        }
    };
    if args.json {
        let line = json!({"recovered": signed.key.as_str(), "count": signed.count, "result": end});
        return print(&json_line(&line));
    }
    print(&plain(&format!(
        "earlier redrive {1} of {0}: {end}",
        signed.key.as_str(),
        signed.count
    )))
}

fn tell(args: &RedriveArgs, told: &Told) -> Result<(), Failure> {
    let (result, text, put_back, offset) = match &told.fate {
        Fate::Would(put_back) => (
            "would",
            format!("would be put back {}", terms(put_back)),
            Some(put_back),
            None,
        ),
        Fate::Did(put_back, outcome) => {
            let (result, said) = outcome_of(outcome);
            let offset = match outcome {
                Outcome::Acknowledged(offset) => *offset,
                _ => None,
            };
            (
                result,
                format!("{said}, {}", terms(put_back)),
                Some(put_back),
                offset,
            )
        }
        Fate::Left(refusal) => ("refused", format!("not put back: {refusal}"), None, None),
    };
    let origin = told
        .origin
        .as_ref()
        .map(|(topic, at)| format!("{topic}:{at}"));
    if args.json {
        let line = json!({
            "at": told.letter.to_string(),
            "message": origin,
            "result": result,
            "group": put_back.map(|put_back| &put_back.group),
            "count": put_back.map(|put_back| put_back.count),
            "offset": offset,
            "said": text,
        });
        return print(&json_line(&line));
    }
    print(&plain(&format!(
        "{:<8}  {}  {text}",
        told.letter,
        origin.as_deref().unwrap_or("-")
    )))
}

pub(super) fn terms(put_back: &PutBack) -> String {
    format!(
        "for {}, redrive {} of {MAX_COUNT}",
        put_back.group, put_back.count
    )
}

fn outcome_of(outcome: &Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Acknowledged(Some(offset)) => ("redriven", format!("put back at {offset}")),
        Outcome::Acknowledged(None) => ("redriven", "put back".to_owned()),
        Outcome::Refused(why) => ("refused", format!("refused by the broker: {why}")),
        Outcome::NotWritten(why) => ("not-written", format!("not written: {why}")),
        Outcome::Unknown(why) => ("unknown", format!("may have been written, or not: {why}")),
    }
}

fn tell_untold(args: &RedriveArgs, untold: u64) -> Result<(), Failure> {
    if args.json {
        return print(&json!({"refused_untold": untold}).to_string());
    }
    print(&format!(
        "{untold} more were refused, for reasons such as the above"
    ))
}

fn tell_totals(args: &RedriveArgs, totals: Totals) -> Result<(), Failure> {
    if args.json {
        return Ok(());
    }
    let did = if args.yes {
        "put back"
    } else {
        "would be put back (--yes does it)"
    };
    print(&format!(
        "{} {did}, {} left alone, {} refused, {} unknown",
        totals.redriven, totals.left_alone, totals.refused, totals.unknown
    ))
}

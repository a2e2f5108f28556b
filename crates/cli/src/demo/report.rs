//! The demo's result, as a person enjoys reading it and as one JSON object.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use cybermesh_contracts::Kind;
use serde_json::{Value, json};

use super::ledger::{End, Ledger};

const HEAD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What the report needs beside the ledger.
#[derive(Debug)]
pub(super) struct Facts {
    /// What it ran over: the built-in broker or the cluster's addresses.
    pub(super) cluster: String,
    /// How messages were protected on the way.
    pub(super) transport: String,
    /// How long the honest messages took.
    pub(super) honest: Honest,
    /// Messages of each kind whose signature, key and content were believed.
    pub(super) verified: std::collections::BTreeMap<Kind, u64>,
    /// What could not be put right at the end, such as a topic left behind.
    pub(super) warnings: Vec<String>,
}

/// The honest messages, before any other was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Honest {
    /// How many.
    pub(super) messages: u64,
    /// From the first send to the last verdict.
    pub(super) elapsed: Duration,
}

impl Honest {
    fn per_second(self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of messages, for display"
        )]
        let messages = self.messages as f64;
        messages / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Writes the report for a person.
pub(super) fn text(ledger: &Ledger, facts: &Facts) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{HEAD}over{HEAD:#}  {} · {}",
        facts.cluster, facts.transport
    )?;
    writeln!(out)?;
    writeln!(
        out,
        "{HEAD}{:<18} {:<16} {:>8} {:>9} {:>8}{HEAD:#}",
        "kind", "way", "sent", "verified", "handled"
    )?;
    for (kind, tally) in ledger.tallies() {
        let right = tally.sent == tally.handled;
        writeln!(
            out,
            "{:<18} {DIM}{:<16}{DIM:#} {:>8} {:>9} {:>8}  {}",
            kind.as_str(),
            way(kind),
            tally.sent,
            facts.verified.get(&kind).copied().unwrap_or_default(),
            tally.handled,
            mark(right),
        )?;
    }
    writeln!(out)?;
    writeln!(out, "{HEAD}{:<44} ended{HEAD:#}", "what must not pass")?;
    for special in ledger.specials() {
        let ended = special.ended.map_or("nowhere".to_owned(), End::words);
        writeln!(
            out,
            "{:<44} {ended:<36} {}  {DIM}{}{DIM:#}",
            special.name,
            mark(special.as_expected),
            special.place.name(),
        )?;
    }
    writeln!(out)?;
    writeln!(out, "{}", summary(ledger, facts))?;
    for warning in &facts.warnings {
        writeln!(out, "{BAD}{warning}{BAD:#}")?;
    }
    let discrepancies = ledger.discrepancies();
    if discrepancies.is_empty() && facts.warnings.is_empty() {
        return writeln!(
            out,
            "{GOOD}every message ended where the contract says{GOOD:#}"
        );
    }
    if !discrepancies.is_empty() {
        writeln!(
            out,
            "{BAD}not everything ended where the contract says ({}):{BAD:#}",
            discrepancies.len()
        )?;
    }
    for line in discrepancies.iter().take(20) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// Writes the report as one JSON object; durations are in milliseconds.
pub(super) fn json(ledger: &Ledger, facts: &Facts) -> io::Result<()> {
    let kinds: Vec<Value> = ledger
        .tallies()
        .into_iter()
        .map(|(kind, tally)| {
            json!({
                "kind": kind.as_str(),
                "way": way(kind),
                "sent": tally.sent,
                "verified": facts.verified.get(&kind).copied().unwrap_or_default(),
                "handled": tally.handled,
            })
        })
        .collect();
    let specials: Vec<Value> = ledger
        .specials()
        .into_iter()
        .map(|special| {
            json!({
                "name": special.name,
                "topic": special.place.topic,
                "partition": special.place.partition,
                "offset": special.place.offset,
                "expected": end_json(special.expected),
                "ended": special.ended.map(end_json),
                "as_expected": special.as_expected,
            })
        })
        .collect();
    let discrepancies = ledger.discrepancies();
    let report = json!({
        "ok": discrepancies.is_empty() && facts.warnings.is_empty(),
        "cluster": facts.cluster,
        "transport": facts.transport,
        "kinds": kinds,
        "special": specials,
        "honest_messages": facts.honest.messages,
        "elapsed_ms": millis(facts.honest.elapsed),
        "messages_per_second": facts.honest.per_second(),
        "latency_ms": {
            "p50": ledger.latency(0.5).map(millis),
            "p99": ledger.latency(0.99).map(millis),
        },
        "warnings": facts.warnings,
        "discrepancies": discrepancies,
    });
    writeln!(io::stdout().lock(), "{report}")
}

fn summary(ledger: &Ledger, facts: &Facts) -> String {
    let latency = match (ledger.latency(0.5), ledger.latency(0.99)) {
        (Some(median), Some(p99)) => format!(
            " · signed to handled: median {:.1} ms, 99th percentile {:.1} ms",
            millis(median),
            millis(p99)
        ),
        _ => String::new(),
    };
    format!(
        "{} honest messages in {:.2} s ({:.0} a second){latency}",
        facts.honest.messages,
        facts.honest.elapsed.as_secs_f64(),
        facts.honest.per_second()
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn end_json(end: End) -> Value {
    match end {
        End::Handled => json!({"result": "handled"}),
        End::Buried(disposition) => {
            json!({"result": "dead-letter", "disposition": disposition.as_str()})
        }
        End::Skipped(disposition) => {
            json!({"result": "skipped", "disposition": disposition.as_str()})
        }
    }
}

fn way(kind: Kind) -> &'static str {
    if kind.is_control() {
        "backend → node"
    } else {
        "node → backend"
    }
}

fn mark(right: bool) -> String {
    if right {
        format!("{GOOD}✓{GOOD:#}")
    } else {
        format!("{BAD}✗{BAD:#}")
    }
}

//! `verify`: judges archived messages offline, each alone.

use std::io::{self, Write};
use std::sync::Arc;

use cybermesh_bridge::Settings;
use cybermesh_bridge::trust::Trust;
use cybermesh_contracts::trust::{EnvelopeRule, TrustStore};
use cybermesh_contracts::verify::{Bounds, RedriveFor, Verifier};
use cybermesh_contracts::{Kind, RecordView};
use serde_json::{Value, json};

use crate::args::{EnvelopeArg, SettingsArgs, VerifyArgs};
use crate::config;
use crate::failure::Failure;
use crate::json::{Object, from_hex};
use crate::lines::Lines;

/// Reads, judges, prints a line for each; exit code 1 when one was rejected, 2 when one was no message.
pub(crate) fn run(args: &VerifyArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = config::load(settings)?;
    let judge = Judge::new(args, &settings)?;
    let mut lines = Lines::open(args.file.as_ref())?;
    let mut out = io::stdout().lock();
    let (mut rejected, mut broken) = (false, false);
    while let Some(line) = lines.next()? {
        let answer = match line.text.and_then(|text| Archived::parse(&text, &settings)) {
            Ok(record) => {
                let verdict = judge.judge(&record);
                rejected |= verdict["verdict"] == "reject";
                verdict
            }
            Err(reason) => {
                broken = true;
                json!({"verdict": "error", "line": line.number, "reason": reason})
            }
        };
        writeln!(out, "{answer}").map_err(closed)?;
    }
    match (broken, rejected) {
        (true, _) => Err(Failure::silent_usage()),
        (false, true) => Err(Failure::silent_no()),
        (false, false) => Ok(()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn closed(error: io::Error) -> Failure {
    Failure::no(format!("standard output: {error}"))
}

/// What stays the same for all records.
struct Judge {
    trust: Arc<TrustStore>,
    verifier: Verifier,
    bounds: Option<Bounds>,
}

impl Judge {
    fn new(args: &VerifyArgs, settings: &Settings) -> Result<Self, Failure> {
        let path = args
            .trust
            .as_ref()
            .or(settings.keys.trust.as_ref())
            .ok_or_else(|| {
                Failure::usage("no trust store; give one with --trust or CYBERMESH_TRUST")
            })?;
        let trust = Trust::read(path)
            .map_err(|error| Failure::usage(format!("trust store {}: {error}", path.display())))?
            .current();
        let mut verifier = settings.verifier(RedriveFor::Anyone);
        if let Some(rule) = args.envelope {
            verifier = verifier.override_envelope_rule(match rule {
                EnvelopeArg::Required => EnvelopeRule::Required,
                EnvelopeArg::Accept => EnvelopeRule::Accept,
                EnvelopeArg::Off => EnvelopeRule::Off,
            });
        }
        let bounds = args
            .now
            .map(|now| {
                i64::try_from(now)
                    .map(|now_ms| Bounds {
                        now_ms,
                        max_age: settings.replay.max_age,
                        future_tolerance: settings.replay.future_tolerance,
                    })
                    .map_err(|_| Failure::usage("--now: give Unix milliseconds below 2^63"))
            })
            .transpose()?;
        Ok(Self {
            trust,
            verifier,
            bounds,
        })
    }

    fn judge(&self, archived: &Archived) -> Value {
        let headers: Vec<(&str, Option<&[u8]>)> = archived
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let record = RecordView {
            partition: archived.partition,
            key: archived.key.as_deref(),
            headers: &headers,
            ..RecordView::new(&archived.topic, archived.value.as_deref())
        };
        match self
            .verifier
            .verify(&self.trust, archived.kind, &record, self.bounds.as_ref())
        {
            Ok(verified) => json!({
                "verdict": "accept",
                "kind": archived.kind.as_str(),
                "signer": &*verified.signer().id,
                "envelope": verified.envelope().as_str(),
            }),
            Err(rejection) => json!({
                "verdict": "reject",
                "disposition": rejection.disposition().as_str(),
                "reason": rejection.to_string(),
                "claimed": rejection.claimed().map(|key| key.to_hex()),
            }),
        }
    }
}

/// One archived record.
struct Archived {
    kind: Kind,
    topic: String,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Archived {
    /// Reads a line; names that say nothing to a judge (an offset, a timestamp) are passed over.
    fn parse(line: &str, settings: &Settings) -> Result<Self, String> {
        let mut object = Object::parse(line)?;
        let said: Option<String> = object.read("kind")?;
        let said = said
            .map(|name| {
                name.parse::<Kind>().map_err(|_| {
                    format!(
                        "kind: not one of {}",
                        Kind::ALL.map(Kind::as_str).join(", ")
                    )
                })
            })
            .transpose()?;
        let topic: Option<String> = object.read("topic")?;
        let (kind, topic) = match (said, topic) {
            (Some(kind), Some(topic)) => (kind, topic),
            (Some(kind), None) => (kind, settings.topics.of(kind).to_owned()),
            (None, Some(topic)) => {
                let kind = kind_of(&topic, settings).ok_or_else(|| {
                    "topic: carries no kind by settings or default; say the kind".to_owned()
                })?;
                (kind, topic)
            }
            (None, None) => return Err("neither kind nor topic".to_owned()),
        };
        let partition: Option<i32> = object.read("partition")?;
        if partition.is_some_and(|partition| partition < 0) {
            return Err("partition: below 0".to_owned());
        }
        let key = object.bytes("key")?;
        if !object.has("value") {
            return Err("value is missing; give hex digits, or null".to_owned());
        }
        let value = object.bytes("value")?;
        let headers: Option<Vec<(String, Option<String>)>> = object.read("headers")?;
        let headers = headers
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| {
                let value = value.map(|value| from_hex("headers", &value)).transpose()?;
                Ok((name, value))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            kind,
            topic,
            partition,
            key,
            value,
            headers,
        })
    }
}

/// The kind that a topic carries: by the settings, by default, or by the name deployed services give
/// to policy updates.
fn kind_of(topic: &str, settings: &Settings) -> Option<Kind> {
    settings
        .topics
        .kind_of(topic)
        .or_else(|| {
            Kind::ALL
                .into_iter()
                .find(|kind| kind.default_topic() == topic)
        })
        .or_else(|| (topic == "control.policy.v2").then_some(Kind::PolicyUpdate))
}

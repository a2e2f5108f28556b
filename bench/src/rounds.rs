//! Rounds: every lap once a round, one after the other; the median of the rounds' ratios counts.
//!
//! Each round is a process of its own. Where the system puts a process in memory makes a loop faster
//! or slower by a tenth or more for as long as it lives, and each loop in its own way: rounds of one
//! process agree with each other closely, and on a ratio that the next process does not have.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::end_to_end::ourselves;
use crate::path::{Bench, Mode, WithEnvelope};
use crate::report::{Lap, Ratio, Report};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Messages of a lap.
    messages: u64,
    rounds: usize,
    /// Messages of an end-to-end run.
    pub(crate) end_to_end: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        messages: 10_000,
        rounds: 15,
        end_to_end: 100_000,
    };
    pub(crate) const QUICK: Self = Self {
        messages: 2_000,
        rounds: 5,
        end_to_end: 10_000,
    };
}

/// Processor time of each lap of one round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    laps: [Duration; LAPS.len()],
    /// Bytes of a message's value.
    value_bytes: usize,
}

/// What a lap is called, in the order they are run.
const LAPS: [&str; 8] = [
    "bare sign",
    "send path",
    "send path, envelope",
    "bare verify_strict",
    "receive path, strict",
    "receive path, batch",
    "receive path, envelope, strict",
    "receive path, envelope, batch",
];

/// Which laps make a ratio: the first over the second, and what it is to be at least.
const RATIOS: [(&str, usize, usize, Option<f64>); 7] = [
    ("send path / bare sign loop", 0, 1, Some(0.7)),
    ("receive path / bare verify_strict loop", 3, 4, Some(0.6)),
    ("receive path, batch / strict", 4, 5, Some(1.3)),
    ("send path with envelope / bare sign loop", 0, 2, None),
    (
        "receive path with envelope / bare verify_strict loop",
        3,
        6,
        None,
    ),
    ("receive path with envelope, batch / strict", 6, 7, None),
    ("receive path, batch / bare verify_strict loop", 3, 5, None),
];

/// One round in this process, after one that does not count, so that caches, tables and the
/// processor's pace are as they will be.
pub(crate) fn one(messages: u64) -> Result<Round, Failure> {
    let bench = Bench::new(messages)?;
    round(&bench)?;
    round(&bench)
}

/// Measures the paths.
pub(crate) async fn paths(size: Size) -> Result<Report, Failure> {
    let mut rounds = Vec::with_capacity(size.rounds);
    for _ in 0..size.rounds {
        let messages = size.messages.to_string();
        let output = ourselves()?
            .args(["round", "--count", &messages])
            .stderr(Stdio::inherit())
            .output()
            .await?;
        if !output.status.success() {
            return Err(format!("a round: {}", output.status).into());
        }
        rounds.push(serde_json::from_slice::<Round>(&output.stdout)?);
    }
    let laps = LAPS.iter().enumerate().map(|(lap, name)| {
        let times = rounds.iter().map(|round| round.seconds(lap));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 messages")]
        let each = median(times) / size.messages as f64;
        Lap {
            name: (*name).to_owned(),
            microseconds: each * 1e6,
        }
    });
    let ratios = RATIOS.iter().map(|(name, whole, part, floor)| {
        let each = rounds
            .iter()
            .map(|round| round.seconds(*whole) / round.seconds(*part));
        let (lowest, highest) = each
            .clone()
            .fold((f64::MAX, f64::MIN), |(low, high), ratio| {
                (low.min(ratio), high.max(ratio))
            });
        Ratio {
            name: (*name).to_owned(),
            median: median(each),
            lowest,
            highest,
            floor: *floor,
        }
    });
    Ok(Report {
        messages: size.messages,
        rounds: size.rounds,
        value_bytes: rounds.first().map_or(0, |round| round.value_bytes),
        laps: laps.collect(),
        ratios: ratios.collect(),
        end_to_end: Vec::new(),
    })
}

impl Round {
    fn seconds(&self, lap: usize) -> f64 {
        self.laps[lap].as_secs_f64()
    }
}

fn round(bench: &Bench) -> Result<Round, Failure> {
    use {Mode::*, WithEnvelope::*};
    let laps = [
        bench.bare_sign(),
        bench.send(No)?,
        bench.send(Yes)?,
        bench.bare_verify()?,
        bench.receive(No, Strict)?,
        bench.receive(No, Batch)?,
        bench.receive(Yes, Strict)?,
        bench.receive(Yes, Batch)?,
    ];
    Ok(Round {
        laps,
        value_bytes: bench.value_bytes()?,
    })
}

/// The middle one; of an even number, the upper of the two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn every_lap_does_what_it_says_for_every_message() {
        let bench = Bench::new(130).unwrap();
        assert!(round(&bench).is_ok());
    }
}

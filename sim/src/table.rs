//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use cybermesh_checker::{Event, Outcome};
use cybermesh_sim::Run;

#[derive(Debug, Default)]
pub(crate) struct Table {
    seeds: u64,
    broken: Vec<u64>,
    virtual_time: Duration,
    real_time: Duration,
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    recovered_in: Vec<Duration>,
}

impl Table {
    pub(crate) fn add(&mut self, seed: u64, run: &Run, took: Duration) {
        self.seeds += 1;
        if !run.report.is_valid() {
            self.broken.push(seed);
        }
        self.virtual_time += run.took;
        self.real_time += took;
        self.recovered_in.extend(run.recovered_in);
        for (fault, count) in &run.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for entry in run.history.entries() {
            let what = match &entry.event {
                Event::Sent { .. } => "sends",
                Event::SendEnded { outcome, .. } => match outcome {
                    Outcome::Logged { .. } => "acknowledged",
                    Outcome::Spooled { .. } => "spooled",
                    Outcome::Unknown => "unknown",
                    Outcome::NotSent => "not sent",
                },
                Event::Handled { .. } => "handlings",
                Event::Committed { .. } => "commits",
                Event::Buried { .. } => "dead letters",
                _ => continue,
            };
            *self.counts.entry(what).or_default() += 1;
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, seconds) = (
            self.virtual_time.as_secs_f64() / 3600.0,
            self.real_time.as_secs_f64(),
        );
        writeln!(
            f,
            "{} seeds, {} broke the promise; {hours:.1} h of virtual time in {seconds:.1} s",
            self.seeds,
            self.broken.len(),
        )?;
        for (what, count) in &self.counts {
            writeln!(f, "  {what:<24} {count:>9}")?;
        }
        writeln!(f, "faults")?;
        for (what, count) in &self.faults {
            writeln!(f, "  {what:<24} {count:>9}")?;
        }
        let mut recovered = self.recovered_in.clone();
        recovered.sort_unstable();
        let at = |share: usize| {
            let index = (recovered.len().saturating_sub(1)) * share / 100;
            recovered.get(index).map_or(0.0, Duration::as_secs_f64)
        };
        write!(
            f,
            "all done after the last fault: median {:.1} s, 99th percentile {:.1} s, longest {:.1} s",
            at(50),
            at(99),
            at(100)
        )
    }
}

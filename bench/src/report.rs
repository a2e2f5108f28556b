//! The table, and the same as JSON.

use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Messages of a lap.
    pub(crate) messages: u64,
    pub(crate) rounds: usize,
    /// Bytes of a message's value.
    pub(crate) value_bytes: usize,
    pub(crate) laps: Vec<Lap>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) end_to_end: Vec<EndToEnd>,
}

/// Processor time of one message in a lap, median of the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Lap {
    pub(crate) name: String,
    pub(crate) microseconds: f64,
}

/// One lap's time over another's, round by round.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// What the median is to be at least.
    pub(crate) floor: Option<f64>,
}

/// A run from sender to handler.
#[derive(Debug, Serialize)]
pub(crate) struct EndToEnd {
    pub(crate) over: String,
    pub(crate) case: String,
    pub(crate) messages: u64,
    /// From the first message handed over by its sender to the last one handled.
    pub(crate) messages_per_second: f64,
    /// Processor seconds of the process, kernel included, for 100 000 messages.
    pub(crate) sender_cpu_seconds: f64,
    pub(crate) receiver_cpu_seconds: f64,
}

impl Ratio {
    pub(crate) fn is_below(&self) -> bool {
        // A ratio that is no number is none that reaches its floor.
        self.floor
            .is_some_and(|floor| self.median.is_nan() || self.median < floor)
    }

    fn verdict(&self) -> &'static str {
        match self.floor {
            None => "",
            Some(_) if self.is_below() => "below",
            Some(_) => "ok",
        }
    }
}

impl Report {
    pub(crate) fn print_paths(&self) {
        println!(
            "One thread, processor time; {} messages of {} bytes a lap, median of {} rounds.\n",
            self.messages, self.value_bytes, self.rounds
        );
        println!("{:<34} {:>12} {:>14}", "lap", "µs a message", "a second");
        for lap in &self.laps {
            let rate = 1e6 / lap.microseconds;
            println!("{:<34} {:>12.2} {rate:>14.0}", lap.name, lap.microseconds);
        }
        println!(
            "\n{:<54} {:>6} {:>15} {:>6}",
            "ratio", "median", "lowest–highest", "floor"
        );
        for ratio in &self.ratios {
            let floor = ratio
                .floor
                .map_or_else(|| "–".to_owned(), |floor| format!("{floor:.1}"));
            println!(
                "{:<54} {:>6.2} {:>8.2}–{:<6.2} {floor:>6} {}",
                ratio.name,
                ratio.median,
                ratio.lowest,
                ratio.highest,
                ratio.verdict()
            );
        }
    }

    pub(crate) fn print_end_to_end(&self) {
        println!(
            "\n{:<14} {:<24} {:>9} {:>12} {:>16} {:>16}",
            "over", "", "messages", "a second", "sender CPU s", "receiver CPU s"
        );
        for row in &self.end_to_end {
            println!(
                "{:<14} {:<24} {:>9} {:>12.0} {:>16.2} {:>16.2}",
                row.over,
                row.case,
                row.messages,
                row.messages_per_second,
                row.sender_cpu_seconds,
                row.receiver_cpu_seconds
            );
        }
        println!("CPU seconds are of each process, kernel included, for 100 000 messages.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(median: f64, floor: Option<f64>) -> Ratio {
        Ratio {
            name: String::new(),
            median,
            lowest: median,
            highest: median,
            floor,
        }
    }

    #[test]
    fn a_ratio_is_below_its_floor_and_no_other() {
        assert!(ratio(0.69, Some(0.7)).is_below());
        assert!(!ratio(0.7, Some(0.7)).is_below());
        assert!(!ratio(0.1, None).is_below());
        assert!(ratio(f64::NAN, Some(0.7)).is_below());
    }
}

//! The rules, by what they are about.

mod burials;
mod commits;
mod handling;
mod order;
mod progress;
mod sending;
mod sent;

use crate::index::Index;
use crate::{History, Report};

/// Judges a history by every rule.
#[must_use]
pub fn check(history: &History) -> Report {
    let index = Index::of(history);
    let mut report = Report::new();
    let mut court = Court {
        history,
        index: &index,
        report: &mut report,
    };
    court.sending();
    court.handling();
    court.order();
    court.sent_order();
    court.commits();
    court.burials();
    court.progress();
    report
}

/// What a rule judges by, and where it says so.
struct Court<'a> {
    history: &'a History,
    index: &'a Index<'a>,
    report: &'a mut Report,
}

impl Court<'_> {
    fn breach(
        &mut self,
        verdict: crate::Verdict,
        what: String,
        proof: impl IntoIterator<Item = usize>,
    ) {
        self.report.breach(self.history, verdict, what, proof);
    }
}

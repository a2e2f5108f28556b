//! A cluster of three brokers that fail, while records are written and read.
//!
//! Each test has the cluster for itself and leaves it whole. [`load`] writes and reads meanwhile, and judges at the end
//! by what Kafka's own consumer finds in the log; [`neighbour`] are Kafka's own clients, to compare with.
#![expect(
    clippy::print_stderr,
    reason = "how long recovery took is for whoever runs it"
)]

mod load;
mod neighbour;

use std::time::Duration;

use cybermesh_tests::{Over, Stage, scenario};

/// Three brokers are restarted in it, one after the other.
const FAILURE_WITHIN: Duration = Duration::from_secs(600);

fn run<F: Future<Output = ()>>(body: impl FnOnce(Stage) -> F) {
    scenario::run_within(FAILURE_WITHIN, Over::Kafka, body);
}

/// Makes tests of `async fn(Stage)`s over the cluster of three brokers.
macro_rules! failures {
    ($($name:ident),* $(,)?) => {
        mod kafka {
            $(#[test] fn $name() { $crate::run(super::$name) })*
        }
    };
}
use failures;

mod brokers;
mod identities;
mod nearby;

//! Runs one body over one of two brokers.

use std::future::Future;
use std::time::Duration;

use crate::stage::Stage;

/// No scenario takes as long, even on a busy machine: what does, hangs. `TESTS_SCENARIO_SECONDS` says more for those
/// that are made longer.
const SCENARIO_WITHIN: Duration = Duration::from_secs(180);

/// What a scenario runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The built-in broker, a fresh one for each test.
    Devbroker,
    /// Apache Kafka, one cluster for all tests.
    Kafka,
}

/// Runs `body` on a fresh stage over `over`, within a deadline.
///
/// # Panics
/// When the body does, when it does not end, or when there is no cluster to run over.
pub fn run<F: Future<Output = ()>>(over: Over, body: impl FnOnce(Stage) -> F) {
    let longer = std::env::var("TESTS_SCENARIO_SECONDS").ok();
    let longer = longer.map(|text| Duration::from_secs(text.parse().expect("seconds")));
    run_within(longer.unwrap_or(SCENARIO_WITHIN), over, body);
}

/// The same within another deadline.
///
/// # Panics
/// As [`run`].
pub fn run_within<F: Future<Output = ()>>(
    deadline: Duration,
    over: Over,
    body: impl FnOnce(Stage) -> F,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a tokio runtime");
    runtime.block_on(async {
        let scenario = async { body(Stage::new(over).await).await };
        let ended = tokio::time::timeout(deadline, scenario).await;
        assert!(
            ended.is_ok(),
            "the scenario did not end within {deadline:?}"
        );
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// Makes tests of scenarios: `async fn(Stage)`s in scope.
///
/// Those of `both` become a test in the module `devbroker` and one in the module `kafka`. Those of
/// `devbroker_only` and `kafka_only` come with the reason; in the other module they are ignored
/// tests that give it, so that whoever reads the result sees what did not run there, and why.
#[macro_export]
macro_rules! scenarios {
    (
        both: [$($both:ident),* $(,)?]
        $(, devbroker_only: [$($devbroker:ident: $devbroker_reason:literal),* $(,)?])?
        $(, kafka_only: [$($kafka:ident: $kafka_reason:literal),* $(,)?])?
        $(,)?
    ) => {
        mod devbroker {
            $(#[test] fn $both() { $crate::scenario::run($crate::Over::Devbroker, super::$both) })*
            $($(#[test] fn $devbroker() { $crate::scenario::run($crate::Over::Devbroker, super::$devbroker) })*)?
            $($(#[test] #[ignore = $kafka_reason] fn $kafka() { panic!($kafka_reason) })*)?
        }
        mod kafka {
            $(#[test] fn $both() { $crate::scenario::run($crate::Over::Kafka, super::$both) })*
            $($(#[test] fn $kafka() { $crate::scenario::run($crate::Over::Kafka, super::$kafka) })*)?
            $($(#[test] #[ignore = $devbroker_reason] fn $devbroker() { panic!($devbroker_reason) })*)?
        }
    };
}

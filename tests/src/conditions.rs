//! What a bridge says of itself: its health, and its numbers.

use std::time::Duration;

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::kind::Kind;

use crate::stage::Stage;

/// Longer than anything takes, on a busy machine too.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Health and numbers tell no event; this is how often they are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `holds` answers something.
///
/// # Panics
/// When it does not.
pub async fn until<T>(mut holds: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(held) = holds() {
                return held;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(TOLD_WITHIN, looking)
        .await
        .expect("it comes to hold")
}

/// The detail of a condition, where it holds now.
pub fn detail(bridge: &Bridge, condition: &Condition) -> Option<String> {
    let conditions = bridge.health().conditions();
    let mut found = conditions
        .into_iter()
        .filter(|(holds, _)| holds == condition);
    found.next().map(|(_, detail)| detail)
}

/// Waits until a condition holds; its detail.
///
/// # Panics
/// When it does not come to hold.
pub async fn raised(bridge: &Bridge, condition: &Condition) -> String {
    until(|| detail(bridge, condition)).await
}

/// Waits until the bridge is ready.
///
/// # Panics
/// When it does not become so.
pub async fn ready(bridge: &Bridge) {
    until(|| bridge.health().is_ready().then_some(())).await;
}

/// The first partition of the topic of `kind` stands still.
pub fn paused(stage: &Stage, kind: Kind) -> Condition {
    Condition::PartitionPaused {
        topic: stage.topic(kind),
        partition: 0,
    }
}

/// The number of a metric whose line begins with `series` and has each of `labels`; 0 where there is
/// no such line yet.
///
/// # Panics
/// When the bridge shows no numbers.
pub fn number(bridge: &Bridge, series: &str, labels: &[(&str, &str)]) -> f64 {
    let text = bridge.exposition().expect("its own metrics").text();
    let text = text.expect("metrics as text");
    let line = text.lines().find(|line| {
        let name = line.split(['{', ' ']).next();
        let has = |(label, value): &(&str, &str)| line.contains(&format!("{label}=\"{value}\""));
        name == Some(series) && labels.iter().all(has)
    });
    line.and_then(|line| line.rsplit_once(' '))
        .map_or(0.0, |(_, number)| number.parse().expect("a number"))
}

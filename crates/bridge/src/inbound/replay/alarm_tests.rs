//! Which alarms a restart, and a log that begins again, raise.

use super::*;
use crate::inbound::group::Life;
use crate::telemetry::Exposition;

/// What a partition is assigned with, one assignment after the other, by the same process.
fn alarms(assignments: &[Option<(i64, &str)>]) -> String {
    let exposition = Exposition::new().unwrap();
    let limits = RingLimits::default();
    let mut orders = MemoryOrders::new(limits, Duration::MAX, exposition.metrics());
    let partition = TopicPartition::new("t", 0);
    for committed in assignments {
        let committed = committed.map(|(offset, stored)| (offset, stored.to_owned()));
        let order = orders.open(&Assignment {
            partition: partition.clone(),
            committed,
            life: Life::default(),
        });
        orders.close(partition.clone(), order);
    }
    let text = exposition.text().unwrap();
    let alarms = text
        .lines()
        .filter_map(|line| line.strip_prefix("bridge_replay_state_alarms_total"));
    alarms.collect()
}

#[test]
fn a_log_read_from_its_start_raises_no_alarm() {
    assert_eq!(alarms(&[None]), "");
    assert_eq!(alarms(&[Some((0, ""))]), "");
}

#[test]
fn a_restart_in_the_middle_of_a_log_says_that_what_was_accepted_is_not_known() {
    assert_eq!(alarms(&[Some((7, ""))]), r#"{reason="missing"} 1"#);
}

#[test]
fn a_state_of_a_version_that_is_not_known_is_malformed() {
    assert_eq!(alarms(&[Some((7, "AgID"))]), r#"{reason="malformed"} 1"#);
}

#[test]
fn a_partition_that_comes_back_raises_one_only_where_somebody_else_read_on() {
    assert_eq!(alarms(&[None, Some((0, ""))]), "");
    assert_eq!(alarms(&[None, Some((5, ""))]), r#"{reason="missing"} 1"#);
}

#[test]
fn a_log_that_begins_again_is_counted() {
    let exposition = Exposition::new().unwrap();
    let limits = RingLimits::default();
    let mut orders = MemoryOrders::new(limits, Duration::MAX, exposition.metrics());
    let mut order = orders.open(&Assignment {
        partition: TopicPartition::new("t", 0),
        committed: None,
        life: Life::default(),
    });
    order.log_begins_again();
    let text = exposition.text().unwrap();
    let line = r#"bridge_replay_state_alarms_total{reason="log-began-again"} 1"#;
    assert!(text.contains(line), "{text}");
}

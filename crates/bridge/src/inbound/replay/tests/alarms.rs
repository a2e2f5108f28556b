//! Which alarms a restart raises, and what is counted.

use super::stage::*;

#[tokio::test]
async fn a_log_read_from_its_start_raises_no_alarm() {
    for committed in [None, Some((0, String::new()))] {
        let mut world = World::new();
        world.committed = committed;
        let process = Process::started(&world).await;
        assert_eq!(process.alarms(), "");
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_log_without_a_state_says_that_what_was_accepted_is_not_known()
{
    for (text, reason) in [
        ("", "missing"),
        ("AgID", "malformed"),
        ("my own note", "malformed"),
    ] {
        let (mut world, process) = after(60, 60, World::new()).await;
        drop(process);
        world.committed = Some((60, text.to_owned()));
        let process = Process::started(&world).await;
        assert_eq!(process.alarms(), format!(r#"{{reason="{reason}"}} 1"#));
    }
}

#[tokio::test]
async fn a_partition_that_comes_back_raises_no_alarm_where_its_own_commit_stands() {
    let (world, mut process) = after(60, 60, World::new()).await;
    process.gives_up(&world, Default::default());
    process.opens(&world).await.unwrap();
    assert_eq!(process.alarms(), "");
    assert!(process.started_from().contains(r#"{from="memory"} 1"#));
}

#[tokio::test]
async fn a_state_that_is_refused_raises_an_alarm_where_the_log_has_nothing_before_it_as_well() {
    let (mut world, process) = after(60, 60, World::new()).await;
    drop(process);
    *world.log.start.lock().unwrap() = 60;
    for (text, alarms) in [("", ""), ("AgID", r#"{reason="malformed"} 1"#)] {
        world.committed = Some((60, text.to_owned()));
        let process = Process::started(&world).await;
        assert_eq!(process.alarms(), alarms);
    }
}

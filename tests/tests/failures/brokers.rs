//! Brokers that are killed, stopped, paused, and come back.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use crate::load::{Load, PARTITIONS};
use cybermesh_tests::brokers::Brokers;
use cybermesh_tests::{Stage, java};

crate::failures! {
    nothing_is_lost_or_doubled_when_a_leader_is_killed_and_comes_back,
    nothing_is_lost_or_doubled_when_a_leader_is_stopped_in_order_and_comes_back,
    nothing_is_lost_or_doubled_when_a_leader_accepts_and_never_answers,
    nothing_is_lost_or_doubled_when_the_coordinator_of_the_group_is_killed,
    nothing_is_lost_or_doubled_when_leadership_goes_back_to_the_preferred_replicas,
    nothing_is_lost_or_doubled_when_all_three_are_restarted_one_after_the_other,
    nothing_is_lost_or_doubled_when_all_brokers_are_gone_and_come_back,
    nothing_is_lost_or_doubled_when_a_topic_gets_more_partitions_while_a_leader_is_killed,
    nothing_that_is_sent_to_a_topic_made_again_is_lost_or_doubled_and_it_is_read_from_its_start,
    nothing_is_lost_or_doubled_when_all_addresses_are_dead_but_one_and_then_that_one_too,
    while_too_few_replicas_are_in_sync_sends_wait_and_then_all_go_through,
}

/// How long all brokers are gone: no longer than it takes to start them, unless `TESTS_OUTAGE_SECONDS` says more.
fn outage() -> Duration {
    let seconds = std::env::var("TESTS_OUTAGE_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The one that leads partition 0.
async fn leader(load: &Load) -> i32 {
    load.leaders().await[&0]
}

/// Starts a broker that has ended, and waits until it is in sync.
async fn start_again(brokers: &mut Brokers, load: &Load, id: i32) {
    brokers.start(id).await;
    brokers.serves(id).await;
    load.in_sync_again(id).await;
}

async fn nothing_is_lost_or_doubled_when_a_leader_is_killed_and_comes_back(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let leader = leader(&load).await;
    let mark = load.mark().await;
    brokers.kill(leader).await;
    load.recovered("leader killed", mark).await;
    assert!(load.leaders().await.values().all(|other| *other != leader));
    start_again(&mut brokers, &load, leader).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_a_leader_is_stopped_in_order_and_comes_back(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let leader = leader(&load).await;
    brokers.stop(leader).await;
    let mark = load.mark().await;
    load.recovered("leader stopped", mark).await;
    start_again(&mut brokers, &load, leader).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_a_leader_accepts_and_never_answers(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let leader = leader(&load).await;
    let mark = load.mark().await;
    brokers.pause(leader).await;
    load.recovered("leader paused", mark).await;
    assert!(load.leaders().await.values().all(|other| *other != leader));
    brokers.resume(leader).await;
    load.in_sync_again(leader).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_the_coordinator_of_the_group_is_killed(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let coordinator = java::coordinator(&stage, &Load::group(&stage)).await;
    let mark = load.mark().await;
    brokers.kill(coordinator).await;
    load.recovered("coordinator killed", mark).await;
    let other = java::coordinator(&stage, &Load::group(&stage)).await;
    assert_ne!(other, coordinator);
    start_again(&mut brokers, &load, coordinator).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_leadership_goes_back_to_the_preferred_replicas(
    stage: Stage,
) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let preferred = load.leaders().await;
    let leader = preferred[&0];
    brokers.stop(leader).await;
    let mark = load.mark().await;
    load.recovered("stopped", mark).await;
    start_again(&mut brokers, &load, leader).await;
    assert_ne!(load.leaders().await, preferred);
    java::elect_preferred_leaders(&stage).await;
    let mark = load.mark().await;
    load.recovered("leadership gone back", mark).await;
    load.led_by(&preferred).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_all_three_are_restarted_one_after_the_other(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    for id in 1..=3 {
        brokers.stop(id).await;
        let mark = load.mark().await;
        load.recovered("stopped, one of all", mark).await;
        start_again(&mut brokers, &load, id).await;
    }
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_all_brokers_are_gone_and_come_back(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    for id in 1..=3 {
        brokers.kill(id).await;
    }
    tokio::time::sleep(outage()).await;
    for id in 1..=3 {
        brokers.start(id).await;
    }
    for id in 1..=3 {
        brokers.serves(id).await;
    }
    let mark = load.mark().await;
    load.recovered("all brokers serve again", mark).await;
    for id in 1..=3 {
        load.in_sync_again(id).await;
    }
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_is_lost_or_doubled_when_a_topic_gets_more_partitions_while_a_leader_is_killed(
    stage: Stage,
) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start(&stage).await;
    let leader = leader(&load).await;
    load.grow(PARTITIONS + 3).await;
    let mark = load.mark().await;
    brokers.kill(leader).await;
    load.recovered("more partitions, and a leader killed", mark)
        .await;
    start_again(&mut brokers, &load, leader).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

async fn nothing_that_is_sent_to_a_topic_made_again_is_lost_or_doubled_and_it_is_read_from_its_start(
    stage: Stage,
) {
    let mut load = Load::start(&stage).await;
    load.make_again().await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

/// Of the addresses that clients are given one refuses, one accepts and says nothing, and one is a broker's, which is
/// killed once they have learnt of the others from it.
async fn nothing_is_lost_or_doubled_when_all_addresses_are_dead_but_one_and_then_that_one_too(
    stage: Stage,
) {
    let mut brokers = Brokers::connect().await;
    let [refusing, silent] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [refuses, says_nothing] =
        [&refusing, &silent].map(|listener| listener.local_addr().expect("its address"));
    drop(refusing);
    let addresses = stage.cluster().bootstrap().to_owned();
    let (first, _) = addresses.split_once(',').expect("three addresses");
    let bootstrap = format!("{refuses},{says_nothing},{first}");
    let mut load = Load::start_at(&stage, &bootstrap, &[]).await;
    let mark = load.mark().await;
    brokers.kill(1).await;
    load.recovered("the only address that answered", mark).await;
    start_again(&mut brokers, &load, 1).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
    drop(silent);
}

async fn while_too_few_replicas_are_in_sync_sends_wait_and_then_all_go_through(stage: Stage) {
    let mut brokers = Brokers::connect().await;
    let mut load = Load::start_with(&stage, &[("min.insync.replicas", "3")]).await;
    let leader = leader(&load).await;
    brokers.stop(leader).await;
    let mark = load.mark().await;
    start_again(&mut brokers, &load, leader).await;
    load.recovered("all replicas are back", mark).await;
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}

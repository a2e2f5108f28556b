//! Brokers at addresses of the other family.

use cybermesh_tests::Stage;
use cybermesh_transport::{Producer, ProducerConfig};

use crate::grouping::{Member, all_places, places_once, play};
use crate::support::{send_numbers, within};

cybermesh_tests::scenarios! {
    both: [brokers_at_ipv6_addresses_are_written_to_and_read_in_a_group],
}

async fn brokers_at_ipv6_addresses_are_written_to_and_read_in_a_group(stage: Stage) {
    let stage = stage.at_ipv6().await;
    let topic = stage.own("ipv6");
    stage.make_topic(&topic, 2).await;
    let client = stage.client().await;
    // Leaders and the coordinator are asked where they say they are.
    assert!(client.brokers().iter().all(|one| one.host() == "::1"));
    let producer = Producer::new(client, ProducerConfig::default());
    send_numbers(&producer, &topic, 2, 0..20).await;
    within(producer.flush()).await;
    let mut member = Member::join(&stage, &topic).await;
    play(&mut [&mut member], |members| members[0].got.len() == 40).await;
    let got = member.leave().await;
    assert_eq!(places_once(&got), all_places(2, 20));
}

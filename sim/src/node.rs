//! A node: it sends anomalies, and those that fail again.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::{Publisher, Receipt, SendOptions};
use cybermesh_checker::{Event, Outcome};
use cybermesh_contracts::Kind;
use cybermesh_contracts::message::AnomalyDraft;
use cybermesh_transport::host;

use crate::process::{Ended, Within};
use crate::world::LANES;

/// How often one message is tried, by whoever sends it.
const TRIES: u32 = 8;

pub(crate) async fn run(within: Within) -> Ended {
    let world = Arc::clone(&within.world);
    let signer = world.signer_of(&within.name);
    let build = || {
        let builder = within.builder(&[])?;
        let signer = Arc::clone(&signer);
        Some(builder.signer(signer).sends([Kind::Anomaly]).receives([]))
    };
    let Some(bridge) = within.bridge(build).await else {
        return Ended { clean: true };
    };
    let dice = world.dice(&format!("{} {} load", within.name, within.life));
    loop {
        let pause = dice.ms(20..=1200);
        tokio::select! {
            biased;
            () = within.stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        // Now and then many at once.
        let burst = if dice.percent(10) { 8 } else { 1 };
        for _ in 0..burst {
            if !world.one_more(&within.name) {
                break;
            }
            let mut id = [0; 16];
            dice.fill(&mut id);
            let id = uuid::Builder::from_random_bytes(id).into_uuid().to_string();
            let lane = format!("lane-{}", dice.within(0..=LANES - 1));
            let publisher = bridge.publisher().clone();
            let (within, name) = (within.clone(), within.name.clone());
            world.recorder.takes_in_hand(&name);
            host::spawn(async move {
                send(&within, publisher, id, lane).await;
                within.world.recorder.lets_go(&name);
            });
        }
    }
    within.end(bridge).await
}

/// Sends until it is acknowledged, or it was tried often enough.
async fn send(within: &Within, publisher: Publisher, id: String, lane: String) {
    let world = &within.world;
    for attempt in 0..TRIES {
        let draft = AnomalyDraft::builder(id.as_str())
            .anomaly_type("port-scan")
            .source("sim")
            .severity(7)
            .confidence(0.5)
            .model_version("m-1")
            .build();
        let Ok(draft) = draft else {
            return;
        };
        world.recorder.event(Event::Sent {
            process: within.name.clone(),
            id: id.clone(),
            lane: Some(lane.clone()),
            attempt,
            signer: Some(within.name.clone()),
        });
        let options = SendOptions::new().key(lane.as_bytes());
        let ended = publisher.send_with(draft, options).await;
        let outcome = match &ended {
            Ok(Receipt::Logged {
                topic,
                partition,
                offset,
            }) => Outcome::Logged {
                topic: topic.to_string(),
                partition: *partition,
                offset: *offset,
            },
            Ok(Receipt::Spooled { sequence }) => Outcome::Spooled {
                sequence: *sequence,
            },
            Ok(_) => Outcome::Unknown,
            Err(error) if error.may_be_written() => Outcome::Unknown,
            Err(_) => Outcome::NotSent,
        };
        if let Err(error) = &ended {
            world
                .recorder
                .note(format_args!("{} told of {id}: {error}", within.name));
        }
        world.recorder.event(Event::SendEnded {
            process: within.name.clone(),
            id: id.clone(),
            attempt,
            outcome,
        });
        if ended.is_ok() || within.stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1 + u64::from(attempt))).await;
    }
}

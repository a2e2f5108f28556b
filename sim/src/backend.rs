//! A backend: a member of the group that handles anomalies, well or badly, by the dice.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::handler::{Context, HandlerError, Handlers, Verdict};
use cybermesh_checker::{Answer, Event, Place};
use cybermesh_contracts::Kind;
use cybermesh_contracts::message::Anomaly;
use cybermesh_contracts::verify::Verified;

use crate::dice::Dice;
use crate::process::{Ended, Within};
use crate::world::{GROUP, World};

pub(crate) async fn run(within: Within) -> Ended {
    let world = Arc::clone(&within.world);
    let trust = world.trust_file().to_string_lossy().into_owned();
    let build = || {
        let builder = within.builder(&[
            ("CYBERMESH_ROLE", "backend"),
            ("KAFKA_CONSUMER_GROUP", GROUP),
            ("CYBERMESH_TRUST", &trust),
            ("KAFKA_SESSION_TIMEOUT_MS", "9000"),
            ("KAFKA_HEARTBEAT_INTERVAL_MS", "1000"),
            ("KAFKA_REBALANCE_TIMEOUT_MS", "12000"),
            ("CYBERMESH_REVOKE_TIMEOUT", "5s"),
            ("CYBERMESH_HANDLER_TIMEOUT", "4s"),
            ("CYBERMESH_REPLAY_RING", world.plan.ring),
            ("KAFKA_ASSIGNOR", world.plan.assignor),
        ])?;
        let handlers = handlers(&within);
        Some(
            builder
                .sends([])
                .receives([Kind::Anomaly])
                .handlers(handlers),
        )
    };
    let Some(mut bridge) = within.bridge(build).await else {
        return Ended { clean: true };
    };
    tokio::select! {
        biased;
        () = within.stop.cancelled() => {}
        ended = bridge.ended() => {
            world.recorder.note(format_args!("{} ended by itself: {ended}", within.name));
            return Ended { clean: false };
        }
    }
    within.end(bridge).await
}

fn handlers(within: &Within) -> Handlers {
    let world = Arc::clone(&within.world);
    let dice = world.dice(&format!("{} {} handler", within.name, within.life));
    let name: Arc<str> = within.name.as_str().into();
    Handlers::new().register(move |message: Verified<Anomaly>, context: Context| {
        handle(
            Arc::clone(&world),
            Arc::clone(&name),
            dice.clone(),
            message,
            context,
        )
    })
}

async fn handle(
    world: Arc<World>,
    process: Arc<str>,
    dice: Dice,
    message: Verified<Anomaly>,
    context: Context,
) -> Result<Verdict, HandlerError> {
    let place = Place::new(context.topic(), context.partition(), context.offset());
    let lane = context
        .key()
        .map(|key| String::from_utf8_lossy(key).into_owned());
    world.recorder.event(Event::Handled {
        process: process.to_string(),
        group: GROUP.to_owned(),
        place: place.clone(),
        id: message.message().id().to_owned(),
        lane,
        verified_by: Some(message.signer().id.to_string()),
    });
    let mut call = Call {
        world,
        process,
        place,
        answered: false,
    };
    let takes = match dice.within(0..=99) {
        0..=1 if call.world.is_troubled() => dice.ms(2_000..=6_000),
        0..=9 => dice.ms(50..=400),
        _ => dice.ms(0..=20),
    };
    tokio::time::sleep(takes).await;
    let (answer, result) = match dice.within(0..=99) {
        0..=3 => (
            Answer::Retry,
            Ok(Verdict::retry_after(Duration::from_millis(300))),
        ),
        4..=5 => (Answer::Failed, Err(HandlerError::retriable("by the dice"))),
        6..=7 => (Answer::Reject, Ok(Verdict::reject("by the dice"))),
        8..=9 => (Answer::Skip, Ok(Verdict::skip("by the dice"))),
        _ => (Answer::Done, Ok(Verdict::Done)),
    };
    call.answer(answer);
    result
}

/// A handler's call: one that is cut off says so.
struct Call {
    world: Arc<World>,
    process: Arc<str>,
    place: Place,
    answered: bool,
}

impl Call {
    fn answer(&mut self, answer: Answer) {
        self.answered = true;
        self.world.recorder.event(Event::Answered {
            process: self.process.to_string(),
            group: GROUP.to_owned(),
            place: self.place.clone(),
            answer,
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Answer::Cancelled);
        }
    }
}

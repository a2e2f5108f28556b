//! Listening as a member of a consumer group: offsets are committed, what is rejected is buried.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::Settings;
use cybermesh_bridge::bridge::Builder;
use cybermesh_bridge::handler::{Context, Handled, Verdict};
use cybermesh_contracts::Kind;
use cybermesh_contracts::message::{
    Anomaly, Commit, Evidence, EvidenceRequest, Message, Policy, PolicyUpdate, Reputation,
};
use cybermesh_contracts::verify::Verified;

use super::{Place, Printer, connect};
use crate::failure::Failure;
use crate::signal::Signals;

/// How long a message that is no longer wanted is put off: until after the stop that is under way.
const AFTER_STOP: Duration = Duration::from_secs(60);

pub(super) async fn listen(
    settings: Settings,
    kinds: Vec<Kind>,
    printer: Printer,
) -> Result<(), Failure> {
    let printer = Arc::new(printer);
    let signals = Signals::hear();
    let starting = connect(&settings, |builder| {
        kinds
            .iter()
            .fold(builder.receives(kinds.clone()), |builder, kind| {
                print_kind(builder, *kind, &printer)
            })
    });
    let Some(bridge) = signals.unless_ended(starting).await else {
        return Ok(());
    };
    let mut bridge = bridge?;
    let reloader = bridge.reloader().clone();
    let listening = async {
        tokio::select! {
            () = printer.done() => Ok(()),
            () = signals.end() => Ok(()),
            why = bridge.ended() => Err(Failure::cluster(why)),
        }
    };
    let ended = signals.rereading(&reloader, listening).await;
    let left = bridge.stop(settings.receive.stop_timeout).await;
    ended?;
    // Handlers that were cut off hold it no longer once the bridge has stopped.
    if let Some(printer) = Arc::into_inner(printer) {
        printer.result()?;
    }
    // Messages that were not wanted any more are unfinished by intent; what was printed must be committed.
    if left.subscriber.is_none_or(|left| left.committed) {
        Ok(())
    } else {
        Err(Failure::no(
            "stopped, but what was printed last could not be committed; it will be printed again",
        ))
    }
}

fn print_kind(builder: Builder, kind: Kind, printer: &Arc<Printer>) -> Builder {
    match kind {
        Kind::Anomaly => handle::<Anomaly>(builder, printer),
        Kind::Evidence => handle::<Evidence>(builder, printer),
        Kind::Policy => handle::<Policy>(builder, printer),
        Kind::Commit => handle::<Commit>(builder, printer),
        Kind::Reputation => handle::<Reputation>(builder, printer),
        Kind::PolicyUpdate => handle::<PolicyUpdate>(builder, printer),
        Kind::EvidenceRequest => handle::<EvidenceRequest>(builder, printer),
    }
}

fn handle<M: Handled + Into<Message>>(builder: Builder, printer: &Arc<Printer>) -> Builder {
    let printer = Arc::clone(printer);
    builder.handle::<M>(move |message: Verified<M>, context: Context| {
        let printer = Arc::clone(&printer);
        async move {
            let signer = Arc::clone(&message.signer().id);
            let message = message.into_message().into();
            let place = Place {
                topic: context.topic(),
                partition: context.partition(),
                offset: context.offset(),
            };
            // What is not printed is not done: whoever comes next in the group gets it.
            Ok(if printer.print(&message, &signer, place).await {
                Verdict::Done
            } else {
                Verdict::retry_after(AFTER_STOP)
            })
        }
    })
}

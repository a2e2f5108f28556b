//! `demo`: both roles in one process over a real mutual-TLS broker, every kind both ways, and what
//! is forged, replayed or broken on top.
//!
//! [`world`] is where it takes place, [`traffic`] the honest messages, [`hostile`] the others;
//! [`ledger`] knows where each must end and did, [`report`] says so.

mod hostile;
mod ledger;
mod report;
mod run;
mod traffic;
mod world;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cybermesh_bridge::Bridge;
use cybermesh_bridge::outbound::Receipt;
use cybermesh_bridge::telemetry::Exposition;
use cybermesh_contracts::dead_letter::DeadLetter;
use cybermesh_contracts::message::{
    Anomaly, Commit, Evidence, EvidenceRequest, Policy, PolicyUpdate, Reputation,
};
use cybermesh_contracts::{Kind, RecordView};
use cybermesh_transport::{Event, FetchConfig, Position, Reader, StartPolicy, TopicPartition};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use self::hostile::Attacker;
use self::ledger::{End, Place, Role};
use self::report::{Facts, Honest};
use self::run::Run;
use self::world::World;
use crate::args::{DemoArgs, SettingsArgs};
use crate::failure::Failure;
use crate::signal::Signals;

/// Messages on their way at once, each way.
const IN_FLIGHT: usize = 256;
/// How long both parties may take to get their partitions.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long everything may take to end once it was sent.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);
/// Between looks at the receivers' counts.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than a fetch is held back for want of records.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long each party may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Runs the demo; exit code 0 only when every message ended where the contract says.
pub(crate) async fn run(args: DemoArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let world = World::new(args.kafka, settings).await?;
    let run = Run::default();
    let signals = Signals::hear_to_end();
    let outcome = signals.unless_ended(play(&world, &run, &args)).await;
    let outcome = outcome.unwrap_or_else(|| Err(Failure::no("interrupted")));
    let (cluster, transport) = (world.cluster.clone(), world.transport().to_owned());
    let mut warnings = world.end().await;
    let (honest, unclean) = outcome.map_err(|failure| failure.and(&warnings))?;
    warnings.extend(unclean);
    let facts = Facts {
        cluster,
        transport,
        honest,
        verified: run.verified(),
        warnings,
    };
    let printed = run.ledger(|ledger| {
        if args.json {
            report::json(ledger, &facts)
        } else {
            report::text(ledger, &facts)
        }
    });
    printed.map_err(|error| Failure::no(format!("standard output: {error}")))?;
    if facts.warnings.is_empty() && run.ledger(|ledger| ledger.discrepancies().is_empty()) {
        Ok(())
    } else {
        Err(Failure::silent_no())
    }
}

/// Starts both parties, sends everything, waits until it has ended, stops both.
async fn play(world: &World, run: &Run, args: &DemoArgs) -> Result<(Honest, Vec<String>), Failure> {
    world.make_topics().await?;
    let node = world.node.bridge();
    let node = run.handle::<Commit>(node);
    let node = run.handle::<Reputation>(node);
    let node = run.handle::<PolicyUpdate>(node);
    let node = run.handle::<EvidenceRequest>(node);
    let node = node.start().await.map_err(Failure::start)?;
    let backend = world.backend.bridge();
    let backend = run.handle::<Anomaly>(backend);
    let backend = run.handle::<Evidence>(backend);
    let backend = run.handle::<Policy>(backend);
    let backend = backend.start().await.map_err(Failure::start)?;

    let bar = progress(args);
    let scenes = async {
        ready(&[&node, &backend]).await?;
        let begun = Instant::now();
        tokio::try_join!(
            send(&node, &Kind::NODE, run, args.messages),
            send(&backend, &Kind::CONTROL, run, args.messages),
        )?;
        settled(run).await;
        let honest = Honest {
            messages: run.ledger(ledger::Ledger::progress).1,
            elapsed: begun.elapsed(),
        };
        Attacker::new(run, world, &node).attack().await?;
        settled(run).await;
        Ok::<_, Failure>(honest)
    };
    let shown: Vec<Exposition> = [&node, &backend]
        .iter()
        .filter_map(|party| party.exposition().cloned())
        .collect();
    let mut letters = std::pin::pin!(follow_dead_letters(world, run));
    let mut counts = std::pin::pin!(follow_counts(run, &shown, &bar));
    let honest = tokio::select! {
        honest = scenes => honest,
        failure = &mut letters => Err(failure),
        never = &mut counts => match never {},
    };
    bar.finish_and_clear();
    // Both are still listened to: a second dead letter or one too many skipped would come now.
    let unclean = tokio::select! {
        unclean = stop([("node", node), ("backend", backend)]) => Ok(unclean),
        failure = letters => Err(failure),
        never = counts => match never {},
    };
    run.skipped(skipped(&shown));
    Ok((honest?, unclean?))
}

/// Stops the parties, and waits as long as a record may take to be read; says what was left unfinished.
async fn stop(parties: [(&str, Bridge); 2]) -> Vec<String> {
    let mut unclean = Vec::new();
    for (name, party) in parties {
        let left = party.stop(STOP_DEADLINE).await;
        if !left.is_clean() {
            unclean.push(format!(
                "the {name} stopped before all was finished: {left:?}"
            ));
        }
    }
    tokio::time::sleep(LAST_LOOK).await;
    unclean
}

/// Waits until both parties have their partitions.
async fn ready(parties: &[&Bridge]) -> Result<(), Failure> {
    let waiting = async {
        while !parties.iter().all(|party| party.health().is_ready()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(READY_DEADLINE, waiting)
        .await
        .map_err(|_| {
            let reasons: Vec<String> = parties
                .iter()
                .flat_map(|party| party.health().conditions())
                .map(|(condition, detail)| format!("{condition}: {detail}"))
                .collect();
            Failure::cluster(format!(
                "not ready within {READY_DEADLINE:?}: {}",
                reasons.join("; ")
            ))
        })
}

/// Waits until all that was sent has ended. What has not by the deadline is in the report.
async fn settled(run: &Run) {
    let settled = async {
        while !run.ledger(ledger::Ledger::settled) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE_DEADLINE, settled).await;
}

/// Sends `count` messages of each of `kinds`.
async fn send(bridge: &Bridge, kinds: &[Kind], run: &Run, count: u32) -> Result<(), Failure> {
    let drafts = (0..count).flat_map(|index| kinds.iter().map(move |kind| (*kind, index)));
    stream::iter(drafts)
        .map(|(kind, index)| async move {
            let draft = traffic::draft(kind, index).map_err(Failure::no)?;
            run.sending(traffic::draft_identity(&draft));
            let receipt = bridge
                .publisher()
                .send(draft)
                .await
                .map_err(Failure::cluster)?;
            match receipt {
                Receipt::Logged {
                    topic,
                    partition,
                    offset: Some(offset),
                    ..
                } => {
                    let place = Place {
                        topic: topic.to_string(),
                        partition,
                        offset,
                    };
                    run.sent(place, kind, Role::Ordinary, End::Handled);
                    Ok(())
                }
                _ => Err(Failure::no(
                    "a message is logged at an offset the broker no longer knows",
                )),
            }
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await
}

/// Reads the dead-letter topic until told to stop; ends by itself only when that can't be done.
async fn follow_dead_letters(world: &World, run: &Run) -> Failure {
    let topic = &world.backend.settings.topics.dlq;
    let reader = Reader::new(
        world.client().clone(),
        FetchConfig::default(),
        StartPolicy::Earliest,
    );
    let partitions = match world.client().partition_count(topic).await {
        Ok(partitions) => partitions,
        Err(error) => return Failure::cluster(error),
    };
    for partition in 0..partitions {
        reader.begin(
            &TopicPartition::new(topic.as_str(), partition),
            Position::Earliest,
        );
    }
    while let Some(event) = reader.next().await {
        let Event::Records(batch) = event else {
            continue;
        };
        for record in &batch.records {
            let headers: Vec<(&str, Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|header| (header.name.as_str(), header.value.as_deref()))
                .collect();
            let view = RecordView {
                key: record.key.as_deref(),
                headers: &headers,
                ..RecordView::new(topic, record.value.as_deref())
            };
            match DeadLetter::parse(&view) {
                Ok(letter) => {
                    let origin = letter.origin();
                    let place = Place {
                        topic: origin.topic.clone(),
                        partition: origin.partition.unwrap_or(-1),
                        offset: origin.offset.unwrap_or(-1),
                    };
                    run.buried(place, letter.disposition());
                }
                Err(fault) => return Failure::no(format!("{topic}: not a dead letter: {fault}")),
            }
        }
    }
    Failure::no(format!("{topic} could no longer be read"))
}

/// Takes what the receivers say they skipped, and moves the progress bar.
async fn follow_counts(
    run: &Run,
    shown: &[Exposition],
    bar: &ProgressBar,
) -> std::convert::Infallible {
    loop {
        run.skipped(skipped(shown));
        let (ended, all) = run.ledger(ledger::Ledger::progress);
        bar.set_length(all);
        bar.set_position(ended);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The receivers' own counts of copies, as their operators would read them.
fn skipped(shown: &[Exposition]) -> u64 {
    let texts = shown.iter().filter_map(|shown| shown.text().ok());
    let of_text = |text: String| -> u64 {
        text.lines()
            .filter(|line| line.starts_with("bridge_skipped_total{"))
            .filter(|line| line.contains("reason=\"duplicate\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    texts.map(of_text).sum()
}

fn progress(args: &DemoArgs) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40.green} {pos}/{len} messages ended  {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

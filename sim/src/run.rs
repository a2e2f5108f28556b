//! One run: everything that follows from one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_checker::{Event, History, Report, check};
use tokio::time::Instant;

use crate::attacker::Attacker;
use crate::nemesis::Nemesis;
use crate::plan::Kind;
use crate::process::{Role, Slot};
use crate::witness;
use crate::world::{BACKENDS, GROUP, NODES, TOPIC, World};

/// When faults have ended, everything has to be done within this time.
const HEALS_WITHIN: Duration = Duration::from_secs(600);
/// Where clocks were an hour ahead, what was signed then lies in the future for an hour.
const CLOCKS_HEAL_WITHIN: Duration = Duration::from_secs(4_500);
/// Messages that each node sends when they have.
const SENT_AFTERWARDS: u64 = 5;
/// And nothing more may happen for this long, for it to count as done.
const SETTLED_FOR: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What decides everything.
    pub seed: u64,
    /// The bug that is to be there.
    pub bug: Option<Arc<str>>,
    /// Whether the trace is kept line by line, and not its hash alone.
    pub keeps_trace: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// What the checker says.
    pub report: Report,
    /// What it was said of.
    pub history: History,
    /// SHA-256 of the trace: equal runs have equal ones.
    pub trace_hash: String,
    /// The trace, where it was to be kept.
    pub trace: Vec<String>,
    /// How often each fault struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// Virtual time of it all.
    pub took: Duration,
    /// Virtual time from the end of the faults until all was done, where that came.
    pub recovered_in: Option<Duration>,
}

/// A run that could not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The runtime, the brokers or the files could not be had.
    #[error("the simulation cannot be set up: {0}")]
    Setup(String),
    /// A folder for its files could not be had.
    #[error("the simulation has no files: {0}")]
    Files(#[from] std::io::Error),
    /// Runs cannot be repeated without tokio's seeded scheduling.
    #[error("built without `--cfg tokio_unstable`: a seed would not decide everything")]
    Unseeded,
}

/// Runs everything that follows from the seed.
///
/// # Errors
/// [`RunError`]; what is wrong with the software is in the report.
pub fn run(options: &Options) -> Result<Run, RunError> {
    let runtime = runtime(options.seed)?;
    #[cfg(cybermesh_bugs)]
    {
        let believes = options.bug.as_deref() == Some("signature-believed");
        cybermesh_contracts::verify::bugs::believe_one_in(believes.then_some(3));
    }
    runtime.block_on(live(options))
}

#[cfg(tokio_unstable)]
fn runtime(seed: u64) -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .map_err(|error| RunError::Setup(error.to_string()))
}

#[cfg(not(tokio_unstable))]
fn runtime(_seed: u64) -> Result<tokio::runtime::Runtime, RunError> {
    Err(RunError::Unseeded)
}

async fn live(options: &Options) -> Result<Run, RunError> {
    let begun = Instant::now();
    let world = World::new(options.seed, options.bug.clone(), options.keeps_trace).await?;
    world.recorder.event(Event::Reads {
        group: GROUP.to_owned(),
        topics: vec![TOPIC.to_owned()],
    });
    let witness = tokio::spawn(witness::watch(Arc::clone(&world)));
    let nodes = NODES.map(|name| Slot::new(name, Role::Node));
    let backends = BACKENDS.map(|name| Slot::new(name, Role::Backend));
    let mut slots: Vec<Slot> = nodes.into_iter().chain(backends).collect();
    for slot in &mut slots {
        slot.start(&world);
    }
    let mut nemesis = Nemesis::new(&world, slots, Attacker::new(&world));
    world.set_troubled(true);
    // Everybody finds their place first.
    tokio::time::sleep(Duration::from_secs(3)).await;
    nemesis.run(Instant::now() + world.plan.faults_for).await;
    world.set_troubled(false);
    nemesis.heal().await;
    world.recorder.event(Event::Healed);
    world.send_more(SENT_AFTERWARDS);
    let healed = Instant::now();
    let recovered_in = settle(&world, &mut nemesis, healed).await;
    witness::read(&world);
    world.recorder.event(Event::End { quiescent: true });
    for slot in &mut nemesis.slots {
        slot.stop(&world).await;
    }
    witness.abort();
    let recorded = world.recorder.take();
    Ok(Run {
        report: check(&recorded.history),
        history: recorded.history,
        trace_hash: recorded.hash,
        trace: recorded.lines,
        faults: recorded.counts,
        took: begun.elapsed(),
        recovered_in,
    })
}

/// Waits until all was sent and is done, and how long that took; nothing where it does not come.
async fn settle(world: &World, nemesis: &mut Nemesis, healed: Instant) -> Option<Duration> {
    let mut done_since = None;
    let within = match world.plan.kinds.contains(&Kind::ClockSteps) {
        true => CLOCKS_HEAL_WITHIN,
        false => HEALS_WITHIN,
    };
    while healed.elapsed() < within {
        nemesis
            .look_after(Instant::now() + Duration::from_millis(500))
            .await;
        if !(world.all_begun() && witness::is_done(world) && !world.recorder.has_open_sends()) {
            done_since = None;
            continue;
        }
        let since = *done_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SETTLED_FOR {
            return Some(since.duration_since(healed));
        }
    }
    None
}

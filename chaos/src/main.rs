//! The binary at work over a cluster that fails, and the verdict.
//!
//! Senders and listeners are processes of `cybermesh-bridge`, as anybody would run them. [`nemesis`] kills, pauses and
//! stops brokers and processes, exchanges certificates and keys, and fills a disk; [`attacker`] writes what nobody is to
//! believe; both as a seed says. [`diary`] keeps what was seen. When all is over [`ending`] has Kafka's own programs say
//! what is in the logs, and the checker judges.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool speaks on its standard streams"
)]

mod attacker;
mod child;
mod diary;
mod dice;
mod disk;
mod ending;
mod listener;
mod message;
mod nemesis;
mod sender;
mod world;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use cybermesh_checker::{Checked, Event, Verdict, check};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use diary::Diary;
use dice::Dice;
use listener::Listener;
use nemesis::Ordered;
use world::World;

/// How long everything that was acknowledged may take to be handled once the faults are over.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// What has something to be looked at for in every run: writes that were acknowledged, handlings, commits.
const THROUGH: [Verdict; 3] = [
    Verdict::LostAcknowledged,
    Verdict::Unverified,
    Verdict::CommittedPast,
];

/// What is done, and for how long. The cluster comes by the environment, from `cargo xtask chaos`.
#[derive(Debug, Parser)]
struct Args {
    /// How long there are faults, in seconds
    #[arg(long)]
    seconds: u64,
    /// What decides the faults
    #[arg(long)]
    seed: u64,
    /// The program under test
    #[arg(long)]
    bridge: PathBuf,
    /// Where the history goes, one event a line
    #[arg(long)]
    history: Option<PathBuf>,
    /// Keeps the logs of all processes here
    #[arg(long)]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(args))
}

async fn run(args: Args) -> ExitCode {
    let world = Arc::new(World::make(args.bridge.clone()).await);
    let diary = Arc::new(Diary::new());
    if world.disk().is_none() {
        println!("no small disk: this user may not mount one, so none is filled");
    }
    diary.note(Event::Reads {
        group: world.group.clone(),
        topics: world.topics(),
    });
    let senders: Vec<Ordered> = world
        .senders()
        .into_iter()
        .map(|recipe| {
            let (orders, ordered) = mpsc::channel(4);
            tokio::spawn(sender::run(
                recipe.clone(),
                Arc::clone(&diary),
                args.seed,
                ordered,
            ));
            Ordered { recipe, orders }
        })
        .collect();
    let listeners = ["listener-1", "listener-2", "listener-3"];
    let listeners = listeners.map(|name| Listener::start(world.listener(name), Arc::clone(&diary)));
    let listeners = Arc::new(Mutex::new(Vec::from(listeners)));
    let watching = {
        let (world, diary) = (Arc::clone(&world), Arc::clone(&diary));
        tokio::spawn(async move { ending::watch_commits(&world, &diary).await })
    };
    let looking = tokio::spawn(nemesis::look_after(Arc::clone(&listeners)));

    let until = Instant::now() + Duration::from_secs(args.seconds);
    let dice = |purpose| Dice::new(args.seed, purpose);
    let both = || (Arc::clone(&world), Arc::clone(&diary));
    let faults = [
        tokio::spawn(nemesis::of_brokers(both().1, dice("brokers"), until)),
        tokio::spawn(nemesis::of_senders(
            both().1,
            dice("senders"),
            senders.clone(),
            until,
        )),
        tokio::spawn(nemesis::of_listeners(
            both().1,
            dice("listeners"),
            Arc::clone(&listeners),
            until,
        )),
        tokio::spawn(nemesis::of_files(
            both().0,
            both().1,
            dice("files"),
            senders.clone(),
            Arc::clone(&listeners),
            until,
        )),
        tokio::spawn(attacker::run(both().0, both().1, dice("attacker"), until)),
    ];
    for fault in faults {
        fault.await.expect("faults that go on to the end");
    }
    println!("all faults have ended");
    let mut drained = true;
    for sender in &senders {
        let ended = sender.end().await;
        if ended != sender::Ended::Drained {
            println!("{}: the outbox was not drained", sender.recipe.name);
            drained = false;
        }
    }
    let settled = ending::settled(&world, SETTLED_WITHIN).await;
    looking.abort();
    watching.abort();
    for listener in listeners.lock().await.iter_mut() {
        listener.end().await;
    }
    ending::read(&world, &diary).await;
    diary.note(Event::End { quiescent: true });
    verdict(&args, &world, &diary, settled, drained)
}

fn verdict(
    args: &Args,
    world: &World,
    diary: &Diary,
    settled: Option<Duration>,
    drained: bool,
) -> ExitCode {
    let history = diary.history();
    if let Some(path) = &args.history {
        let file = File::create(path).expect("the history's file");
        history
            .write_lines(BufWriter::new(file))
            .expect("room for the history");
    }
    if let Some(to) = &args.logs {
        keep_logs(world, to);
    }
    println!("\ndone in {} s under seed {}:", args.seconds, args.seed);
    for (deed, count) in diary.deeds() {
        println!(
            "  {count:>5}  {}",
            deed.trim_end_matches([':', ' '])
                .trim_end_matches(" to")
                .trim_end_matches(" within")
        );
    }
    match settled {
        Some(after) => println!(
            "everything was handled {:.1} s after the last sender had ended",
            after.as_secs_f64()
        ),
        None => println!(
            "not everything was handled within {} s",
            SETTLED_WITHIN.as_secs()
        ),
    }
    let report = check(&history);
    println!("\n{report}");
    // Where nothing went through, nothing was broken either, and nothing shown.
    let went_through = |line: &Checked| !THROUGH.contains(&line.verdict) || line.looked_at > 0;
    let is_shown = report.checked().iter().all(went_through);
    if !is_shown {
        println!("nothing was acknowledged, handled or committed: that shows nothing");
    }
    if report.broken().is_empty() && is_shown && settled.is_some() && drained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn keep_logs(world: &World, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder for the logs");
    for entry in std::fs::read_dir(world.stage.dir())
        .expect("the folder")
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "log")
        {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a log");
        }
    }
}

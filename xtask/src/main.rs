//! Development tasks: `cargo xtask <task>`.
//!
//! [`mod@test`] runs every test and, with `CI=true`, every gate; [`lint`], [`no_c`] and [`musl`] are
//! those gates; [`bench`](mod@bench) measures; [`chaos`] has everything fail at once, [`sim`] on virtual time; [`kafka`] brings a real cluster up and down; [`proto`] regenerates
//! the protobuf code. [`process`] runs programs so that none outlives its task, and [`hold`] sees to
//! that even when the task is killed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod bench;
mod chaos;
mod elf;
mod error;
mod fuzz;
mod hold;
mod kafka;
mod lint;
mod musl;
mod no_c;
mod process;
mod proto;
mod sim;
mod test;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::TaskError;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Development tasks", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs every test; with CI=true also every gate. Without Java those over Apache Kafka are skipped
    Test,
    /// Runs the tests over three brokers that fail, and says how long recovery took
    Failures {
        /// Those whose names hold one of these; all where there are none
        names: Vec<String>,
    },
    /// What takes too long for each change: every test over several releases of Apache Kafka, ten members coming and going
    /// for two minutes, brokers that fail with Kafka's own clients beside ours, 5 000 seeds of the simulation and each bug put
    /// into it, every fuzz target for five minutes, twenty minutes of chaos
    ReleaseCheck {
        /// A release to run the tests over, as in 3.9.2; may be given several times
        #[arg(long = "kafka", value_name = "RELEASE", default_values = test::RELEASES)]
        releases: Vec<kafka::Release>,
    },
    /// Format, clippy, dependency graph, documentation, advisories
    Lint,
    /// Runs the fuzz targets under libFuzzer; needs a nightly compiler, and one for C++
    Fuzz(fuzz::FuzzArgs),
    /// Proves that nothing which ships compiles C, C++ or assembler sources
    NoC {
        /// Builds for this target instead of this machine
        #[arg(long)]
        target: Option<String>,
    },
    /// The binary at work over three brokers of Apache Kafka, all of which are killed and paused, and the verdict
    Chaos(chaos::ChaosArgs),
    /// The whole bridge on virtual time, over a network, brokers and a disk that fail, decided by a seed
    Sim(sim::SimArgs),
    /// Measures the signed way beside bare Ed25519, and end to end over the built-in broker
    Bench(bench::BenchArgs),
    /// Regenerates the protobuf code
    Proto {
        /// Only says whether it is stale
        #[arg(long)]
        check: bool,
    },
    /// Apache Kafka on this machine, with mutual TLS
    #[command(subcommand)]
    Kafka(kafka::KafkaCommand),
    /// Runs a program that ends when our standard input does
    #[command(hide = true)]
    Hold {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            done = run(cli.task) => done.unwrap_or_else(|error| {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }),
            code = interrupted() => code,
        }
    });
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn run(task: Task) -> Result<ExitCode, TaskError> {
    if let Task::Hold { command } = &task {
        return hold::hold(command).await;
    }
    let workspace = Workspace::find().await?;
    match task {
        Task::Test => return test::run(&workspace).await,
        Task::Failures { names } => return test::failures(&workspace, &names).await,
        Task::ReleaseCheck { releases } => return test::release_check(&workspace, &releases).await,
        Task::Fuzz(args) => fuzz::run(&workspace, &args).await?,
        Task::Chaos(args) => chaos::run(&workspace, &args).await?,
        Task::Sim(args) => sim::run(&workspace, &args).await?,
        Task::Bench(args) => bench::run(&workspace, &args).await?,
        Task::Lint => lint::run(&workspace).await?,
        Task::NoC { target } => no_c::run(&workspace, target.as_deref()).await.map(drop)?,
        Task::Proto { check } => proto::generate(check)?,
        Task::Kafka(command) => kafka::run(&workspace, command).await?,
        Task::Hold { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal that asks us to end. What runs is dropped then, and with it every process.
async fn interrupted() -> ExitCode {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    let number = tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
    };
    eprintln!("interrupted");
    ExitCode::from(128 + number)
}

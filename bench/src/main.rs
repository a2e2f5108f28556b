//! What the signed way costs: `cargo xtask bench`.
//!
//! [`path`] holds the two paths, in one thread and without a broker, beside bare loops of signing and
//! verifying; [`end_to_end`] has a sender and a receiver, each a process, on a broker; [`report`] is
//! the table. docs/benchmarks.md says what each row means.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod clock;
mod end_to_end;
mod event;
mod outbox;
mod path;
mod report;
mod roles;
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why there are no figures.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures the signed way beside bare Ed25519")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// Fewer messages and rounds: a first look, not figures to quote
    #[arg(long)]
    quick: bool,
    /// Also writes everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also runs over the cluster that the environment names (KAFKA_BROKERS and its certificates)
    #[arg(long)]
    kafka: bool,
    /// Leaves the end-to-end rows out
    #[arg(long)]
    paths_only: bool,
    /// Exit code 1 where a ratio is below its floor
    #[arg(long)]
    check: bool,
}

/// What is measured alone, and what a child process is.
#[derive(Debug, Subcommand)]
enum Role {
    /// Measures what the outbox's syncing costs on a disk
    Outbox(outbox::Place),
    /// One round of the paths, then its times
    #[command(hide = true)]
    Round {
        /// Messages of a lap
        #[arg(long)]
        count: u64,
    },
    /// The built-in broker, until standard input ends
    #[command(hide = true)]
    Broker,
    /// Sends messages, then says what it took
    #[command(hide = true)]
    Send(roles::Task),
    /// Handles messages, then says what it took
    #[command(hide = true)]
    Receive(roles::Task),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match &cli.role {
        Some(Role::Round { count }) => {
            println!("{}", serde_json::to_string(&rounds::one(*count)?)?);
        }
        Some(Role::Outbox(place)) => outbox::run(place).await?,
        Some(Role::Broker) => roles::broker().await?,
        Some(Role::Send(task)) => roles::send(task).await?,
        Some(Role::Receive(task)) => roles::receive(task).await?,
        None => return measure(&cli).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(cli: &Cli) -> Result<ExitCode, Failure> {
    let size = if cli.quick {
        rounds::Size::QUICK
    } else {
        rounds::Size::FULL
    };
    let mut report = rounds::paths(size).await?;
    report.print_paths();
    if !cli.paths_only {
        let devbroker = end_to_end::Devbroker::start().await?;
        let mut places = vec![devbroker.place()];
        if cli.kafka {
            places.push(end_to_end::Place::of_environment()?);
        }
        for place in &places {
            for case in end_to_end::CASES {
                let row = end_to_end::run(place, case, size.end_to_end).await?;
                report.end_to_end.push(row);
            }
        }
        devbroker.stop().await?;
        report.print_end_to_end();
    }
    if let Some(file) = &cli.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    let below = report.ratios.iter().any(report::Ratio::is_below);
    Ok(if cli.check && below {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

//! The binary `cybermesh-bridge`: signed messages over Kafka from a shell, a script or a bare machine.
//!
//! [`args`] says what can be asked; each subcommand has a module of its own, and [`failure`]
//! turns what went wrong into one line and an exit code.

mod args;
mod audit;
mod config;
mod demo;
mod dlq;
mod failure;
mod health;
mod json;
mod keygen;
mod lines;
mod listen;
mod log;
mod outbox;
mod output;
mod replay;
mod send;
mod signal;
mod stderr;
mod verify;
mod version;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let result = Cli::command()
        .long_version(version::long())
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(Failure::command_line)
        .and_then(run);
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    stderr::finish(BLOCKED);
    code
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Keygen(args) => keygen::run(&args),
        Command::Verify(args) => verify::run(&args, &cli.settings),
        Command::Audit(args) => audit::run(&args, &cli.settings),
        Command::Outbox(args) => outbox::run(args, &cli.settings),
        Command::Health(args) => health::run(&args, &cli.settings),
        Command::Config => config::run(&cli.settings),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cybermesh-bridge", &mut script);
            std::io::stdout()
                .lock()
                .write_all(&script)
                .map_err(|error| Failure::no(format!("standard output: {error}")))
        }
        Command::Demo(args) => run_async(demo::run(args, &cli.settings)),
        Command::Send(args) => run_async(send::run(args, &cli.settings)),
        Command::Dlq(args) => run_async(dlq::run(args, &cli.settings)),
        Command::Replay(args) => run_async(replay::run(args, &cli.settings)),
        Command::Listen(args) => run_async(listen::run(args, &cli.settings)),
    }
}

/// How long what is still blocked at the end (a write nobody reads, a name server) is waited for.
const BLOCKED: Duration = Duration::from_secs(1);

fn run_async(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::no(format!("the runtime did not start: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(BLOCKED);
    done
}

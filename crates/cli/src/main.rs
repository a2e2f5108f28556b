//! The binary `cybermesh-bridge`: signed messages over Kafka from a shell, a script or a bare machine.
//!
//! [`args`] says what can be asked; each subcommand has a module of its own, and [`failure`]
//! turns what went wrong into one line and an exit code.

mod args;
mod config;
mod demo;
mod failure;
mod json;
mod keygen;
mod lines;
mod listen;
mod log;
mod send;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let matches = Cli::command().long_version(version::long()).get_matches();
    let result = Cli::from_arg_matches(&matches)
        .map_err(|error| Failure::usage(error.to_string()))
        .and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Keygen(args) => keygen::run(&args),
        Command::Verify(args) => verify::run(&args, &cli.settings),
        Command::Config => config::run(&cli.settings),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "cybermesh-bridge",
                &mut std::io::stdout().lock(),
            );
            Ok(())
        }
        Command::Demo(args) => runtime()?.block_on(demo::run(args, &cli.settings)),
        Command::Send(args) => runtime()?.block_on(send::run(args, &cli.settings)),
        Command::Listen(args) => runtime()?.block_on(listen::run(args, &cli.settings)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::no(format!("the runtime did not start: {error}")))
}

//! Runs seeds and says what broke. `cargo xtask sim` builds it as it has to be built.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use cybermesh_sim::{BUGS, Options, Run, RunError, run};

use crate::table::Table;

/// The whole bridge on virtual time, over a network, brokers and a disk that fail.
#[derive(Debug, Parser)]
#[command(name = "cybermesh-sim")]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes trace and history of each run into this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Has this bug be there, which was put in on purpose
    #[arg(long)]
    bug: Option<String>,
    /// Has each of the bugs be there in turn, until it is found
    #[arg(long)]
    bugs: bool,
    /// Runs each seed twice, and compares the traces
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    match go(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments) -> Result<bool, RunError> {
    if arguments.bugs {
        return find_bugs(arguments);
    }
    let mut table = Table::default();
    let mut all_well = true;
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let options = Options {
            seed,
            bug: arguments.bug.as_deref().map(Into::into),
            keeps_trace: arguments.keep.is_some() || arguments.twice,
        };
        let begun = Instant::now();
        let done = run(&options)?;
        if arguments.twice {
            all_well &= is_the_same(seed, &done, &run(&options)?);
        }
        if let Some(folder) = &arguments.keep {
            keep(folder, seed, &done)?;
        }
        if !done.report.is_valid() {
            all_well = false;
            println!(
                "seed {seed} broke the promise; again: cargo xtask sim --seeds 1 --seed {seed}"
            );
            println!("{}\n", done.report);
        }
        if done.recovered_in.is_none() {
            all_well = false;
            println!(
                "seed {seed} did not come to its end; again: cargo xtask sim --seeds 1 --seed {seed}"
            );
        }
        table.add(seed, &done, begun.elapsed());
    }
    println!("{table}");
    Ok(all_well)
}

/// Whether every bug is found within the seeds.
fn find_bugs(arguments: &Arguments) -> Result<bool, RunError> {
    let mut all_found = true;
    println!("| bug | found as | first seed |\n|---|---|---|");
    for (bug, what) in BUGS {
        if arguments.bug.as_deref().is_some_and(|only| only != bug) {
            continue;
        }
        let mut found = None;
        for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
            let options = Options {
                seed,
                bug: Some(bug.into()),
                keeps_trace: false,
            };
            let broken = run(&options)?.report.broken();
            // What breaks without the bug is not of the bug.
            let without = Options {
                bug: None,
                ..options
            };
            if !broken.is_empty() && run(&without)?.report.is_valid() {
                found = Some((seed, broken));
                break;
            }
        }
        match found {
            Some((seed, broken)) => {
                let names: Vec<_> = broken.iter().map(|verdict| verdict.name()).collect();
                println!("| {what} (`{bug}`) | {} | {seed} |", names.join(", "));
            }
            None => {
                all_found = false;
                println!("| {what} (`{bug}`) | NOT FOUND | |");
            }
        }
    }
    Ok(all_found)
}

fn is_the_same(seed: u64, first: &Run, second: &Run) -> bool {
    if first.trace_hash == second.trace_hash {
        return true;
    }
    let pairs = first.trace.iter().zip(&second.trace);
    let same = pairs.take_while(|(one, other)| one == other).count();
    println!("seed {seed} took two ways; the first {same} lines are the same, then:");
    for trace in [&first.trace, &second.trace] {
        println!("  {}", trace.get(same).map_or("(the end)", String::as_str));
    }
    false
}

fn keep(folder: &std::path::Path, seed: u64, done: &Run) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{seed}.trace")), done.trace.join("\n"))?;
    let history = std::fs::File::create(folder.join(format!("{seed}.history.jsonl")))?;
    done.history.write_lines(std::io::BufWriter::new(history))
}

//! `cargo xtask sim`: the whole bridge on virtual time, over a network, brokers and a disk that fail, as a seed says.
//!
//! It is built apart, in `target/sim`: one seed decides everything only with tokio's seeded scheduling, which is a cfg of
//! the whole build.

use std::path::PathBuf;

use clap::Args;

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

/// Seeds for each change.
const SEEDS: u64 = 200;
/// Seeds that are run twice there.
const TWICE: u64 = 20;
/// Seeds for each release.
const MANY: u64 = 5_000;

/// Which runs.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// How many seeds
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs each seed twice and compares what happened
    #[arg(long)]
    twice: bool,
    /// Puts in bugs, one after the other, and says by what and when each is found
    #[arg(long)]
    bugs: bool,
    /// Puts in this bug alone
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Where traces and histories go
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(crate) async fn run(workspace: &Workspace, args: &SimArgs) -> Result<(), TaskError> {
    let with_bugs = args.bugs || args.bug.is_some();
    let program = build(workspace, with_bugs).await?;
    let mut run = Run::new(program)
        .args(["--seeds", &args.seeds.to_string()])
        .args(["--seed", &args.seed.to_string()]);
    for (flag, set) in [("--twice", args.twice), ("--bugs", args.bugs)] {
        if set {
            run = run.arg(flag);
        }
    }
    if let Some(bug) = &args.bug {
        run = run.args(["--bug", bug]);
    }
    if let Some(folder) = &args.keep {
        let folder = std::path::absolute(folder).map_err(TaskError::file(folder))?;
        run = run.arg("--keep").arg(folder);
    }
    run.stream().await
}

/// The runs of each change: many seeds, and some of them twice.
pub(crate) async fn check(workspace: &Workspace) -> Result<(), TaskError> {
    let program = build(workspace, false).await?;
    let seeds = |count: u64| ["--seeds".to_owned(), count.to_string()];
    Run::new(&program).args(seeds(SEEDS)).stream().await?;
    let twice = Run::new(&program).args(seeds(TWICE)).arg("--twice");
    twice.stream().await
}

/// Far more seeds, and whether each bug that is put in is found by the seeds that are run for each change.
pub(crate) async fn check_long(workspace: &Workspace) -> Result<(), TaskError> {
    let program = build(workspace, false).await?;
    let seeds = |count: u64| ["--seeds".to_owned(), count.to_string()];
    Run::new(&program).args(seeds(MANY)).stream().await?;
    let program = build(workspace, true).await?;
    let bugs = Run::new(&program).args(seeds(SEEDS)).arg("--bugs");
    bugs.stream().await
}

async fn build(workspace: &Workspace, with_bugs: bool) -> Result<PathBuf, TaskError> {
    // A cfg and no feature: nobody who depends on us can have the bugs built in.
    let (folder, flags) = if with_bugs {
        ("sim-bugs", "--cfg tokio_unstable --cfg cybermesh_bugs")
    } else {
        ("sim", "--cfg tokio_unstable")
    };
    let target = workspace.target().join(folder);
    let build = workspace
        .cargo()
        .args([
            "build",
            "--profile",
            "sim",
            "--locked",
            "-p",
            "cybermesh-sim",
        ])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", flags);
    build.stream().await?;
    Ok(target.join("sim").join("cybermesh-sim"))
}

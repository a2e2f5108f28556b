//! `cargo xtask chaos`: three brokers of Apache Kafka, the binary's processes at work over them, and everything that
//! may happen to both, as a seed says; then whether what the bridge promises was kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::error::TaskError;
use crate::kafka::{self, Cluster, Controlled, Release};
use crate::process::Run;
use crate::workspace::Workspace;

/// Starting, draining, settling and judging, beside the faults themselves.
const BESIDE_FAULTS: Duration = Duration::from_secs(15 * 60);

/// How long and by which seeds.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    /// How long there are faults, in minutes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// What decides the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where what happened goes, one event a line
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Where the processes' logs go
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

impl ChaosArgs {
    /// Faults for so many minutes, as this seed says.
    pub(crate) fn new(minutes: u64, seed: u64) -> Self {
        Self {
            minutes,
            seed,
            history: None,
            logs: None,
        }
    }
}

pub(crate) async fn run(workspace: &Workspace, args: &ChaosArgs) -> Result<(), TaskError> {
    kafka::java_and_maven().await.map_err(TaskError::Refused)?;
    let build = [
        "build",
        "--locked",
        "-p",
        "cybermesh-cli",
        "-p",
        "cybermesh-chaos",
    ];
    workspace.cargo().args(build).stream().await?;
    let programs = workspace.target().join("debug");
    let cluster = Cluster::for_tests(workspace, Release::default(), 3).await?;
    let cluster = Controlled::new(cluster)?;
    println!(
        "three brokers of Apache Kafka {} are up",
        Release::default()
    );
    let seconds = args.minutes * 60;
    let mut run = Run::new(programs.join("cybermesh-chaos"))
        .args(["--seconds", &seconds.to_string()])
        .args(["--seed", &args.seed.to_string()])
        .arg("--bridge")
        .arg(programs.join("cybermesh-bridge"))
        .envs(cluster.client().vars());
    for (name, path) in [("--history", &args.history), ("--logs", &args.logs)] {
        if let Some(path) = path {
            let path = std::path::absolute(path).map_err(TaskError::file(path))?;
            run = run.arg(name).arg(path);
        }
    }
    let within = Duration::from_secs(seconds) + BESIDE_FAULTS;
    let ended = tokio::time::timeout(within, run.stream()).await;
    cluster.end().await;
    ended.unwrap_or_else(|_| {
        let what = format!("the chaos did not end within {} s", within.as_secs());
        Err(TaskError::Refused(what))
    })
}

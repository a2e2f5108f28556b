//! `cargo xtask bench`: builds the measuring program as it would ship and runs it, with Apache Kafka
//! beside it where that is asked for.

use std::path::PathBuf;

use clap::Args;

use crate::error::TaskError;
use crate::kafka::{self, Cluster, Release};
use crate::process::Run;
use crate::workspace::Workspace;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Fewer messages and rounds: a first look, not figures to quote
    #[arg(long)]
    quick: bool,
    /// Also writes everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also runs over Apache Kafka, started for it; needs Java and Maven
    #[arg(long, conflicts_with = "paths_only")]
    kafka: bool,
    /// Leaves the end-to-end rows out
    #[arg(long)]
    paths_only: bool,
    /// Exit code 1 where a ratio is below its floor
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(workspace: &Workspace, args: &BenchArgs) -> Result<(), TaskError> {
    let build = ["build", "--release", "--locked", "-p", "cybermesh-bench"];
    workspace.cargo().args(build).stream().await?;
    let mut run = Run::new(workspace.target().join("release").join("cybermesh-bench"));
    let flags = [
        ("--quick", args.quick),
        ("--kafka", args.kafka),
        ("--paths-only", args.paths_only),
        ("--check", args.check),
    ];
    run = run.args(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag));
    if let Some(file) = &args.json {
        let file = std::path::absolute(file).map_err(TaskError::file(file))?;
        run = run.arg("--json").arg(file);
    }
    // Held until the program has ended.
    let cluster = if args.kafka {
        kafka::java_and_maven().await.map_err(TaskError::Refused)?;
        Some(Cluster::for_tests(workspace, Release::default(), 1).await?)
    } else {
        None
    };
    if let Some(cluster) = &cluster {
        println!("Apache Kafka {} is up", Release::default());
        run = run.envs(cluster.client().vars());
    }
    run.stream().await
}

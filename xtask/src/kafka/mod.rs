//! Real Apache Kafka on this machine: brokers with mutual TLS on loopback, in KRaft mode.
//!
//! [`install`] brings the jars of a [`release`], [`pki`] the certificates, [`properties`] says how a broker is set
//! up, [`cluster`] starts and stops the brokers, [`state`] remembers a cluster between two
//! commands, [`client`] is what a client needs to reach it, [`control`] lets tests kill its brokers.

mod client;
mod cluster;
mod control;
mod install;
mod pki;
mod ports;
mod properties;
mod release;
mod state;

use clap::Subcommand;

pub(crate) use cluster::Cluster;
pub(crate) use control::Controlled;
pub(crate) use install::{jars, java_and_maven};
pub(crate) use release::Release;

use crate::error::TaskError;
use crate::workspace::Workspace;

/// What to do with the cluster that stays up between commands.
#[derive(Debug, Subcommand)]
pub(crate) enum KafkaCommand {
    /// Starts a cluster that stays up, and prints what a client needs to reach it
    Up {
        /// How many brokers
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
        brokers: u16,
        /// Which release, as in 3.9.2
        #[arg(long, value_name = "RELEASE", default_value_t)]
        version: Release,
    },
    /// Stops it and throws its data away
    Down,
    /// Says which brokers run; exit code 1 unless all do
    Status,
}

pub(crate) async fn run(workspace: &Workspace, command: KafkaCommand) -> Result<(), TaskError> {
    let dir = workspace.target().join("kafka");
    match command {
        KafkaCommand::Up { brokers, version } => up(workspace, &dir, brokers, version).await,
        KafkaCommand::Down => state::down(&dir).await,
        KafkaCommand::Status => state::status(&dir),
    }
}

async fn up(
    workspace: &Workspace,
    dir: &std::path::Path,
    brokers: u16,
    release: Release,
) -> Result<(), TaskError> {
    if let Some(running) = state::State::load(dir)? {
        if running.all_run() {
            eprintln!(
                "already up: {} broker(s) of Apache Kafka {}",
                running.brokers.len(),
                running.client.version()
            );
            print!("{}", running.client.exports());
            return Ok(());
        }
        state::down(dir).await?;
    }
    let cluster = Cluster::start(
        workspace,
        release,
        &dir.join("cluster"),
        brokers,
        cluster::Life::Detached,
    )
    .await?;
    let client = cluster.client().clone();
    state::State {
        brokers: cluster.detach(),
        client: client.clone(),
    }
    .save(dir)?;
    client.write(&dir.join("env"))?;
    eprintln!(
        "Apache Kafka {release} is up with {brokers} broker(s); `source {}`",
        dir.join("env").display()
    );
    print!("{}", client.exports());
    Ok(())
}

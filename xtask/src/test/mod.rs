//! Every test there is, and with `CI=true` every gate.
//!
//! [`binaries`] builds the tests once and names what was built, [`libtest`] reads what a test
//! binary says, [`programs`] brings other people's programs, [`tally`] adds up and says it at the end, [`session`] goes through it all in order.

mod binaries;
mod libtest;
mod programs;
mod session;
mod tally;

use std::process::ExitCode;

use crate::error::TaskError;
use crate::kafka;
use crate::workspace::Workspace;

/// Whether all was well is the exit code.
pub(crate) async fn run(workspace: &Workspace) -> Result<ExitCode, TaskError> {
    let scope = if std::env::var_os("CI").is_some_and(|value| value == "true") {
        session::Scope::Everything
    } else {
        session::Scope::Tests
    };
    Ok(report(&session::run(workspace, scope).await))
}

/// The tests over three brokers that are killed, paused and started again; those whose names hold one of these, or all.
pub(crate) async fn failures(
    workspace: &Workspace,
    names: &[String],
) -> Result<ExitCode, TaskError> {
    kafka::java_and_maven().await.map_err(TaskError::Refused)?;
    Ok(report(&session::failures(workspace, names).await))
}

/// The releases of Apache Kafka that `release-check` runs the tests over: the oldest that is set up here, the last with
/// its controllers' predecessor, the one every change is tested over, the newest.
pub(crate) const RELEASES: [&str; 4] = ["3.5.2", "3.9.2", "4.1.0", "4.4.0"];

/// What takes too long for each change, over these releases of Apache Kafka.
pub(crate) async fn release_check(
    workspace: &Workspace,
    releases: &[kafka::Release],
) -> Result<ExitCode, TaskError> {
    kafka::java_and_maven().await.map_err(TaskError::Refused)?;
    Ok(report(&session::release(workspace, releases).await))
}

fn report(tally: &tally::Tally) -> ExitCode {
    print!("{}", tally.report());
    if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

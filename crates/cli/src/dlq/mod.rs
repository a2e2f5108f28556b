//! `dlq`: looks after dead letters.
//!
//! [`args`] says what can be asked; [`list`], [`show`], [`redrive`] and [`discard`] print what
//! `cybermesh_bridge::dlq` says and does.

pub(crate) mod args;
mod discard;
mod list;
mod redrive;
mod show;
mod time;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use cybermesh_bridge::dlq::{Begin, Desk, Journal, Ledger, ReadError};
use cybermesh_bridge::state::{StateDir, StateError};

use self::args::{DlqArgs, DlqCommand, FilterArgs};
use crate::args::SettingsArgs;
use crate::failure::Failure;
use crate::signal::Signals;
use crate::{config, log};

/// Opens the desk and does what is asked.
pub(crate) async fn run(args: DlqArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = config::load(settings)?;
    log::init(&settings);
    let folder = Folder(args.state.or_else(|| settings.node.state_dir.clone()));
    let signals = Signals::hear_to_end();
    let opening = signals.unless_ended(Desk::open(settings)).await;
    let desk = opening
        .ok_or_else(|| Failure::no("interrupted"))?
        .map_err(Failure::start)?;
    let reading = async {
        match &args.command {
            DlqCommand::List(args) => list::run(args, &desk, &folder.glance()?).await,
            DlqCommand::Show(args) => show::show(args, &desk, &folder.glance()?).await,
            DlqCommand::Verify(args) => show::verify(args, &desk, &folder.glance()?).await,
            DlqCommand::Discard(args) => discard::run(args, &desk, &folder).await,
            // Ends by itself between two messages.
            DlqCommand::Redrive(args) => redrive::run(args, desk.clone(), &folder, &signals).await,
        }
    };
    if matches!(args.command, DlqCommand::Redrive(_)) {
        return reading.await;
    }
    signals
        .unless_ended(reading)
        .await
        .unwrap_or_else(|| Err(Failure::no("interrupted")))
}

/// Where the journal is, if anywhere.
#[derive(Debug)]
struct Folder(Option<PathBuf>);

impl Folder {
    /// What the journal says, whoever holds it.
    fn glance(&self) -> Result<Ledger, Failure> {
        match &self.0 {
            Some(folder) => Journal::glance(folder).map_err(Failure::usage),
            None => Ok(Ledger::default()),
        }
    }

    /// The folder, held by us alone.
    async fn hold(&self) -> Result<Arc<StateDir>, Failure> {
        let folder = self.0.clone().ok_or_else(|| {
            Failure::usage(
                "no folder for the journal, without which a second run would not know of the first; give one with --state",
            )
        })?;
        let opened = tokio::task::spawn_blocking(move || StateDir::open(folder)).await;
        let opened = opened.map_err(|_| Failure::no("interrupted"))?;
        let state = opened.map_err(|error| match error {
            StateError::InUse { .. } => Failure::usage(format!(
                "{error}; a bridge that runs holds its own: give another with --state, and always the same"
            )),
            error => Failure::usage(error),
        })?;
        Ok(Arc::new(state))
    }
}

/// Where reading begins.
fn begin(filter: &FilterArgs) -> Begin {
    match (filter.from_offset, filter.since) {
        (Some(offset), _) => Begin::Offset(offset),
        (None, Some(since)) => Begin::Time(since.unix_ms()),
        (None, None) => Begin::Earliest,
    }
}

fn read_failed(error: ReadError) -> Failure {
    Failure::cluster(error)
}

fn print(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}")
        .map_err(|error| Failure::no(format!("standard output: {error}")))
}

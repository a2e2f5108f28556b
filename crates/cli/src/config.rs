//! `config`: every setting, its value and where that came from; and how the other subcommands read them.

use std::io::{self, Write};

use cybermesh_bridge::Settings;
use cybermesh_bridge::settings::Loader;

use crate::args::SettingsArgs;
use crate::failure::Failure;

/// Prints every setting.
pub(crate) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    let settings = load(args)?;
    warn(&settings);
    let rows: Vec<(&str, &str, String)> = settings
        .entries()
        .iter()
        .map(|entry| {
            let value = entry.value.as_deref().unwrap_or("unset");
            (entry.env, value, entry.source.to_string())
        })
        .collect();
    let name_width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let value_width = rows
        .iter()
        .map(|row| row.1.len())
        .max()
        .unwrap_or(0)
        .min(48);
    let mut out = io::stdout().lock();
    for (name, value, source) in rows {
        writeln!(out, "{name:<name_width$}  {value:<value_width$}  {source}")
            .map_err(|error| Failure::no(format!("standard output: {error}")))?;
    }
    Ok(())
}

/// A loader that has been given what the command line names, and the environment.
pub(crate) fn loader(args: &SettingsArgs) -> Loader {
    let mut loader = Settings::loader().process_environment();
    if let Some(file) = &args.config {
        loader = loader.file(file);
    }
    for (key, value) in &args.overrides {
        loader = loader.set(key, value);
    }
    loader
}

/// The settings, or every problem with them.
pub(crate) fn load(args: &SettingsArgs) -> Result<Settings, Failure> {
    finish(loader(args))
}

/// Reads what `loader` was given.
pub(crate) fn finish(loader: Loader) -> Result<Settings, Failure> {
    loader
        .load()
        .map_err(|error| Failure::settings(error.problems()))
}

/// Prints what deserves a warning, a line each.
pub(crate) fn warn(settings: &Settings) {
    let mut stderr = anstream::stderr().lock();
    for note in settings.notes() {
        // Nothing is left to tell a caller whose standard error is closed.
        let _ = writeln!(stderr, "warning: {note}");
    }
}

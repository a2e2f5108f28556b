//! Log lines on standard error: text on a terminal, JSON elsewhere, unless the settings say otherwise.

use std::io::IsTerminal;

use cybermesh_bridge::settings::{LogFormat, Settings};
use tracing_subscriber::EnvFilter;

/// Installs the subscriber that the settings ask for; a second call changes nothing.
pub(crate) fn init(settings: &Settings) {
    init_with(settings, None);
}

/// As [`init`], with a directive that holds whatever the settings say.
pub(crate) fn init_with(settings: &Settings, always: Option<&str>) {
    let filter =
        EnvFilter::try_new(&settings.log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match always.and_then(|directive| directive.parse().ok()) {
        Some(directive) => filter.add_directive(directive),
        None => filter,
    };
    let json = match settings.log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would be told to standard error, whose being gone is what failed, and panics over it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A subscriber that is there already (a test's) stays.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
}

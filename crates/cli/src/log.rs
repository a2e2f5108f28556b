//! Log lines on standard error: text on a terminal, JSON elsewhere, unless the settings say otherwise.
//!
//! Nobody waits for their reader: see [`stderr`].

use std::io::IsTerminal;

use cybermesh_bridge::settings::{LogFormat, Settings};
use tracing::{Dispatch, Level};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::stderr;

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
    let past_all = past_all(json, std::io::stderr);
    let stderr = stderr::take_over(move |lines| say_lost(lines, &past_all));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would be told to standard error, whose being gone is what failed, and panics over it.
        .log_internal_errors(false)
        .with_writer(stderr);
    // A subscriber that is there already (a test's) stays.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
}

/// Writes past what keeps lines, which is the one to use it, and past the filter: a gap is told whatever fell into it.
fn past_all<W>(json: bool, stderr: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_max_level(Level::WARN)
        .log_internal_errors(false)
        .with_writer(stderr);
    if json {
        builder.json().into()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).into()
    }
}

fn say_lost(lines: u64, past_all: &Dispatch) {
    tracing::dispatcher::with_default(past_all, || {
        tracing::warn!(lines, "lines are missing here: standard error was not read");
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    #[test]
    fn a_gap_is_a_line_of_the_log_that_tells_how_many_are_missing() {
        let (mut reader, writer) = pipe().unwrap();
        let past_all = past_all(true, move || writer.try_clone().unwrap());
        say_lost(3, &past_all);
        drop(past_all);
        let mut line = String::new();
        reader.read_to_string(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["lines"], 3);
    }
}

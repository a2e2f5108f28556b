//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cybermesh_contracts::kind::Kind;

use crate::replay::To;

/// Signed messages over Kafka, without C: every one signed, every one verified, nothing lost.
///
/// Settings come from a TOML file (--config or CYBERMESH_CONFIG), the environment and --set, later
/// ones win; `cybermesh-bridge config` prints every one. Exit codes: 0 done; 1 done, and the answer
/// is no (something rejected, not sent, not healthy); 2 usage or settings; 3 the cluster could not be reached
/// or refused us.
#[derive(Debug, Parser)]
#[command(name = "cybermesh-bridge", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where settings come from beside the environment.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A setting by its file key, such as --set kafka.brokers=b1:9093; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) overrides: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Both roles in one process over a real mutual-TLS broker: every kind both ways, and what is forged ends in the dead-letter topic
    Demo(DemoArgs),
    /// Make a signing key and print its trust store entry
    Keygen(KeygenArgs),
    /// Sign drafts (JSON lines) and send them; a receipt line for each
    Send(SendArgs),
    /// Print verified messages as JSON lines
    Listen(ListenArgs),
    /// Have a consumer group begin elsewhere, and handle again what it handled
    Replay(ReplayArgs),
    /// Judge archived messages offline, each alone
    Verify(VerifyArgs),
    /// Look after dead letters: list, show, verify, redrive, discard
    Dlq(crate::dlq::args::DlqArgs),
    /// Check that an audit trail is whole: that no line of it was altered, taken out or put in
    Audit(AuditArgs),
    /// Look at what could not be sent and waits in the state folder, send it, or throw it away
    Outbox(OutboxArgs),
    /// Ask the process that runs with these settings whether it is ready; for probes
    Health(HealthArgs),
    /// Print every setting with its value and where it came from
    Config,
    /// Print shell completions
    Completions {
        /// The shell to print them for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Use the cluster of the settings instead of the built-in broker; topics are made and deleted
    #[arg(long)]
    pub(crate) kafka: bool,
    /// How many messages of each kind to send
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) messages: u32,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// The key's name in logs and metrics; also the file name
    #[arg(long, value_name = "N")]
    pub(crate) name: String,
    /// The folder to write N.key (private, mode 0600) and N.pem (public) to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// What the key may sign; by default the kinds of its role
    #[arg(long, value_name = "KIND", num_args = 1.., conflicts_with = "role")]
    pub(crate) may_sign: Vec<String>,
    /// Whose key it is
    #[arg(long, value_enum, default_value_t = RoleArg::Node)]
    pub(crate) role: RoleArg,
}

/// Whose key `keygen` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Signs anomaly, evidence, policy
    Node,
    /// Signs commit, reputation, policy_update, evidence_request
    Backend,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// anomaly, evidence, policy, commit, reputation, policy_update or evidence_request
    #[arg(value_parser = kind)]
    pub(crate) kind: Kind,
    /// File with drafts as JSON lines; standard input when absent or `-`
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
    /// PKCS#8 PEM signing key; by default the one in the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Kind to listen for, may be repeated; by default every kind that the trust store has a key for
    #[arg(long = "kind", value_name = "K", value_parser = kind)]
    pub(crate) kinds: Vec<Kind>,
    /// End after this many verified messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Where to start without a committed offset
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    pub(crate) from: From,
    /// Consumer group to join: commits offsets and buries what is rejected; without it nothing is committed or buried
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
}

/// Where `listen` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// The oldest record that the log still has
    Earliest,
    /// What comes in from now on
    Latest,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(subcommand)]
    pub(crate) command: ReplayCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Set the committed offsets of a group without members, with nothing settled: everything from there on is accepted again. Shows what it would do, and does it with --yes
    Reset(ResetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The consumer group; by default the one in the settings
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
    /// A topic, may be repeated
    #[arg(long = "topic", value_name = "T", required = true)]
    pub(crate) topics: Vec<String>,
    /// A partition of each topic, may be repeated; by default all of them
    #[arg(long = "partition", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partitions: Vec<i32>,
    /// Where to begin: earliest, latest, offset:N, or time:UNIX_MS (the first record that is as late)
    #[arg(long, value_name = "WHERE", value_parser = To::parse)]
    pub(crate) to: To,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Trust store file or directory; by default the one in the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// Judge times against this moment (Unix milliseconds); without it times are not judged
    #[arg(long, value_name = "UNIX_MS")]
    pub(crate) now: Option<u64>,
    /// What to ask of envelopes, whatever the trust store says
    #[arg(long, value_enum)]
    pub(crate) envelope: Option<EnvelopeArg>,
    /// File with archived messages as JSON lines; standard input when absent or `-`
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// The trail's file; the full ones beside it (FILE.1, FILE.2, …) belong to it. By default the one in the settings
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    pub(crate) command: OutboxCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Print one line for each message: sequence, state, kind, topic and partition, key, age, size
    List {
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Print one message whole as JSON, its payload too
    Show {
        /// Its sequence, as the receipt says it
        #[arg(value_name = "SEQ")]
        sequence: u64,
    },
    /// Connect and send what waits, in order; exit code 0 when all is gone, 1 when some is left, 3 when the cluster cannot be reached
    Drain,
    /// Take messages out for good; without --yes only print which
    Drop(OutboxDropArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OutboxDropArgs {
    /// Their sequences
    #[arg(value_name = "SEQ")]
    pub(crate) sequences: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "sequences")]
    pub(crate) all: bool,
    /// Only those of this kind
    #[arg(long, value_name = "K", value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// Only those for this topic
    #[arg(long, value_name = "T")]
    pub(crate) topic: Option<String>,
    /// Only those accepted longer ago than this, such as 2h
    #[arg(long, value_name = "AGE", value_parser = duration)]
    pub(crate) older_than: Option<std::time::Duration>,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Ask whether it is alive (/healthz) instead of ready (/readyz)
    #[arg(long)]
    pub(crate) live: bool,
}

/// What `verify` asks of envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvelopeArg {
    /// A missing one is rejected
    Required,
    /// A missing one passes, a bad one is rejected
    Accept,
    /// Not looked at
    Off,
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|_| {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        format!("not a kind; one of {kinds}")
    })
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    cybermesh_bridge::settings::duration(text)
        .ok_or_else(|| "give a duration like 90s, 2h or 7d".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("give it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

//! What `dlq` can be asked.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use cybermesh_bridge::dlq::{Before, Filter, Position, SignedBy};
use cybermesh_contracts::Disposition;

use super::time::Moment;

/// Looks after dead letters.
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
    /// Folder for the journal of what was redriven and discarded, and for nonces; by default CYBERMESH_STATE_DIR. A
    /// bridge that runs holds its own: give another, and always the same
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Print dead letters, a line each; never what was in the messages
    List(ListArgs),
    /// Print all there is to say of one
    Show(ShowArgs),
    /// Say of each whether it is genuine, whether its message is still there and would verify today, and what redrive would do
    Verify(VerifyArgs),
    /// Put messages back into the partitions they came from; without --yes only say what would be done
    Redrive(RedriveArgs),
    /// Write down that they are dealt with, or delete all before a point; without --yes only say what would be done
    Discard(DiscardArgs),
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Buried under this name, such as attempts-exhausted; may be repeated
    #[arg(long = "disposition", value_name = "D", value_parser = disposition)]
    pub(crate) dispositions: Vec<Disposition>,
    /// Of messages of this topic
    #[arg(long, value_name = "T")]
    pub(crate) topic: Option<String>,
    /// Of messages of this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Of messages at this offset, or at these: FIRST..LAST
    #[arg(long, value_name = "RANGE", value_parser = offsets)]
    pub(crate) offsets: Option<RangeInclusive<i64>>,
    /// Of messages that claim to be signed by this key: its name in the trust store, or its key id
    #[arg(long, value_name = "KEY")]
    pub(crate) signer: Option<String>,
    /// Given up by this consumer group
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
    /// Written at this time or later: Unix milliseconds, 2026-01-31T10:00:00Z, or 2h (ago)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Written before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Read each partition of the dead-letter topic from this offset on
    #[arg(long, value_name = "OFFSET", conflicts_with = "since")]
    pub(crate) from_offset: Option<i64>,
}

impl FilterArgs {
    /// The filter that they say; `at` names one record.
    pub(super) fn filter(&self, at: Option<Position>) -> Filter {
        Filter {
            at,
            from_offset: self.from_offset,
            dispositions: self.dispositions.clone(),
            topic: self.topic.clone(),
            partition: self.partition,
            offsets: self.offsets.clone(),
            signer: self.signer.clone().map(SignedBy),
            group: self.group.clone(),
            since_ms: self.since.map(Moment::unix_ms),
            until_ms: self.until.map(Moment::unix_ms),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Also those that are dealt with: redriven or discarded
    #[arg(long)]
    pub(crate) all: bool,
    /// Only how many there are of each disposition and topic
    #[arg(long)]
    pub(crate) count: bool,
    /// JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// PARTITION@OFFSET in the dead-letter topic, or TOPIC:PARTITION@OFFSET of the message that was buried
    #[arg(value_name = "WHICH")]
    pub(crate) which: Which,
    /// Also what was in the message: key, headers and value, in hex
    #[arg(long)]
    pub(crate) payload: bool,
    /// A JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// PARTITION@OFFSET in the dead-letter topic; without it all that the filters mean
    #[arg(value_name = "AT")]
    pub(crate) at: Option<Position>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// PARTITION@OFFSET in the dead-letter topic, whatever its disposition; without it all that the filters mean and our
    /// own state may have caused
    #[arg(value_name = "AT")]
    pub(crate) at: Option<Position>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// The group that is to take them, instead of the one that gave them up
    #[arg(long, value_name = "G")]
    pub(crate) for_group: Option<String>,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// How many a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Take dead letters without a signature as well: whoever may write to the dead-letter topic could have made them
    #[arg(long)]
    pub(crate) danger_unsigned: bool,
    /// Take the copy in the dead letter where the message is gone from its topic
    #[arg(long)]
    pub(crate) danger_origin_gone: bool,
    /// JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    /// PARTITION@OFFSET in the dead-letter topic; without it all that the filters mean
    #[arg(value_name = "AT", conflicts_with = "before")]
    pub(crate) at: Option<Position>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Delete from the topic, for good and for everybody, all before this: PARTITION@OFFSET in that partition, or a time in
    /// every one; filters do not go with it
    #[arg(long, value_name = "POINT", value_parser = before, conflicts_with = "FilterArgs")]
    pub(crate) before: Option<Before>,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A dead letter by its own place, or by that of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// Its own place.
    Letter(Position),
    /// The message's topic and place.
    Origin(String, Position),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let position = |text: &str| text.parse::<Position>().map_err(|error| error.to_string());
        match text.rsplit_once(':') {
            Some((topic, at)) => Ok(Self::Origin(topic.to_owned(), position(at)?)),
            None => Ok(Self::Letter(position(text)?)),
        }
    }
}

fn disposition(text: &str) -> Result<Disposition, String> {
    Disposition::from_name(text)
        .filter(|disposition| disposition.buried())
        .ok_or_else(|| {
            let buried = Disposition::ALL.into_iter().filter(|one| one.buried());
            let names: Vec<_> = buried.map(Disposition::as_str).collect();
            format!("not a disposition; one of {}", names.join(", "))
        })
}

fn offsets(text: &str) -> Result<RangeInclusive<i64>, String> {
    let number = |text: &str| {
        text.parse::<i64>()
            .ok()
            .filter(|offset| *offset >= 0)
            .ok_or_else(|| "give OFFSET, or FIRST..LAST".to_owned())
    };
    match text.split_once("..") {
        Some((first, last)) => Ok(number(first)?..=number(last)?),
        None => number(text).map(|offset| offset..=offset),
    }
}

fn before(text: &str) -> Result<Before, String> {
    if text.contains('@') {
        let at = text
            .parse::<Position>()
            .map_err(|error| error.to_string())?;
        return Ok(Before::Record(at));
    }
    text.parse::<Moment>()
        .map(|moment| Before::Time(moment.unix_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_named_by_its_own_place_or_by_its_messages() {
        let at = Position {
            partition: 2,
            offset: 41,
        };
        assert_eq!("2@41".parse(), Ok(Which::Letter(at)));
        let origin = Which::Origin("ai.anomalies.v1".to_owned(), at);
        assert_eq!("ai.anomalies.v1:2@41".parse(), Ok(origin));
        assert!("ai.anomalies.v1:2".parse::<Which>().is_err());
    }

    #[test]
    fn offsets_are_one_or_a_range_with_both_its_ends() {
        assert_eq!(offsets("7"), Ok(7..=7));
        assert_eq!(offsets("7..9"), Ok(7..=9));
        for text in ["", "-1", "7..", "..9", "a", "7..-9"] {
            assert!(offsets(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_deleted_cannot_be_filtered() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            discard: DiscardArgs,
        }
        let read = |line: &str| <Line as clap::Parser>::try_parse_from(line.split(' '));
        assert!(read("discard --before 0@5 --yes").is_ok());
        assert!(read("discard --disposition decode --yes").is_ok());
        for filter in [
            "--disposition decode",
            "--topic t",
            "--group g",
            "--until 2h",
        ] {
            assert!(
                read(&format!("discard --before 0@5 {filter}")).is_err(),
                "{filter}"
            );
        }
    }

    #[test]
    fn a_point_is_a_place_or_a_time() {
        let at = Position {
            partition: 0,
            offset: 5,
        };
        assert_eq!(before("0@5"), Ok(Before::Record(at)));
        assert_eq!(before("1760000000000"), Ok(Before::Time(1_760_000_000_000)));
        assert!(before("yesterday").is_err());
    }
}

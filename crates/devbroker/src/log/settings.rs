//! The settings of a topic, by the names Kafka gives them.

use std::collections::BTreeMap;

use crate::error_code::ErrorCode;

/// What a record's timestamp is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's (`CreateTime`).
    #[default]
    CreateTime,
    /// The broker's, at the append (`LogAppendTime`).
    LogAppendTime,
}

impl TimestampType {
    /// Kafka's name of it, as in `message.timestamp.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// A setting this broker knows: name, Kafka's default, type code of DescribeConfigs.
struct Known {
    name: &'static str,
    default: &'static str,
    type_code: i8,
}

const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;
const BOOLEAN: i8 = 1;

const fn known(name: &'static str, default: &'static str, type_code: i8) -> Known {
    Known {
        name,
        default,
        type_code,
    }
}

/// Of these the timestamps, `max.message.bytes`, `retention.bytes`, `cleanup.policy` (a compacted
/// topic wants keys) and `min.insync.replicas` have an effect; the others are kept and told.
const KNOWN: [Known; 20] = [
    known("cleanup.policy", "delete", LIST),
    known("compression.type", "producer", STRING),
    known("delete.retention.ms", "86400000", LONG),
    known("file.delete.delay.ms", "60000", LONG),
    known("flush.messages", "9223372036854775807", LONG),
    known("flush.ms", "9223372036854775807", LONG),
    known("index.interval.bytes", "4096", INT),
    known("max.compaction.lag.ms", "9223372036854775807", LONG),
    known("max.message.bytes", "1048588", INT),
    known("message.timestamp.after.max.ms", "3600000", LONG),
    known(
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        LONG,
    ),
    known("message.timestamp.type", "CreateTime", STRING),
    known("min.cleanable.dirty.ratio", "0.5", DOUBLE),
    known("min.compaction.lag.ms", "0", LONG),
    known("min.insync.replicas", "1", INT),
    known("retention.bytes", "-1", LONG),
    known("retention.ms", "604800000", LONG),
    known("segment.bytes", "1073741824", INT),
    known("segment.ms", "604800000", LONG),
    known("unclean.leader.election.enable", "false", BOOLEAN),
];

/// One row of an answer to DescribeConfigs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) default: &'static str,
    pub(crate) is_default: bool,
    pub(crate) type_code: i8,
}

/// The settings of one topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) max_message_bytes: usize,
    pub(crate) min_insync_replicas: usize,
    /// Negative: no limit.
    pub(crate) retention_bytes: i64,
    given: BTreeMap<&'static str, String>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            min_insync_replicas: 1,
            retention_bytes: -1,
            given: BTreeMap::new(),
        }
    }
}

type Refused = (ErrorCode, String);

impl TopicSettings {
    /// Sets one by name.
    ///
    /// # Errors
    /// `INVALID_CONFIG` with a reason, where name or value are not Kafka's.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let known = find(name)?;
        self.take(known, value).ok_or_else(|| {
            let reason = format!("invalid value {value:?} for configuration {name}");
            (ErrorCode::INVALID_CONFIG, reason)
        })?;
        self.given.insert(known.name, value.to_owned());
        Ok(())
    }

    /// Gives one its default back.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, where the name is not Kafka's.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), Refused> {
        let known = find(name)?;
        self.set(known.name, known.default)?;
        self.given.remove(known.name);
        Ok(())
    }

    /// Adds values to one that is a list.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, where it is not.
    pub(crate) fn append(&mut self, name: &str, values: &str) -> Result<(), Refused> {
        let mut list = self.list(name)?;
        for value in split(values) {
            if !list.iter().any(|present| present == value) {
                list.push(value.to_owned());
            }
        }
        self.set(name, &list.join(","))
    }

    /// Takes values from one that is a list.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, where it is not, or would be empty.
    pub(crate) fn subtract(&mut self, name: &str, values: &str) -> Result<(), Refused> {
        let mut list = self.list(name)?;
        list.retain(|present| split(values).all(|value| value != present));
        self.set(name, &list.join(","))
    }

    /// Whether old records may be deleted.
    pub(crate) fn deletes(&self) -> bool {
        self.has_policy("delete")
    }

    /// Whether only the last record of each key matters, so that each has to have one.
    pub(crate) fn compacts(&self) -> bool {
        self.has_policy("compact")
    }

    fn has_policy(&self, policy: &str) -> bool {
        let given = self.given.get("cleanup.policy");
        split(given.map_or("delete", String::as_str)).any(|is| is == policy)
    }

    fn list(&self, name: &str) -> Result<Vec<String>, Refused> {
        let known = find(name)?;
        if known.type_code != LIST {
            let reason = format!("configuration {name} is not a list");
            return Err((ErrorCode::INVALID_CONFIG, reason));
        }
        let is = self.given.get(name).map_or(known.default, String::as_str);
        Ok(split(is).map(str::to_owned).collect())
    }

    /// Takes over a value that has an effect; nothing where it is not a value of the setting.
    fn take(&mut self, known: &Known, value: &str) -> Option<()> {
        match known.name {
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => return None,
                }
            }
            "cleanup.policy" => {
                let known = |policy| matches!(policy, "delete" | "compact");
                return (!value.is_empty() && split(value).all(known)).then_some(());
            }
            "max.message.bytes" => self.max_message_bytes = value.parse().ok()?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = natural(value)?,
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = natural(value)?,
            "min.insync.replicas" => {
                self.min_insync_replicas = value.parse().ok().filter(|count| *count >= 1)?;
            }
            "retention.bytes" => self.retention_bytes = value.parse().ok()?,
            _ => match known.type_code {
                BOOLEAN => drop(value.parse::<bool>().ok()?),
                INT => drop(value.parse::<i32>().ok()?),
                LONG => drop(value.parse::<i64>().ok()?),
                DOUBLE => drop(value.parse::<f64>().ok()?),
                _ => {}
            },
        }
        Some(())
    }

    /// All settings with their values, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = SettingRow> + '_ {
        KNOWN.iter().map(|known| {
            let given = self.given.get(known.name);
            SettingRow {
                name: known.name,
                value: given.map_or(known.default, String::as_str).to_owned(),
                default: known.default,
                is_default: given.is_none(),
                type_code: known.type_code,
            }
        })
    }
}

fn find(name: &str) -> Result<&'static Known, Refused> {
    let known = KNOWN.iter().find(|known| known.name == name);
    known.ok_or_else(|| {
        let reason = format!("unknown topic config name: {name}");
        (ErrorCode::INVALID_CONFIG, reason)
    })
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

fn natural(value: &str) -> Option<i64> {
    value.parse().ok().filter(|number| *number >= 0)
}

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
const LIST: i8 = 7;

const fn known(name: &'static str, default: &'static str, type_code: i8) -> Known {
    Known {
        name,
        default,
        type_code,
    }
}

/// Of these the timestamps, `max.message.bytes` and `retention.bytes` have an effect; the others
/// are kept and told.
const KNOWN: [Known; 8] = [
    known("cleanup.policy", "delete", LIST),
    known("compression.type", "producer", STRING),
    known("max.message.bytes", "1048588", INT),
    known("message.timestamp.after.max.ms", "3600000", LONG),
    known("message.timestamp.type", "CreateTime", STRING),
    known("min.insync.replicas", "1", INT),
    known("retention.bytes", "-1", LONG),
    known("retention.ms", "604800000", LONG),
];

/// One row of an answer to DescribeConfigs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) is_default: bool,
    pub(crate) type_code: i8,
}

/// The settings of one topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) max_message_bytes: usize,
    /// Negative: no limit.
    pub(crate) retention_bytes: i64,
    given: BTreeMap<&'static str, String>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_max_ms: 3_600_000,
            max_message_bytes: 1_048_588,
            retention_bytes: -1,
            given: BTreeMap::new(),
        }
    }
}

impl TopicSettings {
    /// Sets one by name.
    ///
    /// # Errors
    /// `INVALID_CONFIG` with a reason, where name or value are not Kafka's.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), (ErrorCode, String)> {
        let known = KNOWN.iter().find(|known| known.name == name);
        let Some(known) = known else {
            return Err((
                ErrorCode::INVALID_CONFIG,
                format!("unknown topic config name: {name}"),
            ));
        };
        let invalid = || {
            (
                ErrorCode::INVALID_CONFIG,
                format!("invalid value {value:?} for configuration {name}"),
            )
        };
        match known.name {
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => return Err(invalid()),
                }
            }
            "max.message.bytes" => {
                self.max_message_bytes = value.parse().map_err(|_| invalid())?;
            }
            "message.timestamp.after.max.ms" => {
                self.timestamp_after_max_ms = value.parse().map_err(|_| invalid())?;
            }
            "retention.bytes" => self.retention_bytes = value.parse().map_err(|_| invalid())?,
            _ if matches!(known.type_code, INT | LONG) => {
                value.parse::<i64>().map_err(|_| invalid())?;
            }
            _ => {}
        }
        self.given.insert(known.name, value.to_owned());
        Ok(())
    }

    /// All settings with their values, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = SettingRow> + '_ {
        KNOWN.iter().map(|known| {
            let given = self.given.get(known.name);
            SettingRow {
                name: known.name,
                value: given.map_or(known.default, String::as_str).to_owned(),
                is_default: given.is_none(),
                type_code: known.type_code,
            }
        })
    }
}

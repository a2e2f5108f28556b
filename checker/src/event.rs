//! What a history is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

impl Place {
    /// A place.
    pub fn new(topic: &str, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// One thing that happened. In JSON the name stands in `event`, in snake case, and the fields beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A group is there to handle everything in these topics.
    Reads {
        /// The group.
        group: String,
        /// Its topics.
        topics: Vec<String>,
    },
    /// A process begins, for the first time or again.
    Started {
        /// Which.
        process: String,
    },
    /// A process ended without warning: nothing it had in memory, and nothing it had not synced, is left.
    Crashed {
        /// Which.
        process: String,
    },
    /// A process ended in order.
    Stopped {
        /// Which.
        process: String,
        /// Whether it could commit all it had done.
        clean: bool,
    },
    /// A message was handed over to be sent.
    Sent {
        /// By whom.
        process: String,
        /// Its id.
        id: String,
        /// The key whose order it keeps; none shares its partition's.
        #[serde(default)]
        lane: Option<String>,
        /// Which try this is of whoever sends it: each writes a record of its own.
        #[serde(default)]
        attempt: u32,
        /// Whose key signs it.
        #[serde(default)]
        signer: Option<String>,
    },
    /// What the sender was told in the end.
    SendEnded {
        /// Who was told.
        process: String,
        /// The message.
        id: String,
        /// Which try.
        #[serde(default)]
        attempt: u32,
        /// What.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A handler was called.
    Handled {
        /// Where.
        process: String,
        /// For which group.
        group: String,
        /// With the record that stands here.
        #[serde(flatten)]
        place: Place,
        /// The message's id.
        id: String,
        /// The record's key.
        #[serde(default)]
        lane: Option<String>,
        /// The key that it was verified by; none where it was not.
        #[serde(default)]
        verified_by: Option<String>,
    },
    /// What a handler said, or what became of it.
    Answered {
        /// Where.
        process: String,
        /// For which group.
        group: String,
        /// Of which record.
        #[serde(flatten)]
        place: Place,
        /// What.
        answer: Answer,
    },
    /// The coordinator took a commit: everything before the offset is done.
    Committed {
        /// Of whom, where that is known.
        #[serde(default)]
        process: Option<String>,
        /// Of which group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The offset of the next record to be handled.
        offset: i64,
        /// The generation or epoch of the member.
        #[serde(default)]
        generation: Option<i64>,
    },
    /// A dead letter was written.
    Buried {
        /// For which group.
        group: String,
        /// Of the record that stands here.
        #[serde(flatten)]
        place: Place,
        /// Why, by the closed set's name.
        disposition: String,
        /// Whether the dead-letter topic has it.
        acknowledged: bool,
    },
    /// A record was passed over by rule, as a copy or as stale.
    Skipped {
        /// For which group.
        group: String,
        /// The record.
        #[serde(flatten)]
        place: Place,
        /// Why.
        reason: String,
    },
    /// Something that allows a record to be handled again though it was handled.
    Redelivery {
        /// In which group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// What.
        why: Why,
    },
    /// A key is no longer believed.
    Withdrawn {
        /// The key, as [`Event::Sent`] names it.
        signer: String,
    },
    /// A process's wall clock is off by so much from now on.
    ClockStepped {
        /// Whose.
        process: String,
        /// Milliseconds ahead of the right time; behind it where negative.
        off_by_ms: i64,
    },
    /// Faults have ended: what is sent from now on has to get there.
    Healed,
    /// A record that no honest sender wrote.
    Forged {
        /// Where it stands.
        #[serde(flatten)]
        place: Place,
        /// The id it claims; of a copy, its original's.
        #[serde(default)]
        id: Option<String>,
        /// Whether it is the copy of a genuine record.
        copy: bool,
        /// What may become of it; a handler never sees it.
        fates: Vec<Fate>,
    },
    /// What somebody who took no part read in a partition at the end.
    Log {
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The first offset that is kept.
        start: i64,
        /// The offset behind the last.
        end: i64,
        /// The records; offsets in between that are not listed have none.
        records: Vec<LogRecord>,
    },
    /// The group's committed offset at the end.
    Offsets {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The offset of the next record to be handled.
        offset: i64,
    },
    /// The history ends.
    End {
        /// Whether faults had ended long enough ago that everything should have settled.
        quiescent: bool,
    },
}

/// What a sender was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The replicas have it, here; some brokers do not say at which offset.
    Logged {
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The offset.
        offset: Option<i64>,
    },
    /// It is on this process's disk, and will be written.
    Spooled {
        /// Its number there.
        sequence: u64,
    },
    /// It may be written or not. Every failure and every time-out that says nothing else is this.
    Unknown,
    /// It is not written, and will not be.
    NotSent,
}

/// How a handler's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// Passed over by verdict; done.
    Skip,
    /// To be tried again.
    Retry,
    /// To become a dead letter.
    Reject,
    /// An error or a panic: tried again, and a dead letter in the end.
    Failed,
    /// Cut off: by its deadline, by a rebalance, at a stop.
    Cancelled,
}

/// What allows a second handling, beside the handler's own answer and the end of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The group was divided anew, in order: what could not be committed, because one ahead of it was not done, may be
    /// handled again, and nothing else.
    Rebalanced,
    /// The partition went to somebody else before the commit could be made.
    LostSession,
    /// The group's offsets were set back, or expired.
    OffsetReset,
    /// A dead letter was put back.
    Redrive,
}

/// What becomes of a forged record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A dead letter of this disposition.
    Buried(String),
    /// Passed over.
    Skipped,
}

/// A record as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its message's id; none where it could not be read.
    #[serde(default)]
    pub id: Option<String>,
    /// Its key.
    #[serde(default)]
    pub lane: Option<String>,
    /// Something that is the same for exact copies alone, as a hash of the signed bytes.
    #[serde(default)]
    pub identity: Option<String>,
    /// Its signer and nonce, where it has one.
    #[serde(default)]
    pub nonce: Option<String>,
}

//! Dead letters: messages that were given up, written where people and tools find them.
//!
//! A dead letter is awaited: only when Kafka acknowledged it does the offset of its origin count as
//! done. It is written in the form the settings ask for, or the first after it that fits:
//! `json`, `raw` (the original value untouched), `reference` (no copy). What fits is first judged by
//! size, and then by the broker, whose limit may be lower than ours.
//!
//! One that the cluster refuses for good (no topic, no permission, too large in every form) goes to
//! `dead-letters.ndjson` in the state folder; where there is none it is tried again, and its
//! partition pauses.
//!
//! It is signed where this process has a key and its own trust store lets that key sign
//! `dead_letter`; unsigned dead letters can be redriven with an explicit flag only.

mod spill;
mod topic;
mod writer;

pub use spill::SPILL_FILE;
pub use writer::{BuryError, DeadLetterConfig, DeadLetterSigning, DeadLetters, DraftBurial};

//! Dead letters: messages that were given up, written where people and tools find them, and put back.
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
//!
//! # Looking after them
//! A [`Desk`] is a connection and whom to believe; [`Entries`] are the topic's records up to where it
//! ended, each an [`Entry`], a [`Filter`] says which are meant, [`appraise`] all there is to say of
//! one. A [`Batch`] goes through those that are meant and has a [`Redriver`] put them back; the
//! [`Journal`] remembers what was done. [`State`] is what it says of a dead letter, [`deletions`] what
//! could be deleted.

mod appraise;
mod batch;
mod copies;
mod desk;
mod discard;
mod entry;
mod filter;
pub(crate) mod journal;
mod original;
mod pace;
mod plan;
mod reader;
mod redrive;
mod spill;
mod stretches;
mod topic;
mod writer;

pub use appraise::{Appraisal, Judged, PutBack, appraise};
pub use batch::{Batch, Fate, Told, Totals};
pub use desk::{Desk, Entries, NoRight};
pub use discard::{Before, Deletion, State, Topics, delete, deletions};
pub use entry::{Entry, Letter, NoPosition, Position, Standing};
pub use filter::{Filter, SignedBy};
pub use journal::{Done, JOURNAL_FILE, Journal, Key, Ledger, SignedRedrive, Step};
pub use original::{Origin, Original, Today};
pub use plan::{Asked, Index, Refusal};
pub use reader::{Begin, ReadError};
pub use redrive::{Outcome, Recovered, RedriveFault, Redriver};
pub use spill::SPILL_FILE;
pub use writer::{BuryError, DeadLetterConfig, DeadLetterSigning, DeadLetters, DraftBurial};

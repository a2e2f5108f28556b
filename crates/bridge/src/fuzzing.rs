//! What fuzz targets get hold of: each function takes any bytes, as a damaged disk might give them. None of this is API, and
//! any of it may change at any time.

use crate::{dlq, inbound, outbound};

/// An entry of the outbox. Its checksum is put right first: only those that fit are looked into.
pub fn outbox_entry(bytes: &[u8]) {
    outbound::outbox::entry::fuzz(bytes);
}

/// The copy of a replay state in the state folder, with its checksum put right.
pub fn replay_copy(bytes: &[u8]) {
    inbound::replay::copies::fuzz(bytes);
}

/// The journal of dead letters that were put back.
pub fn dead_letter_journal(bytes: &[u8]) {
    dlq::journal::fuzz(bytes);
}

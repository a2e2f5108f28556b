//! The wire's own structs, generated from `proto/*.proto` by `cargo xtask proto` and checked in.
//!
//! They say nothing about validity: [`message`](crate::message) does. In JSON they have the proto
//! fields' names, with bytes as hex digits; names that are no field are errors, absent fields take
//! their default. Their `Debug` shows the identifier alone.

mod ai_v1;
mod control_v1;

use std::fmt;

pub use self::ai_v1::{AnomalyEvent, ChainOfCustodyEntry, EvidenceEvent, PolicyEvent};
pub use self::control_v1::{CommitEvent, EvidenceRequestEvent, PolicyUpdateEvent, ReputationEvent};

macro_rules! debug_by {
    ($($event:ident . $field:ident),* $(,)?) => {$(
        impl fmt::Debug for $event {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($event))
                    .field(stringify!($field), &self.$field)
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug_by!(
    AnomalyEvent.id,
    EvidenceEvent.id,
    ChainOfCustodyEntry.ts,
    PolicyEvent.id,
    CommitEvent.height,
    ReputationEvent.ai_message_id,
    PolicyUpdateEvent.policy_id,
    EvidenceRequestEvent.request_id,
);

/// Bytes as hex digits.
mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        hex::decode(text.as_ref()).map_err(|_| D::Error::custom("not an even number of hex digits"))
    }
}

/// A list of bytes as a list of hex digits.
mod hex_list {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        list: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .into_iter()
            .map(|text| {
                hex::decode(text).map_err(|_| D::Error::custom("not an even number of hex digits"))
            })
            .collect()
    }
}

//! The wire's structs, seen alike: which fields signing fills, and decoding within bounds.

use prost::encoding::{DecodeContext, decode_key};

use crate::kind::Kind;
use crate::proto::{
    AnomalyEvent, CommitEvent, EvidenceEvent, EvidenceRequestEvent, PolicyEvent, PolicyUpdateEvent,
    ReputationEvent,
};
use crate::rejection::{DecodeFault, Violation};

/// A generated struct of one of the seven kinds.
pub(crate) trait Event: prost::Message + Default + Clone + PartialEq {
    const KIND: Kind;

    /// The fields that signing fills.
    fn sealed(&mut self) -> SealedFields<'_>;

    /// The key it claims to be signed by, whatever stands there.
    fn claimed(&self) -> &[u8];

    /// Cuts repeated fields off one entry past what is accepted; the field, where one was cut.
    ///
    /// An entry of two bytes on the wire takes many times that in memory, so they are counted while
    /// they arrive.
    fn cut(&mut self) -> Option<Violation> {
        None
    }

    /// Empties the fields that signing fills.
    fn clear_seal(&mut self) {
        let sealed = self.sealed();
        *sealed.time_s = 0;
        for field in [sealed.producer_id, sealed.signature, sealed.pubkey] {
            field.clear();
        }
        sealed.alg.clear();
        if let Some(node) = sealed.node {
            node.content_hash.clear();
            node.nonce.clear();
        }
    }
}

/// The fields of an event that signing fills.
pub(crate) struct SealedFields<'a> {
    pub(crate) time_s: &'a mut i64,
    pub(crate) producer_id: &'a mut Vec<u8>,
    pub(crate) signature: &'a mut Vec<u8>,
    pub(crate) pubkey: &'a mut Vec<u8>,
    pub(crate) alg: &'a mut String,
    pub(crate) node: Option<NodeFields<'a>>,
}

/// Those that node kinds have besides.
pub(crate) struct NodeFields<'a> {
    pub(crate) content_hash: &'a mut Vec<u8>,
    pub(crate) nonce: &'a mut Vec<u8>,
}

/// Decodes a value. Where a repeated field has more entries than are accepted, decoding goes on to
/// the end without keeping them (the value may not be protobuf at all), and the violation is told.
pub(crate) fn decode<E: Event>(value: &[u8]) -> Result<(E, Option<Violation>), DecodeFault> {
    let mut event = E::default();
    let mut violation = None;
    let mut rest = value;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(malformed)?;
        event
            .merge_field(tag, wire_type, &mut rest, DecodeContext::default())
            .map_err(malformed)?;
        if let Some(cut) = event.cut() {
            violation.get_or_insert(cut);
        }
    }
    Ok((event, violation))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn malformed(error: prost::DecodeError) -> DecodeFault {
    DecodeFault::Malformed(error.to_string())
}

/// Cuts `list` off past `max` entries.
pub(super) fn cut_list<T>(
    list: &mut Vec<T>,
    field: &'static str,
    min: usize,
    max: usize,
) -> Option<Violation> {
    if list.len() <= max {
        return None;
    }
    list.truncate(max);
    Some(Violation::Entries {
        field,
        entries: max + 1,
        more: true,
        min,
        max,
    })
}

macro_rules! node_event {
    ($event:ident = $kind:ident $(, cut $list:ident: $range:expr)*) => {
        impl Event for $event {
            const KIND: Kind = Kind::$kind;

            fn sealed(&mut self) -> SealedFields<'_> {
                SealedFields {
                    time_s: &mut self.ts,
                    producer_id: &mut self.producer_id,
                    signature: &mut self.signature,
                    pubkey: &mut self.pubkey,
                    alg: &mut self.alg,
                    node: Some(NodeFields {
                        content_hash: &mut self.content_hash,
                        nonce: &mut self.nonce,
                    }),
                }
            }

            fn claimed(&self) -> &[u8] {
                &self.pubkey
            }

            fn cut(&mut self) -> Option<Violation> {
                let cut = None;
                $(let cut = cut.or(cut_list(&mut self.$list, stringify!($list), *$range.start(), *$range.end()));)*
                cut
            }
        }
    };
}

macro_rules! control_event {
    ($event:ident = $kind:ident $(, cut $list:ident: $range:expr)*) => {
        impl Event for $event {
            const KIND: Kind = Kind::$kind;

            fn sealed(&mut self) -> SealedFields<'_> {
                SealedFields {
                    time_s: &mut self.timestamp,
                    producer_id: &mut self.producer_id,
                    signature: &mut self.signature,
                    pubkey: &mut self.pubkey,
                    alg: &mut self.alg,
                    node: None,
                }
            }

            fn claimed(&self) -> &[u8] {
                &self.pubkey
            }

            fn cut(&mut self) -> Option<Violation> {
                let cut = None;
                $(let cut = cut.or(cut_list(&mut self.$list, stringify!($list), *$range.start(), *$range.end()));)*
                cut
            }
        }
    };
}

node_event!(AnomalyEvent = Anomaly);
node_event!(
    EvidenceEvent = Evidence,
    cut refs: super::evidence::REFS,
    cut coc: super::evidence::CUSTODY_ENTRIES
);
node_event!(PolicyEvent = Policy);
control_event!(CommitEvent = Commit, cut anomaly_ids: super::commit::ANOMALY_IDS);
control_event!(ReputationEvent = Reputation);
control_event!(PolicyUpdateEvent = PolicyUpdate);
control_event!(EvidenceRequestEvent = EvidenceRequest);

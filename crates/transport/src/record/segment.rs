//! Batches without a connection: what a producer would send and a fetch would bring, as bytes.

use bytes::Bytes;

use super::encode::{ProducerStamp, encode};
use super::{Batches, Compression, CorruptRecord, EncodeError, FetchedRecord, Record};

/// The records as one batch of format version 2, as a producer without idempotence sends it: its
/// first offset is 0.
///
/// # Errors
/// [`EncodeError`]: no records, or more than fit in one.
pub fn encode_batch(records: &[Record], compression: Compression) -> Result<Bytes, EncodeError> {
    let nobody = ProducerStamp {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
    encode(records, nobody, compression).map(|batch| batch.bytes)
}

/// The records of whole batches that lie one behind the other, each decompressed to at most `limit`
/// bytes. Ends at a batch that is cut off, and after the first fault.
pub fn decode_batches(
    bytes: Bytes,
    limit: usize,
) -> impl Iterator<Item = Result<FetchedRecord, CorruptRecord>> {
    let mut batches = Batches::new(bytes, 0);
    let mut records = None;
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            if records.is_none() {
                match batches.next_batch()? {
                    Ok(batch) => records = Some(batch.records(0, limit)),
                    Err(fault) => {
                        ended = true;
                        return Some(Err(fault));
                    }
                }
            }
            match records.as_mut().and_then(super::Records::next_record) {
                Some(record) => {
                    ended = record.is_err();
                    return Some(record);
                }
                None => records = None,
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &'static str) -> Record {
        Record {
            value: Some(value.into()),
            ..Record::default()
        }
    }

    fn values(bytes: Bytes, limit: usize) -> Vec<Option<Bytes>> {
        let read = decode_batches(bytes, limit);
        read.map(|record| record.ok().and_then(|record| record.value))
            .collect()
    }

    #[test]
    fn what_is_encoded_is_read_again_in_order() {
        let records = [record("a"), record("b"), record("c")];
        let bytes = encode_batch(&records, Compression::Snappy).unwrap();
        let expected: Vec<_> = records.map(|record| record.value).into();
        assert_eq!(values(bytes, 1 << 20), expected);
    }

    #[test]
    fn a_batch_past_the_limit_is_a_fault_and_the_end() {
        let bytes = encode_batch(&[record("more than ten bytes")], Compression::Gzip).unwrap();
        assert_eq!(values(bytes, 10), [None]);
    }
}

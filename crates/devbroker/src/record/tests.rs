//! Hostile batches, and the codecs' limit.

use std::io::Write as _;

use proptest::prelude::*;

use super::decode_batch;

/// A batch header with this codec and count, and whatever follows.
fn batch(codec: u8, count: i32, body: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; 61];
    batch[16] = 2;
    batch[22] = codec;
    batch[57..].copy_from_slice(&count.to_be_bytes());
    batch.extend(body);
    batch
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..40 {
        gzip.write_all(&zeros).unwrap();
    }
    let bomb = batch(1, 1, &gzip.finish().unwrap());
    assert!(bomb.len() < 1 << 20);
    let refused = decode_batch(&bomb).unwrap_err().to_string();
    assert!(refused.contains("more than 33554432 bytes"), "{refused}");

    // A snappy block that announces 4 GiB.
    let announced = batch(2, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let refused = decode_batch(&announced).unwrap_err().to_string();
    assert!(refused.contains("more than 33554432 bytes"), "{refused}");
}

#[test]
fn a_count_above_the_records_and_bytes_after_them_are_refused() {
    // Length 6, attributes, deltas, null key, null value, no headers.
    let record = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(decode_batch(&batch(0, 1, &record)).unwrap().len(), 1);
    assert!(decode_batch(&batch(0, i32::MAX, &record)).is_err());
    assert!(decode_batch(&batch(0, 0, &record)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        codec in 0_u8..8,
        count in any::<i32>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode_batch(&batch(codec, count, &body));
    }
}

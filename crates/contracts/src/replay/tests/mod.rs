mod handled;
mod model;
mod rules;
mod signers;
mod stored;

use super::*;
use crate::sign::KeyId;

const BYTES: usize = 100;

fn key(name: u8) -> KeyId {
    KeyId([name; 8])
}

fn small() -> RingLimits {
    RingLimits::new(16).unwrap()
}

/// A message of a node kind. Different `content` under the same nonce is another message.
fn node_claim(key_name: u8, instance: u32, time_ms: u64, counter: u32, content: u8) -> Claim {
    let nonce: [u8; 16] = [
        time_ms.to_be_bytes().as_slice(),
        &instance.to_be_bytes(),
        &counter.to_be_bytes(),
    ]
    .concat()
    .try_into()
    .unwrap();
    Claim::with_nonce(key(key_name), &nonce, [content; 32])
}

fn node(key_name: u8, instance: u32, time_ms: u64) -> Claims {
    Claims::of(node_claim(key_name, instance, time_ms, 0, 1))
}

fn control(key_name: u8, second: i64, content: u8) -> Claims {
    Claims::of(Claim::with_timestamp(key(key_name), second, [content; 32]))
}

fn fresh() -> PartitionReplay {
    PartitionReplay::at_start_of_log(small(), 0)
}

/// Lets everything judged so far leave the ring.
fn settle_all(replay: &mut PartitionReplay) {
    let past = replay.judged_position() + 16;
    replay.pass_over(past, BYTES);
    replay.committed(past + 1);
    assert_eq!(replay.ring_len(), 0);
}

fn binding(offset: i64) -> Binding<'static> {
    Binding {
        group: "backend",
        cluster_id: "cluster-1",
        topic_id: [7; 16],
        partition: 3,
        offset,
    }
}

/// Stores the state with a commit of `watermark` and loads it again, everything after the ring's
/// first offset being taken from `log`.
fn restarted(
    replay: &PartitionReplay,
    watermark: i64,
    log: &[(i64, Claims)],
) -> (PartitionReplay, Origin) {
    let text = replay
        .checkpoint(watermark)
        .seal(&binding(watermark), Budget::COMMIT, None);
    let text = text.unwrap().unwrap();
    let snapshot = Snapshot::open(&text, &binding(watermark), &StateKeys::default()).unwrap();
    let mut read_back = ReadBack::restored(small(), watermark, snapshot);
    for (offset, claims) in log {
        read_back.record(*offset, BYTES, 0, Some(claims));
    }
    read_back.finish(0, u64::MAX)
}

//! Ways in for fuzz targets.

use bytes::Bytes;
use tokio::time::Instant;

use super::{FetchState, state::Chunk};

/// Has the one partition that is being read answered by this.
pub(crate) fn answered(
    state: &mut FetchState,
    now: Instant,
    records: Bytes,
    aborted: Vec<(i64, i64)>,
) {
    for (partition, incarnation) in state.wanted(now) {
        let chunk = Chunk {
            records: records.clone(),
            aborted: aborted.clone(),
            high_watermark: i64::MAX,
            last_stable_offset: i64::MAX,
            log_start_offset: 0,
            topic_id: None,
            leader_epoch: -1,
        };
        let _ = state.fetched(now, &partition, incarnation, chunk);
    }
}

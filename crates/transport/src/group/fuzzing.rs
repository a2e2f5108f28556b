//! Ways in for fuzz targets.

use super::{exchange::understand_assignment, protocol};

/// What a member wants, and what the leader gives it: nothing comes of it that was not asked for.
pub(crate) fn member(bytes: &[u8]) {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let _ = protocol::decode_subscription(bytes.clone());
    if let Ok(assigned) = understand_assignment(bytes, &["t".into()]) {
        assert!(
            assigned
                .iter()
                .all(|one| &*one.topic == "t" && one.partition >= 0)
        );
        assert!(assigned.is_sorted_by(|one, next| one < next));
    }
}

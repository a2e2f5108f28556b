//! What becomes of a draft that its topic, not the cluster, refuses: a `produce-failed` dead letter.

use cybermesh_contracts::{headers::Header, message::Draft};
use cybermesh_transport::{DeliveryError, ErrorCode, Written};

use super::{append::Addressed, publisher::Inner};
use crate::dlq::DraftBurial;

impl Inner {
    /// Buries the draft, never the signed message, which somebody could inject, and waits until it
    /// is acknowledged or given up. `false` where it may not be there.
    pub(super) async fn bury(
        &self,
        to: &Addressed,
        draft: &Draft,
        headers: &[Header],
        error: &DeliveryError,
    ) -> bool {
        let Some(dead_letters) = &self.parts.dead_letters else {
            return true;
        };
        let reason = error.to_string();
        let unix_ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let burial = DraftBurial {
            topic: &to.topic,
            partition: Some(to.partition),
            key: to.key.as_deref(),
            headers,
            draft: &draft.to_proto(),
            reason: &reason,
            attempts: error.resends() + 1,
            first_failed_at_ms: unix_ms(to.begun_unix_ms),
            last_failed_at_ms: unix_ms(self.parts.clock.unix_ms()),
        };
        self.parts.metrics.dead_letter_requested();
        if let Err(error) = dead_letters.bury_draft(&burial).await {
            self.parts.metrics.dead_letter_failed();
            tracing::error!(topic = %to.topic, partition = to.partition, %error, "a draft that was refused could not be buried");
            return false;
        }
        true
    }
}

/// Whether the topic is at fault, for all that is known: a broker answered, and refused for good.
pub(super) fn is_topics_fault(error: &DeliveryError) -> bool {
    error.written() == Written::No
        && matches!(
            error.error().error_code(),
            Some(
                ErrorCode::MessageTooLarge
                    | ErrorCode::InvalidRecord
                    | ErrorCode::PolicyViolation
                    | ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::InvalidTopic
            )
        )
}

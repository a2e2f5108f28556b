//! CreatePartitions: more partitions for a topic (KIP-195).

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Gives one topic more partitions; which brokers get them is the controller's choice.
#[derive(Debug, Clone)]
pub(crate) struct CreatePartitionsRequest {
    pub(crate) topic: String,
    /// How many there are to be in all.
    pub(crate) count: i32,
    pub(crate) timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrownTopic {
    pub(crate) name: String,
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
}

impl Request for CreatePartitionsRequest {
    type Response = Vec<GrownTopic>;

    const API: Api = Api::CreatePartitions;
    const VERSIONS: VersionRange = VersionRange::new(0, 3);
    const FLEXIBLE_FROM: i16 = 2;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(std::slice::from_ref(self), |writer, topic| {
            writer.string(&topic.topic)?;
            writer.i32(topic.count);
            writer.nullable_array(None::<&[()]>, |_, ()| Ok(()))?;
            writer.tags();
            Ok(())
        })?;
        writer.i32(self.timeout_ms);
        let validate_only = false;
        writer.bool(validate_only);
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<Vec<GrownTopic>, Malformed> {
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = GrownTopic {
                name: reader.string()?,
                error_code: reader.i16()?,
                error_message: reader.nullable_string()?,
            };
            reader.skip_tags()?;
            Ok(topic)
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}

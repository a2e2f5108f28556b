//! Metadata asked by topic ids (KIP-516): what topics are called that are known by their id alone.

use super::{
    Api, Malformed, MetadataRequest, MetadataResponse, Reader, Request, TopicId, Unencodable,
    VersionRange, Writer,
};

/// Asks for topics by their ids. Those that are not there, or may not be known of, come with an error and no name.
#[derive(Debug, Clone)]
pub(crate) struct TopicNamesRequest {
    pub(crate) ids: Vec<TopicId>,
}

impl Request for TopicNamesRequest {
    type Response = MetadataResponse;

    const API: Api = Api::Metadata;
    /// Brokers that hand out ids for partitions know this one.
    const VERSIONS: VersionRange = VersionRange::new(12, 12);
    const FLEXIBLE_FROM: i16 = MetadataRequest::FLEXIBLE_FROM;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.ids, |writer, id| {
            writer.uuid(id);
            writer.nullable_string(None)?;
            writer.tags();
            Ok(())
        })?;
        let (allow_auto_topic_creation, include_authorized_operations) = (false, false);
        writer.bool(allow_auto_topic_creation);
        writer.bool(include_authorized_operations);
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<MetadataResponse, Malformed> {
        MetadataRequest::decode(version, reader)
    }
}

//! DescribeConfigs and IncrementalAlterConfigs (KIP-339): settings of topics.

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

#[derive(Debug, Clone)]
pub(crate) struct DescribeConfigsRequest {
    pub(crate) resources: Vec<ConfigResource>,
}

/// Whose settings are asked for.
#[derive(Debug, Clone)]
pub(crate) struct ConfigResource {
    pub(crate) topic: String,
    /// Which of them; `None` for all.
    pub(crate) names: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedResource {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    pub(crate) topic: String,
    /// Names and values; no value for secrets.
    pub(crate) configs: Vec<(String, Option<String>)>,
}

/// The protocol's number for "topic" among the types of resources.
const TOPIC: i8 = 2;

impl Request for DescribeConfigsRequest {
    type Response = Vec<DescribedResource>;

    const API: Api = Api::DescribeConfigs;
    const VERSIONS: VersionRange = VersionRange::new(1, 4);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.resources, |writer, resource| {
            writer.i8(TOPIC);
            writer.string(&resource.topic)?;
            writer.nullable_array(resource.names.as_deref(), |writer, name| {
                writer.string(name)
            })?;
            writer.tags();
            Ok(())
        })?;
        let include_synonyms = false;
        writer.bool(include_synonyms);
        if version >= 3 {
            let include_documentation = false;
            writer.bool(include_documentation);
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Vec<DescribedResource>, Malformed> {
        reader.throttle_time()?;
        let resources = reader.array(|reader| {
            let error_code = reader.i16()?;
            let error_message = reader.nullable_string()?;
            let _resource_type = reader.i8()?;
            let resource = DescribedResource {
                error_code,
                error_message,
                topic: reader.string()?,
                configs: reader.array(|reader| config(version, reader))?,
            };
            reader.skip_tags()?;
            Ok(resource)
        })?;
        reader.skip_tags()?;
        Ok(resources)
    }
}

fn config(version: i16, reader: &mut Reader) -> Result<(String, Option<String>), Malformed> {
    let name = reader.string()?;
    let value = reader.nullable_string()?;
    let _read_only = reader.bool()?;
    let _source = reader.i8()?;
    let _sensitive = reader.bool()?;
    let _synonyms = reader.array(|reader| {
        reader.string()?;
        reader.nullable_string()?;
        reader.i8()?;
        reader.skip_tags()
    })?;
    if version >= 3 {
        let _type = reader.i8()?;
        let _documentation = reader.nullable_string()?;
    }
    reader.skip_tags()?;
    Ok((name, value))
}

/// Changes settings of one topic; those that are not named stay as they are.
#[derive(Debug, Clone)]
pub(crate) struct IncrementalAlterConfigsRequest {
    pub(crate) topic: String,
    pub(crate) changes: Vec<(String, ConfigChange)>,
}

/// What becomes of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigChange {
    Set(String),
    /// Back to the broker's default.
    Reset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlteredResource {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    pub(crate) topic: String,
}

impl Request for IncrementalAlterConfigsRequest {
    type Response = Vec<AlteredResource>;

    const API: Api = Api::IncrementalAlterConfigs;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    const FLEXIBLE_FROM: i16 = 1;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        writer.array(std::slice::from_ref(self), |writer, resource| {
            writer.i8(TOPIC);
            writer.string(&resource.topic)?;
            writer.array(&resource.changes, |writer, (name, change)| {
                writer.string(name)?;
                let (operation, value) = match change {
                    ConfigChange::Set(value) => (SET, Some(value.as_str())),
                    ConfigChange::Reset => (DELETE, None),
                };
                writer.i8(operation);
                writer.nullable_string(value)?;
                writer.tags();
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        let validate_only = false;
        writer.bool(validate_only);
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<Vec<AlteredResource>, Malformed> {
        reader.throttle_time()?;
        let resources = reader.array(|reader| {
            let error_code = reader.i16()?;
            let error_message = reader.nullable_string()?;
            let _resource_type = reader.i8()?;
            let topic = reader.string()?;
            reader.skip_tags()?;
            Ok(AlteredResource {
                error_code,
                error_message,
                topic,
            })
        })?;
        reader.skip_tags()?;
        Ok(resources)
    }
}

//! Who pushes: the service, and which of its processes.
//!
//! `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go first. Without them the service is
//! `cybermesh-bridge`, and the process the node's name, or a random UUID where it has none: collectors
//! add up the series of processes that they cannot tell apart.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

const SERVICE_NAME: &str = "service.name";
const OURS: &str = "cybermesh-bridge";
/// The name the conventions give to what tells processes of one service apart.
const INSTANCE: &str = "service.instance.id";

/// Who we are; `instance` is the name of this process.
pub(super) fn resource(instance: Option<String>) -> Result<Resource, getrandom::Error> {
    let said = Resource::builder().build();
    let said = |name| said.get(&Key::from_static_str(name));
    let mut resource = Resource::builder();
    // The SDK makes up a name where it is given none.
    if said(SERVICE_NAME).is_none_or(|name| name.as_str().starts_with("unknown_service")) {
        resource = resource.with_service_name(OURS);
    }
    if said(INSTANCE).is_none_or(|id| id.as_str().is_empty()) {
        let id = match instance {
            Some(id) => id,
            None => uuid()?,
        };
        resource = resource.with_attribute(KeyValue::new(INSTANCE, id));
    }
    Ok(resource.build())
}

/// A random UUID: RFC 9562, version 4.
fn uuid() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let all = u128::from_be_bytes(bytes);
    let (head, node) = (all >> 64, all & 0xffff_ffff_ffff);
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{node:012x}",
        head >> 32,
        (head >> 16) & 0xffff,
        head & 0xffff,
        (all >> 48) & 0xffff,
    ))
}

//! The JSON that two of the forms have as value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The value of form `json`. The first four members are what other services write and read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JsonBody<'a> {
    pub(super) original_topic: Cow<'a, str>,
    /// Unix seconds of the burial.
    pub(super) timestamp: i64,
    pub(super) error: Cow<'a, str>,
    pub(super) data: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) group: Option<Cow<'a, str>>,
    pub(super) key: Option<String>,
    pub(super) headers: Vec<(Cow<'a, str>, Option<String>)>,
    pub(super) disposition: Cow<'a, str>,
    pub(super) attempts: u32,
    pub(super) node: Option<Cow<'a, str>>,
}

/// The value of form `reference`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReferenceBody {
    pub(super) length: u64,
    pub(super) sha256: String,
    pub(super) first_offset: Option<i64>,
    pub(super) last_offset: Option<i64>,
    pub(super) count: u64,
}

/// As JSON without spaces. Neither body has anything that JSON cannot say.
pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// Unix seconds of Unix milliseconds.
pub(super) const fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

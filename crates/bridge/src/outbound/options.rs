//! What a caller may choose for one message.

use std::time::Duration;

use cybermesh_contracts::headers::Header;

use super::receipt::Invalid;

/// Choices for one message; the default is the contract's.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    pub(super) key: Key,
    pub(super) headers: Vec<Header>,
    pub(super) traceparent: Option<String>,
    pub(super) deadline: Option<Duration>,
}

/// Which key a record gets.
#[derive(Debug, Clone, Default)]
pub(super) enum Key {
    /// The kind's own.
    #[default]
    OfKind,
    Own(Vec<u8>),
    None,
}

impl SendOptions {
    /// The contract's defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record's key, which chooses the partition and the lane, instead of the kind's own.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Key::Own(key.into());
        self
    }

    /// No key: the record shares the lane of its partition, and its partition with others for a batch's worth of
    /// bytes (KIP-480).
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.key = Key::None;
        self
    }

    /// A header behind the contract's own. `version`, `type`, `content-type`, `cm-*` and `dlq.*` are refused.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// The W3C trace context that this message belongs to.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// From `send` to its answer, waiting for rate limit and buffer included. By default
    /// `KAFKA_DELIVERY_TIMEOUT_MS`.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Refuses what can never be sent.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        for header in &self.headers {
            cybermesh_contracts::headers::permit(&header.name)?;
        }
        match &self.traceparent {
            Some(traceparent) if !is_traceparent(traceparent) => Err(Invalid::Traceparent),
            _ => Ok(()),
        }
    }
}

/// Version 00 of W3C Trace Context: version, trace id, parent id, flags; ids not all zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else {
        return false;
    };
    let hex = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let nonzero = |part: &str| part.bytes().any(|byte| byte != b'0');
    *version == "00"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(parent, 16)
        && nonzero(parent)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_w3c_is_a_trace_context() {
        assert!(is_traceparent(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ));
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(wrong), "{wrong:?} was taken");
        }
    }

    #[test]
    fn headers_of_the_contract_are_not_the_callers_to_set() {
        for name in [
            "version",
            "Type",
            "content-type",
            "cm-envelope",
            "dlq.reason",
        ] {
            assert!(
                matches!(
                    SendOptions::new().header(name, "x").check(),
                    Err(Invalid::Header(_))
                ),
                "{name}"
            );
        }
        assert!(
            SendOptions::new()
                .header("tenant", "a")
                .header("tenant", "b")
                .check()
                .is_ok()
        );
    }
}

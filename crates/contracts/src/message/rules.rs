//! Checks that several kinds share: lengths, ranges, identifiers.

use std::ops::RangeInclusive;

use crate::rejection::Violation;

/// A string or bytes field whose length must lie in `accepted`.
pub(crate) fn length(
    field: &'static str,
    value: impl AsRef<[u8]>,
    accepted: RangeInclusive<usize>,
) -> Result<(), Violation> {
    let bytes = value.as_ref().len();
    if accepted.contains(&bytes) {
        Ok(())
    } else {
        Err(Violation::Length {
            field,
            bytes,
            min: *accepted.start(),
            max: *accepted.end(),
        })
    }
}

/// A bytes field of exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(
    field: &'static str,
    value: &[u8],
) -> Result<[u8; N], Violation> {
    value.try_into().map_err(|_| Violation::Length {
        field,
        bytes: value.len(),
        min: N,
        max: N,
    })
}

/// A repeated field with as many entries as are accepted.
pub(crate) fn entries(
    field: &'static str,
    entries: usize,
    accepted: RangeInclusive<usize>,
) -> Result<(), Violation> {
    if accepted.contains(&entries) {
        Ok(())
    } else {
        Err(Violation::Entries {
            field,
            entries,
            more: false,
            min: *accepted.start(),
            max: *accepted.end(),
        })
    }
}

/// A demand in words.
pub(crate) fn demand(
    holds: bool,
    field: &'static str,
    accepted: &'static str,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation::Range { field, accepted })
    }
}

/// At most `max` characters, for what is emitted.
pub(crate) fn characters(field: &'static str, value: &str, max: usize) -> Result<(), Violation> {
    let characters = value.chars().count();
    if characters <= max {
        Ok(())
    } else {
        Err(Violation::Characters {
            field,
            characters,
            max,
        })
    }
}

/// A hyphenated version-4 UUID (RFC 9562, variant 10), digits in either case.
pub(crate) fn uuid_v4(field: &'static str, value: &str) -> Result<(), Violation> {
    if hyphenated(value).is_some_and(|uuid| is_version_4(&uuid)) {
        Ok(())
    } else {
        Err(Violation::NotUuid {
            field,
            accepted: "a hyphenated version-4 UUID",
        })
    }
}

/// A lowercase hyphenated version-4 UUID, for what is emitted.
pub(crate) fn lowercase_uuid_v4(field: &'static str, value: &str) -> Result<(), Violation> {
    if hyphenated(value).is_some_and(|uuid| is_version_4(&uuid)) && is_lowercase(value) {
        Ok(())
    } else {
        Err(Violation::NotUuid {
            field,
            accepted: "a lowercase hyphenated version-4 UUID",
        })
    }
}

/// A lowercase hyphenated UUID of any version, for what is emitted.
pub(crate) fn lowercase_uuid(field: &'static str, value: &str) -> Result<(), Violation> {
    if hyphenated(value).is_some() && is_lowercase(value) {
        Ok(())
    } else {
        Err(Violation::NotUuid {
            field,
            accepted: "a lowercase hyphenated UUID",
        })
    }
}

/// The UUID, where it is written with hyphens and nothing around it.
fn hyphenated(value: &str) -> Option<uuid::Uuid> {
    // `Uuid::parse_str` also reads the forms with braces, with `urn:uuid:` and without hyphens.
    if value.len() == uuid::fmt::Hyphenated::LENGTH {
        uuid::Uuid::parse_str(value).ok()
    } else {
        None
    }
}

fn is_version_4(uuid: &uuid::Uuid) -> bool {
    uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122
}

fn is_lowercase(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_4_hyphenated_and_nothing_else() {
        assert!(uuid_v4("id", "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d").is_ok());
        assert!(uuid_v4("id", "3F2B8C1E-5D4A-4F6B-9C7D-8E1F2A3B4C5D").is_ok());
        assert!(lowercase_uuid_v4("id", "3F2B8C1E-5D4A-4F6B-9C7D-8E1F2A3B4C5D").is_err());
        for text in [
            "",
            "3f2b8c1e5d4a4f6b9c7d8e1f2a3b4c5d",
            "{3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d}",
            "3f2b8c1e-5d4a-1f6b-9c7d-8e1f2a3b4c5d",
            "3f2b8c1e-5d4a-4f6b-cc7d-8e1f2a3b4c5d",
            "3f2b8c1e-5d4a-4f6b-1c7d-8e1f2a3b4c5d",
            "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5g",
            "3f2b8c1e-5d4a4-f6b-9c7d-8e1f2a3b4c5d",
            " 3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5",
        ] {
            assert!(uuid_v4("id", text).is_err(), "{text}");
        }
        assert!(lowercase_uuid("id", "3f2b8c1e-5d4a-7f6b-9c7d-8e1f2a3b4c5d").is_ok());
    }
}

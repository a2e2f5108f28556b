//! The trust store as a TOML file.

use serde::Deserialize;
use toml::value::{Datetime, Offset};

use super::{EnvelopeRule, KeyFault, Right, TrustError, TrustStore, TrustedKey, Window};
use crate::sign::PublicKey;

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: i64,
    count: Option<u64>,
    #[serde(default)]
    key: Vec<Entry>,
}

/// One `[[key]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    public_key: Option<String>,
    public_key_file: Option<String>,
    may_sign: Vec<String>,
    envelope: Option<String>,
    not_before: Option<Datetime>,
    not_after: Option<Datetime>,
    #[serde(default)]
    revoked: bool,
    producer_id: Option<String>,
}

pub(super) fn read(
    text: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<TrustStore, TrustError> {
    let file: File = toml::from_str(text).map_err(|error| TrustError::Form {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    if file.version != 1 {
        return Err(TrustError::Version {
            version: file.version,
        });
    }
    if let Some(stated) = file.count
        && usize::try_from(stated) != Ok(file.key.len())
    {
        return Err(TrustError::Count {
            stated,
            found: file.key.len(),
        });
    }
    let mut store = TrustStore::default();
    for (position, entry) in file.key.iter().enumerate() {
        let key = entry
            .trusted_key(read)
            .map_err(|fault| TrustError::key(position, Some(&entry.id), fault))?;
        store.add(key)?;
    }
    Ok(store)
}

impl Entry {
    fn trusted_key(
        &self,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<TrustedKey, KeyFault> {
        check_name(&self.id)?;
        let public_key = match (&self.public_key, &self.public_key_file) {
            (Some(digits), None) => PublicKey::from_hex(digits)?,
            (None, Some(file)) => read_key(file, read)?,
            (None, None) | (Some(_), Some(_)) => return Err(KeyFault::NoOneKey),
        };
        let rights = self.may_sign.iter().map(|name| {
            Right::from_name(name).ok_or_else(|| KeyFault::Right { name: name.clone() })
        });
        let rights = rights.collect::<Result<Vec<_>, _>>()?;
        let envelope = match &self.envelope {
            None => EnvelopeRule::default(),
            Some(name) => EnvelopeRule::from_name(name)
                .ok_or_else(|| KeyFault::Envelope { name: name.clone() })?,
        };
        let key = TrustedKey::new(self.id.as_str(), public_key, rights)?
            .with_envelope(envelope)
            .with_window(self.window()?);
        let key = match &self.producer_id {
            None => key,
            Some(digits) => {
                let id = PublicKey::from_hex(digits).map_err(|_| KeyFault::ProducerId)?;
                key.with_producer_id(id.0)
            }
        };
        Ok(if self.revoked { key.revoked() } else { key })
    }

    fn window(&self) -> Result<Window, KeyFault> {
        let window = Window {
            not_before_ms: unix_ms("not_before", self.not_before.as_ref())?,
            not_after_ms: unix_ms("not_after", self.not_after.as_ref())?,
        };
        match (window.not_before_ms, window.not_after_ms) {
            (Some(not_before_ms), Some(not_after_ms)) if not_after_ms < not_before_ms => {
                Err(KeyFault::Window)
            }
            _ => Ok(window),
        }
    }
}

pub(super) fn check_name(id: &str) -> Result<(), KeyFault> {
    if (1..=128).contains(&id.len()) && !id.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(KeyFault::Name)
    }
}

/// The key in a PEM file.
pub(super) fn read_key(
    file: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<PublicKey, KeyFault> {
    let pem = read(file).map_err(|reason| KeyFault::Unreadable {
        file: file.to_owned(),
        reason,
    })?;
    PublicKey::from_spki_pem(&pem).map_err(|fault| KeyFault::Unreadable {
        file: file.to_owned(),
        reason: fault.to_string(),
    })
}

/// An offset date-time as Unix milliseconds, rounded down.
fn unix_ms(field: &'static str, time: Option<&Datetime>) -> Result<Option<i64>, KeyFault> {
    match time {
        None => Ok(None),
        Some(time) => instant_ms(time).map(Some).ok_or(KeyFault::Time { field }),
    }
}

fn instant_ms(time: &Datetime) -> Option<i64> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i32::from(minutes),
    };
    let month = time::Month::try_from(date.month).ok()?;
    let date = time::Date::from_calendar_date(i32::from(date.year), month, date.day).ok()?;
    // A leap second counts as the second before it.
    let second = clock.second.unwrap_or(0).min(59);
    let clock = time::Time::from_hms_nano(
        clock.hour,
        clock.minute,
        second,
        clock.nanosecond.unwrap_or(0),
    )
    .ok()?;
    let offset = time::UtcOffset::from_whole_seconds(offset_minutes * 60).ok()?;
    let nanoseconds = date
        .with_time(clock)
        .assume_offset(offset)
        .unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()
}

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

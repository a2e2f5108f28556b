//! From the text of one setting to its value. Each parser is total: it answers or says why not.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::Address;

use super::{Assignor, RateLimit, SaslMechanism, VerifyMode, VerifyModes};

/// Why a text is no value; `None` where the setting's own "accepts" says it all.
pub(super) type Reason = Option<String>;
pub(super) type Parsed<T> = Result<T, Reason>;

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(None),
    }
}

/// A mechanism that a name and a password are enough for.
pub(super) fn sasl_mechanism(text: &str) -> Parsed<SaslMechanism> {
    match text.to_ascii_uppercase().as_str() {
        "PLAIN" => Ok(SaslMechanism::Plain),
        "SCRAM-SHA-256" => Ok(SaslMechanism::ScramSha256),
        "SCRAM-SHA-512" => Ok(SaslMechanism::ScramSha512),
        "OAUTHBEARER" => Err(Some(
            "tokens come from a program, which hands them to the library (Builder::sasl)"
                .to_owned(),
        )),
        _ => Err(None),
    }
}

pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Parsed<T>
where
    T: std::str::FromStr + PartialOrd,
{
    move |text| match text.parse::<T>() {
        Ok(value) if range.contains(&value) => Ok(value),
        Ok(_) => Err(Some("out of range".to_owned())),
        Err(_) => Err(Some("not a whole number".to_owned())),
    }
}

/// A duration with a unit (`5ms`, `30s`, `10m`, `2h`, `7d`) within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| within(&range, with_unit(text)?)
}

/// As [`duration`], where a bare number means milliseconds.
pub(super) fn milliseconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    let range = Duration::from_millis(*range.start())..=Duration::from_millis(*range.end());
    move |text| {
        let value = match text.parse::<u64>() {
            Ok(bare) => Duration::from_millis(bare),
            Err(_) => with_unit(text)?,
        };
        within(&range, value)
    }
}

fn within(range: &RangeInclusive<Duration>, value: Duration) -> Parsed<Duration> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(Some("out of range".to_owned()))
    }
}

fn with_unit(text: &str) -> Parsed<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or(Some("no unit".to_owned()))?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count
        .parse()
        .map_err(|_| Some("not a duration".to_owned()))?;
    let unit_ms: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(Some("not a duration".to_owned())),
    };
    count
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(Some("out of range".to_owned()))
}

/// A size in bytes, bare or with `KiB`, `MiB`, `GiB`.
pub(super) fn bytes(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<usize> {
    move |text| {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let count: u64 = count.parse().map_err(|_| Some("not a size".to_owned()))?;
        let factor: u64 = match unit.trim_start() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(Some("not a size".to_owned())),
        };
        let size = count
            .checked_mul(factor)
            .filter(|size| range.contains(size));
        size.and_then(|size| usize::try_from(size).ok())
            .ok_or(Some("out of range".to_owned()))
    }
}

/// One of a closed set of words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
            .ok_or(None)
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "has the shape of the other parsers"
)]
pub(super) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.contains("-----BEGIN") || text.contains(['\n', '\0']) {
        return Err(Some("not a path".to_owned()));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn socket(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| None)
}

/// A topic's name by Kafka's rule (`org.apache.kafka.common.internals.Topic`).
pub(super) fn topic(text: &str) -> Parsed<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty()
        || text.len() > 249
        || text == "."
        || text == ".."
        || !text.chars().all(legal)
    {
        return Err(Some("not a topic name".to_owned()));
    }
    Ok(text.to_owned())
}

pub(super) fn rack(text: &str) -> Parsed<String> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(Some("not a rack".to_owned()));
    }
    Ok(text.to_owned())
}

pub(super) fn group(text: &str) -> Parsed<String> {
    if text.is_empty() || text.len() > 249 || text.chars().any(char::is_control) {
        return Err(Some("not a group name".to_owned()));
    }
    Ok(text.to_owned())
}

pub(super) fn node_id(text: &str) -> Parsed<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 128 || !text.chars().all(legal) {
        Err(None)
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn audience(text: &str) -> Parsed<String> {
    if text.len() > 255 || text.chars().any(|c| c.is_control() || c == ',') {
        Err(None)
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn list<T>(item: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<Vec<T>> {
    move |text| {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(&item)
            .collect()
    }
}

pub(super) fn brokers(text: &str) -> Parsed<Vec<Address>> {
    let brokers = list(broker)(text)?;
    if brokers.is_empty() {
        Err(Some("no address".to_owned()))
    } else {
        Ok(brokers)
    }
}

fn broker(text: &str) -> Parsed<Address> {
    text.parse()
        .map_err(|_| Some(format!("{} is no host:port", super::problem::shown(text))))
}

/// `burst@rate/s` (the `/s` may be left out), or `off`.
pub(super) fn rate_limit(text: &str) -> Parsed<Option<RateLimit>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let (burst, rate) = text.split_once('@').ok_or(None)?;
    let rate = rate.trim().strip_suffix("/s").unwrap_or(rate.trim());
    let burst = number(1..=1_000_000_000_u32)(burst.trim())?;
    let per_second = number(1..=1_000_000_000_u32)(rate.trim())?;
    Ok(Some(RateLimit { burst, per_second }))
}

/// Assignors by Kafka's names for them.
pub(super) fn assignors(text: &str) -> Parsed<Vec<Assignor>> {
    let assignors = list(word(&[
        ("range", Assignor::Range),
        ("roundrobin", Assignor::RoundRobin),
        ("cooperative-sticky", Assignor::CooperativeSticky),
        ("uniform", Assignor::Uniform),
    ]))(text)?;
    if assignors.is_empty() {
        Err(Some("no assignor".to_owned()))
    } else {
        Ok(assignors)
    }
}

/// `strict`, `batch`, or `kind=mode` pairs for some kinds. Control kinds are strict, whoever asks.
pub(super) fn verify_modes(text: &str) -> Parsed<VerifyModes> {
    let mode = word(&[("strict", VerifyMode::Strict), ("batch", VerifyMode::Batch)]);
    let mut modes = [VerifyMode::Strict; 7];
    if !text.contains('=') {
        let all = mode(text)?;
        for (kind, of) in Kind::ALL.into_iter().zip(&mut modes) {
            if Kind::NODE.contains(&kind) {
                *of = all;
            }
        }
        return Ok(VerifyModes(modes));
    }
    let mut named = Vec::new();
    for (kind, mode) in list(|pair| {
        let (kind, of) = pair.split_once('=').ok_or(None)?;
        let kind: Kind = kind.trim().parse().map_err(|_| None)?;
        Ok((kind, mode(of.trim())?))
    })(text)?
    {
        if named.contains(&kind) {
            return Err(Some(format!("{kind} twice")));
        }
        if mode == VerifyMode::Batch && !Kind::NODE.contains(&kind) {
            return Err(Some(format!("{kind} is a control kind")));
        }
        named.push(kind);
        for (of, slot) in Kind::ALL.into_iter().zip(&mut modes) {
            if of == kind {
                *slot = mode;
            }
        }
    }
    Ok(VerifyModes(modes))
}

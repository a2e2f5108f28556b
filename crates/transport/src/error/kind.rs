//! What went wrong, as a closed set that compares.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::{Class, ErrorCode, SaslFailure, TlsFailure};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A broker answered with an error.
    #[error("{code}{}", with_message(.message))]
    Code {
        /// Which error.
        code: ErrorCode,
        /// What the broker had to say about it, where the protocol lets it.
        message: Option<Box<str>>,
    },
    /// The host name has no address.
    #[error("the host name could not be resolved: {reason}; check the address and the resolver")]
    Resolve {
        /// The resolver's words.
        reason: Box<str>,
    },
    /// Nobody listens on the port.
    #[error(
        "connection refused: nobody listens on that port; check the address and that the broker runs"
    )]
    Refused,
    /// The host could not be reached for another reason.
    #[error("the broker cannot be reached: {reason}")]
    Unreachable {
        /// The operating system's words.
        reason: Box<str>,
    },
    /// The broker, or the way to it, was silent until the deadline of connecting.
    #[error("no answer within {after:?} while {phase}")]
    Silent {
        /// How far connecting had come.
        phase: DialPhase,
        /// How long connecting may take in all.
        after: Duration,
    },
    /// TLS could not be established, or ended with an alert.
    #[error("{0}")]
    Tls(TlsFailure),
    /// Broker and client did not agree on who the client is.
    #[error("{0}")]
    Sasl(SaslFailure),
    /// Plaintext was spoken to a port that speaks TLS.
    #[error("the broker speaks TLS on this port, but TLS is switched off here")]
    SpeaksTls,
    /// Plaintext to a host that is not this one, without the leave to do so.
    #[error(
        "refused to speak plaintext to a broker that is not on this machine; switch TLS on, or allow plaintext expressly"
    )]
    PlaintextRefused,
    /// The connection ended before the answer came.
    #[error("the connection was lost {}: {reason}", before_or_after(*.sent))]
    ConnectionLost {
        /// Why it ended.
        reason: Box<str>,
        /// Whether the request may have reached the broker.
        sent: bool,
    },
    /// The deadline of the request passed.
    #[error("no answer within {after:?}{}", if *.sent { "" } else { "; the request was never sent" })]
    TimedOut {
        /// How long the request had.
        after: Duration,
        /// Whether the request may have reached the broker.
        sent: bool,
    },
    /// More requests wait for this broker than it is given.
    #[error("{limit} requests wait for this broker already")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// The broker's answer makes no sense.
    #[error("the broker's answer is malformed: {reason}")]
    Malformed {
        /// Where and what.
        reason: Box<str>,
    },
    /// The broker announced a frame larger than the limit.
    #[error("the broker announced a frame of {announced_bytes} bytes, {limit_bytes} are accepted")]
    FrameTooLarge {
        /// What it announced; negative lengths as they came.
        announced_bytes: i64,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// The request cannot be written down in the protocol.
    #[error("the request cannot be encoded: {reason}")]
    Unencodable {
        /// What does not fit.
        reason: Box<str>,
    },
    /// Broker and client share no version of a request.
    #[error(
        "the broker does not speak {api} in a version this client knows ({ours}, the broker has {theirs})"
    )]
    UnsupportedVersion {
        /// The request's name.
        api: &'static str,
        /// The versions this client knows.
        ours: Box<str>,
        /// The versions the broker offers, or "none".
        theirs: Box<str>,
    },
    /// The cluster has no such broker any more.
    #[error("the cluster has no broker {id}")]
    UnknownBroker {
        /// The broker's id.
        id: i32,
    },
    /// The topic has no such partition.
    #[error("the topic has {partitions} partitions, there is no such one")]
    NoSuchPartition {
        /// How many it has.
        partitions: i32,
    },
    /// A batch of another producer's lies in the log under the sequence that ours had.
    #[error(
        "someone else has written {} under this producer's id and sequence; see who may write to the topic",
        at_offset(*.offset)
    )]
    SequenceTaken {
        /// Where theirs lies.
        offset: Option<i64>,
    },
    /// The group has committed no offset for the partition, and is told not to assume one.
    #[error(
        "no offset is committed, and the start policy is none; commit or seek to where reading is to begin"
    )]
    NoOffset,
    /// The log was cut before the position, and no start policy says where to go on.
    #[error(
        "what was read before offset {offset} is not in the log any more{}, and the start policy is none; seek to where reading is to go on",
        agreed_up_to(*.diverged_at)
    )]
    LogTruncated {
        /// The position: the offset after the last record delivered, or the one begun at.
        offset: i64,
        /// The offset up to which the log is the one that was read, where the leader knows.
        diverged_at: Option<i64>,
    },
    /// A setting is wrong.
    #[error("{what}: {reason}")]
    Settings {
        /// Which setting, or which file.
        what: Box<str>,
        /// What is wrong with it and what is accepted.
        reason: Box<str>,
    },
    /// The client, producer or consumer was closed.
    #[error("closed")]
    Closed,
}

/// How far connecting to a broker had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialPhase {
    /// Asking for the host's addresses.
    Resolve,
    /// Waiting for TCP.
    Connect,
    /// Waiting for the other side of the TLS handshake.
    Handshake,
    /// Waiting for the broker to tell which requests it speaks.
    Versions,
    /// Waiting for a token to authenticate with.
    Token,
    /// Waiting for the broker to accept who we are.
    Authenticate,
}

impl fmt::Display for DialPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the host name",
            Self::Connect => "waiting for the TCP connection",
            Self::Handshake => "waiting for the TLS handshake",
            Self::Versions => {
                "waiting for the broker to name its versions (connected, but it says nothing)"
            }
            Self::Token => "waiting for a token to authenticate with",
            Self::Authenticate => "waiting for the broker to authenticate this client",
        })
    }
}

impl ErrorKind {
    /// What may be done about it when the request would have changed something.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Code { code, .. } => code.class(),
            Self::ConnectionLost { sent, .. } | Self::TimedOut { sent, .. } => {
                if *sent {
                    Class::UnknownOutcome
                } else {
                    Class::Retriable
                }
            }
            // The request had arrived; what it did is in an answer we cannot read.
            Self::Malformed { .. } | Self::FrameTooLarge { .. } => Class::UnknownOutcome,
            Self::Resolve { .. }
            | Self::Refused
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Busy { .. }
            | Self::UnknownBroker { .. } => Class::Retriable,
            Self::SequenceTaken { .. } => Class::Fenced,
            Self::Tls(failure) => {
                if failure.may_pass() {
                    Class::Retriable
                } else {
                    Class::Fatal
                }
            }
            Self::Sasl(failure) => {
                if failure.may_pass() {
                    Class::Retriable
                } else {
                    Class::Fatal
                }
            }
            Self::SpeaksTls
            | Self::PlaintextRefused
            | Self::Unencodable { .. }
            | Self::UnsupportedVersion { .. }
            | Self::NoSuchPartition { .. }
            | Self::NoOffset
            | Self::LogTruncated { .. }
            | Self::Settings { .. }
            | Self::Closed => Class::Fatal,
        }
    }

    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Refused
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Tls(_)
            | Self::Sasl(_)
            | Self::SpeaksTls
            | Self::ConnectionLost { .. }
            | Self::TimedOut { .. } => true,
            Self::Code { .. }
            | Self::PlaintextRefused
            | Self::Busy { .. }
            | Self::Malformed { .. }
            | Self::FrameTooLarge { .. }
            | Self::Unencodable { .. }
            | Self::UnsupportedVersion { .. }
            | Self::UnknownBroker { .. }
            | Self::NoSuchPartition { .. }
            | Self::SequenceTaken { .. }
            | Self::NoOffset
            | Self::LogTruncated { .. }
            | Self::Settings { .. }
            | Self::Closed => false,
        }
    }
}

impl ErrorKind {
    /// A broker's error with its words, which come from outside: cut to a readable length and without
    /// control characters, so that they can neither fill a log nor forge a line of it.
    pub(crate) fn told_by_broker(code: ErrorCode, message: Option<String>) -> Self {
        let message = message.and_then(|text| readable(&text));
        Self::Code { code, message }
    }
}

/// Words that come from outside, fit to be shown; `None` where there are none.
pub(super) fn readable(text: &str) -> Option<Box<str>> {
    const LONGEST_CHARS: usize = 300;
    if text.trim().is_empty() {
        return None;
    }
    let readable = text.chars().take(LONGEST_CHARS);
    let readable: String = readable
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Some(readable.into())
}

fn with_message(message: &Option<Box<str>>) -> String {
    match message {
        Some(message) => format!(" (the broker says: {message})"),
        None => String::new(),
    }
}

fn agreed_up_to(offset: Option<i64>) -> String {
    match offset {
        Some(offset) => format!(" from offset {offset} on"),
        None => String::new(),
    }
}

fn at_offset(offset: Option<i64>) -> String {
    match offset {
        Some(offset) => format!("offset {offset}"),
        None => "a record".to_owned(),
    }
}

fn before_or_after(sent: bool) -> &'static str {
    if sent {
        "before the answer came"
    } else {
        "before the request was sent"
    }
}

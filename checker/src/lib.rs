//! Whether a history keeps what the bridge promises (`docs/delivery.md`), judged from the outside.
//!
//! A [`History`] is what senders, handlers, the cluster and the attacker say happened, one [`Event`] a line of JSON, in
//! one order; at its end stands what somebody who took no part read in the logs. [`check`] goes through it and
//! names each breach with the events that prove it. It depends on none of the code that it judges.
//!
//! Not knowing is not the same as not happening: a send that failed or timed out is *unknown*. It may be in the
//! log or not, and may be handled or not; only [`Outcome::NotSent`] says that it must not be.
//!
//! ```
//! use cybermesh_checker::{History, Verdict, check};
//!
//! let history = History::from_lines(
//!     r#"
//! {"at_ms":0,"event":"reads","group":"backend","topics":["ai.anomalies.v1"]}
//! {"at_ms":1,"event":"sent","process":"node","id":"a","lane":"k"}
//! {"at_ms":2,"event":"send_ended","process":"node","id":"a","outcome":"logged","topic":"ai.anomalies.v1","partition":0,"offset":0}
//! {"at_ms":9,"event":"log","topic":"ai.anomalies.v1","partition":0,"start":0,"end":0,"records":[]}
//! {"at_ms":9,"event":"end","quiescent":true}
//! "#
//!     .as_bytes(),
//! )?;
//! let report = check(&history);
//! assert_eq!(report.broken(), [Verdict::LostAcknowledged]);
//! println!("{report}");
//! # Ok::<(), cybermesh_checker::HistoryError>(())
//! ```
//!
//! # The verdicts
//!
//! | verdict | what it says |
//! |---|---|
//! | [`LostAcknowledged`](Verdict::LostAcknowledged) | acknowledged, and not in the log at the end; or in it, passed by a commit, and neither handled, buried nor skipped by rule |
//! | [`Phantom`](Verdict::Phantom) | handled or in the log, and nobody sent or forged it, or its send ended as not sent |
//! | [`Unverified`](Verdict::Unverified) | handled unverified or as another signer's, or a forgery that was handled |
//! | [`CopyHandled`](Verdict::CopyHandled) | a copy of a message was handled at another offset |
//! | [`WithoutCause`](Verdict::WithoutCause) | handled again at the same offset, and nothing that allows it lies between |
//! | [`OutOfOrder`](Verdict::OutOfOrder) | handled in another order than the lane's, or before the one ahead was done; or written in another order than it was sent |
//! | [`CommittedPast`](Verdict::CommittedPast) | an offset was committed over a record that was not done by then |
//! | [`WronglyBuried`](Verdict::WronglyBuried) | a dead letter that nothing called for, or of another disposition |
//! | [`NotBuried`](Verdict::NotBuried) | what had to become a dead letter did not, though the offset was passed |
//! | [`WrittenTwice`](Verdict::WrittenTwice) | an acknowledged message stands in the log twice, byte for byte, though it never was on disk |
//! | [`NonceReused`](Verdict::NonceReused) | one nonce over two contents |
//! | [`Stuck`](Verdict::Stuck) | faults had ended, and something did not go on: an offset behind, a send without an end, a message that no longer gets through |
#![forbid(unsafe_code)]

mod check;
mod event;
mod history;
mod index;
mod report;

pub use check::check;
pub use event::{Answer, Event, Fate, LogRecord, Outcome, Place, Why};
pub use history::{Entry, History, HistoryError};
pub use report::{Checked, Report, Verdict, Violation};

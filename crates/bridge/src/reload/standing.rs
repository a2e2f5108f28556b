//! Certificates that are not in force yet: when they are tried on the brokers, and when what came of it is news.
//!
//! While no broker can be asked they are tried at every look. What a broker refused is tried again every five minutes:
//! the broker may be mended meanwhile, and nobody has to ask. What is said is said once, until it is something else or
//! somebody asks.

use std::time::Duration;

use cybermesh_transport::{Class, ErrorKind, TransportError};
use tokio::time::Instant;

/// How long after a refusal it is tried again by itself.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Where a candidate stands.
#[derive(Debug)]
pub(super) struct Standing {
    next: Next,
    said: Option<Said>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A trial, at this time or later.
    TrialAt(Instant),
    /// The end of the one that goes on.
    End,
}

/// What was said last of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// Why no broker accepts it. Which of them answered first is another each time, and no news.
    Refused(ErrorKind),
    /// That no broker could be asked; why is another each time.
    NobodyAsked,
}

impl Standing {
    /// Not tried yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: Next::TrialAt(now),
            said: None,
        }
    }

    /// Whether a trial is to begin at `now`, which then has; whoever asked for one (`asked`) waits for no time, and
    /// hears what comes of it though it was said before.
    pub(super) fn begin(&mut self, asked: bool, now: Instant) -> bool {
        if asked {
            self.said = None;
        }
        let begins = match self.next {
            Next::TrialAt(at) => asked || at <= now,
            Next::End => false,
        };
        if begins {
            self.next = Next::End;
        }
        begins
    }

    /// The trial has failed; answers whether that is to be said.
    pub(super) fn failed(&mut self, error: &TransportError, now: Instant) -> bool {
        let (said, again_at) = if is_refusal(error) {
            (Said::Refused(error.kind().clone()), now + AGAIN_AFTER)
        } else {
            (Said::NobodyAsked, now)
        };
        self.next = Next::TrialAt(again_at);
        let is_news = self.said.as_ref() != Some(&said);
        self.said = Some(said);
        is_news
    }
}

/// Whether a person has to mend something, at either end.
pub(super) fn is_refusal(error: &TransportError) -> bool {
    error.class() == Class::Fatal
}

#[cfg(test)]
mod tests {
    use cybermesh_transport::error::{Operation, Target};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(broker: u8, kind: ErrorKind) -> TransportError {
        TransportError::new(Operation::Connect, Target::broker(broker), kind)
    }

    fn refused(broker: u8) -> TransportError {
        error(broker, ErrorKind::SpeaksTls)
    }

    #[test]
    fn what_was_refused_is_tried_again_after_five_minutes_or_when_asked_for() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        assert!(standing.begin(false, now));
        assert!(!standing.begin(false, now) && !standing.begin(true, now));
        standing.failed(&refused(1), now);
        assert!(!standing.begin(false, now + 299 * SECOND));
        assert!(standing.begin(false, now + 300 * SECOND));
        standing.failed(&refused(1), now + 301 * SECOND);
        assert!(!standing.begin(false, now + 600 * SECOND));
        assert!(standing.begin(true, now + 600 * SECOND));
    }

    #[test]
    fn while_nobody_can_be_asked_it_is_tried_at_every_look() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        for _ in 0..3 {
            assert!(standing.begin(false, now));
            standing.failed(&error(1, ErrorKind::Refused), now);
        }
    }

    #[test]
    fn the_same_is_said_once_unless_somebody_asks() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        let mut says = |asked, error: TransportError| {
            let _ = standing.begin(asked, now);
            standing.failed(&error, now)
        };
        assert!(says(false, refused(1)));
        assert!(!says(false, refused(2)));
        assert!(says(true, refused(1)));
        assert!(says(false, error(1, ErrorKind::PlaintextRefused)));
        assert!(says(false, error(1, ErrorKind::Refused)));
        let silent = ErrorKind::TimedOut {
            after: SECOND,
            sent: false,
        };
        assert!(!says(false, error(2, silent)));
        assert!(says(false, error(1, ErrorKind::PlaintextRefused)));
    }

    #[test]
    fn whoever_asks_while_it_is_tried_hears_what_comes_of_it() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        standing.begin(false, now);
        standing.failed(&refused(1), now);
        let again = now + AGAIN_AFTER;
        assert!(standing.begin(false, again));
        assert!(!standing.begin(true, again));
        assert!(standing.failed(&refused(1), again));
    }
}

//! When the view of the cluster is to be read anew.
//!
//! It ages, and it misleads: whoever finds a leader deposed asks for a view later than the one that named
//! it. Many find out at once, and the cluster needs a moment to agree on the next leader, so requests for a
//! later view are served by one read, and reads are kept a little apart.

use std::time::Duration;

use tokio::time::Instant;

use super::Generation;

/// Forced reads start at least this far apart.
const APART: Duration = Duration::from_millis(100);

/// After a read that nobody answered, an aged view is used for this long before the next is tried.
const PUT_OFF: Duration = Duration::from_secs(1);

/// What to do about a wish for metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The view at hand will do.
    Use,
    /// Read now.
    Read,
    /// Read, but not before this.
    ReadAt(Instant),
}

/// What is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A view that is not too old and knows all that is asked for.
    Current { known: bool },
    /// A view later than one that has misled.
    LaterThan(Generation),
}

/// Decides by age, by generation, and by when the last read began.
#[derive(Debug)]
pub(super) struct Freshness {
    max_age: Duration,
    generation: Generation,
    read_at: Option<Instant>,
    begun_at: Option<Instant>,
    /// An aged view has to do until then.
    put_off_until: Option<Instant>,
}

impl Freshness {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            generation: Generation::default(),
            read_at: None,
            begun_at: None,
            put_off_until: None,
        }
    }

    pub(super) fn step(&self, now: Instant, wish: Wish) -> Step {
        let too_old = self
            .read_at
            .is_none_or(|read_at| now.saturating_duration_since(read_at) >= self.max_age);
        let put_off = self.put_off_until.is_some_and(|until| now < until);
        match wish {
            Wish::Current { known: true } if !too_old || put_off => Step::Use,
            Wish::Current { known: true } => Step::Read,
            Wish::LaterThan(seen) if self.generation > seen => Step::Use,
            Wish::Current { known: false } | Wish::LaterThan(_) => match self.begun_at {
                Some(begun_at) if now < begun_at + APART => Step::ReadAt(begun_at + APART),
                _ => Step::Read,
            },
        }
    }

    pub(super) fn begun(&mut self, now: Instant) {
        self.begun_at = Some(now);
    }

    pub(super) fn read(&mut self, now: Instant, generation: Generation) {
        self.generation = generation;
        self.read_at = Some(now);
        self.put_off_until = None;
    }

    /// A read failed that was only made because of the view's age. Answers whether the view at hand
    /// will do, which it does for a while once there is one.
    pub(super) fn put_off(&mut self, now: Instant) -> bool {
        if self.read_at.is_some() {
            self.put_off_until = Some(now + PUT_OFF);
        }
        self.read_at.is_some()
    }

    /// Whether there is a view at all, of whatever age.
    pub(super) fn has_view(&self) -> bool {
        self.read_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    fn read_once() -> (Freshness, Instant) {
        let start = Instant::now();
        let mut freshness = Freshness::new(AGE);
        assert_eq!(
            freshness.step(start, Wish::Current { known: true }),
            Step::Read
        );
        freshness.begun(start);
        freshness.read(start, Generation(1));
        (freshness, start)
    }

    #[test]
    fn a_view_serves_until_it_is_too_old() {
        let (freshness, start) = read_once();
        let wish = Wish::Current { known: true };
        assert_eq!(
            freshness.step(start + AGE - Duration::from_millis(1), wish),
            Step::Use
        );
        assert_eq!(freshness.step(start + AGE, wish), Step::Read);
    }

    #[test]
    fn an_aged_view_serves_for_a_while_after_a_read_that_nobody_answered() {
        let (mut freshness, start) = read_once();
        let (wish, now) = (Wish::Current { known: true }, start + AGE);
        assert_eq!(freshness.step(now, wish), Step::Read);
        assert!(freshness.put_off(now));
        assert_eq!(freshness.step(now, wish), Step::Use);
        assert_eq!(freshness.step(now + PUT_OFF, wish), Step::Read);
        // Whoever was misled is not served by what misled them.
        assert_ne!(
            freshness.step(now, Wish::LaterThan(Generation(1))),
            Step::Use
        );
        assert!(!Freshness::new(AGE).put_off(start));
    }

    #[test]
    fn who_was_misled_by_an_older_view_is_served_by_the_one_at_hand() {
        let (freshness, start) = read_once();
        assert_eq!(
            freshness.step(start, Wish::LaterThan(Generation(0))),
            Step::Use
        );
    }

    #[test]
    fn reads_for_a_later_view_are_kept_apart() {
        let (freshness, start) = read_once();
        let wish = Wish::LaterThan(Generation(1));
        assert_eq!(freshness.step(start, wish), Step::ReadAt(start + APART));
        assert_eq!(freshness.step(start + APART, wish), Step::Read);
    }

    #[test]
    fn a_topic_that_is_not_known_yet_does_not_make_a_loop_of_reads() {
        let (freshness, start) = read_once();
        let wish = Wish::Current { known: false };
        assert_eq!(freshness.step(start, wish), Step::ReadAt(start + APART));
    }
}

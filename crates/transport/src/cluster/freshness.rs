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
}

impl Freshness {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            generation: Generation::default(),
            read_at: None,
            begun_at: None,
        }
    }

    pub(super) fn step(&self, now: Instant, wish: Wish) -> Step {
        let too_old = self
            .read_at
            .is_none_or(|read_at| now.saturating_duration_since(read_at) >= self.max_age);
        match wish {
            Wish::Current { known: true } if !too_old => Step::Use,
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

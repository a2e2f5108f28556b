//! How fast dead letters are put back: a handler that could not keep up once is not to be flooded.

use std::time::Duration;

use tokio::time::Instant;

/// One at a time, evenly spaced. Nothing is saved up: after a pause it goes on at the same pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    every: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// `per_second` of them a second; none is as one.
    #[must_use]
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            every: Duration::from_secs(1) / per_second.max(1),
            next: None,
        }
    }

    /// When the next one may go; it is taken for gone then.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let due = self.next.map_or(now, |next| next.max(now));
        self.next = Some(due + self.every);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_evenly_and_nothing_is_saved_up() {
        let begun = Instant::now();
        let ms = |ms| begun + Duration::from_millis(ms);
        let mut pace = Pace::new(10);
        assert_eq!(pace.next(begun), begun);
        assert_eq!(pace.next(begun), ms(100));
        assert_eq!(pace.next(ms(100)), ms(200));
        assert_eq!(pace.next(ms(5000)), ms(5000));
        assert_eq!(pace.next(ms(5000)), ms(5100));
    }
}

//! Nonces: 16 bytes that only ever grow within one instance.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | time, Unix milliseconds, u64 big-endian |
//! | 8..12 | instance id, u32 big-endian |
//! | 12..16 | counter, u32 big-endian, from 0 in each new millisecond |
//!
//! [`NonceSource`] decides what the next one is; it reads no clock and writes no file. What must
//! outlive a crash goes out as a [`Reservation`], which the caller keeps before nonces beyond the
//! earlier one are given out.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// A clock that goes back by up to this keeps the last nonce's time; further back, a new instance
/// id is drawn. Milliseconds.
pub const CLOCK_BACK_TOLERANCE_MS: u64 = 60_000;
/// How far ahead time is reserved on disk, milliseconds.
pub const RESERVE_AHEAD_MS: u64 = 10_000;

/// A nonce as it stands in a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// A nonce of its three parts.
    #[must_use]
    pub fn new(time_ms: u64, instance: u32, counter: u32) -> Self {
        let joined =
            (u128::from(time_ms) << 64) | (u128::from(instance) << 32) | u128::from(counter);
        Self(joined.to_be_bytes())
    }

    /// Its time, Unix milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The id of the instance that gave it out.
    #[must_use]
    pub fn instance(&self) -> u32 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Its place within its millisecond.
    #[must_use]
    pub fn counter(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Gives out nonces in growing order.
#[derive(Debug)]
pub struct NonceSource {
    instance: u32,
    /// The last nonce's time and counter.
    last: Option<(u64, u32)>,
    bound: Bound,
}

/// Up to which time nonces may be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// No state is kept: each start draws an instance id.
    None,
    /// Nothing has been kept yet, or an instance id was drawn that is not kept yet.
    Unkept,
    /// Kept up to and including this time.
    Until(u64),
}

/// What [`NonceSource::next`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next nonce, given out.
    Nonce(Nonce),
    /// Nothing was given out: keep this durably, hand it to [`NonceSource::kept`], and ask again.
    Keep(Reservation),
}

impl NonceSource {
    /// A source whose instance lives as long as the process; `instance` is drawn at random.
    #[must_use]
    pub const fn ephemeral(instance: u32) -> Self {
        Self {
            instance,
            last: None,
            bound: Bound::None,
        }
    }

    /// A source that keeps its state and has none yet; `instance` is drawn at random.
    #[must_use]
    pub const fn persistent(instance: u32) -> Self {
        Self {
            instance,
            last: None,
            bound: Bound::Unkept,
        }
    }

    /// A source that goes on after a restart: everything up to the reserved time counts as given out.
    #[must_use]
    pub const fn resume(kept: Reservation) -> Self {
        Self {
            instance: kept.instance,
            last: Some((kept.until_ms, u32::MAX)),
            bound: Bound::Until(kept.until_ms),
        }
    }

    /// A source that goes on after a nonce known to be its last, keeping no state.
    #[must_use]
    pub fn after(last: Nonce) -> Self {
        Self {
            instance: last.instance(),
            last: Some((last.time_ms(), last.counter())),
            bound: Bound::None,
        }
    }

    /// The next nonce at `now_ms` (Unix milliseconds), or the state to keep before there can be one.
    ///
    /// A clock that went back by up to [`CLOCK_BACK_TOLERANCE_MS`] keeps the last time; further back,
    /// `draw_instance` is asked for a new instance id and time starts from the clock.
    ///
    /// # Errors
    /// [`NonceError::Exhausted`] at the end of 64-bit time.
    pub fn next(
        &mut self,
        now_ms: u64,
        draw_instance: impl FnOnce() -> u32,
    ) -> Result<Next, NonceError> {
        let (time_ms, counter) = match self.last {
            None => (now_ms, 0),
            Some((last_ms, _)) if now_ms > last_ms => (now_ms, 0),
            Some((last_ms, _)) if last_ms - now_ms > CLOCK_BACK_TOLERANCE_MS => {
                let drawn = draw_instance();
                self.instance = if drawn == self.instance {
                    drawn.wrapping_add(1)
                } else {
                    drawn
                };
                self.last = None;
                if self.bound != Bound::None {
                    self.bound = Bound::Unkept;
                }
                (now_ms, 0)
            }
            Some((last_ms, u32::MAX)) => (last_ms.checked_add(1).ok_or(NonceError::Exhausted)?, 0),
            Some((last_ms, counter)) => (last_ms, counter + 1),
        };
        let allowed = match self.bound {
            Bound::None => true,
            Bound::Unkept => false,
            Bound::Until(until_ms) => time_ms <= until_ms,
        };
        if !allowed {
            return Ok(Next::Keep(self.reserve_from(time_ms)));
        }
        self.last = Some((time_ms, counter));
        Ok(Next::Nonce(Nonce::new(time_ms, self.instance, counter)))
    }

    /// What to keep ahead of need, where less than half of what was reserved is left at `now_ms`.
    #[must_use]
    pub fn reservation_due(&self, now_ms: u64) -> Option<Reservation> {
        let from_ms = self.last.map_or(now_ms, |(last_ms, _)| last_ms.max(now_ms));
        match self.bound {
            Bound::Until(until_ms) if until_ms < from_ms.saturating_add(RESERVE_AHEAD_MS / 2) => {
                Some(self.reserve_from(from_ms))
            }
            Bound::None | Bound::Unkept | Bound::Until(_) => None,
        }
    }

    /// Takes note that `reservation` is kept durably. One of another instance, or one that reaches
    /// less far than an earlier one, changes nothing.
    pub fn kept(&mut self, reservation: Reservation) {
        if reservation.instance != self.instance {
            return;
        }
        self.bound = match self.bound {
            Bound::None => Bound::None,
            Bound::Unkept => Bound::Until(reservation.until_ms),
            Bound::Until(until_ms) => Bound::Until(until_ms.max(reservation.until_ms)),
        };
    }

    /// The instance id in use.
    #[must_use]
    pub const fn instance(&self) -> u32 {
        self.instance
    }

    fn reserve_from(&self, time_ms: u64) -> Reservation {
        Reservation {
            instance: self.instance,
            until_ms: time_ms.saturating_add(RESERVE_AHEAD_MS),
        }
    }
}

/// What outlives a crash: the instance id, and up to which time its nonces may have been given out.
///
/// | bytes | what |
/// |---|---|
/// | 0 | version, 1 |
/// | 1..5 | instance id, u32 big-endian |
/// | 5..13 | reserved until, Unix milliseconds, u64 big-endian |
/// | 13..17 | first 4 bytes of SHA-256 of all before it, against torn writes |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    instance: u32,
    until_ms: u64,
}

impl Reservation {
    /// How long it is encoded, bytes.
    pub const LENGTH: usize = 17;
    const VERSION: u8 = 1;

    /// The instance id.
    #[must_use]
    pub const fn instance(&self) -> u32 {
        self.instance
    }

    /// The last time that may be given out, Unix milliseconds.
    #[must_use]
    pub const fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// The bytes to keep.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = Self::VERSION;
        bytes[1..5].copy_from_slice(&self.instance.to_be_bytes());
        bytes[5..13].copy_from_slice(&self.until_ms.to_be_bytes());
        let check = checksum(&bytes[..13]);
        bytes[13..].copy_from_slice(&check);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`NonceError::Damaged`] for anything else; the answer to that is a new instance id.
    pub fn decode(bytes: &[u8]) -> Result<Self, NonceError> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().map_err(|_| NonceError::Damaged)?;
        let [
            version,
            i0,
            i1,
            i2,
            i3,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            check @ ..,
        ] = *bytes;
        if version != Self::VERSION || check != checksum(&bytes[..13]) {
            return Err(NonceError::Damaged);
        }
        Ok(Self {
            instance: u32::from_be_bytes([i0, i1, i2, i3]),
            until_ms: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// Why there is no nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NonceError {
    /// The last millisecond that fits was used up.
    #[error("no nonce is left: time has reached its last millisecond")]
    Exhausted,
    /// The bytes are no reservation.
    #[error("nonce state is damaged: not 17 bytes of version 1 with their checksum")]
    Damaged,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn give(source: &mut NonceSource, now_ms: u64) -> Nonce {
        match source.next(now_ms, || 99).unwrap() {
            Next::Nonce(nonce) => nonce,
            Next::Keep(reservation) => {
                source.kept(reservation);
                match source.next(now_ms, || 98).unwrap() {
                    Next::Nonce(nonce) => nonce,
                    Next::Keep(again) => panic!("asked twice: {again:?}"),
                }
            }
        }
    }

    #[test]
    fn the_counter_starts_anew_in_each_millisecond() {
        let mut source = NonceSource::ephemeral(7);
        assert_eq!(give(&mut source, 1000), Nonce::new(1000, 7, 0));
        assert_eq!(give(&mut source, 1000), Nonce::new(1000, 7, 1));
        assert_eq!(give(&mut source, 1001), Nonce::new(1001, 7, 0));
    }

    #[test]
    fn a_clock_a_minute_back_keeps_the_last_time() {
        let mut source = NonceSource::ephemeral(7);
        give(&mut source, 100_000);
        assert_eq!(give(&mut source, 40_000), Nonce::new(100_000, 7, 1));
    }

    #[test]
    fn a_clock_further_back_draws_another_instance() {
        let mut source = NonceSource::ephemeral(7);
        give(&mut source, 100_000);
        assert_eq!(give(&mut source, 39_999), Nonce::new(39_999, 99, 0));
    }

    #[test]
    fn an_instance_drawn_twice_in_a_row_is_another_all_the_same() {
        let mut source = NonceSource::ephemeral(99);
        give(&mut source, 100_000);
        assert_eq!(give(&mut source, 1), Nonce::new(1, 100, 0));
    }

    #[test]
    fn a_counter_that_would_wrap_moves_time_on() {
        let mut source = NonceSource::after(Nonce::new(5, 1, u32::MAX));
        assert_eq!(give(&mut source, 5), Nonce::new(6, 1, 0));
        let mut source = NonceSource::after(Nonce::new(u64::MAX, 1, u32::MAX));
        assert_eq!(source.next(u64::MAX, || 2), Err(NonceError::Exhausted));
    }

    #[test]
    fn nothing_is_given_out_before_its_time_is_kept() {
        let mut source = NonceSource::persistent(7);
        let Next::Keep(first) = source.next(1000, || 0).unwrap() else {
            panic!("gave out a nonce unkept");
        };
        assert_eq!(first.until_ms(), 11_000);
        source.kept(first);
        assert_eq!(give(&mut source, 1000), Nonce::new(1000, 7, 0));
        assert!(source.reservation_due(5_000).is_none());
        assert_eq!(source.reservation_due(7_000).unwrap().until_ms(), 17_000);
        assert!(matches!(source.next(11_001, || 0), Ok(Next::Keep(_))));
    }

    #[test]
    fn a_new_instance_is_kept_before_it_is_used() {
        let mut source = NonceSource::persistent(7);
        give(&mut source, 100_000);
        let Next::Keep(reservation) = source.next(10, || 8).unwrap() else {
            panic!("gave out a nonce of an instance that is not kept");
        };
        assert_eq!(
            (reservation.instance(), reservation.until_ms()),
            (8, 10_010)
        );
    }

    #[test]
    fn a_damaged_state_is_told() {
        let bytes = Reservation {
            instance: 3,
            until_ms: 9,
        }
        .encode();
        assert_eq!(Reservation::decode(&bytes[1..]), Err(NonceError::Damaged));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Reservation::decode(&flipped), Err(NonceError::Damaged));
        }
    }

    /// A file that loses what was not synced, and may leave half of it behind.
    #[derive(Default)]
    struct TornFile {
        kept: Option<Vec<u8>>,
        /// Written, and not known to be on disk.
        pending: Option<Vec<u8>>,
    }

    impl TornFile {
        fn write(&mut self, reservation: &Reservation) {
            self.pending = Some(reservation.encode().to_vec());
        }

        fn sync(&mut self) {
            if let Some(written) = self.pending.take() {
                self.kept = Some(written);
            }
        }

        /// What is there after the crash: the old content, the new, or (where renaming is not atomic) the first
        /// bytes of the new.
        fn crash(&mut self, fate: Fate) {
            let pending = self.pending.take();
            match (fate, pending) {
                (Fate::Gone, _) => self.kept = None,
                (Fate::Old, _) | (_, None) => {}
                (Fate::New, Some(written)) => self.kept = Some(written),
                (Fate::Torn(length), Some(written)) => {
                    self.kept =
                        Some(written[..usize::from(length).min(written.len() - 1)].to_vec());
                }
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Old,
        New,
        Torn(u8),
        /// The folder is lost.
        Gone,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Give,
        /// The clock goes on, or back.
        Clock(i64),
        /// A reservation is asked for ahead of time and written; synced or not.
        Reserve {
            is_synced: bool,
        },
        /// In the middle of whatever was going on.
        Crash(Fate),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let fate = prop_oneof![
            Just(Fate::Old),
            Just(Fate::New),
            (0_u8..17).prop_map(Fate::Torn),
            Just(Fate::Gone),
        ];
        let hour = 3_600_000;
        let step = prop_oneof![
            4 => Just(Step::Give),
            2 => (0_i64..4_000).prop_map(Step::Clock),
            1 => (-50_000_i64..0).prop_map(Step::Clock),
            1 => Just(Step::Clock(-hour)),
            1 => Just(Step::Clock(hour)),
            2 => any::<bool>().prop_map(|is_synced| Step::Reserve { is_synced }),
            1 => fate.prop_map(Step::Crash),
        ];
        proptest::collection::vec(step, 1..120)
    }

    fn started(file: &TornFile, draw: &mut impl FnMut() -> u32) -> NonceSource {
        match file.kept.as_deref().map(Reservation::decode) {
            Some(Ok(kept)) => NonceSource::resume(kept),
            Some(Err(_)) | None => NonceSource::persistent(draw()),
        }
    }

    proptest! {
        #[test]
        fn within_an_instance_nonces_only_grow_over_clock_jumps_and_crashes(
            steps in proptest::collection::vec((0_u64..400_000, any::<bool>()), 1..60),
        ) {
            let mut draws = 100;
            let mut source = NonceSource::persistent(1);
            let mut kept = None;
            let mut highest = std::collections::HashMap::new();
            for (now_ms, crash) in steps {
                if let (true, Some(kept)) = (crash, kept) {
                    let bytes = Reservation::encode(&kept);
                    source = NonceSource::resume(Reservation::decode(&bytes).unwrap());
                }
                let nonce = loop {
                    match source.next(now_ms, || { draws += 1; draws }).unwrap() {
                        Next::Nonce(nonce) => break nonce,
                        Next::Keep(reservation) => {
                            kept = Some(reservation);
                            source.kept(reservation);
                        }
                    }
                };
                if let Some(before) = highest.insert(nonce.instance(), nonce) {
                    prop_assert!(before < nonce);
                }
                prop_assert!(nonce.time_ms() <= now_ms + CLOCK_BACK_TOLERANCE_MS + RESERVE_AHEAD_MS);
            }
        }

        /// Whatever happens to the file between two of its syncs, no nonce is given out twice, and receivers see those
        /// of one instance grow.
        #[test]
        fn no_nonce_repeats_over_crashes_torn_files_lost_folders_and_clocks_that_go_back(steps in steps()) {
            let mut draws = 100;
            let mut draw = || { draws += 1; draws };
            let mut file = TornFile::default();
            let mut now_ms = 1_760_000_000_000_i64;
            let mut source = started(&file, &mut draw);
            let mut given = std::collections::HashSet::new();
            let mut highest = std::collections::HashMap::new();
            for step in steps {
                let now = u64::try_from(now_ms).unwrap();
                match step {
                    Step::Clock(by) => now_ms += by,
                    Step::Reserve { is_synced } => if let Some(due) = source.reservation_due(now) {
                        file.write(&due);
                        if is_synced {
                            file.sync();
                            source.kept(due);
                        }
                    },
                    Step::Crash(fate) => {
                        file.crash(fate);
                        source = started(&file, &mut draw);
                    }
                    Step::Give => {
                        let nonce = loop {
                            match source.next(now, &mut draw).unwrap() {
                                Next::Nonce(nonce) => break nonce,
                                Next::Keep(reservation) => {
                                    file.write(&reservation);
                                    file.sync();
                                    source.kept(reservation);
                                }
                            }
                        };
                        prop_assert!(given.insert(nonce), "{} twice", nonce);
                        if let Some(before) = highest.insert(nonce.instance(), nonce) {
                            prop_assert!(before < nonce);
                        }
                    }
                }
            }
        }
    }
}

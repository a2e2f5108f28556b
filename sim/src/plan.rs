//! What goes wrong in a run: some of everything that can, so that runs differ in kind and not only in timing.

use std::time::Duration;

use crate::dice::Dice;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    LostAnswer,
    LostRequest,
    DoubleAnswer,
    SwappedAnswers,
    HalfAnswer,
    LateAnswer,
    Refusal,
    SlowNetwork,
    TornConnection,
    CutLine,
    Outage,
    LeaderMoves,
    BrokerStops,
    CoordinatorMoves,
    MemberExpires,
    NodeCrashes,
    BackendCrashes,
    Rebalance,
    DiskFails,
    ClockSteps,
    KeyRevoked,
    Forgery,
    Copy,
}

impl Kind {
    pub(crate) const ALL: [Self; 23] = [
        Self::LostAnswer,
        Self::LostRequest,
        Self::DoubleAnswer,
        Self::SwappedAnswers,
        Self::HalfAnswer,
        Self::LateAnswer,
        Self::Refusal,
        Self::SlowNetwork,
        Self::TornConnection,
        Self::CutLine,
        Self::Outage,
        Self::LeaderMoves,
        Self::BrokerStops,
        Self::CoordinatorMoves,
        Self::MemberExpires,
        Self::NodeCrashes,
        Self::BackendCrashes,
        Self::Rebalance,
        Self::DiskFails,
        Self::ClockSteps,
        Self::KeyRevoked,
        Self::Forgery,
        Self::Copy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LostAnswer => "lost answer",
            Self::LostRequest => "lost request",
            Self::DoubleAnswer => "answer twice",
            Self::SwappedAnswers => "answers swapped",
            Self::HalfAnswer => "half an answer",
            Self::LateAnswer => "late answer",
            Self::Refusal => "refusal",
            Self::SlowNetwork => "slow network",
            Self::TornConnection => "torn connection",
            Self::CutLine => "cut line",
            Self::Outage => "outage",
            Self::LeaderMoves => "leader moves",
            Self::BrokerStops => "broker stops",
            Self::CoordinatorMoves => "coordinator moves",
            Self::MemberExpires => "member expires",
            Self::NodeCrashes => "node crashes",
            Self::BackendCrashes => "backend crashes",
            Self::Rebalance => "rebalance",
            Self::DiskFails => "disk fails",
            Self::ClockSteps => "clock steps",
            Self::KeyRevoked => "key revoked",
            Self::Forgery => "forgery",
            Self::Copy => "copy",
        }
    }

    /// Whether it leaves everybody well: nothing is handled again for its sake.
    pub(crate) fn is_calm(self) -> bool {
        matches!(
            self,
            Self::Rebalance | Self::KeyRevoked | Self::Forgery | Self::Copy
        )
    }
}

/// What a run is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Messages of each node.
    pub(crate) messages: u64,
    /// How long faults go on.
    pub(crate) faults_for: Duration,
    /// The longest pause between two faults.
    pub(crate) pause_ms: u64,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) assignor: &'static str,
    /// Offsets within which copies are told apart from replays.
    pub(crate) ring: &'static str,
}

impl Plan {
    pub(crate) fn of(dice: &Dice) -> Self {
        let share = *dice.pick(&[10, 30, 60]).unwrap_or(&30);
        let mut kinds: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|_| dice.percent(share))
            .collect();
        // One run in eight has nothing but what must leave everybody well.
        if dice.percent(12) {
            kinds.retain(|kind| kind.is_calm());
            kinds.push(Kind::Rebalance);
        }
        let assignors = ["range", "roundrobin", "cooperative-sticky"];
        Self {
            messages: dice.within(20..=90),
            faults_for: dice.ms(20_000..=60_000),
            pause_ms: *dice.pick(&[1_500, 4_000, 10_000]).unwrap_or(&4_000),
            kinds,
            assignor: dice.pick(&assignors).unwrap_or(&"range"),
            ring: dice.pick(&["16", "64", "2000"]).unwrap_or(&"64"),
        }
    }

    /// Whether nothing is handled again for what goes wrong here.
    pub(crate) fn is_calm(&self) -> bool {
        self.kinds.iter().all(|kind| kind.is_calm())
    }
}

//! Flood guard: what keeps one kind of trouble from becoming another.
//!
//! Three floods, told apart because they ask for opposite things. Messages that nobody need have
//! signed never pause anything, or whoever may write to the topic could stop us: [`burials`] sums
//! them up instead. Authentic messages that fail one after the other say that something behind the
//! handlers is away: [`systemic`] pauses and tries. And some floods are our own fault, for every
//! partition at once: [`clock`] and [`audience`].

pub(super) mod audience;
pub(crate) mod burials;
pub(super) mod clock;
pub(super) mod systemic;

use audience::AudienceGuard;
use burials::BurialRate;
use clock::ClockGuard;

/// What the guard is told by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardPolicy {
    /// Nothing is summed up, and nothing paused but for what cannot be judged at all.
    Off,
    /// As the module says, with this rate of burials one by one.
    On(BurialRate),
}

/// What is watched over all partitions together: faults of our own.
#[derive(Debug)]
pub(crate) struct OwnFaults {
    pub(crate) clock: ClockGuard,
    pub(crate) audience: AudienceGuard,
    policy: GuardPolicy,
}

impl OwnFaults {
    pub(crate) fn new(policy: GuardPolicy) -> Self {
        Self {
            clock: ClockGuard::default(),
            audience: AudienceGuard::default(),
            policy,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.policy != GuardPolicy::Off
    }
}

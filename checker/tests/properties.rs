//! Random honest histories pass; one thing changed in them is named rightly.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use cybermesh_checker::{Answer, Event, Outcome, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{GROUP, TOPIC, judged, model};

/// One lie in a history.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    LoseARecord,
    HandleNobodys,
    HandleUnverified,
    HandleAgain,
    HandleTheCopy,
    CommitFurther,
    ForgetABurial,
    BuryTheDone,
    SwapALane,
    StandStill,
    NotSent,
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop::sample::select(vec![
        Mutation::LoseARecord,
        Mutation::HandleNobodys,
        Mutation::HandleUnverified,
        Mutation::HandleAgain,
        Mutation::HandleTheCopy,
        Mutation::CommitFurther,
        Mutation::ForgetABurial,
        Mutation::BuryTheDone,
        Mutation::SwapALane,
        Mutation::StandStill,
        Mutation::NotSent,
    ])
}

/// Numbers of the events that are like this, and one of them.
fn one(events: &[Event], index: Index, like: impl Fn(&Event) -> bool) -> Option<usize> {
    let all: Vec<usize> = (0..events.len()).filter(|at| like(&events[*at])).collect();
    (!all.is_empty()).then(|| *index.get(&all))
}

impl Mutation {
    /// Tells the lie where the history has a place for it; what it must be called.
    fn tell(self, events: &mut Vec<Event>, index: Index) -> Option<Verdict> {
        let handled = |event: &Event| matches!(event, Event::Handled { .. });
        match self {
            Self::LoseARecord => {
                let logged = |event: &Event| {
                    let outcome = match event {
                        Event::SendEnded { outcome, .. } => outcome,
                        _ => return false,
                    };
                    matches!(outcome, Outcome::Logged { .. })
                };
                let at = one(events, index, logged)?;
                let Event::SendEnded { id: lost, .. } = events[at].clone() else {
                    return None;
                };
                for event in events {
                    if let Event::Log { records, .. } = event {
                        records.retain(|record| record.id.as_ref() != Some(&lost));
                    }
                }
                Some(Verdict::LostAcknowledged)
            }
            Self::HandleNobodys => {
                let at = one(events, index, handled)?;
                if let Event::Handled { id, .. } = &mut events[at] {
                    "nobody's".clone_into(id);
                }
                Some(Verdict::Phantom)
            }
            Self::HandleUnverified => {
                let at = one(events, index, handled)?;
                if let Event::Handled { verified_by, .. } = &mut events[at] {
                    *verified_by = None;
                }
                Some(Verdict::Unverified)
            }
            Self::HandleAgain => {
                let done = |event: &Event| {
                    matches!(
                        event,
                        Event::Answered {
                            answer: Answer::Done,
                            ..
                        }
                    )
                };
                let at = one(events, index, done)?;
                let answered = events[at].clone();
                let again = events[at - 1].clone();
                events.splice(at + 1..=at, [again, answered]);
                Some(Verdict::WithoutCause)
            }
            Self::HandleTheCopy => {
                let copy = |event: &Event| matches!(event, Event::Forged { copy: true, .. });
                let at = one(events, index, copy)?;
                let Event::Forged { place, id, .. } = events[at].clone() else {
                    return None;
                };
                let handled = Event::Handled {
                    process: "careless".to_owned(),
                    group: GROUP.to_owned(),
                    place,
                    id: id?,
                    lane: Some("of its own".to_owned()),
                    verified_by: Some("key".to_owned()),
                };
                events.insert(at + 1, handled);
                Some(Verdict::CopyHandled)
            }
            Self::CommitFurther => {
                let answered = |event: &Event| {
                    matches!(
                        event,
                        Event::Answered {
                            answer: Answer::Done,
                            ..
                        }
                    )
                };
                let at = one(events, index, answered)?;
                let Event::Answered { place, .. } = events[at].clone() else {
                    return None;
                };
                // Ahead of every handling of the record.
                let is_of = |event: &Event| matches!(event, Event::Handled { place: of, .. } if *of == place);
                let first = events.iter().position(is_of)?;
                let ahead = Event::Committed {
                    process: None,
                    group: GROUP.to_owned(),
                    topic: TOPIC.to_owned(),
                    partition: place.partition,
                    offset: place.offset + 1,
                    generation: None,
                };
                events.insert(first, ahead);
                Some(Verdict::CommittedPast)
            }
            Self::ForgetABurial => {
                let forged = |event: &Event| {
                    matches!(event, Event::Buried { disposition, .. }
                        if disposition == "signature-invalid")
                };
                let at = one(events, index, forged)?;
                let gone = events[at].clone();
                events.retain(|event| *event != gone);
                Some(Verdict::NotBuried)
            }
            Self::BuryTheDone => {
                let done = |event: &Event| {
                    matches!(
                        event,
                        Event::Answered {
                            answer: Answer::Done,
                            ..
                        }
                    )
                };
                let at = one(events, index, done)?;
                let Event::Answered { place, group, .. } = events[at].clone() else {
                    return None;
                };
                let letter = Event::Buried {
                    group,
                    place,
                    disposition: "signature-invalid".to_owned(),
                    acknowledged: true,
                };
                events.insert(at + 1, letter);
                Some(Verdict::WronglyBuried)
            }
            Self::SwapALane => {
                // Two that one process handled one right after the other in a lane.
                let pair = |at: &usize| {
                    let (Some(first), Some(second)) = (events.get(*at), events.get(at + 2)) else {
                        return false;
                    };
                    matches!((first, second), (
                        Event::Handled { place: a, lane: k, process: p, .. },
                        Event::Handled { place: b, lane: l, process: q, .. },
                    ) if a.partition == b.partition && k == l && p == q && a.offset < b.offset)
                };
                let all: Vec<usize> = (0..events.len()).filter(pair).collect();
                let at = *all.get(index.index(all.len().max(1)))?;
                events.swap(at, at + 2);
                events.swap(at + 1, at + 3);
                Some(Verdict::OutOfOrder)
            }
            Self::StandStill => {
                let stands =
                    |event: &Event| matches!(event, Event::Offsets { offset, .. } if *offset > 0);
                let at = one(events, index, stands)?;
                if let Event::Offsets { offset, .. } = &mut events[at] {
                    *offset = 0;
                }
                Some(Verdict::Stuck)
            }
            Self::NotSent => {
                let logged = |event: &Event| {
                    matches!(
                        event,
                        Event::SendEnded {
                            outcome: Outcome::Logged { .. },
                            ..
                        }
                    )
                };
                let at = one(events, index, logged)?;
                if let Event::SendEnded { outcome, .. } = &mut events[at] {
                    *outcome = Outcome::NotSent;
                }
                Some(Verdict::Phantom)
            }
        }
    }
}

proptest! {
    #[test]
    fn honest_histories_pass(steps in model::steps()) {
        let report = judged(model::honest(&steps));
        prop_assert!(report.is_valid(), "{report}");
    }

    #[test]
    fn one_lie_is_named(steps in model::steps(), mutation in mutations(), index in any::<Index>()) {
        let mut events = model::honest(&steps);
        let Some(verdict) = mutation.tell(&mut events, index) else {
            return Ok(());
        };
        let report = judged(events);
        prop_assert!(report.broken().contains(&verdict), "{mutation:?}:\n{report}");
    }
}

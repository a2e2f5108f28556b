use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn admitted(breaker: &mut Breaker, now: Instant) -> Ticket {
    match breaker.admit(now).0 {
        Admission::Admitted(ticket) => ticket,
        Admission::Refused { retry_after } => panic!("refused for {retry_after:?}"),
    }
}

fn attempt(breaker: &mut Breaker, now: Instant, outcome: Outcome) -> Option<Transition> {
    let ticket = admitted(breaker, now);
    breaker.record(now, ticket, outcome)
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(BreakerConfig::default(), 1);
    for _ in 0..5 {
        attempt(&mut breaker, now, Outcome::Unreachable);
    }
    assert_eq!(breaker.state(), State::Open);
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_and_four_do_not() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerConfig::default(), 1);
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, now, Outcome::Unreachable), None);
    }
    assert_eq!(attempt(&mut breaker, now, Outcome::Answered), None);
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, now, Outcome::Unreachable), None);
    }
    assert_eq!(
        attempt(&mut breaker, now, Outcome::Unreachable),
        Some(Transition { to: State::Open })
    );
}

#[test]
fn half_of_the_last_twenty_opens_it_but_not_before_there_are_twenty() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerConfig::default(), 1);
    for _ in 0..9 {
        assert_eq!(attempt(&mut breaker, now, Outcome::Unreachable), None);
        assert_eq!(attempt(&mut breaker, now, Outcome::Answered), None);
    }
    assert_eq!(attempt(&mut breaker, now, Outcome::Answered), None);
    assert_eq!(
        attempt(&mut breaker, now, Outcome::Unreachable),
        Some(Transition { to: State::Open })
    );
}

#[test]
fn an_open_breaker_refuses_and_says_for_how_long() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let refused = breaker.refuses(now).unwrap();
    assert!(
        refused >= Duration::from_secs(24) && refused <= Duration::from_secs(36),
        "{refused:?}"
    );
    assert_eq!(
        breaker.admit(now).0,
        Admission::Refused {
            retry_after: refused
        }
    );
    assert_eq!(breaker.next_change(), Some(now + refused));
    assert_eq!(breaker.refuses(now + refused), None);
}

#[test]
fn half_open_lets_one_probe_through_at_a_time_and_closes_after_two_answers() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let later = now + MINUTE;
    let (first, transition) = breaker.admit(later);
    assert_eq!(
        transition,
        Some(Transition {
            to: State::HalfOpen
        })
    );
    let Admission::Admitted(first) = first else {
        panic!("no probe")
    };
    assert!(matches!(breaker.admit(later).0, Admission::Refused { .. }));
    assert_eq!(breaker.record(later, first, Outcome::Answered), None);
    let second = admitted(&mut breaker, later);
    assert_eq!(
        breaker.record(later, second, Outcome::Answered),
        Some(Transition { to: State::Closed })
    );
    admitted(&mut breaker, later);
    admitted(&mut breaker, later);
}

#[test]
fn jitter_makes_an_opening_shorter_or_longer_by_up_to_a_fifth() {
    let now = Instant::now();
    let openings: Vec<Duration> = (0..200)
        .map(|seed| {
            let mut breaker = Breaker::new(BreakerConfig::default(), seed);
            for _ in 0..5 {
                attempt(&mut breaker, now, Outcome::Unreachable);
            }
            breaker.refuses(now).unwrap()
        })
        .collect();
    let (least, most) = (openings.iter().min(), openings.iter().max());
    let seconds = |bounds: std::ops::RangeInclusive<u64>, of: Option<&Duration>| {
        bounds.contains(&of.unwrap().as_secs())
    };
    assert!(
        seconds(24..=25, least) && seconds(34..=36, most),
        "{least:?} {most:?}"
    );
}

#[test]
fn states_have_the_names_and_numbers_of_the_metrics() {
    let named = [State::Closed, State::HalfOpen, State::Open]
        .map(|state| (state.as_number(), state.as_str()));
    assert_eq!(named, [(0, "closed"), (1, "half-open"), (2, "open")]);
}

#[test]
fn each_failed_probe_doubles_the_opening_up_to_five_minutes_and_closing_starts_over() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    let mut expected = 60;
    for _ in 0..6 {
        now = breaker.next_change().unwrap();
        assert_eq!(
            attempt(&mut breaker, now, Outcome::Unreachable),
            Some(Transition { to: State::Open })
        );
        let open_for = breaker.refuses(now).unwrap().as_secs_f64();
        let full = f64::from(expected.min(300));
        assert!(
            open_for >= full * 0.8 && open_for <= full * 1.2,
            "{open_for} for {full}"
        );
        expected *= 2;
    }
    now = breaker.next_change().unwrap();
    attempt(&mut breaker, now, Outcome::Answered);
    attempt(&mut breaker, now, Outcome::Answered);
    for _ in 0..5 {
        attempt(&mut breaker, now, Outcome::Unreachable);
    }
    assert!(breaker.refuses(now).unwrap() <= Duration::from_secs(36));
}

#[test]
fn answers_to_attempts_from_before_the_opening_close_nothing() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerConfig::default(), 1);
    let early: Vec<_> = (0..4).map(|_| admitted(&mut breaker, now)).collect();
    for _ in 0..5 {
        attempt(&mut breaker, now, Outcome::Unreachable);
    }
    let probe = admitted(&mut breaker, now + MINUTE);
    for ticket in early {
        assert_eq!(
            breaker.record(now + MINUTE, ticket, Outcome::Unreachable),
            None
        );
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.record(now + MINUTE, probe, Outcome::Answered), None);
}

#[test]
fn a_probe_that_was_given_up_or_forgotten_makes_room_for_another() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let later = now + MINUTE;
    let probe = admitted(&mut breaker, later);
    breaker.record(later, probe, Outcome::Abandoned);
    let forgotten = admitted(&mut breaker, later);
    assert!(matches!(breaker.admit(later).0, Admission::Refused { .. }));
    let much_later = later + MINUTE;
    let probe = admitted(&mut breaker, much_later);
    assert_eq!(
        breaker.record(much_later, forgotten, Outcome::Unreachable),
        None
    );
    assert_eq!(breaker.record(much_later, probe, Outcome::Answered), None);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Attempt,
    End(prop::sample::Index, Outcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Answered),
        3 => Just(Outcome::Unreachable),
        1 => Just(Outcome::Abandoned)
    ];
    let step = prop_oneof![
        1 => (0_u64..40_000).prop_map(Step::Wait),
        4 => Just(Step::Attempt),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
    ];
    prop::collection::vec(step, 1..400)
}

/// Remembers everything and decides by looking at all of it.
struct Model {
    outcomes: Vec<bool>,
    state: State,
    opened_at: Instant,
    openings: u32,
    answers: u32,
    probe: Option<(Ticket, Instant)>,
}

proptest! {
    #[test]
    fn the_breaker_agrees_with_a_model_that_remembers_everything(steps in steps(), seed: u64) {
        let start = Instant::now();
        let mut now = start;
        let mut breaker = Breaker::new(BreakerConfig::default(), seed);
        let mut model = Model { outcomes: Vec::new(), state: State::Closed, opened_at: now, openings: 0, answers: 0, probe: None };
        let mut running: Vec<(Ticket, State, u32)> = Vec::new();
        let mut changes = 0;
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Attempt => {
                    let full = Duration::from_secs(30) * 2_u32.pow(model.openings.saturating_sub(1).min(4));
                    let full = full.min(Duration::from_secs(300));
                    match breaker.admit(now).0 {
                        Admission::Admitted(ticket) => {
                            if model.state == State::Open {
                                prop_assert!(now >= model.opened_at + full * 4 / 5, "left open too early");
                                (model.state, model.answers, model.probe) = (State::HalfOpen, 0, None);
                                changes += 1;
                            }
                            if model.state == State::HalfOpen {
                                prop_assert!(model.probe.is_none_or(|(_, until)| now >= until), "two probes at once");
                                model.probe = Some((ticket, now + MINUTE));
                            }
                            running.push((ticket, model.state, changes));
                        }
                        Admission::Refused { retry_after } => {
                            prop_assert!(retry_after > Duration::ZERO);
                            match model.state {
                                State::Closed => prop_assert!(false, "refused while closed"),
                                State::Open => prop_assert!(now < model.opened_at + full * 6 / 5 + Duration::from_nanos(9), "open too long"),
                                State::HalfOpen => prop_assert!(model.probe.is_some_and(|(_, until)| now < until), "no probe let through"),
                            }
                        }
                    }
                }
                Step::End(which, outcome) => {
                    if running.is_empty() { continue; }
                    let (ticket, state, since) = running.swap_remove(which.index(running.len()));
                    breaker.record(now, ticket, outcome);
                    if since != changes { continue; }
                    match state {
                        State::Closed if outcome != Outcome::Abandoned => {
                            let failed = outcome == Outcome::Unreachable;
                            model.outcomes.push(failed);
                            let run = model.outcomes.iter().rev().take_while(|failed| **failed).count();
                            let last: Vec<_> = model.outcomes.iter().rev().take(20).collect();
                            let share = last.len() == 20 && last.iter().filter(|failed| ***failed).count() >= 10;
                            if failed && (run >= 5 || share) {
                                model.state = State::Open;
                                model.opened_at = now;
                                model.openings += 1;
                                changes += 1;
                            }
                        }
                        State::HalfOpen if model.probe.is_some_and(|(probe, _)| probe == ticket) => {
                            model.probe = None;
                            match outcome {
                                Outcome::Abandoned => {}
                                Outcome::Unreachable => {
                                    model.state = State::Open;
                                    model.opened_at = now;
                                    model.openings += 1;
                                    changes += 1;
                                }
                                Outcome::Answered => {
                                    model.answers += 1;
                                    if model.answers == 2 {
                                        (model.state, model.openings) = (State::Closed, 0);
                                        model.outcomes.clear();
                                        changes += 1;
                                    }
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            prop_assert_eq!(breaker.state(), model.state);
        }
    }
}

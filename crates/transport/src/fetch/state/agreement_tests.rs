//! Logs that are not the ones that were read, without any socket.

use proptest::prelude::*;

use super::super::*;
use crate::{
    consumer::{ResetCause, StartPolicy},
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::{Compression, ProducerStamp, Record, encode},
    wire::EpochEnd,
};

const OLD: TopicId = [1; 16];
const NEW: TopicId = [2; 16];

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A record alone in its batch.
fn batch(offset: i64, epoch: i32, value: u32) -> Vec<u8> {
    let record = Record {
        value: Some(value.to_string().into()),
        ..Record::default()
    };
    let nobody = ProducerStamp {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
    let encoded = encode(&[record], nobody, Compression::None).unwrap();
    let mut bytes = encoded.bytes.to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes
}

fn chunk(records: Vec<u8>, leader_epoch: i32, topic_id: Option<TopicId>) -> Chunk {
    Chunk {
        records: records.into(),
        aborted: Vec::new(),
        high_watermark: 100,
        last_stable_offset: 100,
        log_start_offset: 0,
        topic_id,
        leader_epoch,
    }
}

fn leader(epoch: i32, id: TopicId) -> LeaderView {
    LeaderView {
        topic_id: Some(id),
        epoch,
    }
}

/// Asks as the driver does.
fn ask(state: &mut FetchState, now: Instant, leader: LeaderView) -> Option<(Incarnation, Wanted)> {
    let (partition, incarnation) = state.wanted(now).pop()?;
    let wanted = state.meets(now, &partition, leader)?;
    state.asking(&partition);
    Some((incarnation, wanted))
}

/// A partition of which epochs are read, one for each record, from offset 0; everything is delivered.
fn read(epochs: &[i32]) -> (FetchState, Instant) {
    let now = Instant::now();
    let mut state = FetchState::unrestricted(FetchConfig::default());
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, epochs);
    while state.take_event().is_some() {}
    (state, now)
}

fn fetch(state: &mut FetchState, now: Instant, from: i64, epochs: &[i32]) {
    let last = *epochs.last().unwrap();
    let (incarnation, wanted) = ask(state, now, leader(last, OLD)).unwrap();
    assert!(matches!(wanted, Wanted::Fetch(next) if next.offset == from));
    let records = (from..)
        .zip(epochs)
        .flat_map(|(offset, epoch)| batch(offset, *epoch, 0))
        .collect();
    let chunk = chunk(records, last, Some(OLD));
    state.fetched(now, &name(), incarnation, chunk).unwrap();
}

fn end(leader_epoch: i32, end_offset: i64) -> Option<EpochEnd> {
    Some(EpochEnd {
        leader_epoch,
        end_offset,
    })
}

/// Meets a leader of another epoch, who says where the last epoch read ends.
fn validate(
    state: &mut FetchState,
    now: Instant,
    epoch: i32,
    told: Option<EpochEnd>,
    start: StartPolicy,
) -> i32 {
    let (incarnation, wanted) = ask(state, now, leader(epoch, OLD)).unwrap();
    let Wanted::Validate(asked) = wanted else {
        panic!("{wanted:?}")
    };
    state.validated(&name(), incarnation, epoch, told, start);
    asked
}

fn next_offset(state: &mut FetchState, now: Instant, epoch: i32) -> Option<(i64, Option<i32>)> {
    match ask(state, now, leader(epoch, OLD))?.1 {
        Wanted::Fetch(next) => Some((next.offset, next.last_epoch)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_position_is_held_against_the_log_of_each_new_leader_and_of_no_leader_twice() {
    let (mut state, now) = read(&[3, 3, 4]);
    let asked = validate(&mut state, now, 5, end(4, 3), StartPolicy::Earliest);
    assert_eq!(asked, 4);
    assert_eq!(next_offset(&mut state, now, 5), Some((3, Some(4))));
    assert!(state.take_event().is_none());
}

#[test]
fn a_leader_that_cannot_be_asked_is_believed() {
    let (mut state, now) = read(&[3]);
    validate(&mut state, now, 5, None, StartPolicy::None);
    assert_eq!(next_offset(&mut state, now, 5), Some((1, Some(3))));
}

#[test]
fn what_was_delivered_and_is_cut_off_is_told_and_reading_goes_on_there() {
    let (mut state, now) = read(&[3, 3, 4, 4]);
    validate(&mut state, now, 6, end(4, 3), StartPolicy::Latest);
    let Some(Event::Reset {
        from, to, cause, ..
    }) = state.take_event()
    else {
        panic!("no reset")
    };
    assert_eq!((from, to), (4, 3));
    let diverged_at = Some(3);
    assert_eq!(cause, ResetCause::Truncated { diverged_at });
    assert_eq!(state.position(&name()), Some(3));
    assert_eq!(next_offset(&mut state, now, 6), Some((3, Some(4))));
}

#[test]
fn a_cut_into_an_earlier_epoch_is_held_against_the_log_again() {
    let (mut state, now) = read(&[1, 1, 3, 3]);
    // The leader never had epoch 3, and more of 2 than we have of 1.
    validate(&mut state, now, 6, end(2, 9), StartPolicy::Earliest);
    assert!(matches!(
        state.take_event(),
        Some(Event::Reset { from: 4, to: 2, .. })
    ));
    let asked = validate(&mut state, now, 6, end(1, 1), StartPolicy::Earliest);
    assert_eq!(asked, 1);
    assert!(matches!(
        state.take_event(),
        Some(Event::Reset { from: 2, to: 1, .. })
    ));
    assert_eq!(next_offset(&mut state, now, 6), Some((1, Some(1))));
}

#[test]
fn what_is_cut_off_and_was_not_delivered_is_fetched_anew_without_a_word() {
    let (mut state, now) = read(&[3, 3]);
    fetch(&mut state, now, 2, &[3, 3]);
    validate(&mut state, now, 6, end(3, 3), StartPolicy::None);
    assert!(state.take_event().is_none());
    // From what was delivered on, which is held against the log for itself.
    let asked = validate(&mut state, now, 6, end(3, 3), StartPolicy::None);
    assert_eq!(asked, 3);
    assert_eq!(next_offset(&mut state, now, 6), Some((2, Some(3))));
}

#[test]
fn where_no_leader_knows_our_time_the_policy_says_where_to_go_on() {
    let (mut state, now) = read(&[3, 3]);
    validate(&mut state, now, 6, end(-1, -1), StartPolicy::Latest);
    let (incarnation, wanted) = ask(&mut state, now, leader(6, OLD)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Latest));
    state.resolved(&name(), incarnation, 1);
    let Some(Event::Reset {
        from, to, cause, ..
    }) = state.take_event()
    else {
        panic!("no reset")
    };
    assert_eq!((from, to), (2, 1));
    assert_eq!(cause, ResetCause::Truncated { diverged_at: None });
}

#[test]
fn without_a_policy_a_cut_log_stands_until_a_seek() {
    for (told, diverged_at) in [(end(3, 1), Some(1)), (end(-1, -1), None)] {
        let (mut state, now) = read(&[3, 3]);
        validate(&mut state, now, 6, told, StartPolicy::None);
        let Some(Event::Failed(error)) = state.take_event() else {
            panic!("no failure")
        };
        let offset = 2;
        assert_eq!(
            error.kind(),
            &ErrorKind::LogTruncated {
                offset,
                diverged_at
            }
        );
        assert!(ask(&mut state, now, leader(6, OLD)).is_none());
        state.begin(&name(), Position::Offset(1));
        assert_eq!(next_offset(&mut state, now, 6), Some((1, None)));
    }
}

fn assigned(committed: Option<(i64, Option<i32>)>) -> AssignedPartition {
    let committed = committed.map(|(offset, leader_epoch)| crate::consumer::Committed {
        offset,
        leader_epoch,
        metadata: String::new(),
    });
    AssignedPartition {
        partition: name(),
        committed,
        start: None,
        topic_id: None,
    }
}

fn member(committed: Option<(i64, Option<i32>)>) -> FetchState {
    let mut state = FetchState::of_member(FetchConfig::default());
    state.assign(1, vec![assigned(committed)]);
    state.take_event();
    state
}

#[test]
fn a_committed_offset_is_held_against_the_log_by_its_epoch_before_anything_is_read() {
    let now = Instant::now();
    let mut state = member(Some((7, Some(4))));
    state.begin(&name(), Position::Offset(7));
    let asked = validate(&mut state, now, 4, end(4, 7), StartPolicy::Earliest);
    assert_eq!(asked, 4);
    assert_eq!(next_offset(&mut state, now, 4), Some((7, Some(4))));
    assert_eq!(state.leader_epoch(&name(), 7), Some(4));
    // Another offset than the committed one has no epoch, nor has one that was committed without.
    state.begin(&name(), Position::Offset(8));
    assert_eq!(next_offset(&mut state, now, 4), Some((8, None)));
    let mut state = member(Some((7, None)));
    state.begin(&name(), Position::Offset(7));
    assert_eq!(next_offset(&mut state, now, 4), Some((7, None)));
}

#[test]
fn the_epoch_of_each_record_read_is_known_for_its_commit() {
    let (state, _) = read(&[3, 3, 5]);
    let known = [0, 1, 2, 3].map(|offset| state.leader_epoch(&name(), offset));
    assert_eq!(known, [None, Some(3), Some(3), Some(5)]);
}

/// The topic is known by the old id, and a broker does not know it any more.
fn disown(state: &mut FetchState, now: Instant) {
    let (incarnation, wanted) = ask(state, now, leader(1, OLD)).unwrap();
    assert!(matches!(wanted, Wanted::Fetch(next) if next.topic_id == Some(OLD)));
    state.disowned(&name(), incarnation);
    state.unanswered(&name(), incarnation);
}

#[test]
fn a_topic_made_again_is_read_from_its_first_record_whatever_the_policy() {
    let (mut state, now) = read(&[1, 1]);
    disown(&mut state, now);
    let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
    state.begin(&name(), Position::Offset(2)); // Said of the old one.
    state.resolved(&name(), incarnation, 0);
    let Some(Event::Reset {
        from, to, cause, ..
    }) = state.take_event()
    else {
        panic!("no reset")
    };
    assert_eq!((from, to, cause), (2, 0, ResetCause::TopicRecreated));
    let (_, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    let Wanted::Fetch(next) = wanted else {
        panic!("{wanted:?}")
    };
    assert_eq!(
        (next.offset, next.last_epoch, next.topic_id),
        (0, None, None)
    );
}

#[test]
fn a_leader_that_is_late_to_know_the_topic_changes_nothing() {
    let (mut state, now) = read(&[1, 1]);
    disown(&mut state, now);
    assert_eq!(next_offset(&mut state, now, 1), Some((2, Some(1))));
    // Nor does a view of another topic, where no broker has said that ours is gone.
    let (mut state, now) = read(&[1, 1]);
    let (_, wanted) = ask(&mut state, now, leader(1, NEW)).unwrap();
    assert!(matches!(wanted, Wanted::Fetch(next) if next.topic_id == Some(OLD)));
}

#[test]
fn a_topic_of_another_id_is_not_asked_about_the_epochs_of_the_old_one() {
    let (mut state, now) = read(&[1, 1]);
    // It leads in an epoch that would have to be held against ours, were it the same topic.
    let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert!(
        matches!(wanted, Wanted::Fetch(next) if next.topic_id == Some(OLD)),
        "{wanted:?}"
    );
    state.disowned(&name(), incarnation);
    state.unanswered(&name(), incarnation);
    let (_, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
    // With brokers that tell no ids it may be the same.
    let (mut state, now) = read(&[1, 1]);
    let nameless = LeaderView {
        topic_id: None,
        epoch: 0,
    };
    let (_, wanted) = ask(&mut state, now, nameless).unwrap();
    assert_eq!(wanted, Wanted::Validate(1));
}

#[test]
fn what_was_fetched_of_the_old_topic_is_delivered_before_the_new_one_is_read() {
    let (mut state, now) = read(&[1, 1]);
    fetch(&mut state, now, 2, &[1]);
    disown(&mut state, now);
    assert!(ask(&mut state, now, leader(0, NEW)).is_none());
    assert!(matches!(state.take_event(), Some(Event::Records(_))));
    let later = now + RETRY_FROM;
    let (_, wanted) = ask(&mut state, later, leader(0, NEW)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
}

#[test]
fn what_a_member_says_of_the_old_topic_does_not_count_until_it_has_heard_of_the_new() {
    let now = Instant::now();
    let mut state = member(None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[1]);
    state.take_event();
    let before = state.tenure(&name());
    disown(&mut state, now);
    assert!(!state.is_recreated(&name()));
    let (incarnation, _) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert!(state.is_recreated(&name()));
    state.resolved(&name(), incarnation, 0);
    assert!(state.is_recreated(&name()), "told, and not heard");
    assert!(matches!(state.take_event(), Some(Event::Reset { .. })));
    assert!(!state.is_recreated(&name()));
    // What was said before is not what is said now, and no other assignment.
    let after = state.tenure(&name());
    assert!(after > before);
    assert_eq!(
        after.map(|tenure| tenure.assignment),
        before.map(|tenure| tenure.assignment)
    );
}

#[test]
fn a_member_that_sought_the_start_meanwhile_hears_of_the_new_topic_too() {
    let now = Instant::now();
    let mut state = member(None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[1]);
    state.take_event();
    disown(&mut state, now);
    state.begin(&name(), Position::Earliest);
    for _ in 0..3 {
        let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
        match wanted {
            Wanted::Resolve(_) => state.resolved(&name(), incarnation, 0),
            Wanted::Fetch(next) if next.topic_id == Some(OLD) => {
                state.disowned(&name(), incarnation);
                state.unanswered(&name(), incarnation);
            }
            Wanted::Fetch(_) | Wanted::Validate(_) => break,
        }
    }
    let told = state.take_event();
    assert!(matches!(told, Some(Event::Reset { .. })), "{told:?}");
    assert!(!state.is_recreated(&name()), "nothing is committed again");
}

/// A member that was given the partition as one of this topic, begun at an offset.
fn member_of(topic_id: TopicId) -> FetchState {
    let mut state = FetchState::of_member(FetchConfig::default());
    let assigned = AssignedPartition {
        topic_id: Some(topic_id),
        ..assigned(None)
    };
    state.assign(1, vec![assigned]);
    state.take_event();
    state.begin(&name(), Position::Offset(3));
    state
}

#[test]
fn what_is_committed_goes_by_the_topic_that_is_read_or_that_the_coordinator_spoke_of() {
    let now = Instant::now();
    let mut state = member(None);
    assert_eq!(state.topic_id(&name()), None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[1]);
    assert_eq!(state.topic_id(&name()), Some(OLD));
    let mut state = member_of(OLD);
    assert_eq!(state.topic_id(&name()), Some(OLD));
    // It is drained, and may be committed yet.
    state.drop_partitions(&[name()]);
    assert_eq!(state.topic_id(&name()), Some(OLD));
    state.lose(&[name()]);
    assert_eq!(state.topic_id(&name()), None);
}

#[test]
fn what_is_committed_after_a_topic_was_made_again_goes_by_the_new_one() {
    let now = Instant::now();
    let mut state = member_of(OLD);
    disown(&mut state, now);
    let (incarnation, _) = ask(&mut state, now, leader(0, NEW)).unwrap();
    state.resolved(&name(), incarnation, 0);
    assert!(matches!(state.take_event(), Some(Event::Reset { .. })));
    assert_eq!(state.topic_id(&name()), Some(NEW));
    state.drop_partitions(&[name()]);
    assert_eq!(state.topic_id(&name()), Some(NEW));
}

#[test]
fn an_offset_that_the_coordinator_gave_for_a_topic_is_not_one_of_another_of_its_name() {
    let now = Instant::now();
    let mut state = member_of(OLD);
    let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert!(matches!(wanted, Wanted::Fetch(next) if next.topic_id == Some(OLD)));
    state.unanswered(&name(), incarnation);
    disown(&mut state, now);
    let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
    state.resolved(&name(), incarnation, 0);
    let Some(Event::Reset {
        from, to, cause, ..
    }) = state.take_event()
    else {
        panic!("no reset")
    };
    assert_eq!((from, to, cause), (3, 0, ResetCause::TopicRecreated));
}

/// A member that has read epoch 3 up to offset 4 and heard of it.
fn member_that_read() -> (FetchState, Instant) {
    let now = Instant::now();
    let mut state = member(None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[3, 3, 3, 3]);
    state.take_event();
    (state, now)
}

#[test]
fn what_a_member_says_of_a_log_that_was_cut_is_void_until_it_has_heard_of_that() {
    // Where the logs part, where the leader has nothing of our time, and by its range.
    for cause in ["cut", "policy", "range"] {
        let (mut state, now) = member_that_read();
        let before = state.said_of(&name());
        assert!(before.is_some() && !state.is_void(&name(), before));
        if cause == "range" {
            let (incarnation, _) = ask(&mut state, now, leader(3, OLD)).unwrap();
            let to = Some(Position::Earliest);
            state.out_of_range(now, &name(), incarnation, to, fatal());
        } else {
            let told = if cause == "cut" {
                end(3, 2)
            } else {
                end(-1, -1)
            };
            validate(&mut state, now, 5, told, StartPolicy::Earliest);
        }
        let unheard = state.said_of(&name());
        assert_eq!(unheard, None, "{cause}");
        assert!(state.is_void(&name(), unheard), "{cause}");
        assert!(state.is_void(&name(), before), "{cause}");
        assert_ne!(state.tenure(&name()), before, "{cause}: commits that wait");
        if cause == "cut" {
            // The new leader's records come before the event is heard.
            let (incarnation, _) = ask(&mut state, now, leader(5, OLD)).unwrap();
            let records = [batch(2, 5, 9), batch(3, 5, 9)].concat();
            let records = chunk(records, 5, Some(OLD));
            state.fetched(now, &name(), incarnation, records).unwrap();
            assert_eq!(state.leader_epoch(&name(), 4), Some(5));
            assert!(state.is_void(&name(), before));
        } else {
            let (incarnation, _) = ask(&mut state, now, leader(5, OLD)).unwrap();
            state.resolved(&name(), incarnation, 2);
            assert!(
                state.is_void(&name(), before),
                "{cause}: told, and not heard"
            );
        }
        assert!(matches!(state.take_event(), Some(Event::Reset { .. })));
        for said in [before, unheard] {
            assert!(
                state.is_void(&name(), said),
                "{cause}: said before it was heard"
            );
        }
        let after = state.said_of(&name());
        assert!(!state.is_void(&name(), after), "{cause}");
        assert!(!state.was_recreated(&name()));
    }
}

#[test]
fn a_member_that_does_not_hear_of_a_cut_any_more_commits_nothing_of_it_until_it_is_assigned_anew() {
    let (mut state, now) = member_that_read();
    validate(&mut state, now, 5, end(3, 2), StartPolicy::Earliest);
    state.drop_partitions(&[name()]);
    assert!(state.take_event().is_none());
    assert!(state.is_void(&name(), state.said_of(&name())));
    state.assign(2, vec![assigned(None)]);
    state.take_event();
    assert!(!state.is_void(&name(), state.said_of(&name())));
}

#[test]
fn a_seek_in_place_of_a_reset_that_was_not_told_yet_is_spoken_of_what_is_read() {
    let (mut state, now) = member_that_read();
    let before = state.said_of(&name());
    validate(&mut state, now, 5, end(-1, -1), StartPolicy::Earliest);
    state.begin(&name(), Position::Offset(1));
    assert!(state.is_void(&name(), before));
    assert!(!state.is_void(&name(), state.said_of(&name())));
}

fn fatal() -> Event {
    let target = Target::default().partition("t", 0);
    let code = ErrorCode::TopicAuthorizationFailed;
    Event::Failed(TransportError::code(Operation::ListOffsets, target, code))
}

#[test]
fn a_seek_where_the_new_topic_could_not_be_begun_begins_it_and_tells_of_it() {
    for said in [Position::Offset(7), Position::Latest] {
        let now = Instant::now();
        let mut state = member(None);
        state.begin(&name(), Position::Offset(0));
        fetch(&mut state, now, 0, &[1]);
        state.take_event();
        disown(&mut state, now);
        let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
        assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
        state.halted(now, &name(), incarnation, fatal());
        assert!(matches!(state.take_event(), Some(Event::Failed(_))));
        assert!(ask(&mut state, now, leader(0, NEW)).is_none());

        state.begin(&name(), said);
        let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
        assert_eq!(wanted, Wanted::Resolve(Position::Earliest), "{said:?}");
        state.resolved(&name(), incarnation, 0);
        let told = state.take_event();
        assert!(
            matches!(
                told,
                Some(Event::Reset {
                    from: 1,
                    to: 0,
                    cause: ResetCause::TopicRecreated,
                    ..
                })
            ),
            "{told:?}"
        );
        assert!(!state.is_recreated(&name()));
    }
}

#[test]
fn a_seek_past_what_cannot_be_read_of_the_old_topic_is_heard_and_then_of_the_new_one() {
    let now = Instant::now();
    let mut state = member(None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[1]);
    state.take_event();
    // What comes next of the old topic is damaged, and not delivered yet when the new one is noticed.
    let (incarnation, _) = ask(&mut state, now, leader(1, OLD)).unwrap();
    let mut damaged = batch(1, 1, 0);
    damaged[40] ^= 1;
    state
        .fetched(now, &name(), incarnation, chunk(damaged, 1, Some(OLD)))
        .unwrap();
    state.disowned(&name(), incarnation);
    state.meets(now, &name(), leader(0, NEW));
    assert!(state.is_recreated(&name()));
    assert!(matches!(state.take_event(), Some(Event::Corrupt { .. })));

    state.begin(&name(), Position::Offset(2));
    let (incarnation, wanted) = ask(&mut state, now, leader(0, NEW)).unwrap();
    assert_eq!(wanted, Wanted::Resolve(Position::Earliest));
    state.resolved(&name(), incarnation, 0);
    let told = state.take_event();
    assert!(matches!(told, Some(Event::Reset { to: 0, .. })), "{told:?}");
    assert!(!state.is_recreated(&name()));
}

#[test]
fn a_seek_does_not_overtake_a_reset_that_was_told() {
    let now = Instant::now();
    let mut state = member(None);
    state.begin(&name(), Position::Offset(0));
    fetch(&mut state, now, 0, &[1]);
    state.take_event();
    disown(&mut state, now);
    let (incarnation, _) = ask(&mut state, now, leader(0, NEW)).unwrap();
    state.resolved(&name(), incarnation, 0);
    let (incarnation, _) = ask(&mut state, now, leader(0, NEW)).unwrap();
    state.halted(now, &name(), incarnation, fatal());
    state.begin(&name(), Position::Offset(7));
    assert!(
        ask(&mut state, now, leader(0, NEW)).is_none(),
        "it was said of the old one"
    );
    assert!(matches!(state.take_event(), Some(Event::Reset { .. })));
    state.begin(&name(), Position::Offset(7));
    assert_eq!(next_offset(&mut state, now, 0), Some((7, None)));
}

#[test]
fn a_follower_is_read_from_until_its_time_is_over_or_another_leads() {
    let (mut state, now) = read(&[1]);
    let (partition, incarnation) = state.wanted(now).remove(0);
    let until = now + Duration::from_secs(300);
    state.prefer(&partition, incarnation, 2, until);
    let replica = |state: &mut FetchState, at, epoch| {
        let (incarnation, wanted) = ask(state, at, leader(epoch, OLD)).unwrap();
        state.unanswered(&name(), incarnation);
        match wanted {
            Wanted::Fetch(next) => next.replica,
            Wanted::Validate(_) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(replica(&mut state, now, 1), Some(2));
    assert_eq!(replica(&mut state, until, 1), None);
    state.prefer(&partition, incarnation, 2, until);
    assert_eq!(replica(&mut state, now, 2), None, "another leads");
    assert_eq!(replica(&mut state, now, 1), None);
    state.prefer(&partition, incarnation, 2, until);
    state.leave_follower(&partition);
    assert_eq!(replica(&mut state, now, 1), None);
    // One that failed is not asked for again until its time is over.
    let may_be_sent_on = |state: &mut FetchState, at| {
        let (incarnation, wanted) = ask(state, at, leader(1, OLD)).unwrap();
        state.unanswered(&name(), incarnation);
        matches!(wanted, Wanted::Fetch(next) if next.replica.is_none() && next.may_be_sent_on)
    };
    assert!(may_be_sent_on(&mut state, now));
    state.prefer(&partition, incarnation, 2, until);
    state.shun_follower(&partition, until);
    assert!(!may_be_sent_on(&mut state, now));
    assert!(may_be_sent_on(&mut state, until));
}

/// A log of one replica: for each offset the epoch it was written in, and what was written.
type Log = Vec<(i32, u32)>;

fn end_of_epoch(log: &Log, asked: i32, current: i32) -> EpochEnd {
    let end_offset = if asked >= current {
        log.len()
    } else {
        log.iter().take_while(|(epoch, _)| *epoch <= asked).count()
    };
    let floor = log[..end_offset].last().map_or(asked, |(epoch, _)| *epoch);
    EpochEnd {
        leader_epoch: if asked == current { asked } else { floor },
        end_offset: i64::try_from(end_offset).unwrap(),
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    /// A follower gets up to so much of what the leader has, in the leader's order.
    Replicate(usize, usize),
    /// This replica leads, whatever it has.
    Elect(usize),
    /// The reader asks, and is answered with up to so many records.
    Ask(usize),
    /// The caller takes what there is.
    Deliver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Append),
        2 => (0..3_usize, 0..4_usize).prop_map(|(to, count)| Step::Replicate(to, count)),
        1 => (0..3_usize).prop_map(Step::Elect),
        4 => (1..4_usize).prop_map(Step::Ask),
        2 => Just(Step::Deliver),
    ]
}

struct Cluster {
    logs: [Log; 3],
    leader: usize,
    epoch: i32,
    written: u32,
}

impl Cluster {
    fn log(&self) -> &Log {
        &self.logs[self.leader]
    }

    fn make(&mut self, step: Step) {
        match step {
            Step::Append => {
                self.written += 1;
                self.logs[self.leader].push((self.epoch, self.written));
            }
            Step::Replicate(to, count) if to != self.leader => {
                let theirs = self.logs[self.leader].clone();
                let same = theirs.iter().zip(&self.logs[to]);
                let same = same.take_while(|(a, b)| a == b).count();
                self.logs[to].truncate(same);
                self.logs[to].extend(theirs.iter().skip(same).take(count));
            }
            Step::Elect(leader) => {
                self.leader = leader;
                self.epoch += 1;
            }
            _ => {}
        }
    }

    /// Answers what the reader asks.
    fn answer(
        &self,
        state: &mut FetchState,
        now: Instant,
        count: usize,
    ) -> Result<bool, TestCaseError> {
        let led = leader(self.epoch, OLD);
        let Some((incarnation, wanted)) = ask(state, now, led) else {
            return Ok(false);
        };
        let start = StartPolicy::Earliest;
        let end = |epoch| end_of_epoch(self.log(), epoch, self.epoch);
        match wanted {
            Wanted::Validate(epoch) => {
                let end = Some(end(epoch));
                state.validated(&name(), incarnation, self.epoch, end, start);
            }
            Wanted::Fetch(next) => {
                let offset = usize::try_from(next.offset).unwrap();
                prop_assert!(
                    offset <= self.log().len(),
                    "a position beyond a validated log"
                );
                if let Some(epoch) = next.last_epoch {
                    let end = end(epoch);
                    prop_assert!(
                        end.leader_epoch == epoch && end.end_offset >= next.offset,
                        "a position that diverges from a validated log"
                    );
                }
                let records = (offset..).zip(self.log().iter().skip(offset).take(count));
                let records = records.flat_map(|(offset, (epoch, value))| {
                    batch(i64::try_from(offset).unwrap(), *epoch, *value)
                });
                let chunk = chunk(records.collect(), self.epoch, Some(OLD));
                state.fetched(now, &name(), incarnation, chunk).unwrap();
            }
            Wanted::Resolve(_) => prop_assert!(false, "the log's start is never in question"),
        }
        Ok(true)
    }
}

/// What the caller holds after all it was told.
fn deliver(state: &mut FetchState, held: &mut Vec<u32>) -> Result<bool, TestCaseError> {
    let mut delivered = false;
    while let Some(event) = state.take_event() {
        delivered = true;
        match event {
            Event::Records(batch) => {
                for record in batch.records {
                    prop_assert_eq!(i64::try_from(held.len()).unwrap(), record.offset);
                    let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    held.push(text.parse().unwrap());
                }
            }
            Event::Reset { from, to, .. } => {
                prop_assert_eq!(i64::try_from(held.len()).unwrap(), from);
                prop_assert!(to < from);
                held.truncate(usize::try_from(to).unwrap());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(delivered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_replica_leads_a_reader_ends_with_what_is_in_its_log(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let now = Instant::now();
        let mut cluster = Cluster { logs: Default::default(), leader: 0, epoch: 0, written: 0 };
        let mut state = FetchState::unrestricted(FetchConfig::default());
        state.begin(&name(), Position::Offset(0));
        let mut held = Vec::new();
        for step in steps {
            cluster.make(step);
            match step {
                Step::Ask(count) => {
                    cluster.answer(&mut state, now, count)?;
                }
                Step::Deliver => {
                    deliver(&mut state, &mut held)?;
                }
                _ => {}
            }
        }
        let written: Vec<u32> = cluster.log().iter().map(|(_, value)| *value).collect();
        for _ in 0..2 * written.len() + 20 {
            cluster.answer(&mut state, now, 10)?;
            deliver(&mut state, &mut held)?;
        }
        prop_assert_eq!(held, written);
    }
}

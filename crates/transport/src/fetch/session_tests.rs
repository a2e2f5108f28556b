//! Both ends of a session hold the same, whatever is lost between them.

use proptest::prelude::*;

use super::*;

const IDS: [TopicId; 2] = [[1; 16], [2; 16]];

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn held(partition: i32, offset: i64, topic_id: Option<TopicId>) -> (TopicPartition, Held) {
    let asked = FetchPartition {
        partition,
        current_leader_epoch: 3,
        fetch_offset: offset,
        last_fetched_epoch: 3,
        max_bytes: 1 << 20,
    };
    let held = Held {
        topic_id,
        partition: asked,
    };
    (name(partition), held)
}

/// What goes by a key on the wire: the id, or the name where there is none.
type Key = (Option<TopicId>, i32);

/// A broker's sessions, as `FetchManager.newContext` and `FetchSession.update` of Kafka 3.9 keep them.
#[derive(Debug, Default)]
struct Sessions {
    kept: BTreeMap<i32, (i32, bool, BTreeMap<Key, FetchPartition>)>,
    next_id: i32,
    takes_no_more: bool,
}

/// What the broker reads for a request, and the session it answers with.
type Served = Result<(BTreeMap<Key, FetchPartition>, i32), ErrorCode>;

impl Sessions {
    fn serve(&mut self, step: &Step) -> Served {
        let key = |(name, id): &(TopicPartition, Option<TopicId>)| {
            (id.filter(|_| step.by_id), name.partition)
        };
        let sent = step.send.iter().map(|(name, held)| {
            let key = key(&(name.clone(), held.topic_id));
            (key, held.partition)
        });
        if step.epoch == 0 {
            self.kept.remove(&step.session_id);
            let all: BTreeMap<Key, FetchPartition> = sent.collect();
            if self.takes_no_more {
                return Ok((all, 0));
            }
            self.next_id += 1;
            let kept = (1, step.by_id, all.clone());
            self.kept.insert(self.next_id, kept);
            return Ok((all, self.next_id));
        }
        let Some((epoch, by_id, partitions)) = self.kept.get_mut(&step.session_id) else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        if *epoch != step.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if *by_id != step.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        *epoch += 1;
        partitions.extend(sent);
        // After what is sent: what goes by the same key is gone then.
        let replaced = step.replace.iter().filter(|_| step.by_id);
        for gone in step.forget.iter().chain(replaced) {
            partitions.remove(&key(gone));
        }
        Ok((partitions.clone(), step.session_id))
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    RequestLost,
    AnswerLost,
    /// Between two requests the broker restarts.
    Forgotten,
    /// The broker has too many sessions from here on, or room again.
    Turned,
    /// The answer names what was not asked for.
    Strange,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Forgotten),
        1 => Just(Fate::Turned),
        1 => Just(Fate::Strange),
    ]
}

/// Partitions with their offsets and which of two topics of the name they are of, if they have ids.
fn wanted() -> impl Strategy<Value = Vec<(TopicPartition, Held)>> {
    let partitions = proptest::collection::btree_map(0..5_i32, (0..3_i64, 0..2_usize), 1..5);
    (partitions, 0..10_u8).prop_map(|(partitions, no_ids)| {
        let of = |(partition, (offset, id)): (i32, (i64, usize))| {
            held(partition, offset, (no_ids > 0).then_some(IDS[id]))
        };
        partitions.into_iter().map(of).collect()
    })
}

proptest! {
    #[test]
    fn a_broker_reads_exactly_what_is_wanted_or_refuses_and_is_asked_in_full(
        rounds in proptest::collection::vec((wanted(), fate()), 1..40),
    ) {
        let mut broker = Sessions::default();
        let mut session = FetchSession::default();
        let mut must_be_full = true;
        let mut unnamed = 0;
        for (wanted, fate) in rounds {
            match fate {
                Fate::Forgotten => broker.kept.clear(),
                Fate::Turned => broker.takes_no_more = !broker.takes_no_more,
                _ => {}
            }
            let step = session.ask(wanted.clone());
            prop_assert!(!must_be_full || step.epoch == 0);
            prop_assert!(step.epoch == 0 || step.send.len() <= wanted.len());
            if matches!(fate, Fate::RequestLost) {
                session.failed();
                must_be_full = true;
                continue;
            }
            let served = broker.serve(&step);
            if step.epoch == 0 {
                prop_assert!(served.is_ok());
            }
            if let Ok((read, _)) = &served {
                let expected: BTreeMap<Key, FetchPartition> = wanted
                    .iter()
                    .map(|(name, held)| {
                        let id = held.topic_id.filter(|_| step.by_id);
                        ((id, name.partition), held.partition)
                    })
                    .collect();
                prop_assert_eq!(read, &expected);
            }
            if matches!(fate, Fate::AnswerLost) {
                unnamed += usize::from(step.epoch == 0);
                session.failed();
                must_be_full = true;
                continue;
            }
            let names: Vec<_> = wanted.iter().map(|(name, _)| name.clone()).collect();
            let strange = matches!(fate, Fate::Strange);
            let (error, id) = match served {
                Ok((_, id)) => (None, id),
                Err(code) => (Some(code), 0),
            };
            let taken = session.answered(error, id, &names, strange);
            prop_assert_eq!(taken.is_err(), error.is_some());
            must_be_full = error.is_some() || strange || id == 0;
        }
        // Each full request closes the session before, unless the answer that named it was lost.
        prop_assert!(broker.kept.len() <= 1 + unnamed);
    }
}

/// Partitions 0 and 1 from offset 0, in session 7.
fn begun() -> FetchSession {
    let mut session = FetchSession::default();
    let wanted = vec![held(0, 0, Some(IDS[0])), held(1, 0, Some(IDS[0]))];
    let step = session.ask(wanted);
    assert_eq!((step.session_id, step.epoch, step.send.len()), (0, 0, 2));
    let taken = session.answered(None, 7, &[name(0), name(1)], false);
    assert_eq!(taken, Ok(Taken::Full));
    session
}

#[test]
fn a_step_names_what_has_changed_and_what_is_to_be_forgotten() {
    let mut session = begun();
    let wanted = vec![held(1, 5, Some(IDS[0])), held(2, 0, Some(IDS[0]))];
    let step = session.ask(wanted.clone());
    assert_eq!((step.session_id, step.epoch), (7, 1));
    assert_eq!(step.send, wanted);
    assert_eq!(step.forget, [(name(0), Some(IDS[0]))]);
    assert_eq!(session.answered(None, 7, [], false), Ok(Taken::Step));
    let step = session.ask(wanted);
    assert_eq!((step.session_id, step.epoch), (7, 2));
    assert!(step.send.is_empty() && step.forget.is_empty());
}

#[test]
fn a_partition_of_a_topic_made_again_is_forgotten_by_its_old_id() {
    let mut session = begun();
    let step = session.ask(vec![held(0, 0, Some(IDS[1])), held(1, 0, Some(IDS[0]))]);
    assert_eq!(step.send, [held(0, 0, Some(IDS[1]))]);
    assert_eq!(step.replace, [(name(0), Some(IDS[0]))]);
    assert!(step.forget.is_empty());
}

#[test]
fn a_session_begins_anew_where_a_topic_has_no_id() {
    let mut session = begun();
    let step = session.ask(vec![held(0, 0, Some(IDS[0])), held(1, 0, None)]);
    assert_eq!((step.session_id, step.epoch, step.by_id), (7, 0, false));
    assert_eq!(step.send.len(), 2);
}

#[test]
fn a_full_answer_that_leaves_a_partition_out_makes_no_session() {
    let mut session = FetchSession::default();
    let wanted = vec![held(0, 0, Some(IDS[0])), held(1, 0, Some(IDS[0]))];
    session.ask(wanted.clone());
    assert_eq!(
        session.answered(None, 7, &[name(0)], false),
        Ok(Taken::Full)
    );
    let step = session.ask(wanted);
    assert_eq!((step.session_id, step.epoch, step.send.len()), (7, 0, 2));
}

#[test]
fn a_session_the_broker_does_not_know_is_not_closed_and_one_it_knows_is() {
    for (code, session_id) in [
        (ErrorCode::FetchSessionIdNotFound, 0),
        (ErrorCode::InvalidFetchSessionEpoch, 7),
        (ErrorCode::FetchSessionTopicIdError, 7),
    ] {
        let mut session = begun();
        session.ask(vec![held(0, 0, Some(IDS[0]))]);
        let refused = session.answered(Some(code), 0, [], false).unwrap_err();
        assert_eq!((refused.code, refused.was_full), (code, false));
        let step = session.ask(vec![held(0, 0, Some(IDS[0]))]);
        assert_eq!((step.session_id, step.epoch), (session_id, 0));
    }
}

#[test]
fn steps_are_counted_from_1_again_after_the_last_there_is() {
    let mut session = begun();
    session.epoch = i32::MAX;
    session.ask(vec![held(0, 0, Some(IDS[0]))]);
    session.answered(None, 7, [], false).unwrap();
    assert_eq!(session.ask(vec![held(0, 0, Some(IDS[0]))]).epoch, 1);
}

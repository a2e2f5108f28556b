//! The queue against a broker that checks sequences as KIP-98 has it, under lost requests, lost answers and errors.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};
use proptest::prelude::*;

use super::*;
use crate::{
    error::{Class, Operation, Target},
    producer::{FixedSchedule, NeverHold, Written},
};

#[path = "queue/asked_tests.rs"]
mod asked;
#[path = "queue/doubt_tests.rs"]
mod doubt;
#[path = "queue/hold_tests.rs"]
mod hold;
#[path = "queue/intrusion_tests.rs"]
mod intrusion;
#[path = "queue/refusal_tests.rs"]
mod refusal;

const LINGER: Duration = Duration::from_millis(5);

fn settings(resends: u32) -> QueueSettings {
    QueueSettings {
        linger: LINGER,
        batch_bytes: 200,
        max_in_flight: 5,
        delivery_timeout: Duration::from_secs(120),
        compression: Compression::None,
        schedule: Arc::new(FixedSchedule {
            delay: Duration::from_secs(1),
            resends,
        }),
        hold: Arc::new(NeverHold),
    }
}

fn queue(resends: u32) -> PartitionQueue<u32> {
    PartitionQueue::new(TopicPartition::new("t", 0), settings(resends))
}

fn record(number: u32) -> Record {
    Record {
        value: Some(Bytes::copy_from_slice(&number.to_be_bytes())),
        timestamp_ms: i64::from(number),
        ..Record::default()
    }
}

/// A batch as the broker sees it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: i64,
    epoch: i16,
    sequence: i32,
    max_timestamp_ms: i64,
    records: Vec<u32>,
}

fn parse(mut batch: Bytes) -> Seen {
    let values = batch.clone();
    batch.advance(35);
    let max_timestamp_ms = batch.get_i64();
    let (id, epoch, sequence) = (batch.get_i64(), batch.get_i16(), batch.get_i32());
    let mut batches = crate::record::Batches::new(values, 0);
    let mut records = batches.next_batch().unwrap().unwrap().records(0, 10_000);
    let mut numbers = Vec::new();
    while let Some(record) = records.next_record() {
        numbers.push(record.unwrap().value.unwrap().get_u32());
    }
    Seen {
        id,
        epoch,
        sequence,
        max_timestamp_ms,
        records: numbers,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Reply {
    Ok(i64, AppendTime),
    Code(ErrorCode),
}

/// First and last sequence, the offset of the first record and the largest timestamp.
type CachedBatch = (i32, i32, i64, i64);

/// What a partition leader does with producer state.
#[derive(Debug, Default)]
struct Leader {
    log: Vec<u32>,
    /// By producer id: the epoch and the batches remembered of it.
    producers: BTreeMap<i64, (i16, VecDeque<CachedBatch>)>,
    poisoned: Option<u32>,
    /// An intruder's batches have made it forget one of ours.
    has_forgotten_ours: bool,
}

impl Leader {
    fn append(&mut self, batch: &Seen) -> Reply {
        if self
            .poisoned
            .is_some_and(|poison| batch.records.contains(&poison))
        {
            return Reply::Code(ErrorCode::InvalidRecord);
        }
        if batch.id < 0 {
            let offset = i64::try_from(self.log.len()).unwrap();
            self.log.extend(&batch.records);
            return Reply::Ok(offset, AppendTime::Unset);
        }
        let last = batch.sequence + i32::try_from(batch.records.len()).unwrap() - 1;
        if let Some((epoch, cached)) = self.producers.get(&batch.id) {
            if batch.epoch < *epoch {
                return Reply::Code(ErrorCode::InvalidProducerEpoch);
            }
            if batch.epoch == *epoch {
                if let Some(copy) = cached
                    .iter()
                    .find(|copy| (copy.0, copy.1) == (batch.sequence, last))
                {
                    return Reply::Ok(copy.2, AppendTime::EarlierBatch(copy.3));
                }
                if cached
                    .back()
                    .is_none_or(|newest| newest.1 + 1 != batch.sequence)
                {
                    return Reply::Code(ErrorCode::OutOfOrderSequenceNumber);
                }
            } else if batch.sequence != 0 {
                return Reply::Code(ErrorCode::OutOfOrderSequenceNumber);
            }
        }
        let offset = i64::try_from(self.log.len()).unwrap();
        self.log.extend(&batch.records);
        let state = self.producers.entry(batch.id).or_default();
        if state.0 != batch.epoch {
            *state = (batch.epoch, VecDeque::new());
        }
        state
            .1
            .push_back((batch.sequence, last, offset, batch.max_timestamp_ms));
        while state.1.len() > 5 {
            let forgotten = state.1.pop_front();
            let ours = forgotten.is_some_and(|forgotten| forgotten.3 != INTRUDERS.0);
            let theirs = state.1.iter().any(|cached| cached.3 == INTRUDERS.0);
            self.has_forgotten_ours |= ours && theirs;
        }
        Reply::Ok(offset, AppendTime::Unset)
    }
}

fn lost() -> Answer {
    let kind = ErrorKind::ConnectionLost {
        reason: "reset".into(),
        sent: true,
    };
    Answer::Failed(TransportError::new(
        Operation::Produce,
        Target::default(),
        kind,
    ))
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Ok(offset, append_time) => Answer::Written {
            base_offset: Some(offset),
            append_time,
        },
        Reply::Code(code) => refusal(code),
    }
}

fn refusal(code: ErrorCode) -> Answer {
    let error = TransportError::code(Operation::Produce, Target::default(), code);
    Answer::Refused {
        code,
        records: Vec::new(),
        appended_at: None,
        error,
    }
}

/// Queue, leader and what is between them.
struct Bench {
    queue: PartitionQueue<u32>,
    leader: Leader,
    now: Instant,
    in_flight: VecDeque<(AttemptId, Seen, Bytes)>,
    settled: BTreeMap<u32, Result<Appended, DeliveryError>>,
    sent: Vec<(Seen, Bytes)>,
    stranded: VecDeque<Seen>,
    appended: u32,
    alarms: Vec<Alarm>,
}

/// The timestamp of an intruder's records, and the first of their numbers.
const INTRUDERS: (i64, u32) = (-7, 1_000_000);

impl Bench {
    fn new(resends: u32) -> Self {
        Self {
            queue: queue(resends),
            leader: Leader::default(),
            now: Instant::now(),
            in_flight: VecDeque::new(),
            settled: BTreeMap::new(),
            sent: Vec::new(),
            stranded: VecDeque::new(),
            appended: 0,
            alarms: Vec::new(),
        }
    }

    /// One batch of `count` records.
    fn append(&mut self, count: u32) {
        for _ in 0..count {
            self.queue
                .append(self.now, record(self.appended), self.appended);
            self.appended += 1;
        }
        self.queue.flush();
    }

    fn pump(&mut self) {
        self.queue.advance(self.now);
        let id = Some(self.queue.spent_id().map_or(1, |id| id + 1));
        while let Some(attempt) = self.queue.poll(self.now, id) {
            let seen = parse(attempt.bytes.clone());
            self.sent.push((seen.clone(), attempt.bytes.clone()));
            self.in_flight.push_back((attempt.id, seen, attempt.bytes));
        }
        self.alarms.extend(self.queue.take_alarms());
        for (token, result) in self.queue.take_settled() {
            assert!(
                self.settled.insert(token, result).is_none(),
                "record {token} was settled twice"
            );
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.pump();
    }

    /// The oldest request in flight arrives and its answer comes back.
    fn deliver(&mut self) {
        let (id, seen, _) = self.in_flight.pop_front().unwrap();
        let reply = self.leader.append(&seen);
        self.queue.answered(self.now, id, answer(reply));
        self.pump();
    }

    fn lose_answer(&mut self) {
        let (id, seen, _) = self.in_flight.pop_front().unwrap();
        self.leader.append(&seen);
        self.queue.answered(self.now, id, lost());
        self.pump();
    }

    fn lose_request(&mut self) {
        let (id, ..) = self.in_flight.pop_front().unwrap();
        self.queue.answered(self.now, id, lost());
        self.pump();
    }

    fn answer_with(&mut self, code: ErrorCode) {
        let (id, ..) = self.in_flight.pop_front().unwrap();
        self.queue.answered(self.now, id, refusal(code));
        self.pump();
    }

    /// Someone else writes `count` records under the queue's id, as the next the leader expects, or the first of the
    /// next epoch.
    fn intrude(&mut self, count: u32, how: Intrusion) {
        let Some(Identity { id, epoch }) = self.queue.identity.filter(|identity| identity.id >= 0)
        else {
            return;
        };
        let (epoch_there, cached) = self.leader.producers.entry(id).or_default();
        let next = cached.back().map_or(0, |newest| newest.1 + 1);
        let (epoch, sequence) = match how {
            Intrusion::Sequence if *epoch_there == epoch => (epoch, next),
            Intrusion::Sequence => (epoch, 0),
            Intrusion::Epoch => (epoch + 1, 0),
        };
        let theirs = Seen {
            id,
            epoch,
            sequence,
            max_timestamp_ms: INTRUDERS.0,
            records: vec![INTRUDERS.1; usize::try_from(count).unwrap()],
        };
        self.leader.append(&theirs);
    }

    /// Lets everything pass until nothing is left to do.
    fn finish(&mut self) {
        for _ in 0..2000 {
            self.pump();
            if self.queue.is_empty() {
                return;
            }
            if self.in_flight.is_empty() {
                self.wait(Duration::from_millis(500));
            } else {
                self.deliver();
            }
        }
        panic!("never ended: {:?}", self.queue);
    }

    /// An acknowledged batch, so that five may be in flight.
    fn warm_up(&mut self) {
        self.append(1);
        self.pump();
        self.deliver();
    }

    fn outcome(&self, number: u32) -> Result<Option<i64>, Written> {
        self.settled[&number]
            .as_ref()
            .map(|appended| appended.offset)
            .map_err(DeliveryError::written)
    }

    /// What must hold, whoever else writes.
    fn check_answers(&self) {
        assert_eq!(
            self.settled.len(),
            usize::try_from(self.appended).unwrap(),
            "every record is settled"
        );
        for (number, result) in &self.settled {
            let is_there = self.leader.log.contains(number);
            match result {
                Ok(Appended {
                    offset: Some(offset),
                    ..
                }) => {
                    let offset = usize::try_from(*offset).unwrap();
                    assert_eq!(self.leader.log.get(offset), Some(number));
                }
                Err(error) if error.written() == Written::No => {
                    assert!(!is_there, "record {number}");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What must hold however it went.
    fn check(&self) {
        if self.queue.is_unprotected() {
            return self.check_answers();
        }
        assert_eq!(
            self.settled.len(),
            usize::try_from(self.appended).unwrap(),
            "every record is settled"
        );
        let mut sorted = self.leader.log.clone();
        sorted.sort_unstable();
        assert_eq!(
            self.leader.log, sorted,
            "the log keeps the order of the appends"
        );
        sorted.dedup();
        assert_eq!(self.leader.log, sorted, "nothing is in the log twice");
        for (number, result) in &self.settled {
            let place = self.leader.log.iter().position(|record| record == number);
            match result {
                Ok(Appended {
                    offset: Some(offset),
                    ..
                }) => {
                    assert_eq!(
                        place.map(|place| i64::try_from(place).unwrap()),
                        Some(*offset),
                        "record {number}"
                    );
                }
                Ok(_) => assert!(
                    place.is_some(),
                    "acknowledged record {number} is not in the log"
                ),
                Err(error) if error.written() == Written::No => {
                    assert_eq!(place, None, "record {number}")
                }
                Err(_) => {}
            }
        }
        let mut by_sequence = BTreeMap::new();
        for (seen, bytes) in &self.sent {
            let owner = by_sequence
                .entry((seen.id, seen.epoch, seen.sequence))
                .or_insert(bytes);
            assert_eq!(*owner, bytes, "a sequence stays with its bytes");
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Intrusion {
    Sequence,
    Epoch,
}

#[derive(Debug, Clone)]
enum Step {
    Intrude(u32, Intrusion),
    Append(u32),
    Deliver,
    LoseAnswer,
    LoseRequest,
    Error(ErrorCode),
    Wait(u64),
    /// A restarted broker has only the last batch of each producer.
    Restart,
    /// The connection is lost, but the request still lies at the broker.
    Strand,
    /// The oldest request that lies at the broker is carried out after all.
    ArriveLate,
}

fn step() -> impl Strategy<Value = Step> {
    let codes = vec![
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::MessageTooLarge,
        ErrorCode::InvalidRecord,
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::RequestTimedOut,
        ErrorCode::InvalidProducerEpoch,
    ];
    prop_oneof![
        4 => (1..4_u32).prop_map(Step::Append),
        6 => Just(Step::Deliver),
        2 => Just(Step::LoseAnswer),
        2 => Just(Step::LoseRequest),
        1 => prop::sample::select(codes).prop_map(Step::Error),
        2 => (0..3000_u64).prop_map(Step::Wait),
    ]
}

fn run(steps: &[Step], resends: u32) -> Bench {
    let mut bench = Bench::new(resends);
    for step in steps {
        bench.pump();
        match step {
            Step::Append(count) => bench.append(*count),
            Step::Intrude(count, how) => bench.intrude(*count, *how),
            Step::Wait(millis) => bench.wait(Duration::from_millis(*millis)),
            Step::Restart => {
                for (_, cached) in bench.leader.producers.values_mut() {
                    while cached.len() > 1 {
                        cached.pop_front();
                    }
                }
            }
            Step::ArriveLate => {
                if let Some(late) = bench.stranded.pop_front() {
                    bench.leader.append(&late);
                }
            }
            _ if bench.in_flight.is_empty() => {}
            Step::Strand => {
                bench
                    .stranded
                    .extend(bench.in_flight.front().map(|front| front.1.clone()));
                bench.lose_request();
            }
            Step::Deliver => bench.deliver(),
            Step::LoseAnswer => bench.lose_answer(),
            Step::LoseRequest => bench.lose_request(),
            Step::Error(code) => bench.answer_with(*code),
        }
    }
    bench.finish();
    bench
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_record_is_settled_once_truthfully_and_in_order(
        steps in prop::collection::vec(step(), 1..80), resends in 0..4_u32
    ) {
        run(&steps, resends).check();
    }

    #[test]
    fn a_broker_that_forgets_all_but_the_last_batch_changes_nothing(
        steps in prop::collection::vec(prop_oneof![8 => step(), 1 => Just(Step::Restart)], 1..80), resends in 0..4_u32
    ) {
        run(&steps, resends).check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A late request can make a copy where a batch went on under the next epoch just before; nothing else.
    #[test]
    fn requests_that_are_carried_out_late_never_make_an_answer_untrue(
        steps in prop::collection::vec(
            prop_oneof![6 => step(), 2 => Just(Step::Strand), 2 => Just(Step::ArriveLate)], 1..80
        ),
        resends in 0..3_u32
    ) {
        let bench = run(&steps, resends);
        prop_assert_eq!(bench.settled.len(), usize::try_from(bench.appended).unwrap());
        for (number, result) in &bench.settled {
            match result {
                Ok(Appended { offset: Some(offset), .. }) => {
                    prop_assert_eq!(bench.leader.log.get(usize::try_from(*offset).unwrap()), Some(number));
                }
                Ok(_) => prop_assert!(bench.leader.log.contains(number), "record {}", number),
                Err(error) if error.written() == Written::No => {
                    prop_assert!(!bench.leader.log.contains(number), "record {}", number);
                }
                Err(_) => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_broker_answers_nothing_is_acknowledged_that_is_not_in_the_log(
        steps in prop::collection::vec(prop_oneof![4 => step(), 1 => any::<i16>().prop_filter_map("success", |code| {
            ErrorCode::from_code(code % 135).map(Step::Error)
        })], 1..80)
    ) {
        let bench = run(&steps, 2);
        prop_assert_eq!(bench.settled.len(), usize::try_from(bench.appended).unwrap());
        for (number, result) in &bench.settled {
            prop_assert!(result.is_err() || bench.leader.log.contains(number), "record {}", number);
        }
    }
}

#[test]
fn a_refusal_that_tells_where_the_batch_was_put_leaves_it_in_doubt() {
    let mut bench = Bench::new(0);
    bench.append(1);
    bench.pump();
    let (id, ..) = bench.in_flight.pop_front().unwrap();
    let code = ErrorCode::NotLeaderOrFollower;
    let answer = Answer::Refused {
        code,
        records: Vec::new(),
        appended_at: Some(0),
        error: TransportError::code(Operation::Produce, Target::default(), code),
    };
    bench.queue.answered(bench.now, id, answer);
    bench.pump();
    assert_eq!(bench.outcome(0), Err(Written::Unknown));
}

#[test]
fn a_batch_whose_answer_was_lost_is_in_the_log_once() {
    let mut bench = Bench::new(5);
    bench.append(2);
    bench.pump();
    bench.lose_answer();
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1]);
    assert_eq!(bench.outcome(1), Ok(Some(1)));
    assert_eq!(bench.sent[0], bench.sent[1]);
}

#[test]
fn a_fresh_identity_sends_one_batch_until_it_is_acknowledged() {
    let mut bench = Bench::new(5);
    (0..3).for_each(|_| bench.append(1));
    bench.pump();
    assert_eq!(bench.in_flight.len(), 1);
    bench.deliver();
    assert_eq!(bench.in_flight.len(), 2);
}

fn five_in_flight(resends: u32) -> Bench {
    let mut bench = Bench::new(resends);
    bench.warm_up();
    (0..6).for_each(|_| bench.append(1));
    bench.pump();
    assert_eq!(bench.in_flight.len(), 5);
    bench
}

#[test]
fn four_behind_a_lost_request_cost_no_attempt_and_arrive_in_order() {
    let mut bench = five_in_flight(1);
    bench.lose_request();
    (0..4).for_each(|_| bench.deliver());
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1, 2, 3, 4, 5, 6]);
    bench.check();
    assert!(bench.sent.iter().all(|(seen, _)| seen.epoch == 0));
}

#[test]
fn when_the_first_of_five_is_given_up_unwritten_those_behind_it_are_not_lost() {
    let mut bench = five_in_flight(1);
    bench.lose_request();
    (0..4).for_each(|_| bench.deliver());
    bench.wait(Duration::from_secs(1));
    bench.lose_request();
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.leader.log, [0, 2, 3, 4, 5, 6]);
    bench.check();
    assert_eq!(
        bench.sent.last().map(|(seen, _)| (seen.id, seen.epoch)),
        Some((1, 1))
    );
}

#[test]
fn when_the_first_of_five_is_given_up_but_written_those_behind_it_are_not_taken_for_it() {
    let mut bench = five_in_flight(1);
    (0..5).for_each(|_| bench.lose_answer());
    bench.wait(Duration::from_secs(1));
    bench.lose_answer();
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.leader.log, [0, 1, 2, 3, 4, 5, 6]);
    assert!((2..7).all(|number| bench.outcome(number) == Ok(Some(i64::from(number)))));
    bench.check();
}

#[test]
fn when_a_connection_dies_with_all_five_and_the_first_is_given_up_the_others_go_on_under_a_new_epoch()
 {
    let mut bench = five_in_flight(1);
    (0..5).for_each(|_| bench.lose_request());
    bench.wait(Duration::from_secs(1));
    bench.lose_request();
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.leader.log, [0, 2, 3, 4, 5, 6]);
    bench.check();
}

#[test]
fn a_late_copy_of_a_given_up_batch_is_fenced_by_the_raised_epoch() {
    let mut bench = five_in_flight(0);
    let (_, late, _) = bench.in_flight[0].clone();
    bench.lose_request();
    bench.finish();
    assert_eq!(
        bench.leader.append(&late),
        Reply::Code(ErrorCode::InvalidProducerEpoch)
    );
}

#[test]
fn a_bad_record_takes_only_itself_when_the_broker_names_it() {
    let mut bench = Bench::new(5);
    bench.append(3);
    bench.pump();
    let (id, ..) = bench.in_flight.pop_front().unwrap();
    let error = TransportError::code(
        Operation::Produce,
        Target::default(),
        ErrorCode::InvalidRecord,
    );
    let answer = Answer::Refused {
        code: ErrorCode::InvalidRecord,
        records: vec![1, 77],
        appended_at: None,
        error,
    };
    bench.queue.answered(bench.now, id, answer);
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::No));
    assert_eq!(
        bench.settled[&1].as_ref().unwrap_err().class(),
        Class::Fatal
    );
    assert_eq!(bench.leader.log, [0, 2]);
    assert_eq!(bench.sent[1].0.epoch, 1);
    bench.check();
}

#[test]
fn a_bad_record_that_is_not_named_is_found_by_halving() {
    let mut bench = Bench::new(5);
    bench.leader.poisoned = Some(2);
    bench.append(3);
    bench.append(1);
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1, 3]);
    assert_eq!(bench.outcome(2), Err(Written::No));
    bench.check();
}

#[test]
fn what_a_broker_cannot_place_at_a_first_attempt_at_the_head_is_sent_again_under_a_new_epoch() {
    for code in [
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::UnknownProducerId,
        ErrorCode::InvalidProducerIdMapping,
    ] {
        let mut bench = Bench::new(5);
        bench.warm_up();
        bench.append(1);
        bench.pump();
        bench.answer_with(code);
        bench.finish();
        assert_eq!(bench.leader.log, [0, 1], "{code:?}");
        let last = bench.sent.last();
        let last = last.map(|(seen, _)| (seen.epoch, seen.sequence));
        assert_eq!(last, Some((1, 0)), "{code:?}");
    }
}

#[test]
fn out_of_order_for_a_resend_at_the_head_is_an_unknown_outcome() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    bench.append(1);
    bench.pump();
    bench.lose_request();
    bench.wait(Duration::from_secs(1));
    bench.answer_with(ErrorCode::OutOfOrderSequenceNumber);
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
}

#[test]
fn a_batch_waits_for_company_until_it_has_lingered_or_is_full() {
    let mut bench = Bench::new(5);
    bench.queue.append(bench.now, record(0), 0);
    bench.pump();
    assert!(bench.in_flight.is_empty());
    assert_eq!(bench.queue.next_send(), Some(bench.now + LINGER));
    bench.wait(LINGER);
    assert_eq!(bench.in_flight.len(), 1);
    bench.deliver();
    (1..5).for_each(|number| bench.queue.append(bench.now, record(number), number));
    bench.pump();
    assert_eq!(
        bench.in_flight.len(),
        1,
        "the full batch is sent at once, the begun one is not"
    );
}

#[test]
fn what_was_never_sent_expires_as_not_written() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.queue.advance(bench.now + Duration::from_secs(120));
    let settled = bench.queue.take_settled();
    let error = settled[0].1.as_ref().unwrap_err();
    assert_eq!(
        (error.written(), error.reason()),
        (Written::No, GiveUp::DeadlinePassed)
    );
}

#[test]
fn a_record_in_a_hurry_is_given_up_at_its_own_deadline_and_takes_no_other_with_it() {
    let mut bench = Bench::new(5);
    let soon = bench.now + Duration::from_secs(1);
    bench.queue.append(bench.now, record(1), 1);
    bench.queue.append_until(bench.now, soon, record(2), 2);
    bench.queue.append(bench.now, record(3), 3);
    assert_eq!(bench.queue.next_deadline(), Some(soon));
    bench.queue.advance(soon);
    let settled = bench.queue.take_settled();
    let numbers: Vec<u32> = settled.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2]);
    let error = settled[0].1.as_ref().unwrap_err();
    assert_eq!(
        (error.written(), error.reason()),
        (Written::No, GiveUp::DeadlinePassed)
    );
    bench.queue.advance(bench.now + Duration::from_secs(120));
    assert_eq!(bench.queue.take_settled().len(), 2);
}

#[test]
fn a_record_that_comes_late_to_a_batch_that_waits_is_not_given_up_with_it() {
    let mut bench = Bench::new(5);
    bench.queue.append(bench.now, record(1), 1);
    let late = bench.now + Duration::from_secs(100);
    bench.queue.append(late, record(2), 2);
    bench.queue.advance(bench.now + Duration::from_secs(120));
    assert_eq!(bench.queue.take_settled().len(), 1);
    bench.queue.advance(late + Duration::from_secs(120));
    assert_eq!(bench.queue.take_settled().len(), 1);
}

#[test]
fn abandoning_tells_what_was_on_its_way_from_what_was_not() {
    let mut bench = five_in_flight(5);
    bench.queue.abandon();
    bench.pump();
    assert!((1..6).all(|number| bench.outcome(number) == Err(Written::Unknown)));
    assert_eq!(bench.outcome(6), Err(Written::No));
}

#[test]
fn the_last_epoch_is_followed_by_a_new_producer_id() {
    let mut bench = Bench::new(0);
    bench.queue.identity = Some(Identity {
        id: 1,
        epoch: i16::MAX,
    });
    bench.append(1);
    bench.append(1);
    bench.pump();
    bench.lose_request();
    bench.finish();
    assert_eq!(
        bench.sent.last().map(|(seen, _)| (seen.id, seen.epoch)),
        Some((2, 0))
    );
}

#[test]
fn when_the_sequences_run_out_the_next_epoch_begins_at_once() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    bench.queue.next_sequence = i32::MAX;
    bench.append(1);
    bench.pump();
    assert_eq!(bench.in_flight.len(), 1);
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1]);
    assert_eq!(
        bench
            .sent
            .last()
            .map(|(seen, _)| (seen.epoch, seen.sequence)),
        Some((1, 0))
    );
}

#[test]
fn a_record_in_a_hurry_does_not_wait_for_the_answer_to_a_request_it_shares() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    let deadline = bench.now + Duration::from_secs(3);
    bench.queue.append_until(bench.now, deadline, record(1), 1);
    bench.appended += 1;
    bench.queue.flush();
    bench.pump();
    assert_eq!(bench.in_flight.len(), 1);
    assert_eq!(
        bench.queue.next_deadline(),
        Some(deadline + WAITED_LONGER_AT_MOST)
    );
    bench.wait(Duration::from_secs(3));
    assert!(!bench.settled.contains_key(&1), "its answer is on its way");
    bench.wait(WAITED_LONGER_AT_MOST);
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    // The answer comes at last, and so does what was sent after it.
    bench.append(1);
    bench.finish();
    assert_eq!(bench.outcome(2), Ok(Some(2)));
    assert_eq!(bench.leader.log, [0, 1, 2]);
}

//! A bridge of a few lines that keeps its promises, driven by dice: it sends, answers get lost, its handlers retry and
//! reject, it crashes and goes on from what it had committed.

use std::collections::{BTreeMap, BTreeSet};

use cybermesh_checker::{Answer, Event, Fate, LogRecord, Outcome, Place};
use proptest::prelude::*;

use super::{GROUP, SENDER, TOPIC, reads};

const PARTITIONS: usize = 2;
const LANES: u8 = 2;

/// A throw of the dice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Send {
        partition: usize,
        lane: u8,
        answer: u8,
    },
    Forge {
        partition: usize,
        copy: bool,
    },
    Handle {
        partition: usize,
        lane: u8,
        answer: u8,
    },
    Commit {
        partition: usize,
    },
    Crash,
    Move {
        partition: usize,
    },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0..PARTITIONS;
    let step = prop_oneof![
        4 => (partition.clone(), 0..LANES, any::<u8>())
            .prop_map(|(partition, lane, answer)| Step::Send { partition, lane, answer }),
        1 => (partition.clone(), any::<bool>())
            .prop_map(|(partition, copy)| Step::Forge { partition, copy }),
        6 => (partition.clone(), 0..LANES, any::<u8>())
            .prop_map(|(partition, lane, answer)| Step::Handle { partition, lane, answer }),
        2 => partition.clone().prop_map(|partition| Step::Commit { partition }),
        1 => Just(Step::Crash),
        1 => partition.prop_map(|partition| Step::Move { partition }),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, Default)]
struct Partition {
    log: Vec<LogRecord>,
    forged: BTreeSet<i64>,
    done: BTreeSet<i64>,
    committed: i64,
    /// Where the dead letter is acknowledged.
    buried: BTreeSet<i64>,
}

#[derive(Debug, Default)]
struct Model {
    events: Vec<Event>,
    partitions: Vec<Partition>,
    sent: usize,
    owner: usize,
}

/// What these dice make of it, to the end: all is handled, all committed.
pub(crate) fn honest(steps: &[Step]) -> Vec<Event> {
    let mut model = Model {
        events: vec![reads()],
        ..Model::default()
    };
    model.partitions.resize_with(PARTITIONS, Partition::default);
    for step in steps {
        model.take(*step);
    }
    model.finish();
    model.events
}

impl Model {
    fn process(&self) -> String {
        format!("consumer-{}", self.owner)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send {
                partition,
                lane,
                answer,
            } => self.send(partition, lane, answer),
            Step::Forge { partition, copy } => self.forge(partition, copy),
            Step::Handle {
                partition,
                lane,
                answer,
            } => self.handle(partition, lane, answer),
            Step::Commit { partition } => self.commit(partition),
            Step::Crash => {
                let process = self.process();
                self.events.push(Event::Crashed {
                    process: process.clone(),
                });
                self.events.push(Event::Started { process });
                for partition in &mut self.partitions {
                    let committed = partition.committed;
                    partition.done.retain(|offset| *offset < committed);
                }
            }
            Step::Move { partition } => {
                self.owner += 1;
                self.events.push(Event::Redelivery {
                    group: GROUP.to_owned(),
                    topic: TOPIC.to_owned(),
                    partition: i32::try_from(partition).unwrap(),
                    why: cybermesh_checker::Why::LostSession,
                });
                // The others go too, in order: what they did is committed.
                for other in (0..PARTITIONS).filter(|other| *other != partition) {
                    self.commit(other);
                }
                for other in 0..PARTITIONS {
                    let committed = self.partitions[other].committed;
                    self.partitions[other]
                        .done
                        .retain(|offset| *offset < committed);
                    if other != partition {
                        self.events.push(Event::Redelivery {
                            group: GROUP.to_owned(),
                            topic: TOPIC.to_owned(),
                            partition: i32::try_from(other).unwrap(),
                            why: cybermesh_checker::Why::LostSession,
                        });
                    }
                }
            }
        }
    }

    fn send(&mut self, partition: usize, lane: u8, answer: u8) {
        let id = format!("m{}", self.sent);
        self.sent += 1;
        let lane = Some(format!("k{lane}"));
        self.events.push(Event::Sent {
            process: SENDER.to_owned(),
            id: id.clone(),
            lane: lane.clone(),
            attempt: 0,
            signer: Some("key".to_owned()),
        });
        let log = &mut self.partitions[partition].log;
        let offset = i64::try_from(log.len()).unwrap();
        let is_written = answer % 4 != 3;
        if is_written {
            log.push(LogRecord {
                offset,
                id: Some(id.clone()),
                lane,
                identity: Some(format!("{id}, as signed")),
                nonce: Some(format!("nonce of {id}")),
            });
        }
        let outcome = match answer % 8 {
            0..=2 => Outcome::Logged {
                topic: TOPIC.to_owned(),
                partition: i32::try_from(partition).unwrap(),
                offset: Some(offset),
            },
            3 => Outcome::NotSent,
            _ => Outcome::Unknown,
        };
        self.events.push(Event::SendEnded {
            process: SENDER.to_owned(),
            id,
            attempt: 0,
            outcome,
        });
    }

    fn forge(&mut self, partition: usize, copy: bool) {
        let number = i32::try_from(partition).unwrap();
        let partition = &mut self.partitions[partition];
        let offset = i64::try_from(partition.log.len()).unwrap();
        let original = partition.log.first().cloned().filter(|_| copy);
        let honest = original.filter(|record| !partition.forged.contains(&record.offset));
        let record = LogRecord {
            offset,
            ..honest.clone().unwrap_or_default()
        };
        let fates = match honest {
            Some(_) => vec![Fate::Skipped],
            None => vec![Fate::Buried("signature-invalid".to_owned())],
        };
        self.events.push(Event::Forged {
            place: Place::new(TOPIC, number, offset),
            id: record.id.clone(),
            copy: honest.is_some(),
            fates,
        });
        partition.forged.insert(offset);
        if honest.is_some() {
            // Passed over; nobody tells.
            partition.buried.insert(offset);
        }
        partition.log.push(record);
    }

    /// The lane's next record, and everything forged before it.
    fn handle(&mut self, partition: usize, lane: u8, answer: u8) {
        let number = i32::try_from(partition).unwrap();
        let process = self.process();
        let lane = format!("k{lane}");
        let state = &mut self.partitions[partition];
        let open: Vec<LogRecord> = state
            .log
            .iter()
            .filter(|record| record.offset >= state.committed)
            .filter(|record| !state.done.contains(&record.offset))
            .cloned()
            .collect();
        for record in open {
            let place = Place::new(TOPIC, number, record.offset);
            let buried = |disposition: &str| Event::Buried {
                group: GROUP.to_owned(),
                place: place.clone(),
                disposition: disposition.to_owned(),
                acknowledged: true,
            };
            if state.forged.contains(&record.offset) {
                if state.buried.insert(record.offset) {
                    self.events.push(buried("signature-invalid"));
                }
                state.done.insert(record.offset);
                continue;
            }
            if record.lane.as_ref() != Some(&lane) {
                continue;
            }
            self.events.push(Event::Handled {
                process: process.clone(),
                group: GROUP.to_owned(),
                place: place.clone(),
                id: record.id.clone().unwrap(),
                lane: Some(lane.clone()),
                verified_by: Some("key".to_owned()),
            });
            let answer = match answer % 8 {
                0 => Answer::Retry,
                1 => Answer::Reject,
                2 => Answer::Skip,
                3 => Answer::Failed,
                _ => Answer::Done,
            };
            self.events.push(Event::Answered {
                process,
                group: GROUP.to_owned(),
                place: place.clone(),
                answer,
            });
            match answer {
                Answer::Done | Answer::Skip => {
                    state.done.insert(record.offset);
                }
                Answer::Reject => {
                    self.events.push(buried("handler-rejected"));
                    state.done.insert(record.offset);
                }
                Answer::Retry | Answer::Failed | Answer::Cancelled => {}
            }
            return;
        }
    }

    fn commit(&mut self, partition: usize) {
        let number = i32::try_from(partition).unwrap();
        let state = &mut self.partitions[partition];
        let mut watermark = state.committed;
        while state.done.contains(&watermark) {
            watermark += 1;
        }
        if watermark > state.committed {
            state.committed = watermark;
            self.events.push(Event::Committed {
                process: None,
                group: GROUP.to_owned(),
                topic: TOPIC.to_owned(),
                partition: number,
                offset: watermark,
                generation: None,
            });
        }
    }

    fn finish(&mut self) {
        for partition in 0..PARTITIONS {
            let records = self.partitions[partition].log.len();
            for lane in 0..LANES {
                for _ in 0..=records {
                    self.handle(partition, lane, 7);
                }
            }
            self.commit(partition);
        }
        let mut committed = BTreeMap::new();
        for (number, partition) in (0..).zip(&self.partitions) {
            let end = i64::try_from(partition.log.len()).unwrap();
            self.events.push(Event::Log {
                topic: TOPIC.to_owned(),
                partition: number,
                start: 0,
                end,
                records: partition.log.clone(),
            });
            committed.insert(number, partition.committed);
        }
        for (partition, offset) in committed {
            self.events.push(Event::Offsets {
                group: GROUP.to_owned(),
                topic: TOPIC.to_owned(),
                partition,
                offset,
            });
        }
        self.events.push(Event::End { quiescent: true });
    }
}

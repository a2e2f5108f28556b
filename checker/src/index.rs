//! A history by what is asked of it. Numbers are those of its entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Answer, Event, Fate, History, LogRecord, Outcome, Place, Why};

/// A message's handling in the eyes of one group.
#[derive(Debug)]
pub(crate) struct Handling<'a> {
    pub(crate) at: usize,
    pub(crate) process: &'a str,
    pub(crate) id: &'a str,
    pub(crate) lane: Option<&'a str>,
    pub(crate) verified_by: Option<&'a str>,
    /// How it ended, and when.
    pub(crate) answer: Option<(usize, Answer)>,
}

#[derive(Debug)]
pub(crate) struct Send<'a> {
    pub(crate) at: usize,
    pub(crate) process: &'a str,
    pub(crate) lane: Option<&'a str>,
    pub(crate) signer: Option<&'a str>,
    pub(crate) ended: Option<(usize, &'a Outcome)>,
}

#[derive(Debug)]
pub(crate) struct Forgery<'a> {
    pub(crate) at: usize,
    pub(crate) copy: bool,
    pub(crate) fates: &'a [Fate],
}

#[derive(Debug)]
pub(crate) struct Partition<'a> {
    pub(crate) at: usize,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) records: BTreeMap<i64, &'a LogRecord>,
}

pub(crate) type PartitionKey<'a> = (&'a str, i32);

/// What one group did.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    /// When it was said to read what.
    pub(crate) reads: Option<(usize, &'a [String])>,
    pub(crate) handled: BTreeMap<&'a Place, Vec<Handling<'a>>>,
    /// Every handling in the order it began.
    pub(crate) in_order: Vec<(usize, &'a Place)>,
    pub(crate) commits: BTreeMap<PartitionKey<'a>, Vec<(usize, i64)>>,
    pub(crate) buried: BTreeMap<&'a Place, Vec<(usize, &'a str, bool)>>,
    pub(crate) skipped: BTreeMap<&'a Place, usize>,
    pub(crate) causes: BTreeMap<PartitionKey<'a>, Vec<(usize, Why)>>,
    pub(crate) last: BTreeMap<PartitionKey<'a>, (usize, i64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    pub(crate) sends: BTreeMap<&'a str, BTreeMap<u32, Send<'a>>>,
    pub(crate) groups: BTreeMap<&'a str, Group<'a>>,
    pub(crate) logs: BTreeMap<PartitionKey<'a>, Partition<'a>>,
    pub(crate) forged: BTreeMap<&'a Place, Forgery<'a>>,
    pub(crate) started: BTreeMap<&'a str, Vec<usize>>,
    /// When a process was gone, by crash or by an unclean stop.
    pub(crate) ends: BTreeMap<&'a str, Vec<usize>>,
    pub(crate) withdrawn: BTreeMap<&'a str, usize>,
    /// When faults had ended.
    pub(crate) healed: Option<usize>,
    /// When a clock was first wrong.
    pub(crate) clock_stepped: Option<usize>,
    /// The last line, where it says that all had time to settle.
    pub(crate) quiescent: Option<usize>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let mut index = Self::default();
        for (at, entry) in history.entries().iter().enumerate() {
            index.take(at, &entry.event);
        }
        index
    }

    fn take(&mut self, at: usize, event: &'a Event) {
        match event {
            Event::Started { process } => self.started.entry(process).or_default().push(at),
            Event::Crashed { process } => {
                self.ends.entry(process).or_default().push(at);
            }
            Event::Stopped { process, clean } => {
                if !clean {
                    self.ends.entry(process).or_default().push(at);
                }
            }
            Event::Sent {
                process,
                id,
                attempt,
                signer,
                lane,
            } => {
                let send = Send {
                    at,
                    process,
                    lane: lane.as_deref(),
                    signer: signer.as_deref(),
                    ended: None,
                };
                self.sends.entry(id).or_default().insert(*attempt, send);
            }
            Event::SendEnded {
                id,
                attempt,
                outcome,
                ..
            } => {
                let tries = self.sends.get_mut(id.as_str());
                if let Some(send) = tries.and_then(|tries| tries.get_mut(attempt)) {
                    send.ended = Some((at, outcome));
                }
            }
            Event::Healed => self.healed = Some(at),
            Event::ClockStepped { .. } => {
                self.clock_stepped.get_or_insert(at);
            }
            Event::Withdrawn { signer } => {
                self.withdrawn.entry(signer).or_insert(at);
            }
            Event::Forged {
                place, copy, fates, ..
            } => {
                let forgery = Forgery {
                    at,
                    copy: *copy,
                    fates,
                };
                self.forged.insert(place, forgery);
            }
            Event::Log {
                topic,
                partition,
                start,
                end,
                records,
            } => {
                let records = records.iter().map(|record| (record.offset, record));
                let log = Partition {
                    at,
                    start: *start,
                    end: *end,
                    records: records.collect(),
                };
                self.logs.insert((topic, *partition), log);
            }
            Event::End { quiescent } => self.quiescent = quiescent.then_some(at),
            of_group => self.take_of_group(at, of_group),
        }
    }

    fn take_of_group(&mut self, at: usize, event: &'a Event) {
        match event {
            Event::Reads { group, topics } => self.group(group).reads = Some((at, topics)),
            Event::Handled {
                process,
                group,
                place,
                id,
                lane,
                verified_by,
            } => {
                let handling = Handling {
                    at,
                    process,
                    id,
                    lane: lane.as_deref(),
                    verified_by: verified_by.as_deref(),
                    answer: None,
                };
                let group = self.group(group);
                group.handled.entry(place).or_default().push(handling);
                group.in_order.push((at, place));
            }
            Event::Answered {
                process,
                group,
                place,
                answer,
            } => {
                let handlings = self.group(group).handled.get_mut(place);
                let mut handlings = handlings.into_iter().flatten().rev();
                if let Some(last) = handlings.find(|handling| handling.process == process) {
                    last.answer.get_or_insert((at, *answer));
                }
            }
            Event::Committed {
                group,
                topic,
                partition,
                offset,
                ..
            } => {
                let commits = &mut self.group(group).commits;
                let of_partition = commits.entry((topic, *partition)).or_default();
                of_partition.push((at, *offset));
            }
            Event::Buried {
                group,
                place,
                disposition,
                acknowledged,
            } => {
                let burial = (at, disposition.as_str(), *acknowledged);
                let buried = &mut self.group(group).buried;
                buried.entry(place).or_default().push(burial);
            }
            Event::Skipped { group, place, .. } => {
                self.group(group).skipped.entry(place).or_insert(at);
            }
            Event::Redelivery {
                group,
                topic,
                partition,
                why,
            } => {
                let causes = &mut self.group(group).causes;
                causes
                    .entry((topic, *partition))
                    .or_default()
                    .push((at, *why));
            }
            Event::Offsets {
                group,
                topic,
                partition,
                offset,
            } => {
                let last = &mut self.group(group).last;
                last.insert((topic, *partition), (at, *offset));
            }
            _ => {}
        }
    }

    fn group(&mut self, name: &'a str) -> &mut Group<'a> {
        self.groups.entry(name).or_default()
    }

    /// Whether a process was gone, without having been able to commit, between two moments.
    pub(crate) fn ended_between(&self, process: &str, from: usize, to: usize) -> bool {
        happened_between(self.ends.get(process), from, to)
    }

    /// Whether a process was there already at a moment, and is at another.
    pub(crate) fn lives_since(&self, process: &str, from: usize, to: usize) -> bool {
        !happened_between(self.started.get(process), from, to)
    }

    /// The offset below at which the log has an exact copy of this record, where it has one.
    pub(crate) fn copy_of(&self, place: &Place) -> Option<i64> {
        let log = self.logs.get(&(place.topic.as_str(), place.partition))?;
        let identity = log.records.get(&place.offset)?.identity.as_ref()?;
        let before = log.records.range(..place.offset);
        let mut before = before.filter(|(_, record)| record.identity.as_ref() == Some(identity));
        before.next().map(|(offset, _)| *offset)
    }

    /// Where somebody told the sender that this message stands, or the log shows it.
    pub(crate) fn places_of(&self, id: &str) -> BTreeSet<Place> {
        let mut places = BTreeSet::new();
        for ((topic, partition), log) in &self.logs {
            let of_id = log.records.iter();
            let of_id = of_id.filter(|(_, record)| record.id.as_deref() == Some(id));
            places.extend(of_id.map(|(offset, _)| Place::new(topic, *partition, *offset)));
        }
        places
    }
}

fn happened_between(moments: Option<&Vec<usize>>, from: usize, to: usize) -> bool {
    let mut moments = moments.into_iter().flatten();
    moments.any(|at| (from..to).contains(at))
}

impl Group<'_> {
    /// When a record was done for the group, if it ever was.
    pub(crate) fn done_at(&self, index: &Index<'_>, place: &Place) -> Option<usize> {
        let handled = self.handled.get(place).into_iter().flatten();
        let handled = handled.filter_map(|handling| match handling.answer {
            Some((at, Answer::Done | Answer::Skip)) => Some(at),
            _ => None,
        });
        handled.chain(self.done_otherwise(index, place)).min()
    }

    /// The same, but for what handlers said.
    fn done_otherwise(&self, index: &Index<'_>, place: &Place) -> Option<usize> {
        let buried = self.buried.get(place).into_iter().flatten();
        let buried = buried.filter_map(|(at, _, acknowledged)| acknowledged.then_some(*at));
        let skipped = self.skipped.get(place).copied();
        // Nobody has to tell of a copy that is passed over: the log shows that it is one.
        let copy = index.copy_of(place).map(|_| 0);
        let fates = index
            .forged
            .get(place)
            .map_or(&[][..], |forged| forged.fates);
        let forged = fates.contains(&Fate::Skipped).then_some(0);
        buried.chain(skipped).chain(copy).chain(forged).min()
    }

    /// Whether a record's partition changed hands between its handlings when what was committed could not cover it,
    /// because one ahead of it was not done.
    pub(crate) fn was_held_up(
        &self,
        index: &Index<'_>,
        place: &Place,
        handled: usize,
        again: usize,
    ) -> bool {
        let partition = (place.topic.as_str(), place.partition);
        let changes_hands = [Why::Rebalanced, Why::LostSession];
        let causes = self.causes.get(&partition).into_iter().flatten();
        let mut moments = causes
            .filter(|(at, why)| (handled..again).contains(at) && changes_hands.contains(why))
            .map(|(at, _)| *at);
        moments.any(|moment| {
            let commits = self.commits.get(&partition).into_iter().flatten();
            let (before, after): (Vec<_>, Vec<_>) = commits
                .filter(|(at, _)| *at < again)
                .partition(|(at, _)| *at < moment);
            // What stands then, or what is committed as the partition goes.
            let stands = before.last().map_or(i64::MIN, |(_, offset)| *offset);
            let last = after.first().map(|(at, offset)| (*at, *offset));
            [Some((moment, stands)), last]
                .into_iter()
                .flatten()
                .any(|(by, committed)| self.is_open_between(index, place, committed, by))
        })
    }

    /// Whether any record from this offset on and before a place was not done by then.
    fn is_open_between(&self, index: &Index<'_>, place: &Place, from: i64, by: usize) -> bool {
        let log = index.logs.get(&(place.topic.as_str(), place.partition));
        let records = log.into_iter().flat_map(|log| log.records.keys());
        let mut ahead = records
            .filter(|offset| (from..place.offset).contains(*offset))
            .map(|offset| Place::new(&place.topic, place.partition, *offset));
        ahead.any(|ahead| !self.is_done_by(index, &ahead, by))
    }

    /// Whether a record was done by then for whoever had it last: what an earlier owner did and could not commit is to be
    /// done again.
    fn is_done_by(&self, index: &Index<'_>, place: &Place, by: usize) -> bool {
        let mut handled = self.handled.get(place).into_iter().flatten();
        let last = handled.rfind(|handling| handling.at < by);
        match last.map(|last| last.answer) {
            Some(Some((at, Answer::Done | Answer::Skip))) => at <= by,
            _ => self.done_otherwise(index, place).is_some_and(|at| at <= by),
        }
    }

    /// Whether a process may still act on a partition that it has lost without knowing.
    pub(crate) fn may_have_lost(
        &self,
        index: &Index<'_>,
        partition: PartitionKey<'_>,
        process: &str,
        now: usize,
    ) -> bool {
        let causes = self.causes.get(&partition).into_iter().flatten();
        let mut causes = causes.filter(|(at, why)| *at < now && *why == Why::LostSession);
        causes.any(|(at, _)| index.lives_since(process, *at, now))
    }

    /// Whether anything lies between two moments that allows this partition's records to be handled again.
    pub(crate) fn cause_between(
        &self,
        partition: PartitionKey<'_>,
        from: usize,
        to: usize,
        of: &[Why],
    ) -> bool {
        let mut causes = self.causes.get(&partition).into_iter().flatten();
        causes.any(|(at, why)| (from..to).contains(at) && of.contains(why))
    }
}

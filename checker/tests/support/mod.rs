//! Histories for the tests: by hand, and of a model of a bridge that keeps its promises.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod model;

use cybermesh_checker::{Answer, Event, Fate, History, LogRecord, Outcome, Place, Report, check};

pub(crate) const TOPIC: &str = "t";
pub(crate) const GROUP: &str = "g";
pub(crate) const SENDER: &str = "node";

pub(crate) fn at(offset: i64) -> Place {
    Place::new(TOPIC, 0, offset)
}

pub(crate) fn reads() -> Event {
    Event::Reads {
        group: GROUP.to_owned(),
        topics: vec![TOPIC.to_owned()],
    }
}

pub(crate) fn sent(id: &str, attempt: u32) -> Event {
    Event::Sent {
        process: SENDER.to_owned(),
        id: id.to_owned(),
        lane: Some("k".to_owned()),
        attempt,
        signer: Some("key".to_owned()),
    }
}

pub(crate) fn ended(id: &str, attempt: u32, outcome: Outcome) -> Event {
    Event::SendEnded {
        process: SENDER.to_owned(),
        id: id.to_owned(),
        attempt,
        outcome,
    }
}

pub(crate) fn logged(id: &str, offset: i64) -> Event {
    let outcome = Outcome::Logged {
        topic: TOPIC.to_owned(),
        partition: 0,
        offset: Some(offset),
    };
    ended(id, 0, outcome)
}

pub(crate) fn handled(process: &str, id: &str, offset: i64) -> Event {
    Event::Handled {
        process: process.to_owned(),
        group: GROUP.to_owned(),
        place: at(offset),
        id: id.to_owned(),
        lane: Some("k".to_owned()),
        verified_by: Some("key".to_owned()),
    }
}

pub(crate) fn answered(process: &str, offset: i64, answer: Answer) -> Event {
    Event::Answered {
        process: process.to_owned(),
        group: GROUP.to_owned(),
        place: at(offset),
        answer,
    }
}

pub(crate) fn committed(offset: i64) -> Event {
    Event::Committed {
        process: None,
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        offset,
        generation: Some(1),
    }
}

pub(crate) fn buried(offset: i64, disposition: &str, acknowledged: bool) -> Event {
    Event::Buried {
        group: GROUP.to_owned(),
        place: at(offset),
        disposition: disposition.to_owned(),
        acknowledged,
    }
}

pub(crate) fn crashed(process: &str) -> Event {
    Event::Crashed {
        process: process.to_owned(),
    }
}

pub(crate) fn forged(offset: i64, copy_of: Option<&str>, fates: Vec<Fate>) -> Event {
    Event::Forged {
        place: at(offset),
        id: copy_of.map(str::to_owned),
        copy: copy_of.is_some(),
        fates,
    }
}

pub(crate) fn log(ids: &[&str]) -> Event {
    let records = (0..).zip(ids).map(|(offset, id)| LogRecord {
        offset,
        id: Some((*id).to_owned()),
        lane: Some("k".to_owned()),
        identity: Some(format!("{id}, as signed")),
        nonce: None,
    });
    Event::Log {
        topic: TOPIC.to_owned(),
        partition: 0,
        start: 0,
        end: i64::try_from(ids.len()).unwrap(),
        records: records.collect(),
    }
}

pub(crate) fn offsets(offset: i64) -> Event {
    Event::Offsets {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        offset,
    }
}

pub(crate) fn end() -> Event {
    Event::End { quiescent: true }
}

/// Sent, logged, handled by `process` and answered, at this offset.
pub(crate) fn through(process: &str, id: &str, offset: i64) -> Vec<Event> {
    vec![
        sent(id, 0),
        logged(id, offset),
        handled(process, id, offset),
        answered(process, offset, Answer::Done),
    ]
}

pub(crate) fn judged(events: impl IntoIterator<Item = Event>) -> Report {
    check(&History::from_iter(events))
}

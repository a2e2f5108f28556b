//! Who leads a partition, and in which epoch (KIP-101, KIP-320).
//!
//! All brokers of the process share one log, so what is modelled is what clients see of
//! replication: which broker answers, and how the others refuse.

use crate::error_code::ErrorCode;

#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    /// Preferred leader first.
    replicas: Vec<i32>,
    /// Nobody, while all replicas are down.
    leader: Option<i32>,
    epoch: i32,
    /// Each epoch that has records, with the offset it began at.
    began: Vec<(i32, i64)>,
}

impl Leadership {
    pub(crate) fn new(replicas: Vec<i32>) -> Self {
        Self {
            leader: replicas.first().copied(),
            replicas,
            epoch: 0,
            began: vec![(0, 0)],
        }
    }

    pub(crate) fn replicas(&self) -> &[i32] {
        &self.replicas
    }

    pub(crate) fn leader(&self) -> Option<i32> {
        self.leader
    }

    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Makes a broker the leader, or nobody; a new epoch begins at `end_offset`. One that has no
    /// replica gets one.
    pub(super) fn elect(&mut self, leader: Option<i32>, end_offset: i64) {
        if let Some(leader) = leader.filter(|leader| !self.replicas.contains(leader)) {
            self.replicas.push(leader);
        }
        self.leader = leader;
        self.epoch += 1;
        // An epoch without records is none a reader can have read in.
        self.began.retain(|(_, from)| *from < end_offset);
        self.began.push((self.epoch, end_offset));
    }

    /// Whether `broker` may answer a client that knows this leader epoch; negative where it
    /// knows none. The order is that of `Partition.getLocalLog`.
    pub(crate) fn admit(&self, broker: i32, known_epoch: i32) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if known_epoch > self.epoch {
            return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
        }
        if (0..self.epoch).contains(&known_epoch) {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if self.leader != Some(broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(())
    }

    /// Whether `broker` may answer a reader that knows this leader epoch: as [`admit`](Self::admit), and followers may too
    /// (KIP-392).
    pub(crate) fn admit_reader(&self, broker: i32, known_epoch: i32) -> Result<(), ErrorCode> {
        match self.admit(broker, known_epoch) {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) if self.replicas.contains(&broker) => Ok(()),
            admitted => admitted,
        }
    }

    /// The epoch in which the record at this offset was, or will be, written.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let epochs = self.began.iter().rev();
        let mut begun = epochs.filter(|(_, from)| *from <= offset);
        begun.next().map_or(self.epoch, |(epoch, _)| *epoch)
    }

    /// The largest epoch up to the one asked for, and where it ended; -1 and -1 where the
    /// partition has not come so far (`LeaderEpochFileCache.endOffsetFor`).
    pub(crate) fn end_of(&self, asked: i32, end_offset: i64) -> (i32, i64) {
        if asked == self.epoch {
            return (asked, end_offset);
        }
        let next = self.began.iter().find(|(epoch, _)| *epoch > asked);
        let Some((_, next_from)) = next else {
            return (-1, -1);
        };
        let floor = self.began.iter().rev().find(|(epoch, _)| *epoch <= asked);
        (floor.map_or(asked, |(epoch, _)| *epoch), *next_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Leadership {
        let mut leadership = Leadership::new(vec![1, 2]);
        leadership.elect(Some(2), 10);
        leadership.elect(Some(1), 10);
        leadership.elect(Some(2), 25);
        leadership
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_with_records_begins() {
        let leadership = moved();
        let ends: Vec<(i32, i64)> = (0..5).map(|epoch| leadership.end_of(epoch, 30)).collect();
        assert_eq!(ends, [(0, 10), (0, 10), (2, 25), (3, 30), (-1, -1)]);
    }

    #[test]
    fn the_epoch_of_an_offset_is_the_one_it_was_written_in() {
        let leadership = moved();
        let epochs = [0, 9, 10, 24, 25, 99].map(|offset| leadership.epoch_at(offset));
        assert_eq!(epochs, [0, 0, 2, 2, 3, 3]);
    }

    #[test]
    fn the_leader_refuses_other_epochs_and_other_brokers_refuse_every_one() {
        let leadership = moved();
        assert_eq!(leadership.admit(2, -1), Ok(()));
        assert_eq!(leadership.admit(2, 3), Ok(()));
        for (broker, epoch, code) in [
            (2, 2, ErrorCode::FENCED_LEADER_EPOCH),
            (2, 4, ErrorCode::UNKNOWN_LEADER_EPOCH),
            (1, 3, ErrorCode::NOT_LEADER_OR_FOLLOWER),
            (1, 2, ErrorCode::FENCED_LEADER_EPOCH),
            (3, 2, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        ] {
            assert_eq!(leadership.admit(broker, epoch), Err(code));
        }
        assert_eq!(leadership.admit_reader(1, 3), Ok(()));
        for (broker, epoch, code) in [
            (1, 2, ErrorCode::FENCED_LEADER_EPOCH),
            (3, 3, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        ] {
            assert_eq!(leadership.admit_reader(broker, epoch), Err(code));
        }
    }
}

//! Groups on virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error_code::ErrorCode;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A coordinator, a clock, and the answers so far.
struct Bench {
    coordinator: Coordinator,
    now: Instant,
    next_ticket: u64,
    replies: Replies,
}

impl Bench {
    fn new() -> Self {
        Self::with_delay(Duration::ZERO)
    }

    fn with_delay(initial: Duration) -> Self {
        Self {
            coordinator: Coordinator::new(
                SessionBounds::default(),
                initial,
                ConsumerTimes::default(),
            ),
            now: Instant::now(),
            next_ticket: 0,
            replies: Replies::new(),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn request(&self, member: &str) -> JoinRequest {
        JoinRequest {
            member_id: member.to_owned(),
            fresh_member_id: format!("fresh-{}", self.next_ticket),
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"meta"))],
            member_id_required: false,
            can_skip_assignment: true,
        }
    }

    fn ask(&mut self, request: &JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.coordinator
            .join(self.now, ticket, "g", request, &mut self.replies);
        ticket
    }

    fn join(&mut self, member: &str) -> Ticket {
        let request = self.request(member);
        self.ask(&request)
    }

    fn sync(&mut self, member: &str, generation: i32, given: &[(&str, &'static str)]) -> Ticket {
        let ticket = self.ticket();
        let request = SyncRequest {
            member_id: member.to_owned(),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: given
                .iter()
                .map(|(id, bytes)| ((*id).to_owned(), Bytes::from_static(bytes.as_bytes())))
                .collect(),
        };
        self.coordinator
            .sync(self.now, ticket, "g", request, &mut self.replies);
        ticket
    }

    fn beat(&mut self, member: &str, generation: i32) -> ErrorCode {
        self.coordinator
            .heartbeat(self.now, "g", member, None, generation)
    }

    fn leave(&mut self, member: &str) -> ErrorCode {
        self.coordinator
            .leave(self.now, "g", member, None, &mut self.replies)
    }

    fn commit(&mut self, member: &str, generation: i32) -> ErrorCode {
        let request = CommitRequest {
            group_id: "g".into(),
            member_id: member.to_owned(),
            instance_id: None,
            generation,
            partitions: vec![PartitionCommit {
                topic: "t".into(),
                partition: 0,
                committed: CommittedOffset {
                    offset: 1,
                    leader_epoch: 0,
                    metadata: String::new(),
                },
            }],
        };
        self.coordinator.commit(self.now, request)[0]
    }

    /// Lets time pass, doing what falls due at its own time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.coordinator.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.coordinator.handle_timeout(self.now, &mut self.replies);
        }
        self.now = end;
    }

    fn joined(&self, ticket: Ticket) -> Option<&Joined> {
        self.replies.iter().find_map(|(at, reply)| match reply {
            Reply::Join(joined) if *at == ticket => Some(joined),
            _ => None,
        })
    }

    fn synced(&self, ticket: Ticket) -> Option<&Synced> {
        self.replies.iter().find_map(|(at, reply)| match reply {
            Reply::Sync(synced) if *at == ticket => Some(synced),
            _ => None,
        })
    }

    fn state(&self) -> GroupState {
        self.coordinator.group("g").unwrap().state()
    }

    /// A stable group of two; their ids, leader first, and the generation.
    fn pair(&mut self) -> (String, String, i32) {
        let first = self.join("");
        let first = self.joined(first).unwrap().member_id.clone();
        let second = self.join("");
        let again = self.join(&first);
        let (first_joined, second_joined) =
            (self.joined(again).unwrap(), self.joined(second).unwrap());
        assert_eq!(first_joined.leader, first);
        let generation = first_joined.generation;
        assert_eq!(second_joined.generation, generation);
        let second = second_joined.member_id.clone();
        let waiting = self.sync(&second, generation, &[]);
        assert!(self.synced(waiting).is_none());
        self.sync(&first, generation, &[(&first, "one"), (&second, "two")]);
        assert_eq!(self.synced(waiting).unwrap().assignment, "two");
        (first, second, generation)
    }
}

#[test]
fn a_new_member_must_come_back_with_the_id_it_is_given() {
    let mut bench = Bench::new();
    let mut request = bench.request("");
    request.member_id_required = true;
    let ticket = bench.ask(&request);
    let refused = bench.joined(ticket).unwrap().clone();
    assert_eq!(refused.error, ErrorCode::MEMBER_ID_REQUIRED);
    let ticket = bench.join(&refused.member_id);
    assert_eq!(bench.joined(ticket).unwrap().error, ErrorCode::NONE);
    let stranger = bench.join("never-given-out");
    assert_eq!(
        bench.joined(stranger).unwrap().error,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}

#[test]
fn an_id_given_out_holds_for_the_session_timeout() {
    let mut bench = Bench::new();
    let mut request = bench.request("");
    request.member_id_required = true;
    let ticket = bench.ask(&request);
    let id = bench.joined(ticket).unwrap().member_id.clone();
    bench.pass(SESSION);
    let late = bench.join(&id);
    assert_eq!(
        bench.joined(late).unwrap().error,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}

#[test]
fn a_second_member_waits_until_the_first_has_joined_anew() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    assert_eq!(generation, 2);
    assert_eq!(bench.beat(&first, generation), ErrorCode::NONE);
    assert_eq!(bench.beat(&second, generation), ErrorCode::NONE);
    let view = bench.coordinator.group("g").unwrap().view();
    assert_eq!((view.state, view.members.len()), (GroupState::Stable, 2));
}

#[test]
fn while_a_rebalance_is_prepared_heartbeats_tell_it_and_commits_are_still_taken() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    let third = bench.join("");
    assert!(bench.joined(third).is_none());
    assert_eq!(
        bench.beat(&first, generation),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    assert_eq!(bench.commit(&first, generation), ErrorCode::NONE);
    bench.join(&first);
    bench.join(&second);
    assert_eq!(bench.joined(third).unwrap().generation, generation + 1);
    // Joined, and not yet assigned.
    assert_eq!(
        bench.commit(&first, generation + 1),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    assert_eq!(
        bench.commit(&first, generation),
        ErrorCode::ILLEGAL_GENERATION
    );
    assert_eq!(
        bench.beat(&first, generation),
        ErrorCode::ILLEGAL_GENERATION
    );
}

#[test]
fn a_member_that_does_not_join_anew_is_out_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    let again = bench.join(&first);
    for _ in 0..REBALANCE.as_secs() / 5 {
        assert!(bench.joined(again).is_none());
        assert_eq!(
            bench.beat(&second, generation),
            ErrorCode::REBALANCE_IN_PROGRESS
        );
        bench.pass(Duration::from_secs(5));
    }
    assert_eq!(bench.joined(again).unwrap().members.len(), 1);
    assert_eq!(
        bench.beat(&second, generation),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}

#[test]
fn a_member_that_falls_silent_is_out_after_the_session_timeout() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    bench.pass(SESSION - Duration::from_secs(1));
    assert_eq!(bench.beat(&first, generation), ErrorCode::NONE);
    bench.pass(Duration::from_secs(1));
    assert_eq!(
        bench.beat(&second, generation),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        bench.beat(&first, generation),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    let again = bench.join(&first);
    assert_eq!(bench.joined(again).unwrap().generation, generation + 1);
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_out_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    let third = bench.join("");
    bench.join(&first);
    bench.join(&second);
    let third = bench.joined(third).unwrap().member_id.clone();
    let generation = generation + 1;
    bench.sync(&first, generation, &[]);
    bench.sync(&second, generation, &[]);
    for _ in 0..REBALANCE.as_secs() / 5 {
        for member in [&first, &second, &third] {
            assert_eq!(bench.beat(member, generation), ErrorCode::NONE);
        }
        bench.pass(Duration::from_secs(5));
    }
    assert_eq!(bench.beat(&third, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(
        bench.beat(&first, generation),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
}

#[test]
fn a_leaving_member_sends_the_others_into_a_rebalance_and_the_last_empties_the_group() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    assert_eq!(bench.leave(&first), ErrorCode::NONE);
    assert_eq!(
        bench.beat(&second, generation),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    let again = bench.join(&second);
    assert_eq!(bench.joined(again).unwrap().leader, second);
    assert_eq!(bench.leave(&second), ErrorCode::NONE);
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.leave(&second), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_rebalance_sends_away_those_who_wait_for_an_assignment() {
    let mut bench = Bench::new();
    let (first, second, generation) = bench.pair();
    bench.join(&first);
    bench.join(&second);
    let waiting = bench.sync(&second, generation + 1, &[]);
    bench.join("");
    let told = bench.synced(waiting).unwrap().error;
    assert_eq!(told, ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_join_or_sync_repeated_after_a_lost_answer_is_told_the_same() {
    let mut bench = Bench::new();
    let (_, second, generation) = bench.pair();
    let again = bench.join(&second);
    assert_eq!(bench.joined(again).unwrap().generation, generation);
    let again = bench.sync(&second, generation, &[]);
    assert_eq!(bench.synced(again).unwrap().assignment, "two");
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_member_without_a_common_protocol_is_refused() {
    let mut bench = Bench::new();
    bench.join("");
    let mut other = bench.request("");
    other.protocols = vec![("sticky".into(), Bytes::new())];
    let ticket = bench.ask(&other);
    let code = bench.joined(ticket).unwrap().error;
    assert_eq!(code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn the_protocol_all_support_and_most_prefer_is_chosen() {
    let mut bench = Bench::with_delay(Duration::from_secs(3));
    let mut tickets = Vec::new();
    for names in [["a", "b"], ["b", "a"], ["b", "a"]] {
        let mut request = bench.request("");
        request.protocols = names.map(|name| (name.to_owned(), Bytes::new())).to_vec();
        tickets.push(bench.ask(&request));
    }
    assert!(
        bench.joined(tickets[0]).is_none(),
        "the first rebalance waits"
    );
    bench.pass(Duration::from_secs(3));
    let joined = bench.joined(tickets[2]).unwrap();
    assert_eq!(joined.protocol.as_deref(), Some("b"));
}

#[test]
fn a_group_does_not_grow_without_end() {
    let mut bench = Bench::new();
    let mut request = bench.request("");
    request.member_id_required = true;
    for number in 0..1000 {
        request.fresh_member_id = number.to_string();
        bench.ask(&request);
    }
    let ticket = bench.ask(&request);
    let code = bench.joined(ticket).unwrap().error;
    assert_eq!(code, ErrorCode::GROUP_MAX_SIZE_REACHED);
}

#[test]
fn a_session_timeout_out_of_bounds_and_an_empty_group_id_are_refused() {
    let mut bench = Bench::new();
    let mut request = bench.request("");
    request.session_timeout = Duration::from_secs(1);
    let ticket = bench.ask(&request);
    assert_eq!(
        bench.joined(ticket).unwrap().error,
        ErrorCode::INVALID_SESSION_TIMEOUT
    );
    let ticket = bench.ticket();
    let request = bench.request("");
    let now = bench.now;
    bench
        .coordinator
        .join(now, ticket, "", &request, &mut bench.replies);
    assert_eq!(
        bench.joined(ticket).unwrap().error,
        ErrorCode::INVALID_GROUP_ID
    );
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_without_a_rebalance_and_fences_its_former_self()
{
    let mut bench = Bench::new();
    let mut request = bench.request("");
    request.instance_id = Some("instance".into());
    let ticket = bench.ask(&request);
    let old = bench.joined(ticket).unwrap().member_id.clone();
    let ticket = bench.ticket();
    let sync = SyncRequest {
        member_id: old.clone(),
        instance_id: Some("instance".into()),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: vec![(old.clone(), Bytes::from_static(b"mine"))],
    };
    let now = bench.now;
    bench
        .coordinator
        .sync(now, ticket, "g", sync, &mut bench.replies);
    let mut request = bench.request("");
    request.instance_id = Some("instance".into());
    let ticket = bench.ask(&request);
    let joined = bench.joined(ticket).unwrap().clone();
    assert_eq!((joined.generation, joined.skip_assignment), (1, true));
    assert_ne!(joined.member_id, old);
    let code = bench
        .coordinator
        .heartbeat(now, "g", &old, Some("instance"), 1);
    assert_eq!(code, ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn offsets_without_a_group_are_for_empty_groups_only() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit("", -1), ErrorCode::NONE);
    assert_eq!(bench.commit("someone", 4), ErrorCode::UNKNOWN_MEMBER_ID);
    bench.join("");
    assert_eq!(bench.commit("", -1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn metadata_longer_than_the_limit_is_refused_for_its_partition_alone() {
    let mut bench = Bench::new();
    bench.coordinator.limit_metadata(10);
    let entry = |partition, length| PartitionCommit {
        topic: "t".into(),
        partition,
        committed: CommittedOffset {
            offset: 1,
            leader_epoch: 0,
            metadata: "m".repeat(length),
        },
    };
    let request = CommitRequest {
        group_id: "g".into(),
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        partitions: vec![entry(0, 10), entry(1, 11)],
    };
    let codes = bench.coordinator.commit(bench.now, request);
    let refused = ErrorCode::OFFSET_METADATA_TOO_LARGE;
    assert_eq!(codes, [ErrorCode::NONE, refused]);
}

#[test]
fn a_commit_as_large_as_the_offsets_topic_cannot_take_fails_whole() {
    let mut bench = Bench::new();
    let entry = |partition| PartitionCommit {
        topic: "t".into(),
        partition,
        committed: CommittedOffset {
            offset: 1,
            leader_epoch: 0,
            metadata: "m".repeat(4096),
        },
    };
    let request = CommitRequest {
        group_id: "g".into(),
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        partitions: (0..256).map(entry).collect(),
    };
    let codes = bench.coordinator.commit(bench.now, request);
    assert_eq!(codes, vec![ErrorCode::UNKNOWN_SERVER_ERROR; 256]);
    assert!(
        bench
            .coordinator
            .group("g")
            .unwrap()
            .offsets()
            .get("t", 0)
            .is_none()
    );
}

/// One thing a member may do; members by number.
#[derive(Clone, Copy, Debug)]
enum Act {
    Enter,
    Rejoin(usize),
    Sync(usize),
    Beat(usize),
    Leave(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Enter),
        (0_usize..4).prop_map(Act::Rejoin),
        (0_usize..4).prop_map(Act::Sync),
        (0_usize..4).prop_map(Act::Beat),
        (0_usize..4).prop_map(Act::Leave),
        (0_u64..20).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_members_do_every_request_is_answered_once_and_a_group_left_alone_empties(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut bench = Bench::new();
        let mut asked = Vec::new();
        for act in acts {
            let ids: Vec<String> = bench
                .coordinator
                .group("g")
                .map(|group| group.view().members.into_iter().map(|m| m.member_id).collect())
                .unwrap_or_default();
            let generation = bench.coordinator.group("g").map_or(0, |g| g.view().generation);
            let pick = |index: usize| ids.get(index).cloned();
            match act {
                Act::Enter if ids.len() < 4 => asked.push(bench.join("")),
                Act::Enter => {}
                Act::Rejoin(index) => asked.extend(pick(index).map(|id| bench.join(&id))),
                Act::Sync(index) => {
                    asked.extend(pick(index).map(|id| bench.sync(&id, generation, &[])));
                }
                Act::Beat(index) => {
                    pick(index).map(|id| bench.beat(&id, generation));
                }
                Act::Leave(index) => {
                    pick(index).map(|id| bench.leave(&id));
                }
                Act::Pass(seconds) => bench.pass(Duration::from_secs(seconds)),
            }
            let after = bench.coordinator.group("g").map_or(0, |g| g.view().generation);
            prop_assert!(after >= generation, "generations never go back");
        }
        bench.pass(REBALANCE * 3);
        for ticket in asked {
            let answers = bench.replies.iter().filter(|(at, _)| *at == ticket).count();
            prop_assert_eq!(answers, 1);
        }
        if let Some(group) = bench.coordinator.group("g") {
            prop_assert_eq!(group.state(), GroupState::Empty);
            prop_assert_eq!(bench.coordinator.next_deadline(), None);
        }
    }
}

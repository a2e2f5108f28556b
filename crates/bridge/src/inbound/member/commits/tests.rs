//! Which offsets reach the consumer.

use std::cell::RefCell;

use cybermesh_transport::error::{Operation, Target};

use cybermesh_contracts::replay::{Claim, Claims, PartitionReplay, RingLimits};
use cybermesh_contracts::sign::KeyId;

use super::*;
use crate::inbound::group::State;
use crate::inbound::replay::StateSigning;
use crate::telemetry::Exposition;

const WITHIN: Duration = Duration::from_secs(10);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn commit_of(partition: i32, life: Life) -> Commit {
    Commit {
        partition: tp(partition),
        offset: 1000,
        state: None,
        life,
    }
}

fn sealing() -> Arc<Sealing> {
    let metrics = Exposition::new().unwrap().metrics();
    let (group, cluster_id) = ("g".to_owned(), "c".to_owned());
    Arc::new(Sealing::new(
        group,
        cluster_id,
        StateSigning::none(),
        metrics,
    ))
}

fn refused(partition: i32, code: ErrorCode) -> TransportError {
    let target = Target::default().partition("t", partition);
    TransportError::code(Operation::OffsetCommit, target, code)
}

/// Commits partitions 0 to 2 at a consumer that refuses some; gives what it was asked for, and what came of it.
async fn committed(
    lives: &Lives,
    commits: Vec<Commit>,
    refuse: impl Fn(i32) -> Option<ErrorCode>,
) -> (Vec<Vec<i32>>, Result<(), CommitError>) {
    let asked = RefCell::new(Vec::new());
    let send = |offsets: Vec<OffsetToCommit>| {
        let partitions = offsets.iter().map(|one| one.partition.partition);
        let partitions: Vec<i32> = partitions.collect();
        asked.borrow_mut().push(partitions.clone());
        let mut codes = partitions
            .into_iter()
            .filter_map(|partition| Some(refused(partition, refuse(partition)?)));
        std::future::ready(codes.next().map_or(Ok(()), Err))
    };
    let result = commit(lives, &sealing(), commits, WITHIN, send).await;
    (asked.into_inner(), result)
}

fn left_out(result: &Result<(), CommitError>) -> &[TopicPartition] {
    match result {
        Err(CommitError::Partly { left_out, .. }) => left_out,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_offset_of_a_life_that_is_over_is_left_out_and_the_others_are_committed() {
    let lives = Lives::default();
    let commits = [0, 1, 2].map(|partition| commit_of(partition, lives.begin(&tp(partition))));
    // Told, and not yet seen by whoever commits.
    let next = lives.begin(&tp(1));
    let (asked, result) = committed(&lives, commits.to_vec(), |_| None).await;
    assert_eq!(asked, [[0, 2]]);
    assert_eq!(left_out(&result), [tp(1)]);
    assert!(!result.unwrap_err().is_final());
    let (asked, result) = committed(&lives, vec![commit_of(1, next)], |_| None).await;
    assert_eq!((asked, result), (vec![vec![1]], Ok(())));
}

#[tokio::test]
async fn a_commit_of_nothing_but_former_lives_reaches_nobody() {
    let lives = Lives::default();
    let former = commit_of(0, lives.begin(&tp(0)));
    lives.begin(&tp(0));
    let (asked, result) = committed(&lives, vec![former], |_| None).await;
    assert!(asked.is_empty());
    assert!(matches!(result, Err(CommitError::NotNow(_))), "{result:?}");
}

#[tokio::test]
async fn a_partition_that_cannot_be_committed_does_not_hold_the_others_up() {
    let lives = Lives::default();
    let commits = || {
        [0, 1, 2]
            .map(|partition| commit_of(partition, Life(1)))
            .to_vec()
    };
    for (code, is_final) in [
        (ErrorCode::UnknownTopicId, false),
        (ErrorCode::TopicAuthorizationFailed, true),
    ] {
        let refuse = |partition| (partition == 0).then_some(code);
        let (asked, result) = committed(&lives, commits(), refuse).await;
        assert_eq!(asked, [vec![0, 1, 2], vec![2, 1]]);
        assert_eq!(left_out(&result), [tp(0)]);
        assert_eq!(result.unwrap_err().is_final(), is_final, "{code}");
    }
    // One that may come through later is worth another try, whatever else is refused for good.
    let refuse = |partition| match partition {
        0 => Some(ErrorCode::TopicAuthorizationFailed),
        1 => Some(ErrorCode::UnknownTopicId),
        _ => None,
    };
    let (_, result) = committed(&lives, commits(), refuse).await;
    assert_eq!(left_out(&result), [tp(0), tp(1)]);
    assert!(!result.unwrap_err().is_final());
}

#[tokio::test]
async fn what_is_wrong_with_the_member_is_not_tried_partition_by_partition() {
    for code in [
        ErrorCode::IllegalGeneration,
        ErrorCode::RebalanceInProgress,
        ErrorCode::CoordinatorLoadInProgress,
    ] {
        let commits = [0, 1]
            .map(|partition| commit_of(partition, Life(1)))
            .to_vec();
        let (asked, result) = committed(&Lives::default(), commits, |_| Some(code)).await;
        assert_eq!(asked, [[0, 1]], "{code}");
        assert_eq!(result, Err(refused(0, code).into()));
    }
}

/// A commit with a state of so many signers.
fn with_state(partition: i32, signers: u32) -> Commit {
    let mut replay = PartitionReplay::at_start_of_log(RingLimits::new(16).unwrap(), 0);
    for signer in 0..signers {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&signer.to_be_bytes());
        let claim = Claim::with_timestamp(KeyId(key), 1_700_000_000 + i64::from(signer), [1; 32]);
        replay.judge(i64::from(signer), 100, &Claims::of(claim));
    }
    Commit {
        state: Some(State {
            snapshot: replay.checkpoint(1_000_000),
            topic_id: [9; 16],
        }),
        ..commit_of(partition, Life(1))
    }
}

/// Commits at a broker that answers each request as `answer` says; gives the lengths of the states that came to it, by
/// request, and what came of it.
async fn committed_at(
    sealing: &Arc<Sealing>,
    commits: Vec<Commit>,
    answer: impl Fn(&[OffsetToCommit]) -> Result<(), TransportError>,
) -> (Vec<Vec<usize>>, Result<(), CommitError>) {
    let asked = RefCell::new(Vec::new());
    let send = |offsets: Vec<OffsetToCommit>| {
        let lengths = offsets.iter().map(|one| one.metadata.len()).collect();
        asked.borrow_mut().push(lengths);
        std::future::ready(answer(&offsets))
    };
    let result = commit(&Lives::default(), sealing, commits, WITHIN, send).await;
    (asked.into_inner(), result)
}

fn too_large(offsets: &[OffsetToCommit], most: usize) -> Result<(), TransportError> {
    let found = offsets.iter().find(|one| one.metadata.len() > most);
    let refused = |one: &OffsetToCommit| {
        Err(refused(
            one.partition.partition,
            ErrorCode::OffsetMetadataTooLarge,
        ))
    };
    found.map_or(Ok(()), refused)
}

#[tokio::test]
async fn a_state_goes_with_its_commit_and_takes_no_more_than_its_room() {
    let sealing = sealing();
    for (signers, range) in [(3, 50..200), (10_000, 3700..3801)] {
        let (asked, result) =
            committed_at(&sealing, vec![with_state(0, signers)], |_| Ok(())).await;
        assert_eq!(result, Ok(()));
        assert_eq!(asked.len(), 1);
        assert!(range.contains(&asked[0][0]), "{asked:?} of {signers}");
    }
}

#[tokio::test]
async fn a_broker_that_takes_less_gets_less_and_that_is_remembered() {
    let sealing = sealing();
    let commits = || {
        vec![
            with_state(0, 10_000),
            with_state(1, 3),
            with_state(2, 10_000),
        ]
    };
    let (asked, result) =
        committed_at(&sealing, commits(), |offsets| too_large(offsets, 1000)).await;
    assert_eq!(result, Ok(()));
    let last = asked.last().unwrap();
    assert_eq!(asked.len(), 3, "3800, 1900, 950: {asked:?}");
    assert!(last[0] <= 950 && last[0] > 850 && last[1] > 0, "{asked:?}");
    let (asked, _) = committed_at(&sealing, commits(), |offsets| too_large(offsets, 1000)).await;
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn a_broker_that_takes_no_state_gets_the_commit_without() {
    let sealing = sealing();
    let commits = || vec![with_state(0, 100), commit_of(1, Life(1))];
    let (asked, result) = committed_at(&sealing, commits(), |offsets| too_large(offsets, 10)).await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked.last().unwrap(), &[0, 0]);
    let (asked, result) = committed_at(&sealing, commits(), |offsets| too_large(offsets, 10)).await;
    assert_eq!((asked, result), (vec![vec![0, 0]], Ok(())));
}

#[tokio::test]
async fn a_request_that_is_refused_whole_is_made_smaller_and_then_without_states() {
    for code in [
        ErrorCode::UnknownServerError,
        ErrorCode::InvalidCommitOffsetSize,
    ] {
        let sealing = sealing();
        let whole = |most: usize| {
            move |offsets: &[OffsetToCommit]| {
                let bytes: usize = offsets.iter().map(|one| one.metadata.len()).sum();
                if bytes > most {
                    Err(refused(0, code))
                } else {
                    Ok(())
                }
            }
        };
        let commits = || {
            (0..10)
                .map(|partition| with_state(partition, 10_000))
                .collect()
        };
        // What may be anything is sent once more as it is.
        let again = usize::from(code == ErrorCode::UnknownServerError);
        let (asked, result) = committed_at(&sealing, commits(), whole(20_000)).await;
        assert_eq!((asked.len(), result), (2 + again, Ok(())), "{code}");
        let (asked, result) = committed_at(&sealing, commits(), whole(100)).await;
        assert_eq!((asked.len(), result), (3 + again, Ok(())), "{code}");
        assert_eq!(asked[2 + again], [0; 10]);
    }
}

#[tokio::test]
async fn an_error_of_the_broker_that_passes_costs_states_nothing() {
    let sealing = sealing();
    let sent = std::cell::Cell::new(0);
    let (asked, result) = committed_at(&sealing, vec![with_state(0, 10_000)], |_| {
        sent.set(sent.get() + 1);
        match sent.get() {
            1 => Err(refused(0, ErrorCode::UnknownServerError)),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
    let (asked, _) = committed_at(&sealing, vec![with_state(0, 10_000)], |_| Ok(())).await;
    assert!(asked[0][0] > 3700, "{asked:?}");
}

#[tokio::test]
async fn a_request_that_is_refused_without_states_too_leaves_them_their_room() {
    let sealing = sealing();
    let code = ErrorCode::UnknownServerError;
    let refuse = |_: &[OffsetToCommit]| Err(refused(0, code));
    let (asked, result) = committed_at(&sealing, vec![with_state(0, 10_000)], refuse).await;
    assert_eq!(asked.len(), 4);
    assert_eq!(result, Err(refused(0, code).into()));
    let (asked, _) = committed_at(&sealing, vec![with_state(0, 10_000)], |_| Ok(())).await;
    assert!(asked[0][0] > 3700, "{asked:?}");
}

#[tokio::test]
async fn three_hundred_partitions_of_many_signers_are_committed_in_requests_of_half_a_mebibyte() {
    let sealing = sealing();
    let commits: Vec<Commit> = (0..300)
        .map(|partition| with_state(partition, 230))
        .collect();
    let (asked, result) = committed_at(&sealing, commits.clone(), |_| Ok(())).await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked.iter().map(Vec::len).sum::<usize>(), 300);
    assert_eq!(asked.len(), 3, "138 states of 3800 characters fit one");
    for request in &asked {
        assert!(request.iter().sum::<usize>() <= 512 * 1024);
    }
    // One request that does not come through says nothing of those that did.
    let sent = std::cell::Cell::new(0);
    let (asked, result) = committed_at(&sealing, commits, |offsets| {
        sent.set(sent.get() + 1);
        match sent.get() {
            2 => Err(refused(
                offsets[0].partition.partition,
                ErrorCode::NotCoordinator,
            )),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(asked.len(), 2);
    assert_eq!(left_out(&result).len(), 300 - asked[0].len());
    assert!(!left_out(&result).contains(&tp(0)));
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_before_the_time_was_up_is_said_to_be() {
    let lives = Lives::default();
    for answered in [0, 1] {
        let mut commits: Vec<Commit> = (0..300)
            .map(|partition| with_state(partition, 230))
            .collect();
        // One of the second request is left out before, and not once more for the lack of an answer.
        commits[150].life = lives.begin(&tp(150));
        lives.begin(&tp(150));
        let asked = RefCell::new(Vec::new());
        let send = |offsets: Vec<OffsetToCommit>| {
            asked.borrow_mut().push(offsets.len());
            let is_answered = asked.borrow().len() <= answered;
            async move {
                if !is_answered {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        };
        let result = commit(&lives, &sealing(), commits, WITHIN, send).await;
        let asked = asked.into_inner();
        assert_eq!(asked.len(), answered + 1, "no more is asked for");
        if answered == 0 {
            let why = "no answer within 10 s".to_owned();
            assert_eq!(result, Err(CommitError::NotNow(why)));
        } else {
            assert_eq!(left_out(&result).len(), 300 - asked[0]);
            assert!(!result.unwrap_err().is_final());
        }
    }
}

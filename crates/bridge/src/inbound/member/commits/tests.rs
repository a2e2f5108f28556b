//! Which offsets reach the consumer.

use std::cell::RefCell;

use cybermesh_transport::error::{Operation, Target};

use super::*;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn commit_of(partition: i32, life: Life) -> Commit {
    Commit {
        partition: tp(partition),
        offset: 1000,
        metadata: String::new(),
        life,
    }
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
    let result = commit(lives, commits, send).await;
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

//! What was handled beyond the watermark, over a restart.

use proptest::prelude::*;

use super::*;
use crate::replay::Handled;

/// Offsets 0 to 9 accepted; those that `done` names are done, 2 is not.
fn behind_a_stuck_message(done: impl Fn(i64) -> bool) -> Handled {
    let mut replay = fresh();
    for offset in 0..10_i64 {
        replay.judge(offset, BYTES, &node(1, 1, 100 + offset.unsigned_abs()));
    }
    replay.handled_from(2, done)
}

#[test]
fn what_is_done_behind_a_message_that_is_not_is_remembered_and_nothing_else() {
    let handled = behind_a_stuck_message(|offset| offset != 2 && offset < 7);
    let text = handled.encode(2);
    let handled = Handled::decode(&text, 2).unwrap();
    let known = |offset: i64| handled.contains(offset, &node(1, 1, 100 + offset.unsigned_abs()));
    let known: Vec<i64> = (0..10).filter(|offset| known(*offset)).collect();
    assert_eq!(known, [3, 4, 5, 6]);
}

#[test]
fn another_message_at_the_offset_of_a_handled_one_is_not_taken_for_it() {
    let handled = behind_a_stuck_message(|offset| offset == 3);
    assert!(handled.contains(3, &node(1, 1, 103)));
    assert!(!handled.contains(3, &Claims::of(node_claim(1, 1, 103, 0, 9))));
    assert!(!handled.contains(4, &node(1, 1, 103)));
}

#[test]
fn no_more_are_remembered_than_there_is_room_for_and_those_are_the_first() {
    let mut replay = fresh();
    let most = i64::try_from(Handled::MOST).unwrap();
    for offset in 0..most + 5 {
        replay.judge(offset, BYTES, &node(1, 1, 100 + offset.unsigned_abs()));
    }
    let handled = replay.handled_from(1, |_| true);
    assert_eq!(handled.len(), Handled::MOST);
    let last = |offset: i64| handled.contains(offset, &node(1, 1, 100 + offset.unsigned_abs()));
    assert!(last(1) && last(most) && !last(most + 1));
    assert!(Handled::decode(&handled.encode(1), 1).is_some());
}

#[test]
fn what_the_watermark_has_passed_is_let_go_of() {
    let mut handled = behind_a_stuck_message(|offset| offset > 2);
    handled.forget_below(5);
    assert!(!handled.contains(4, &node(1, 1, 104)));
    assert!(handled.contains(5, &node(1, 1, 105)));
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        offsets in proptest::collection::btree_set(0..i64::MAX, 0..50),
        committed in 0..i64::MAX,
    ) {
        let marked = offsets.into_iter().filter(|offset| *offset >= committed).map(|offset| (offset, [7; 8]));
        let handled = Handled::of(marked);
        prop_assert_eq!(Handled::decode(&handled.encode(committed), committed), Some(handled));
    }

    #[test]
    fn any_text_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100), committed: i64) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        if let Some(handled) = Handled::decode(&text, committed) {
            prop_assert!(handled.len() <= text.len());
        }
    }
}

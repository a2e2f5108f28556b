//! A bug that is put in on purpose, to see that it is found.

use std::cell::Cell;

thread_local! {
    static ONE_IN: Cell<Option<u32>> = const { Cell::new(None) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Has this thread believe one signature in `n` unverified; none where there is no number.
pub fn believe_one_in(n: Option<u32>) {
    ONE_IN.set(n);
    COUNT.set(0);
}

pub(super) fn is_believed() -> bool {
    ONE_IN.get().is_some_and(|n| {
        let count = COUNT.get() + 1;
        COUNT.set(count % n.max(1));
        count >= n
    })
}

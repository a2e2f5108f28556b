//! The bugs that are put in on purpose: each has to be found.

/// A bug's name, and what it does.
pub const BUGS: [(&str, &str); 12] = [
    ("commit-one-past", "commits one beyond what is done"),
    ("acknowledged-early", "acknowledges before the broker did"),
    (
        "signature-believed",
        "believes one signature in three unverified",
    ),
    (
        "lost-answer-is-written",
        "takes a batch whose answer was lost for written",
    ),
    ("resend-renumbered", "resends a batch under a new sequence"),
    ("copy-passes", "passes copies and replays"),
    (
        "lane-overtakes",
        "begins a message before the one ahead in its lane is done",
    ),
    ("burial-not-awaited", "does not wait for dead letters"),
    (
        "revoked-uncommitted",
        "gives partitions up without committing what is done",
    ),
    (
        "nonces-forgotten",
        "goes on after a restart as if no nonce had been given out",
    ),
    (
        "breaker-stays-open",
        "never tries again once the breaker is open",
    ),
    (
        "retry-is-done",
        "takes a message that is to be tried again for done",
    ),
];

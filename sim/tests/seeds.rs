//! A seed decides everything; a bug that is put in is found. Only as the simulation is built: `cargo xtask sim`.
#![cfg(tokio_unstable)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use cybermesh_sim::{Options, run};

fn options(seed: u64) -> Options {
    Options {
        seed,
        bug: None,
        keeps_trace: true,
    }
}

#[test]
fn the_same_seed_twice_gives_the_same_trace_byte_for_byte() {
    for seed in 1..=5 {
        let (first, second) = (run(&options(seed)).unwrap(), run(&options(seed)).unwrap());
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.history, second.history, "seed {seed}");
    }
}

#[test]
fn other_seeds_go_other_ways() {
    let hashes: std::collections::BTreeSet<_> = (1..=5)
        .map(|seed| run(&options(seed)).unwrap().trace_hash)
        .collect();
    assert_eq!(hashes.len(), 5);
}

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cybermesh_bridge::fuzzing::replay_copy(bytes));

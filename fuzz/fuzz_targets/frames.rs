#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cybermesh_transport::fuzzing::frames(bytes));

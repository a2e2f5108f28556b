#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cybermesh_transport::fuzzing::codec(bytes, 1 << 20));

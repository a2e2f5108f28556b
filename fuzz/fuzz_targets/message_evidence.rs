#![no_main]

use cybermesh_contracts::Kind;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cybermesh_fuzz::message(Kind::Evidence, bytes));

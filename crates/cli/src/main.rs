//! The binary `cybermesh-bridge`.
fn main() {}

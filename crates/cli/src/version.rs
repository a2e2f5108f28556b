//! What `--version` says: version, target, TLS provider and the processor features it depends on.

use std::sync::OnceLock;

use cybermesh_transport::tls::CpuSupport;

/// The text behind the program's name.
pub(crate) fn long() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(text)
}

fn text() -> String {
    let cpu = CpuSupport::detect();
    let provider = if cpu.is_sufficient() {
        "graviola"
    } else {
        "none by default; KAFKA_TLS_PROVIDER=portable takes the portable one, which is young and unaudited"
    };
    let missing = if cpu.is_sufficient() {
        String::new()
    } else {
        format!("; missing: {}", cpu.missing().join(" "))
    };
    format!(
        "{}\ntarget: {}\ntls provider: {provider}\ncpu features: {}{missing}",
        env!("CARGO_PKG_VERSION"),
        env!("CYBERMESH_TARGET"),
        cpu.present().join(" "),
    )
}

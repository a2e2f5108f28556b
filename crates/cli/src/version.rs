//! What `--version` says: version, target, TLS provider and the processor features it depends on.

use cybermesh_transport::tls;

/// The text behind the program's name.
pub(crate) fn long() -> String {
    let provider = match tls::graviola_missing() {
        missing if missing.is_empty() => "graviola".to_owned(),
        missing => format!(
            "none by default (graviola needs {}; KAFKA_TLS_PROVIDER=portable is the way out)",
            missing.join(", ")
        ),
    };
    format!(
        "{}\ntarget: {}\ntls provider: {provider}\ncpu features: {}",
        env!("CARGO_PKG_VERSION"),
        env!("CYBERMESH_TARGET"),
        tls::graviola_present().join(" "),
    )
}

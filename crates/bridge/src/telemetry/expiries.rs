//! When trusted keys and certificates expire.
//!
//! Shown as the moment, in seconds since 1970, and not as the time left: whoever scrapes knows the time
//! better than a process whose clock may be wrong (`bridge_key_expiry_seconds - time() < 7 * 86400`).

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{KeyValue, metrics::Meter};

type Moments = Vec<(String, i64)>;

/// What expires, as of the last look at the files.
#[derive(Default)]
pub(super) struct Expiries {
    keys: Mutex<Moments>,
    certificates: Mutex<Moments>,
}

impl Expiries {
    pub(super) fn observe(self: &Arc<Self>, meter: &Meter) {
        let observed = |name: &'static str,
                        about: &'static str,
                        label: &'static str,
                        of: fn(&Self) -> &Mutex<Moments>| {
            let expiries = Arc::clone(self);
            meter
                .i64_observable_gauge(name)
                .with_description(about)
                .with_callback(move |observer| {
                    let moments = of(&expiries).lock().unwrap_or_else(PoisonError::into_inner);
                    for (name, unix_s) in moments.iter() {
                        observer.observe(*unix_s, &[KeyValue::new(label, name.clone())]);
                    }
                })
                .build();
        };
        observed(
            "bridge_key_expiry_seconds",
            "When a trusted key's window closes, in seconds since 1970",
            "id",
            |expiries| &expiries.keys,
        );
        observed(
            "bridge_certificate_expiry_seconds",
            "When a certificate file's first certificate to expire does, in seconds since 1970",
            "file",
            |expiries| &expiries.certificates,
        );
    }

    pub(super) fn keys(&self, keys: Moments) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(super) fn certificates(&self, files: Moments) {
        *self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = files;
    }
}

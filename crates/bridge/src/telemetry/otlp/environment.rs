//! What the environment says of pushing metrics, judged as settings are: everything wrong at once, with
//! the variable's name and what it accepts, and nothing secret shown.

use std::{ffi::OsString, fmt, path::Path, time::Duration};

use cybermesh_transport::tls::{Pem, ProviderChoice, TlsConfig};
use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};

use super::client::is_https;
use crate::{
    keys::read_pem,
    settings::{Problem, Source, problem::shown},
};

/// The names of a variable, of which the first that is set goes: for metrics alone, for all signals.
type Names = &'static [&'static str];

const ENDPOINT: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOL: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const COMPRESSION: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const TIMEOUT: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];
const HEADERS: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
const CERTIFICATE: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CLIENT_CERTIFICATE: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const CLIENT_KEY: Names = &[
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];
const INTERVAL: Names = &["OTEL_METRIC_EXPORT_INTERVAL"];
const TEMPORALITY: Names = &["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"];

/// What is put behind the endpoint of all signals.
const PATH_OF_METRICS: &str = "/v1/metrics";
/// The SDK's own defaults.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
const USUAL_INTERVAL: Duration = Duration::from_secs(60);
/// A day.
const LONGEST_MS: u64 = 86_400_000;

const AN_ENDPOINT: &str = "give a URL, http or https, with a host, as in http://collector:4318";
const MILLISECONDS: &str = "give milliseconds as a number, from 1 to 86400000";
const A_FILE: &str = "give the path of a readable PEM file";

/// Metrics are to be pushed, and so.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Where to, whole.
    pub(super) endpoint: Uri,
    /// Set where it is `https`.
    pub(super) tls: Option<TlsConfig>,
    /// What one push may take.
    pub(super) timeout: Duration,
    /// Between pushes.
    pub(super) interval: Duration,
    /// Which of several processes this is; where none is said, the environment or chance will.
    pub(super) instance: Option<String>,
}

impl Wanted {
    /// As the environment says; `None` where it names no endpoint, or where `problems` say why not.
    /// `provider` is whose cryptography an `https` endpoint is spoken to with, `node` the name this
    /// process goes by, where it has one.
    pub(crate) fn from_env(
        provider: ProviderChoice,
        node: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        Environment {
            lookup: &|name| std::env::var_os(name),
            problems,
        }
        .judge(provider, node)
    }
}

/// A variable that is set, under the name that went.
struct Value {
    name: &'static str,
    text: String,
}

struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    problems: &'a mut Vec<Problem>,
}

impl Environment<'_> {
    fn judge(mut self, provider: ProviderChoice, node: Option<&str>) -> Option<Wanted> {
        if self.is("OTEL_SDK_DISABLED", "true") || self.is("OTEL_METRICS_EXPORTER", "none") {
            return None;
        }
        let before = self.problems.len();
        let said = self.value(ENDPOINT)?;
        let endpoint = match endpoint(&said) {
            Ok(endpoint) => Some(endpoint),
            Err(reason) => {
                self.refuse(&said, reason, AN_ENDPOINT);
                None
            }
        };
        self.one_of(PROTOCOL, &["http/protobuf"]);
        self.one_of(COMPRESSION, &["none"]);
        self.one_of(TEMPORALITY, &["cumulative", "delta", "lowmemory"]);
        let timeout = self.milliseconds(TIMEOUT, USUAL_TIMEOUT);
        let interval = self.milliseconds(INTERVAL, USUAL_INTERVAL);
        self.headers();
        let is_https = endpoint.as_ref().is_some_and(is_https);
        let tls = if is_https { self.tls(provider) } else { None };
        (self.problems.len() == before).then_some(Wanted {
            endpoint: endpoint?,
            tls,
            timeout,
            interval,
            instance: node.map(str::to_owned),
        })
    }

    fn is(&self, name: &str, value: &str) -> bool {
        let set = (self.lookup)(name);
        let set = set.as_ref().and_then(|set| set.to_str());
        set.is_some_and(|set| set.trim().eq_ignore_ascii_case(value))
    }

    /// The first that is set; empty is unset.
    fn value(&mut self, names: Names) -> Option<Value> {
        for name in names {
            let Some(set) = (self.lookup)(name) else {
                continue;
            };
            let Some(text) = set.to_str().map(str::trim) else {
                let said = Value {
                    name,
                    text: String::new(),
                };
                self.refuse(&said, "not UTF-8", "");
                return None;
            };
            if !text.is_empty() {
                let text = text.to_owned();
                return Some(Value { name, text });
            }
        }
        None
    }

    fn refuse(&mut self, said: &Value, reason: impl Into<String>, accepts: impl Into<String>) {
        self.problems.push(Problem {
            name: said.name.to_owned(),
            source: Source::Environment(said.name),
            reason: reason.into(),
            accepts: accepts.into(),
        });
    }

    fn one_of(&mut self, names: Names, accepted: &[&str]) {
        let Some(said) = self.value(names) else {
            return;
        };
        if !accepted
            .iter()
            .any(|one| one.eq_ignore_ascii_case(&said.text))
        {
            let accepts = format!("give {}, or unset it", accepted.join(" | "));
            self.refuse(&said, shown(&said.text), accepts);
        }
    }

    fn milliseconds(&mut self, names: Names, usual: Duration) -> Duration {
        let Some(said) = self.value(names) else {
            return usual;
        };
        match said.text.parse() {
            Ok(ms @ 1..=LONGEST_MS) => Duration::from_millis(ms),
            _ => {
                self.refuse(&said, shown(&said.text), MILLISECONDS);
                usual
            }
        }
    }

    /// The SDK passes over what it cannot use without a word.
    fn headers(&mut self) {
        let Some(said) = self.value(HEADERS) else {
            return;
        };
        for (index, entry) in said.text.split(',').enumerate() {
            if !entry.trim().is_empty() && !is_header(entry) {
                // A header may well be a secret.
                let reason = format!("entry {} is no header", index + 1);
                self.refuse(
                    &said,
                    reason,
                    "give name=value, several with commas between",
                );
            }
        }
    }

    fn tls(&mut self, provider: ProviderChoice) -> Option<TlsConfig> {
        let ca = self.value(CERTIFICATE);
        let chain = self.value(CLIENT_CERTIFICATE);
        let key = self.value(CLIENT_KEY);
        if ca.is_none() {
            self.problems.push(Problem {
                name: "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
                source: Source::Default,
                reason: "unset, and needed for an https endpoint".to_owned(),
                accepts: "give the path of the PEM bundle that signed its certificate".to_owned(),
            });
        }
        match (&chain, &key) {
            (Some(said), None) => {
                let accepts = "give OTEL_EXPORTER_OTLP_CLIENT_KEY as well, or neither";
                self.refuse(said, "a certificate without its key", accepts);
            }
            (None, Some(said)) => {
                let accepts = "give OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE as well, or neither";
                self.refuse(said, "a key without its certificate", accepts);
            }
            _ => {}
        }
        let [of_ca, chain, key] =
            [&ca, &chain, &key].map(|said| said.as_ref().and_then(|said| self.pem(said)));
        let mut builder = TlsConfig::builder(of_ca?).provider(provider);
        if let (Some(chain), Some(key)) = (chain, key) {
            builder = builder.client_certificate(chain, key);
        }
        match builder.build() {
            Ok(tls) => Some(tls),
            Err(error) => {
                self.refuse(&ca?, error.to_string(), "");
                None
            }
        }
    }

    fn pem(&mut self, said: &Value) -> Option<Pem> {
        match read_pem(Path::new(&said.text)) {
            Ok(content) => {
                let name = format!("{} {}", said.name, said.text);
                Some(Pem::new(name, content.to_vec()))
            }
            Err(reason) => {
                let reason = format!("{}: {reason}", shown(&said.text));
                self.refuse(said, reason, A_FILE);
                None
            }
        }
    }
}

/// Where to push, or what is wrong with what was said of it.
fn endpoint(said: &Value) -> Result<Uri, String> {
    let whole = if said.name == ENDPOINT[0] {
        said.text.clone()
    } else {
        format!("{}{PATH_OF_METRICS}", said.text.trim_end_matches('/'))
    };
    let shown = || shown(&Public(&said.text).to_string());
    let uri: Uri = whole
        .parse()
        .map_err(|error| format!("{}: {error}", shown()))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("{} is neither http nor https", shown()));
    }
    let (Some(authority), Some(host)) =
        (uri.authority(), uri.host().filter(|host| !host.is_empty()))
    else {
        return Err(format!("{} names no host", shown()));
    };
    if authority.as_str().contains('@') {
        return Err(format!(
            "{}: a user and a password are not sent; give them in OTEL_EXPORTER_OTLP_HEADERS",
            shown()
        ));
    }
    if authority.as_str() != host && uri.port_u16().is_none_or(|port| port == 0) {
        return Err(format!("{} names no port that can be", shown()));
    }
    Ok(uri)
}

/// A URL without what may be secret in it: user, password, query. It need be no URL.
struct Public<'a>(&'a str);

impl fmt::Display for Public<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some(("http" | "https", rest)) => (&self.0[..self.0.len() - rest.len()], rest),
            _ => ("", self.0),
        };
        f.write_str(scheme)?;
        // A password that is not escaped may hold whatever ends an authority.
        let rest = match rest.rsplit_once('@') {
            Some((_, rest)) => {
                f.write_str("…@")?;
                rest
            }
            None => rest,
        };
        match rest.split_once('?') {
            Some((path, _)) => write!(f, "{path}?…"),
            None => f.write_str(rest),
        }
    }
}

fn is_header(entry: &str) -> bool {
    let Some((name, value)) = entry.split_once('=') else {
        return false;
    };
    let value = value.trim();
    let value = decoded(value).unwrap_or_else(|| value.as_bytes().to_vec());
    !value.is_empty()
        && HeaderName::from_bytes(name.trim().as_bytes()).is_ok()
        && HeaderValue::from_bytes(&value).is_ok()
}

/// Per cent and two digits are a byte; `None` where two digits do not follow.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let pair = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                u8::try_from(pair).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests;

//! The part of a broker that asks its clients by SASL who they are.
//!
//! Over the built-in broker every client that connects from then on is asked; over Apache Kafka there is a listener of
//! its own. Both end sessions after a few seconds.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cybermesh_devbroker::ServerSasl;
use cybermesh_transport::{ClientConfig, Sasl};

use crate::cluster::{Broker, var};
use crate::log::now_ms;
use crate::stage::Stage;

/// How long a session of the built-in broker lasts; Kafka's is set by its listener to the same.
pub const SESSION: Duration = Duration::from_secs(5);

/// How somebody comes in.
#[derive(Debug, Clone)]
pub struct Access {
    bootstrap: String,
    plain_only: String,
    /// Their name.
    pub user: String,
    /// Their password, by every mechanism that has one.
    pub password: String,
}

impl Stage {
    /// Has clients that connect from now on asked by SASL who they are, by every mechanism.
    ///
    /// # Panics
    /// Over Apache Kafka, when its listener was not handed in.
    pub fn ask_for_sasl(&self) -> Access {
        let Broker::Devbroker(broker) = self.cluster().broker() else {
            return Access {
                bootstrap: var("TESTS_KAFKA_SASL"),
                plain_only: var("TESTS_KAFKA_SASL_PLAIN_ONLY"),
                user: var("TESTS_KAFKA_SASL_USER"),
                password: var("TESTS_KAFKA_SASL_PASSWORD"),
            };
        };
        let (user, password) = ("test-user", "test-password");
        let sasl = ServerSasl::new()
            .plain(user, password)
            .scram_sha_256(user, password)
            .scram_sha_512(user, password)
            .oauth_bearer(|token| subject_of(token).ok_or_else(|| "expired".to_owned()))
            .session_lifetime(SESSION);
        broker.set_sasl(sasl);
        Access {
            bootstrap: self.cluster().bootstrap().to_owned(),
            plain_only: self.cluster().bootstrap().to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Has clients that connect from now on asked by PLAIN alone.
    ///
    /// # Panics
    /// As [`Stage::ask_for_sasl`].
    pub fn ask_for_plain_only(&self) -> Access {
        let access = self.ask_for_sasl();
        if let Broker::Devbroker(broker) = self.cluster().broker() {
            broker.set_sasl(ServerSasl::new().plain(&access.user, &access.password));
        }
        Access {
            bootstrap: access.plain_only.clone(),
            ..access
        }
    }

    /// The configuration of a client that comes in by SASL.
    pub fn sasl_config(&self, access: &Access, sasl: Sasl) -> ClientConfig {
        self.client_config_at(&access.bootstrap).sasl(sasl)
    }
}

/// A JSON web token for `subject` that nobody has signed, good for so long from now on; negative for one that has expired.
pub fn unsigned_token(subject: &str, lifetime_s: i64) -> String {
    let now_s = now_ms() / 1000;
    let claims = serde_json::json!({
        "sub": subject,
        "iat": now_s + lifetime_s.min(0) - 60,
        "exp": now_s + lifetime_s,
    });
    let part = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let header = serde_json::json!({ "alg": "none" });
    format!("{}.{}.", part(&header), part(&claims))
}

/// Who a token is for, unless it has expired.
fn subject_of(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let is_over = claims["exp"].as_i64()? <= now_ms() / 1000;
    (!is_over).then(|| claims["sub"].as_str().map(str::to_owned))?
}

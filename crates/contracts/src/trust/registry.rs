//! The trust store as a directory of the Python service: `validator_registry.json` and PEM files.

use serde::Deserialize;

use super::toml_file::{check_name, read_key};
use super::{EnvelopeRule, KeyFault, Right, TrustError, TrustStore, TrustedKey};
use crate::kind::Kind;
use crate::sign::PublicKey;

/// The registry as it stands; what else that service keeps there is passed over.
#[derive(Deserialize)]
struct Registry {
    validators: Vec<Validator>,
}

#[derive(Deserialize)]
struct Validator {
    node_id: NodeId,
    public_key_path: String,
    public_key_hex: String,
}

/// Written as text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum NodeId {
    Text(String),
    Number(u64),
}

pub(super) fn read(
    text: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<TrustStore, TrustError> {
    let registry: Registry = serde_json::from_str(text).map_err(|error| TrustError::Form {
        line: error.line(),
        message: without_place(&error),
    })?;
    let mut store = TrustStore::default();
    for (position, validator) in registry.validators.iter().enumerate() {
        let id = match &validator.node_id {
            NodeId::Text(text) => text.clone(),
            NodeId::Number(number) => number.to_string(),
        };
        let key = validator
            .trusted_key(&id, read)
            .map_err(|fault| TrustError::key(position, Some(&id), fault))?;
        store.add(key)?;
    }
    Ok(store)
}

/// What the parser says, without the line that it adds.
fn without_place(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

impl Validator {
    fn trusted_key(
        &self,
        id: &str,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<TrustedKey, KeyFault> {
        check_name(id)?;
        let in_file = read_key(&self.public_key_path, read)?;
        if in_file != PublicKey::from_hex(&self.public_key_hex)? {
            return Err(KeyFault::Disagree {
                file: self.public_key_path.clone(),
            });
        }
        let key = TrustedKey::new(id, in_file, Kind::CONTROL.map(Right::Kind))?;
        Ok(key.with_envelope(EnvelopeRule::Accept))
    }
}

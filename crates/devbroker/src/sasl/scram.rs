//! The server's half of SCRAM (RFC 5802).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::digest::{Digest as _, FixedOutput, KeyInit, Update};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use uuid::Uuid;

/// The hash a mechanism is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, message),
            Self::Sha512 => hmac::<Hmac<Sha512>>(key, message),
        }
    }

    fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_array::<Hmac<Sha256>, 32>(password, salt, iterations)
                .map_or_else(|_| Vec::new(), |salted| salted.to_vec()),
            Self::Sha512 => pbkdf2::pbkdf2_array::<Hmac<Sha512>, 64>(password, salt, iterations)
                .map_or_else(|_| Vec::new(), |salted| salted.to_vec()),
        }
    }
}

fn hmac<M: Mac + KeyInit + Update + FixedOutput>(key: &[u8], message: &[u8]) -> Vec<u8> {
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
        // A key of any length is taken.
        Err(_) => Vec::new(),
    }
}

/// A client that has said its name, and has been challenged.
#[derive(Debug)]
pub(super) struct Challenged {
    hash: Hash,
    pub(super) name: String,
    client_bare: String,
    challenge: String,
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Challenged {
    /// Challenges who sent this first message; nothing where it is none.
    pub(super) fn by(hash: Hash, message: &[u8], iterations: u32) -> Option<Self> {
        let bare = std::str::from_utf8(message).ok()?.strip_prefix("n,,")?;
        let (name, nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
        let nonce = format!("{nonce}{}", Uuid::new_v4().simple());
        let salt = Uuid::new_v4().into_bytes().to_vec();
        let challenge = format!(
            "r={nonce},s={},i={iterations}",
            BASE64_STANDARD.encode(&salt)
        );
        Some(Self {
            hash,
            name: name.replace("=2C", ",").replace("=3D", "="),
            client_bare: bare.to_owned(),
            challenge,
            nonce,
            salt,
            iterations,
        })
    }

    pub(super) fn challenge(&self) -> Vec<u8> {
        self.challenge.clone().into_bytes()
    }

    /// What proves the server to whom this final message proves that they know the password;
    /// nothing where it does not.
    pub(super) fn answer(&self, message: &[u8], password: &str, forged: bool) -> Option<Vec<u8>> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.split_once(",p=")?;
        if without_proof != format!("c=biws,r={}", self.nonce) {
            return None;
        }
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let auth_message = format!("{},{},{without_proof}", self.client_bare, self.challenge);
        let salted = self.hash.salted(password, &self.salt, self.iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = self.hash.digest(&client_key);
        let client_signature = self.hash.hmac(&stored_key, auth_message.as_bytes());
        let shown = proof.iter().zip(&client_signature).map(|(a, b)| a ^ b);
        if proof.len() != client_key.len() || !shown.eq(client_key) {
            return None;
        }
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let mut signature = self.hash.hmac(&server_key, auth_message.as_bytes());
        if forged {
            signature[0] ^= 1;
        }
        Some(format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_and_the_answer_are_those_of_the_rfc() {
        // RFC 7677, section 3.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
        let challenged = Challenged {
            hash: Hash::Sha256,
            name: "user".to_owned(),
            client_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
            challenge: format!("r={nonce},s={salt},i=4096"),
            nonce: nonce.to_owned(),
            salt: BASE64_STANDARD.decode(salt).unwrap(),
            iterations: 4096,
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let answer = challenged.answer(last.as_bytes(), "pencil", false);
        assert_eq!(
            answer.as_deref(),
            Some(&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="[..])
        );
        assert_ne!(challenged.answer(last.as_bytes(), "pencil", true), answer);
        assert_eq!(challenged.answer(last.as_bytes(), "pencils", false), None);
        let other_nonce = last.replace("k0,", "k1,");
        assert_eq!(
            challenged.answer(other_nonce.as_bytes(), "pencil", false),
            None
        );
    }

    #[test]
    fn a_name_is_read_with_its_escapes() {
        let challenged = Challenged::by(Hash::Sha512, b"n,,n=a=3D2C=2Cb,r=x", 4096).unwrap();
        assert_eq!(challenged.name, "a=2C,b");
        assert!(Challenged::by(Hash::Sha512, b"y,,n=a,r=x", 4096).is_none());
    }
}

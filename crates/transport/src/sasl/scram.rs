//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and neither says it.
//!
//! No channel is bound: Kafka's brokers offer none of the mechanisms that do.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::digest::{Digest, FixedOutput, KeyInit, Update};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::Secret;
use crate::error::SaslFailure;

/// RFC 7677: fewer make a password that is overheard too easy to guess.
pub(crate) const FEWEST_ITERATIONS: u32 = 4096;
/// Eight times what Kafka lets its users have at most. A hostile broker could ask for two thousand million, which
/// takes a processor for minutes, at each connection.
pub(crate) const MOST_ITERATIONS: u32 = 1 << 17;

/// A message of the server is a few hundred bytes.
const LONGEST_MESSAGE_BYTES: usize = 4096;

/// Header of the client's first message, which says that no channel is bound, and the same in base64.
const UNBOUND: &str = "n,,";
const UNBOUND_BASE64: &str = "biws";

/// Bytes of chance in the client's nonce.
const NONCE_BYTES: usize = 24;

/// The hash a mechanism is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// What of a hash SCRAM uses.
trait Functions {
    type Digest: Digest;
    type Hmac: Mac + KeyInit + Update + FixedOutput + Clone + Sync;
}

impl Functions for Sha256 {
    type Digest = Self;
    type Hmac = Hmac<Self>;
}

impl Functions for Sha512 {
    type Digest = Self;
    type Hmac = Hmac<Self>;
}

/// A client that has not said anything yet.
#[derive(Debug)]
pub(super) struct Scram {
    hash: Hash,
    bare: String,
    nonce: String,
    password: Secret,
}

/// What the server has to answer to be believed.
#[derive(Debug)]
pub(super) struct Expected {
    hash: Hash,
    server_key: Zeroizing<Vec<u8>>,
    auth_message: Vec<u8>,
}

impl Scram {
    /// A client with a nonce of its own. Name and password are as SASLprep leaves them.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(hash: Hash, username: &str, password: Secret) -> Result<Self, SaslFailure> {
        let mut chance = [0; NONCE_BYTES];
        crate::host::fill(&mut chance).map_err(|error| SaslFailure::Other {
            reason: format!("no random numbers: {error}").into(),
        })?;
        let nonce = BASE64_STANDARD.encode(chance);
        Ok(Self::with_nonce(hash, username, password, nonce))
    }

    fn with_nonce(hash: Hash, username: &str, password: Secret, nonce: String) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            bare: format!("n={name},r={nonce}"),
            nonce,
            password,
        }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([UNBOUND, &self.bare].concat().into_bytes())
    }

    /// The client's final message, to the server's first one. Takes as long as the iterations do: milliseconds.
    ///
    /// # Errors
    /// The server's message makes no sense, or asks for what is not sane.
    pub(super) fn last(
        self,
        server_first: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Expected), SaslFailure> {
        match self.hash {
            Hash::Sha256 => self.last_by::<Sha256>(server_first),
            Hash::Sha512 => self.last_by::<Sha512>(server_first),
        }
    }

    fn last_by<F: Functions>(
        self,
        server_first: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Expected), SaslFailure> {
        let challenge = Challenge::parse(server_first, &self.nonce)?;
        let without_proof = format!("c={UNBOUND_BASE64},r={}", challenge.nonce);
        let auth_message = [&self.bare, challenge.message, &without_proof]
            .join(",")
            .into_bytes();

        let mut salted = Zeroizing::new(vec![0; <F::Digest as Digest>::output_size()]);
        let password = self.password.expose().as_bytes();
        let (salt, iterations) = (&challenge.salt, challenge.iterations);
        pbkdf2::pbkdf2::<F::Hmac>(password, salt, iterations, &mut salted)
            .map_err(|_| malformed("the salted password has a length that HMAC does not take"))?;
        let client_key = hmac::<F>(&salted, b"Client Key")?;
        let stored_key = Zeroizing::new(F::Digest::digest(client_key.as_slice()).to_vec());
        let signature = hmac::<F>(&stored_key, &auth_message)?;
        let proof = client_key.iter().zip(signature.iter()).map(|(a, b)| a ^ b);
        let proof = Zeroizing::new(proof.collect::<Vec<u8>>());

        let message = [&without_proof, ",p=", &BASE64_STANDARD.encode(&*proof)].concat();
        let expected = Expected {
            hash: self.hash,
            server_key: hmac::<F>(&salted, b"Server Key")?,
            auth_message,
        };
        Ok((Zeroizing::new(message.into_bytes()), expected))
    }
}

impl Expected {
    /// Whether the server knows the password as well, by its final message. Compares in constant time.
    ///
    /// # Errors
    /// [`SaslFailure::WrongServerSignature`] if it does not; what the server says where it says that it failed.
    pub(super) fn check(&self, server_final: &[u8]) -> Result<(), SaslFailure> {
        let text = text_of(server_final)?;
        let first = text.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            return Err(SaslFailure::refused(Some(error), |text| text.to_owned()));
        }
        let signature = first
            .strip_prefix("v=")
            .ok_or_else(|| malformed("the server's final message has no signature"))?;
        let signature = BASE64_STANDARD
            .decode(signature)
            .map_err(|_| malformed("the server's signature is not base64"))?;
        match self.hash {
            Hash::Sha256 => self.compare::<Sha256>(&signature),
            Hash::Sha512 => self.compare::<Sha512>(&signature),
        }
    }

    fn compare<F: Functions>(&self, signature: &[u8]) -> Result<(), SaslFailure> {
        keyed::<F>(&self.server_key, &self.auth_message)?
            .verify_slice(signature)
            .map_err(|_| SaslFailure::WrongServerSignature)
    }
}

/// The server's first message.
#[derive(Debug)]
struct Challenge<'a> {
    message: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a [u8], our_nonce: &str) -> Result<Self, SaslFailure> {
        let message = text_of(message)?;
        let mut attributes = message.split(',');
        let mut attribute = |name: &str, missing: &'static str| {
            let value = attributes.next().and_then(|text| text.strip_prefix(name));
            value.ok_or_else(|| malformed(missing))
        };
        // An extension that must be understood ("m=") stands where the nonce does, and none is.
        let nonce = attribute(
            "r=",
            "the server's first message does not begin with a nonce",
        )?;
        let salt = attribute("s=", "the server's first message has no salt")?;
        let iterations = attribute("i=", "the server's first message has no iteration count")?;
        if nonce.len() <= our_nonce.len() || !nonce.starts_with(our_nonce) {
            return Err(malformed("the server's nonce does not go on from ours"));
        }
        if !nonce.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err(malformed("the server's nonce is not of printable ASCII"));
        }
        let salt = BASE64_STANDARD
            .decode(salt)
            .ok()
            .filter(|salt| !salt.is_empty())
            .ok_or_else(|| malformed("the salt is empty or not base64"))?;
        let digits = !iterations.is_empty() && iterations.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(malformed("the iteration count is no number"));
        }
        // More digits than fit are more iterations than are made, too.
        let iterations = iterations.parse().unwrap_or(u64::MAX);
        match u32::try_from(iterations) {
            Ok(iterations) if (FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) => {
                Ok(Self {
                    message,
                    nonce,
                    salt,
                    iterations,
                })
            }
            _ => Err(SaslFailure::Iterations {
                asked: iterations,
                fewest: FEWEST_ITERATIONS,
                most: MOST_ITERATIONS,
            }),
        }
    }
}

fn text_of(message: &[u8]) -> Result<&str, SaslFailure> {
    if message.len() > LONGEST_MESSAGE_BYTES {
        return Err(malformed("the server's message is longer than 4096 bytes"));
    }
    std::str::from_utf8(message).map_err(|_| malformed("the server's message is not UTF-8"))
}

fn keyed<F: Functions>(key: &[u8], message: &[u8]) -> Result<F::Hmac, SaslFailure> {
    let mut mac = <F::Hmac as Mac>::new_from_slice(key)
        .map_err(|_| malformed("a key has a length that HMAC does not take"))?;
    Mac::update(&mut mac, message);
    Ok(mac)
}

fn hmac<F: Functions>(key: &[u8], message: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslFailure> {
    let code = keyed::<F>(key, message)?.finalize().into_bytes();
    Ok(Zeroizing::new(code.to_vec()))
}

fn malformed(what: &'static str) -> SaslFailure {
    SaslFailure::Malformed { what }
}

#[cfg(test)]
mod tests;

//! Several signatures verified at once.
//!
//! One equation over all of them costs about half of what they cost one by one. It says whether all
//! hold, not which does not: where it fails, each is verified by itself, by the strict rules.
//!
//! # What it can differ in
//! Where the equation holds, each signature is what the strict rules ask for up to a point of small
//! order added to its `R`. Keys are of prime order ([`VerifyingKey`]), `R`s of small order and
//! encodings that are not canonical are told by their bytes, and `s` is held to its range, all as
//! in strict verification; that an `R` has no such part hidden in it could be seen only by as much
//! work as is saved. So **the holder of a key** can make signatures that pass in one batch and fail
//! in another, or by themselves (Chalkias, Garillot, Nikolaenko: *Taming the many EdDSAs*, 2020).
//! Nobody else can: a signature that passes either way proves that the key was used for this message.
//!
//! The coefficients of the equation are drawn from a hash of all of its inputs, so the same batch
//! has the same result everywhere, and no source of randomness is asked.

use super::{Signature, VerifyingKey};

/// A signature, and what it is to be of.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The key that is to have made it.
    pub key: &'a VerifyingKey,
    /// The bytes that it is to cover.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

impl Statement<'_> {
    /// Whether it holds by itself, by the strict rules.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.key.verifies(self.message, self.signature)
    }
}

/// Whether each of the statements holds, in their order: one equation for those that may pass it,
/// and strict verification for each of them where that fails, or where it would save nothing.
#[must_use]
pub fn hold(statements: &[Statement<'_>]) -> Vec<bool> {
    let may_pass = |statement: &&Statement<'_>| may_be_strict(statement.signature);
    let batch: Vec<Statement<'_>> = statements.iter().filter(may_pass).copied().collect();
    let all = batch.len() > 1 && all_hold(&batch);
    statements
        .iter()
        .map(|statement| may_pass(&statement) && (all || statement.holds()))
        .collect()
}

/// Whether the equation over all of them holds.
fn all_hold(statements: &[Statement<'_>]) -> bool {
    let each = || statements.iter();
    let messages: Vec<&[u8]> = each().map(|statement| statement.message).collect();
    let signatures: Vec<_> = each()
        .map(|statement| ed25519_dalek::Signature::from_bytes(&statement.signature.0))
        .collect();
    let keys: Vec<_> = each().map(|statement| *statement.key.point()).collect();
    ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
}

/// The field's prime, 2^255 − 19, little-endian (RFC 7748).
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The `y` of the points of order 8; the other one is `P` less this.
const Y_OF_ORDER_8: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

/// The `y` that points of small order have: 0, 1, −1, and two of order 8. Both points with an `x` of
/// 0 are among them, so no other sign bit can be wrong.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    ONE,
    less(&P, &ONE),
    Y_OF_ORDER_8,
    less(&P, &Y_OF_ORDER_8),
];

const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

/// Whether its `R` is what strict verification could accept, as far as its bytes tell: in the
/// canonical encoding, and not of small order.
fn may_be_strict(signature: &Signature) -> bool {
    let Some(r) = signature.0.first_chunk::<32>() else {
        return false;
    };
    let mut y = *r;
    y[31] &= 0x7f;
    let is_canonical = y.iter().rev().lt(P.iter().rev());
    is_canonical && !SMALL_ORDER_Y.contains(&y)
}

/// `a − b` of little-endian numbers, for `a` not below `b`.
const fn less(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrowed = false;
    let mut index = 0;
    while index < 32 {
        let (without, under) = a[index].overflowing_sub(b[index]);
        let (with, again) = without.overflowing_sub(borrowed as u8);
        difference[index] = with;
        borrowed = under || again;
        index += 1;
    }
    difference
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;
    use curve25519_dalek::traits::IsIdentity;
    use proptest::prelude::*;
    use sha2::{Digest, Sha512};

    use super::*;
    use crate::sign::{Ed25519Signer, Signer};

    fn signer(seed: u8) -> Ed25519Signer {
        Ed25519Signer::from_seed(&[seed; 32])
    }

    fn key(seed: u8) -> VerifyingKey {
        VerifyingKey::try_from(signer(seed).public_key()).unwrap()
    }

    /// What a holder of the key of seed 1 can make who adds `torsion` to `R`.
    fn signature_with(torsion: EdwardsPoint, message: &[u8]) -> Signature {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let r = Scalar::from(7_u8 + message[0]);
        let point = EdwardsPoint::mul_base(&r) + torsion;
        let encoded = point.compress().to_bytes();
        let challenge = Sha512::new()
            .chain_update(encoded)
            .chain_update(secret.verifying_key().to_bytes())
            .chain_update(message);
        let s = r + Scalar::from_hash(challenge) * secret.to_scalar();
        Signature([encoded, s.to_bytes()].concat().try_into().unwrap())
    }

    #[test]
    fn a_batch_of_good_signatures_of_several_keys_holds() {
        let made: Vec<_> = (1..20_u8)
            .map(|n| {
                (
                    key(n % 3 + 1),
                    [n; 40],
                    signer(n % 3 + 1).sign(&[n; 40]).unwrap(),
                )
            })
            .collect();
        let statements: Vec<_> = made
            .iter()
            .map(|(key, message, signature)| Statement {
                key,
                message,
                signature,
            })
            .collect();
        assert!(all_hold(&statements));
        assert_eq!(hold(&statements), [true; 19]);
    }

    #[test]
    fn every_encoding_of_a_point_of_small_order_is_told_by_its_bytes() {
        for point in EIGHT_TORSION {
            for sign in [0, 0x80] {
                let mut bytes = [0; 64];
                bytes[..32].copy_from_slice(&point.compress().to_bytes());
                bytes[31] = bytes[31] & 0x7f | sign;
                assert!(!may_be_strict(&Signature(bytes)), "{point:?}");
            }
        }
    }

    #[test]
    fn encodings_that_are_not_canonical_are_told_by_their_bytes() {
        for above in 0..19 {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&P);
            bytes[0] += above;
            assert!(!may_be_strict(&Signature(bytes)), "p + {above}");
        }
    }

    #[test]
    fn the_test_makes_signatures_as_a_signer_does() {
        let signature = signature_with(EIGHT_TORSION[0], b"message");
        assert!(EIGHT_TORSION[0].is_identity());
        assert!(key(1).verifies(b"message", &signature));
    }

    /// The residue that the module tells of, so that it is known and not believed away.
    #[test]
    fn the_holder_of_a_key_can_sign_so_that_a_batch_passes_what_strict_verification_refuses() {
        let key = key(1);
        let messages: Vec<_> = (0..64_u8).map(|n| [n; 40]).collect();
        let passed = messages.iter().filter(|message| {
            let crooked = signature_with(EIGHT_TORSION[4], *message);
            let message = message.as_slice();
            let statement = Statement {
                key: &key,
                message,
                signature: &crooked,
            };
            assert!(!statement.holds());
            // With itself, since one alone is never put into an equation.
            hold(&[statement, statement]) == [true, true]
        });
        let passed = passed.count();
        assert!((1..64).contains(&passed), "{passed} of 64 passed");
    }

    #[derive(Clone, Copy, Debug)]
    enum Made {
        Good,
        OfAnotherKey,
        OfAnotherMessage,
        Flipped(u16),
        SmallOrder(usize),
    }

    fn made() -> impl Strategy<Value = Made> {
        prop_oneof![
            6 => Just(Made::Good),
            1 => Just(Made::OfAnotherKey),
            1 => Just(Made::OfAnotherMessage),
            1 => (0..512_u16).prop_map(Made::Flipped),
            1 => (0..8_usize).prop_map(Made::SmallOrder),
        ]
    }

    proptest! {
        #[test]
        fn any_mixture_is_judged_as_each_would_be_by_itself(made in proptest::collection::vec(made(), 0..24)) {
            let key = key(1);
            let cases: Vec<_> = (0_u8..)
                .zip(made)
                .map(|(n, made)| {
                    let message = [n; 40];
                    let mut signature = match made {
                        Made::OfAnotherKey => signer(2).sign(&message).unwrap(),
                        Made::OfAnotherMessage => signer(1).sign(&[n; 39]).unwrap(),
                        _ => signer(1).sign(&message).unwrap(),
                    };
                    match made {
                        Made::Flipped(bit) => signature.0[usize::from(bit / 8)] ^= 1 << (bit % 8),
                        Made::SmallOrder(index) => {
                            signature.0[..32].copy_from_slice(&EIGHT_TORSION[index].compress().to_bytes());
                        }
                        _ => {}
                    }
                    (message, signature)
                })
                .collect();
            let statements: Vec<_> = cases
                .iter()
                .map(|(message, signature)| Statement { key: &key, message, signature })
                .collect();
            let each: Vec<_> = statements.iter().map(Statement::holds).collect();
            prop_assert_eq!(hold(&statements), each);
        }
    }
}

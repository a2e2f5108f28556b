//! Unsigned LEB128, as in protobuf: seven bits a byte, low ones first.

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// How many bytes [`put`] writes.
pub(super) const fn len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Takes one number off the front; nothing where there is none, or where it is longer than it need be.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            let is_minimal = *byte != 0 || shift == 0;
            return is_minimal.then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_taken(value in any::<u64>(), shift in 0u32..64, tail in any::<[u8; 3]>()) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(len(value), bytes.len());
            bytes.extend_from_slice(&tail);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail);
        }
    }

    #[test]
    fn a_number_that_does_not_fit_or_is_padded_is_refused() {
        let too_large = [0xff; 9].into_iter().chain([0x02]).collect::<Vec<_>>();
        let padded = [0x81, 0x00];
        let unfinished = [0x80];
        for bytes in [too_large.as_slice(), &padded, &unfinished, &[]] {
            assert_eq!(take(&mut &bytes[..]), None, "{bytes:02x?}");
        }
    }
}

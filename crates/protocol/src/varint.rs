//! Variable-length integers: seven bits per byte, lowest first; all bytes but the last have the high bit set.
//!
//! Signed integers are zig-zag encoded. The limits are Kafka's (`ByteUtils`): five bytes for 32 bits, ten for 64.
//! Larger values are an error; superfluous zeros within the limit are accepted.

use crate::context::{Parsed, fail};
use crate::error::{Fault, ParseErrorKind};
use crate::put::Put;

/// Reads an unsigned integer of at most 32 bits.
pub(crate) fn uvarint(input: &[u8]) -> Parsed<'_, u32> {
    let (rest, value) = bits::<5>(input)?;
    match u32::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => fail(ParseErrorKind::VarintTooLong, input),
    }
}

/// Reads a zig-zag integer of at most 32 bits.
pub(crate) fn varint(input: &[u8]) -> Parsed<'_, i32> {
    let (rest, value) = uvarint(input)?;
    Ok((rest, (value >> 1).cast_signed() ^ -(value & 1).cast_signed()))
}

/// Reads a zig-zag integer of at most 64 bits.
pub(crate) fn varlong(input: &[u8]) -> Parsed<'_, i64> {
    let (rest, value) = bits::<10>(input)?;
    Ok((rest, (value >> 1).cast_signed() ^ -(value & 1).cast_signed()))
}

fn bits<const MAX_BYTES: usize>(input: &[u8]) -> Parsed<'_, u64> {
    let mut value = 0u64;
    let mut rest = input;
    for index in 0..MAX_BYTES {
        let Some((&byte, after)) = rest.split_first() else { return fail(ParseErrorKind::Truncated, rest) };
        rest = after;
        let seven = u64::from(byte & 0x7f);
        let shift = index * 7;
        let placed = seven << shift;
        if placed >> shift != seven {
            break; // the tenth byte holds a single bit
        }
        value |= placed;
        if byte & 0x80 == 0 {
            return Ok((rest, value));
        }
    }
    Err(nom::Err::Failure(Fault::new(ParseErrorKind::VarintTooLong, input)))
}

/// Writes an unsigned integer.
pub(crate) fn put_uvarint(value: u32, out: &mut impl Put) {
    put_bits(u64::from(value), out);
}

/// Writes a zig-zag integer. The 32-bit form has the same bytes.
#[inline]
pub(crate) fn put_varlong(value: i64, out: &mut impl Put) {
    put_bits(zigzag(value), out);
}

/// Returns the number of bytes that [`put_varlong`] writes.
#[inline]
pub(crate) fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    // At most ten, so the cast is safe.
    bits.div_ceil(7) as usize
}

/// Maps small negative and positive values to small unsigned ones.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
fn put_bits(mut value: u64, out: &mut impl Put) {
    let mut bytes = [0u8; 10];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        let seven = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            *byte = seven;
            break;
        }
        *byte = seven | 0x80;
    }
    if let Some(bytes) = bytes.get(..len) {
        out.put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: i64, bytes: &[u8]) {
        let mut out = Vec::new();
        put_varlong(value, &mut out);
        assert_eq!(out, bytes, "{value}");
        assert_eq!(varlong_len(value), bytes.len(), "{value}");
        assert_eq!(varlong(bytes).unwrap(), (&[][..], value));
        if let Ok(small) = i32::try_from(value) {
            assert_eq!(varint(bytes).unwrap(), (&[][..], small));
        }
        for cut in 0..bytes.len() {
            assert!(varlong(&bytes[..cut]).is_err(), "{value} cut at {cut}");
        }
    }

    #[test]
    fn both_ways() {
        // Values from Kafka's ByteUtilsTest and from the definition.
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 1]);
        check(-65, &[0x81, 1]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn every_length_round_trips() {
        for shift in 0..64 {
            for value in [1i64 << shift, (1i64 << shift).wrapping_sub(1), -(1i64 << shift).wrapping_add(1)] {
                let mut out = Vec::new();
                put_varlong(value, &mut out);
                check(value, &out);
            }
        }
    }

    #[test]
    fn too_many_bytes_or_bits_are_refused() {
        for (bytes, fits_64) in [
            (&[0xff, 0xff, 0xff, 0xff, 0x1f][..], true),       // a fifth byte above 0x0f
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..], true), // six bytes
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..], false), // a tenth byte above 1
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..], false), // eleven bytes
        ] {
            assert!(uvarint(bytes).is_err(), "{bytes:?}");
            assert!(varint(bytes).is_err(), "{bytes:?}");
            assert_eq!(varlong(bytes).is_ok(), fits_64, "{bytes:?}");
        }
    }

    #[test]
    fn needless_zeros_are_read_within_the_limit() {
        assert_eq!(uvarint(&[0x81, 0x80, 0x80, 0x80, 0x00]).unwrap().1, 1);
        assert_eq!(varlong(&[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).unwrap().1, 1);
    }
}

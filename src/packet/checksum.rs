//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and SCTP's CRC32c
//! (RFC 9260, appendix A), whole and incremental.
//!
//! Sums are kept in 64 bits and folded once. A *difference* is what the replacement of one field does
//! to a sum: the new words plus the complement of the old ones. Differences of several fields add up.
//!
//! A CRC is linear: the CRC of a changed message differs from the old one by the CRC (begun with
//! zero) of the exclusive or of both messages. So new ports can be put into an SCTP packet without
//! its payload, and a packet that was damaged before stays recognisably damaged.

/// The one's complement sum of `bytes` as big-endian 16-bit words, added to `sum`, not folded.
#[inline]
pub(crate) fn add(sum: u64, bytes: &[u8]) -> u64 {
    // RFC 1071, section 2: the sum may be taken in either byte order, if the result is swapped. The
    // machine's own order needs no swap per word, so the compiler adds many words at once.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let native = words
        .iter()
        .fold(u64::from(u32::from_ne_bytes(last)), |native, word| {
            native + u64::from(u32::from_ne_bytes(*word))
        });
    sum + u64::from(u16::from_be(fold(native)))
}

/// Folds a sum to 16 bits.
#[inline]
pub(crate) const fn fold(sum: u64) -> u16 {
    // A number plus itself with its halves swapped: in the upper half stands the sum of both halves, and
    // the carry out of it has come in from below.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The sum of the IPv4 pseudo-header.
#[inline]
pub(crate) const fn pseudo_v4(src: u128, dst: u128, proto: u8, len: u32) -> u64 {
    (src as u32) as u64 + (dst as u32) as u64 + proto as u64 + len as u64
}

/// The sum of the IPv6 pseudo-header (RFC 8200, section 8.1).
#[inline]
pub(crate) const fn pseudo_v6(src: u128, dst: u128, proto: u8, len: u32) -> u64 {
    words(src) + words(dst) + proto as u64 + len as u64
}

#[inline]
const fn words(address: u128) -> u64 {
    (address as u32) as u64
        + ((address >> 32) as u32) as u64
        + ((address >> 64) as u32) as u64
        + ((address >> 96) as u32) as u64
}

/// What it does to a sum that `old` becomes `new`, in the byte order of this machine (see [`add`]). Both
/// stand at the same even offset, and have the same even length. Zero only when nothing changes.
#[inline(always)]
pub(crate) fn difference<const N: usize>(old: &[u8; N], new: &[u8; N]) -> u64 {
    if old == new {
        return 0;
    }
    // The other zero of this arithmetic, for a change that makes no difference to the sum.
    let mut change = 0xffff;
    let ((old, old_rest), (new, new_rest)) = (old.as_chunks::<4>(), new.as_chunks::<4>());
    for (old, new) in old.iter().zip(new) {
        change += u64::from(!u32::from_ne_bytes(*old)) + u64::from(u32::from_ne_bytes(*new));
    }
    let (old, new) = (old_rest.as_chunks::<2>().0, new_rest.as_chunks::<2>().0);
    for (old, new) in old.iter().zip(new) {
        change += u64::from(!u16::from_ne_bytes(*old)) + u64::from(u16::from_ne_bytes(*new));
    }
    change
}

/// A checksum field after the fields that it covers changed by `difference` (RFC 1624, equation 3).
#[inline]
pub(crate) const fn update(field: [u8; 2], difference: u64) -> [u8; 2] {
    (!fold(!u16::from_ne_bytes(field) as u64 + difference)).to_ne_bytes()
}

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A CRC register after one more zero bit.
const fn next(crc: u32) -> u32 {
    if crc & 1 == 0 {
        crc >> 1
    } else {
        crc >> 1 ^ POLYNOMIAL
    }
}

/// `CRC_TABLES[n][b]`: a byte `b`, followed by `n` zero bytes.
static CRC_TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = next(crc);
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u32 = tables[table - 1][byte];
            tables[table][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// CRC32c continued over `bytes`; begin with all ones, and complement the end.
#[inline]
pub(crate) fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<8>();
    for block in blocks {
        let block = u64::from_le_bytes(*block) ^ u64::from(crc);
        crc = 0;
        for (at, byte) in block.to_le_bytes().into_iter().enumerate() {
            crc ^= CRC_TABLES[7 - at][usize::from(byte)];
        }
    }
    for &byte in rest {
        crc = crc >> 8 ^ CRC_TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    crc
}

/// Product of two polynomials modulo CRC32c's, the coefficient of x^0 in the highest bit.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = next(b);
        bit >>= 1;
    }
    product
}

/// `BYTES[k]`: x to the power of 8 * 2^k, what 2^k more bytes multiply a register by.
const BYTES: [u32; 32] = {
    let mut powers = [1 << 23; 32];
    let mut k = 1;
    while k < 32 {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// What it does to a CRC32c (to be combined by exclusive or) that `old` becomes `new` in front of
/// `after` further bytes that it covers.
pub(crate) fn crc32c_difference(old: [u8; 4], new: [u8; 4], after: u32) -> u32 {
    let changed = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    let mut crc = crc32c(0, &changed.to_le_bytes());
    let mut left = after;
    while left != 0 {
        crc = multiply(BYTES[left.trailing_zeros() as usize], crc);
        left &= left - 1;
    }
    crc
}

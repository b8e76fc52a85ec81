//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and SCTP's CRC32c
//! (RFC 9260, appendix A).

/// The one's complement sum of `bytes` as big-endian 16-bit words, added to `sum`, not folded.
#[inline]
pub(crate) fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_be_bytes(*word));
    }
    // A trailing odd byte stands in the high half of its word.
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_be_bytes(last))
}

/// Folds a sum to 16 bits.
#[inline]
pub(crate) const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
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

const fn words(address: u128) -> u64 {
    (address as u32) as u64
        + ((address >> 32) as u32) as u64
        + ((address >> 64) as u32) as u64
        + ((address >> 96) as u32) as u64
}

/// CRC32c, four bits at a time would be too slow and eight tables too many: one table of bytes.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0x82f6_3b78
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// CRC32c continued over `bytes`; begin with all ones, and complement the end.
#[inline]
pub(crate) fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    for &byte in bytes {
        crc = crc >> 8 ^ CRC_TABLE[usize::from(crc as u8 ^ byte)];
    }
    crc
}

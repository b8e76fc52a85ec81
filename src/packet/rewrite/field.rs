//! Fields that are replaced, and checksums that follow.
//!
//! A function that changes a field returns what the change does to a sum over it, so that a checksum
//! further out can follow: the one of an ICMP error covers the checksums of what it quotes.

use std::ops::Range;

use super::super::checksum::{crc32c_difference, difference, fold, update};

/// What a checksum field of zero says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    /// A checksum that happens to be zero.
    Number,
    /// That there is no checksum (UDP).
    NoChecksum,
}

/// The bytes at `at`.
#[inline(always)]
pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Replaces the field at `at`. One beyond the end is not written.
#[inline(always)]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, new: [u8; N]) -> u64 {
    let rest = bytes.get_mut(at..);
    let Some(field) = rest.and_then(|rest| rest.first_chunk_mut::<N>()) else {
        return 0;
    };
    let change = difference(field, &new);
    *field = new;
    change
}

/// Moves the Internet checksum at `at` by what became of the fields that it covers.
#[inline(always)]
pub(super) fn amend(bytes: &mut [u8], at: usize, change: u64, zero: Zero) -> u64 {
    let Some(old) = get(bytes, at) else {
        return 0;
    };
    if change == 0 || (old == [0; 2] && zero == Zero::NoChecksum) {
        return 0;
    }
    let new = match (update(old, change), zero) {
        ([0, 0], Zero::NoChecksum) => [0xff; 2],
        (new, _) => new,
    };
    put(bytes, at, new)
}

/// Moves the Internet checksum at `at`, which covers `message` and no pseudo-header.
///
/// Zero and all ones are the same number to a difference, and which of them is right follows from RFC
/// 1624 only where something covered is not zero. In an echo reply everything may be: then the sum is
/// zero, and its complement all ones.
#[inline]
pub(super) fn amend_own(bytes: &mut [u8], at: usize, change: u64, message: Range<usize>) -> u64 {
    let moved = amend(bytes, at, change, Zero::Number);
    if change == 0 || get(bytes, at) != Some([0; 2]) {
        return moved;
    }
    let end = message.end.min(bytes.len());
    match bytes.get(message.start..end) {
        Some(message) if message.iter().all(|&byte| byte == 0) => {
            moved + put(bytes, at, [0xff, 0xff])
        }
        _ => moved,
    }
}

/// Moves the pseudo-header sum at `at`, which is not complemented, by what became of the addresses.
#[inline]
pub(super) fn move_pseudo_sum(bytes: &mut [u8], at: usize, addresses: u64) -> u64 {
    match get(bytes, at).map(u16::from_ne_bytes) {
        Some(old) if addresses != 0 => {
            put(bytes, at, fold(u64::from(old) + addresses).to_ne_bytes())
        }
        _ => 0,
    }
}

/// Moves the CRC32c at `at` by what became of the four bytes with `after` covered bytes behind them.
pub(super) fn amend_crc(
    bytes: &mut [u8],
    at: usize,
    old: [u8; 4],
    new: [u8; 4],
    after: u32,
) -> u64 {
    if old == new {
        return 0;
    }
    // RFC 9260, appendix A: the CRC is sent with its least significant byte first.
    let crc =
        u32::from_le_bytes(get(bytes, at).unwrap_or_default()) ^ crc32c_difference(old, new, after);
    put(bytes, at, crc.to_le_bytes())
}

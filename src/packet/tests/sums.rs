//! Checksums against their definitions and published values.

use super::*;
use crate::packet::checksum::{
    add, crc32c, crc32c_difference, difference, fold, pseudo_v4, pseudo_v6, update,
};

/// RFC 1071, section 4.1, word by word.
fn plain(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0_u32, |sum, pair| {
        let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
        let sum = sum + u32::from(u16::from_be_bytes(word));
        (sum & 0xffff) + (sum >> 16)
    }) as u16
}

#[test]
fn the_sum_of_rfc_1071_is_right() {
    // Section 3.
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(fold(add(0, &bytes)), 0xddf2);
}

#[test]
fn the_update_of_rfc_1624_is_right() {
    // Section 4: a checksum of 0xdd2f, and a field that goes from 0x5555 to 0x3285, give zero.
    let change = difference(&[0x55, 0x55], &[0x32, 0x85]);
    assert_eq!(update([0xdd, 0x2f], change), [0, 0]);
}

#[test]
fn crc32c_has_its_known_values() {
    // RFC 3720, appendix B.4.
    let ascending: Vec<u8> = (0..32).collect();
    let descending: Vec<u8> = (0..32).rev().collect();
    for (bytes, crc) in [
        (&[0; 32][..], 0x8a91_36aa),
        (&[0xff; 32], 0x62a8_ab43),
        (&ascending, 0x46dd_794e),
        (&descending, 0x113f_db5c),
        (b"123456789", 0xe306_9283),
    ] {
        assert_eq!(!crc32c(u32::MAX, bytes), crc);
        assert_eq!(packets::crc32c(bytes), crc);
    }
}

#[test]
fn a_pseudo_header_is_summed_as_its_bytes() {
    let (a, b) = (0xc0a8_0001, 0xffff_fffe);
    let bytes = [192, 168, 0, 1, 255, 255, 255, 254, 0, 6, 0xff, 0xf0];
    assert_eq!(fold(pseudo_v4(a, b, 6, 0xfff0)), plain(&bytes));
    let (a, b) = (u128::MAX - 5, 0x2001_0db8_u128 << 96 | 7);
    let bytes = [
        &a.to_be_bytes()[..],
        &b.to_be_bytes(),
        &[0, 1, 2, 3, 0, 0, 0, 58],
    ]
    .concat();
    assert_eq!(fold(pseudo_v6(a, b, 58, 0x10203)), plain(&bytes));
}

proptest! {
    #![proptest_config(seeded(2000))]

    #[test]
    fn the_sum_of_parts_is_the_sum(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: u8) {
        prop_assert_eq!(fold(add(0, &bytes)), plain(&bytes));
        let (front, back) = bytes.split_at(usize::from(cut) / 2 * 2 % (bytes.len() / 2 * 2 + 1) / 2 * 2);
        prop_assert_eq!(fold(add(add(0, front), back)), plain(&bytes));
    }

    #[test]
    fn a_sum_is_folded_as_the_remainder_that_it_is(sum: u64) {
        let folded = fold(sum);
        prop_assert_eq!(u64::from(folded) % 0xffff, sum % 0xffff);
        prop_assert_eq!(folded == 0, sum == 0);
    }

    #[test]
    fn crc32c_is_the_bitwise_crc(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(!crc32c(u32::MAX, &bytes), packets::crc32c(&bytes));
    }

    #[test]
    fn a_crc_moves_by_the_difference(new: [u8; 4], bytes in prop::collection::vec(any::<u8>(), 4..3000)) {
        let mut changed = bytes.clone();
        changed[..4].copy_from_slice(&new);
        let old = *bytes.first_chunk().expect("four bytes");
        let crc = packets::crc32c(&bytes) ^ crc32c_difference(old, new, bytes.len() as u32 - 4);
        prop_assert_eq!(crc, packets::crc32c(&changed));
    }
}

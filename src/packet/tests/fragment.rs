//! Fragments: which are described, which are broken beyond use, and that no other packet is one.

use super::*;
use crate::packet::fragment::{Fragment, of};
use crate::tests::packets::{ethernet, fragment, fragments, with_extensions};

fn question(v6: bool, len: usize) -> Vec<u8> {
    let (a, b) = if v6 {
        (Ip::v6(1), Ip::v6(2))
    } else {
        (Ip::v4(1), Ip::v4(2))
    };
    udp(a, 5, b, 53, &vec![b'?'; len])
}

#[test]
fn the_fragments_of_a_packet_are_its_payload_in_pieces() {
    for v6 in [false, true] {
        let packet = question(v6, 100);
        let header = if v6 { 40 } else { 20 };
        let pieces = fragments(&packet, 77, 48);
        assert_eq!(pieces.len(), 3);
        let mut payload = Vec::<u8>::new();
        for (number, piece) in pieces.iter().enumerate() {
            let frame = ethernet(&[0x8100], piece);
            let fragment = of(&frame, &Hints::default()).expect("a fragment");
            assert_eq!(
                parse(&frame, &Hints::default(), &VERIFY).map_err(|bad| bad.reason),
                Err(Reason::Fragment)
            );
            assert_eq!(fragment.is_first(), number == 0);
            assert_eq!(fragment.more, number < 2);
            assert!(!fragment.is_atomic());
            assert_eq!((fragment.id, fragment.proto), (77, proto::UDP));
            assert_eq!(usize::from(fragment.offset), payload.len());
            let data = usize::from(fragment.data);
            payload.extend(&frame[data..data + usize::from(fragment.len)]);
            assert_eq!(fragment.end() as usize, payload.len());
            assert_eq!(fragment.l3, 18);
        }
        assert_eq!(payload, packet[header..]);
    }
}

#[test]
fn a_whole_packet_is_no_fragment_whatever_it_may_be() {
    for bytes in every_kind() {
        assert_eq!(of(&bytes, &RAW), None);
    }
    let mut bytes = question(false, 1);
    // "Don't fragment", and the reserved bit.
    bytes[6] = 0xc0;
    assert_eq!(of(&bytes, &RAW), None);
}

#[test]
fn an_ipv6_datagram_in_one_fragment_is_atomic() {
    let packet = question(true, 3);
    let bytes = fragment(&packet, 9, 0, false, &packet[40..]);
    assert!(of(&bytes, &RAW).expect("a fragment").is_atomic());
    assert_eq!(read(&bytes), Err(Reason::Fragment));
}

#[test]
fn broken_fragments_are_none() {
    for v6 in [false, true] {
        let packet = question(v6, 8);
        let described = |offset: usize, more: bool, len: usize| {
            of(&fragment(&packet, 9, offset, more, &vec![0; len]), &RAW)
        };
        let header = if v6 { 0 } else { 20 };
        let last = (65535 - header) / 8 * 8;
        for (offset, more, len, right) in [
            (0, true, 16, true),
            (0, true, 15, false),
            (16, false, 15, true),
            (16, false, 0, false),
            (0, true, 0, false),
            (last, false, 7 - header % 8, true),
            (last, false, 8 - header % 8, false),
            (65528, false, 200, false),
        ] {
            assert_eq!(
                described(offset, more, len).is_some(),
                right,
                "{v6} {offset} {more} {len}"
            );
        }
    }
}

#[test]
fn the_length_of_a_datagram_counts_headers_before_the_fragment_header() {
    let packet = question(true, 8);
    let bytes = fragment(&packet, 9, 65528, false, &[0; 7]);
    assert!(of(&bytes, &RAW).is_some());
    assert_eq!(of(&with_extensions(&bytes, &[(60, 8)]), &RAW), None);
    let low = fragment(&packet, 9, 65520, false, &[0; 7]);
    let fragment = of(&with_extensions(&low, &[(0, 8)]), &RAW).expect("it just fits");
    assert_eq!((fragment.data, fragment.len), (56, 7));
}

#[test]
fn a_fragment_in_a_fragment_is_none() {
    let packet = question(true, 8);
    let inner = fragment(&packet, 9, 0, true, &packet[40..]);
    let outer = fragment(&inner, 10, 0, true, &inner[40..]);
    assert_eq!(of(&outer, &RAW), None);
    assert_eq!(read(&outer), Err(Reason::Fragment));
}

#[test]
fn a_fragment_that_is_not_contiguous_keeps_its_length() {
    for v6 in [false, true] {
        let packet = question(v6, 100);
        let piece = fragments(&packet, 9, 64).swap_remove(0);
        let hints = Hints {
            total_len: piece.len() as u32,
            ..RAW
        };
        assert_eq!(of(&piece[..60], &hints), of(&piece, &RAW));
        assert_eq!(of(&piece[..60], &RAW), None);
    }
}

proptest! {
    #![proptest_config(seeded(4000))]

    #[test]
    fn whatever_is_a_fragment_the_parser_refuses(
        v6: bool, mut bytes in prop::collection::vec(any::<u8>(), 0..90), next in 0_u8..61, len in 0_u8..90, total_len in 0_u32..100,
    ) {
        for (at, value) in [(0, if v6 { 0x60 } else { 0x45 }), (2, 0), (3, len), (4, 0), (5, len), (6, next)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let hints = Hints { total_len, ..BELIEVED };
        if let Some(Fragment { len, offset, data, .. }) = of(&bytes, &hints) {
            prop_assert_eq!(parse(&bytes, &hints, &VERIFY).map_err(|bad| bad.reason), Err(Reason::Fragment));
            prop_assert!(len > 0 && offset % 8 == 0 && usize::from(data) <= bytes.len());
        }
    }
}

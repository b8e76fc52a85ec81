//! The rules of reassembly, on packets that are plain bytes.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::packet::Hints;
use crate::packet::fragment::of;
use crate::tests::packets::{Ip, fragment, fragments, udp, with_extensions};

/// A packet that can be told from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parcel {
    bytes: Vec<u8>,
    number: usize,
}

impl Piece for Parcel {
    fn piece(&self) -> &[u8] {
        &self.bytes
    }
    fn piece_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

const RAW: Hints = Hints {
    l3: Some(0),
    total_len: 0,
    ip_checksum: crate::packet::Checksum::Unknown,
    l4_checksum: crate::packet::Checksum::Unknown,
    read_only: false,
};

/// Without minimum sizes, so that tests can be small.
fn lenient() -> Limits {
    Limits {
        smallest_v4: 0,
        smallest_v6: 0,
        ..Limits::default()
    }
}

fn reassembler(limits: Limits) -> Reassembler<Parcel> {
    Reassembler::new(limits, true)
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn offer(to: &Reassembler<Parcel>, bytes: &[u8], number: usize, now: u64) -> Offer<Parcel> {
    let place = of(bytes, &RAW).expect("a fragment");
    let bytes = bytes.to_vec();
    to.offer(Parcel { bytes, number }, &place, 0, at(now))
}

fn refused(answer: Offer<Parcel>) -> Option<Reason> {
    match answer {
        Offer::Refused(_, reason) => Some(reason),
        _ => None,
    }
}

fn datagram(family: Family, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
    match family {
        Family::V4 => udp(Ip::v4(1), 1000, Ip::v4(2), 2000, &payload),
        Family::V6 => udp(Ip::v6(1), 1000, Ip::v6(2), 2000, &payload),
    }
}

#[test]
fn a_datagram_is_whole_when_its_last_fragment_came_in_any_order() {
    for family in [Family::V4, Family::V6] {
        let packet = datagram(family, 100);
        let pieces = fragments(&packet, 7, 48);
        assert_eq!(pieces.len(), 3);
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
            let reassembler = reassembler(lenient());
            let mut answers: Vec<_> = order
                .iter()
                .map(|&i| offer(&reassembler, &pieces[i], i, 0))
                .collect();
            let Some(Offer::Whole(mut assembly)) = answers.pop() else {
                panic!("the third makes it whole");
            };
            assert!(answers.iter().all(|answer| matches!(answer, Offer::Held)));
            let mut whole = packet.clone();
            if family == Family::V4 {
                // Our builder gives fragments an identification of their own.
                whole[4..6].copy_from_slice(&7_u16.to_be_bytes());
                whole[6] = 0;
                crate::tests::packets::finish_ipv4(&mut whole);
            }
            assert_eq!(assembly.packet(), whole);
            let back: Vec<usize> = assembly
                .give_back()
                .map(|(_, packet)| packet.number)
                .collect();
            assert_eq!(back, [0, 1, 2]);
            assert_eq!(
                (
                    reassembler.held(),
                    reassembler.count(family, Count::Completed)
                ),
                (0, 3)
            );
        }
    }
}

#[test]
fn extension_headers_in_front_of_the_fragment_header_stay() {
    let packet = with_extensions(&datagram(Family::V6, 100), &[(60, 16)]);
    // Cut by hand: the destination options belong to the part that is not cut.
    let (front, payload) = packet.split_at(56);
    let piece = |offset: usize, more: bool, data: &[u8]| {
        let mut bytes = front.to_vec();
        bytes[40] = 44;
        bytes.extend([17, 0]);
        bytes.extend((offset as u16 | u16::from(more)).to_be_bytes());
        bytes.extend([0, 0, 0, 9]);
        bytes.extend(data);
        let length = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let reassembler = reassembler(lenient());
    assert!(matches!(
        offer(&reassembler, &piece(0, true, &payload[..64]), 0, 0),
        Offer::Held
    ));
    let Offer::Whole(mut assembly) = offer(&reassembler, &piece(64, false, &payload[64..]), 1, 0)
    else {
        panic!("whole");
    };
    assert_eq!(assembly.packet(), packet);
}

#[test]
fn a_fragment_below_the_minimum_is_refused_unless_it_is_the_last() {
    for (family, limits) in [
        (
            Family::V4,
            Limits {
                smallest_v4: 400,
                ..lenient()
            },
        ),
        (
            Family::V6,
            Limits {
                smallest_v6: 400,
                ..lenient()
            },
        ),
    ] {
        let packet = datagram(family, 800);
        let reassembler = reassembler(limits);
        let small = &fragments(&packet, 7, 320)[0];
        assert_eq!(
            refused(offer(&reassembler, small, 0, 0)),
            Some(Reason::FragmentTooSmall)
        );
        let pieces = fragments(&packet, 7, 400);
        assert!(matches!(offer(&reassembler, &pieces[0], 0, 0), Offer::Held));
        assert!(matches!(offer(&reassembler, &pieces[1], 1, 0), Offer::Held));
        assert!(pieces[2].len() < 400);
        assert!(matches!(
            offer(&reassembler, &pieces[2], 2, 0),
            Offer::Whole(_)
        ));
        assert_eq!(reassembler.count(family, Count::TooSmall), 1);
    }
}

#[test]
fn an_overlapping_fragment_and_an_exact_duplicate_are_refused() {
    let packet = datagram(Family::V4, 200);
    let payload = &packet[20..];
    let reassembler = reassembler(lenient());
    let piece = |from: usize, to: usize, more| fragment(&packet, 7, from, more, &payload[from..to]);
    assert!(matches!(
        offer(&reassembler, &piece(48, 96, true), 0, 0),
        Offer::Held
    ));
    for overlapping in [
        piece(48, 96, true),
        piece(40, 56, true),
        piece(88, 104, true),
        piece(8, 208, false),
        piece(56, 64, true),
    ] {
        let answer = offer(&reassembler, &overlapping, 1, 0);
        assert_eq!(refused(answer), Some(Reason::FragmentOverlap));
    }
    // Nothing comes behind the last fragment.
    assert!(matches!(
        offer(&reassembler, &piece(96, 120, false), 0, 0),
        Offer::Held
    ));
    let behind = offer(&reassembler, &piece(120, 136, true), 0, 0);
    assert_eq!(refused(behind), Some(Reason::FragmentOverlap));
    assert!(matches!(
        offer(&reassembler, &piece(0, 48, true), 2, 0),
        Offer::Whole(_)
    ));
    assert_eq!(reassembler.count(Family::V4, Count::Overlapping), 6);
}

#[test]
fn datagrams_are_told_apart_by_addresses_identification_zone_and_protocol() {
    let reassembler = reassembler(lenient());
    let packet = datagram(Family::V4, 100);
    let first = fragment(&packet, 7, 0, true, &packet[20..68]);
    let last = |bytes: &[u8], id| fragment(bytes, id, 48, false, &packet[68..]);
    assert!(matches!(offer(&reassembler, &first, 0, 0), Offer::Held));
    assert!(matches!(
        offer(&reassembler, &last(&packet, 8), 0, 0),
        Offer::Held
    ));
    let elsewhere = udp(Ip::v4(1), 1, Ip::v4(3), 2, &[0; 100]);
    assert!(matches!(
        offer(&reassembler, &last(&elsewhere, 7), 0, 0),
        Offer::Held
    ));
    let mut other = packet.clone();
    other[9] = 6;
    assert!(matches!(
        offer(&reassembler, &last(&other, 7), 0, 0),
        Offer::Held
    ));
    let place = of(&last(&packet, 7), &RAW).expect("a fragment");
    let parcel = Parcel {
        bytes: last(&packet, 7),
        number: 0,
    };
    assert!(matches!(
        reassembler.offer(parcel, &place, 1, at(0)),
        Offer::Held
    ));
    assert_eq!(reassembler.held(), 5);
}

#[test]
fn what_is_not_whole_in_its_time_is_given_back() {
    let reassembler = reassembler(lenient());
    let packet = datagram(Family::V4, 100);
    let pieces = fragments(&packet, 7, 48);
    assert!(matches!(
        offer(&reassembler, &pieces[0], 0, 1000),
        Offer::Held
    ));
    // A later fragment does not prolong it.
    assert!(matches!(
        offer(&reassembler, &pieces[1], 1, 9000),
        Offer::Held
    ));
    let mut back = Vec::new();
    reassembler.expire(at(15_999), |packet| back.push(packet.number));
    assert!(back.is_empty());
    reassembler.expire(at(16_000), |packet| back.push(packet.number));
    assert_eq!(back, [0, 1]);
    assert_eq!(
        (
            reassembler.held(),
            reassembler.count(Family::V4, Count::Expired)
        ),
        (0, 2)
    );
    assert!(matches!(
        offer(&reassembler, &pieces[2], 2, 16_000),
        Offer::Held
    ));
}

#[test]
fn no_more_is_held_than_the_limits_allow() {
    let by_number = reassembler(Limits {
        fragments: 3,
        ..lenient()
    });
    let by_bytes = reassembler(Limits {
        bytes: 3 * 68,
        ..lenient()
    });
    for reassembler in [by_number, by_bytes] {
        let packet = datagram(Family::V4, 100);
        for id in 0..5 {
            let first = fragment(&packet, id, 0, true, &packet[20..68]);
            let answer = offer(&reassembler, &first, 0, 0);
            assert_eq!(matches!(answer, Offer::Held), id < 3, "{id}");
        }
        assert_eq!(reassembler.count(Family::V4, Count::Full), 2);
        let mut back = 0;
        reassembler.flush(|_| back += 1);
        assert_eq!((back, reassembler.held()), (3, 0));
        let first = fragment(&packet, 9, 0, true, &packet[20..68]);
        assert!(matches!(offer(&reassembler, &first, 0, 0), Offer::Held));
    }
}

#[test]
fn a_family_that_is_switched_off_is_refused() {
    let reassembler = reassembler(lenient());
    reassembler.set_enabled(Family::V6, false);
    let v6 = &fragments(&datagram(Family::V6, 100), 7, 48)[0];
    assert_eq!(
        refused(offer(&reassembler, v6, 0, 0)),
        Some(Reason::Fragment)
    );
    let v4 = &fragments(&datagram(Family::V4, 100), 7, 48)[0];
    assert!(matches!(offer(&reassembler, v4, 0, 0), Offer::Held));
}

#[test]
fn an_atomic_fragment_is_whole_by_itself() {
    let packet = datagram(Family::V6, 100);
    let reassembler = reassembler(lenient());
    let atomic = fragment(&packet, 7, 0, false, &packet[40..]);
    let Offer::Whole(mut assembly) = offer(&reassembler, &atomic, 0, 0) else {
        panic!("whole");
    };
    assert_eq!(assembly.packet(), packet);
}

#[test]
fn a_packet_that_is_not_all_there_is_refused() {
    let reassembler = reassembler(lenient());
    let bytes = fragments(&datagram(Family::V4, 100), 7, 48)[0].clone();
    let place = of(&bytes, &RAW).expect("a fragment");
    let parcel = Parcel {
        bytes: bytes[..40].to_vec(),
        number: 0,
    };
    let answer = reassembler.offer(parcel, &place, 0, at(0));
    assert_eq!(refused(answer), Some(Reason::NotLinear));
}

#[test]
fn limits_out_of_range_are_refused() {
    let reassembler = reassembler(lenient());
    for limits in [
        Limits {
            fragments: 5001,
            ..lenient()
        },
        Limits {
            lifetime: 0,
            ..lenient()
        },
    ] {
        assert!(reassembler.set_limits(limits).is_err());
    }
    assert_eq!(reassembler.limits(), lenient());
}

#[test]
fn a_datagram_longer_than_any_packet_is_given_back() {
    // The first fragment's options make it so: no fragment alone can tell.
    let packet = datagram(Family::V4, 100);
    let first = fragment(&packet, 7, 0, true, &packet[20..68]);
    let first = crate::tests::packets::with_options(&first, &[1; 40]);
    let reassembler = reassembler(lenient());
    assert!(matches!(offer(&reassembler, &first, 0, 0), Offer::Held));
    let zeros = vec![0; 65_536];
    let second = fragment(&packet, 7, 48, true, &zeros[48..60_040]);
    assert!(matches!(offer(&reassembler, &second, 0, 0), Offer::Held));
    let last = fragment(&packet, 7, 60_040, false, &zeros[60_040..65_515]);
    let Offer::TooLong(pieces) = offer(&reassembler, &last, 0, 0) else {
        panic!("too long");
    };
    let offsets: Vec<u16> = pieces.iter().map(|(place, _)| place.offset).collect();
    assert_eq!(offsets, [0, 48, 60_040]);
    assert_eq!(reassembler.held(), 0);
}

#[test]
fn the_longest_packet_that_fragments_may_make_can_be_set() {
    for family in [Family::V4, Family::V6] {
        let packet = datagram(family, 100);
        let length = packet.len() as u32;
        for (longest, fits) in [(length - 1, false), (length, true)] {
            let reassembler = reassembler(Limits {
                longest,
                ..lenient()
            });
            let answers: Vec<_> = fragments(&packet, 7, 48)
                .iter()
                .map(|piece| offer(&reassembler, piece, 0, 0))
                .collect();
            match answers.last() {
                Some(Offer::Whole(_)) => assert!(fits),
                Some(Offer::TooLong(pieces)) => assert!(!fits && pieces.len() == 3),
                _ => panic!("all fragments are there"),
            }
            assert_eq!(reassembler.held(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() })]

    /// However datagrams are cut and mixed, each comes back whole, every packet exactly once, and what
    /// is rewritten arrives in the fragments.
    #[test]
    fn any_cut_in_any_order_gives_the_datagram_back(
        v6: bool,
        sizes in prop::collection::vec(1usize..400, 1..5),
        unit in 1usize..12,
        order in any::<u64>(),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let packets: Vec<_> = sizes.iter().map(|&size| datagram(family, size)).collect();
        let mut pieces: Vec<(usize, Vec<u8>)> = packets.iter().enumerate()
            .flat_map(|(id, packet)| {
                fragments(packet, id as u32, unit * 8).into_iter().map(move |piece| (id, piece))
            })
            .filter(|(_, piece)| of(piece, &RAW).is_some())
            .collect();
        let mut state = order | 1;
        for i in (1..pieces.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pieces.swap(i, (state % (i as u64 + 1)) as usize);
        }
        let reassembler = reassembler(lenient());
        let mut back = vec![0; pieces.len()];
        for (number, (id, piece)) in pieces.iter().enumerate() {
            match offer(&reassembler, piece, number, 0) {
                Offer::Held => {}
                Offer::Refused(_, reason) => prop_assert!(false, "{reason:?}"),
                Offer::TooLong(_) => prop_assert!(false, "none is that long"),
                Offer::Whole(mut assembly) => {
                    let header = if v6 { 40 } else { 20 };
                    let payload = packets[*id][header..].to_vec();
                    prop_assert_eq!(&assembly.packet()[header..], &payload[..]);
                    assembly.packet()[header + 8] ^= 0xff;
                    assembly.packet()[header - 1] ^= 1;
                    assembly.rewrite_pieces();
                    for (place, parcel) in assembly.give_back() {
                        back[parcel.number] += 1;
                        prop_assert_eq!(parcel.bytes.len(), pieces[parcel.number].1.len());
                        prop_assert_eq!(parcel.bytes[header - 1], pieces[parcel.number].1[header - 1] ^ 1);
                        prop_assert_eq!(of(&parcel.bytes, &RAW).map(|f| f.offset), Some(place.offset));
                        if place.offset == 0 && place.len > 8 {
                            prop_assert_eq!(parcel.bytes[usize::from(place.data) + 8], payload[8] ^ 0xff);
                        }
                    }
                }
            }
        }
        reassembler.flush(|parcel| back[parcel.number] += 1);
        prop_assert!(back.iter().all(|&times| times == 1));
        prop_assert_eq!(reassembler.held(), 0);
    }
}

//! Fragments through the engine: held, tracked as one packet, given one verdict, translated together.

use crate::clock::Time;
use crate::engine::action::{Action, Helper, Nat, NatRange};
use crate::engine::config::Config;
use crate::engine::descriptor::{Frame, state};
use crate::engine::fragments::Reassembly;
use crate::engine::{Cursor, Engine};
use crate::fragment::Limits;
use crate::reason::Reason;
use crate::tests::packets::{Ip, ethernet, fragment, fragments, udp, with_extensions};

const COMMIT: Action = Action {
    zone: 0,
    commit: true,
    force: false,
    mark: None,
    label: None,
    helper: None,
    nat: None,
    timeout_policy: None,
};

struct Setup {
    engine: Engine,
    reassembly: Reassembly<Frame>,
}

fn setup() -> Setup {
    Setup {
        engine: Engine::new(&Config {
            seed: Some([7; 8]),
            ..Config::default()
        })
        .expect("defaults are valid"),
        reassembly: Reassembly::new(
            Limits {
                smallest_v4: 0,
                smallest_v6: 0,
                ..Limits::default()
            },
            true,
        ),
    }
}

impl Setup {
    /// Everything that leaves: the batch's own packets that were not held, then those given back.
    fn send(&self, packets: Vec<Vec<u8>>, action: &Action, now: u64) -> Vec<Frame> {
        let mut frames: Vec<Frame> = packets
            .into_iter()
            .enumerate()
            .map(|(port, bytes)| Frame {
                in_port: port as u32,
                ..Frame::ip(bytes)
            })
            .collect();
        let now = Time::from_millis(now);
        self.engine
            .execute_with(&mut frames, action, now, &self.reassembly);
        self.reassembly.expire(now);
        frames.retain(|frame| !frame.held);
        frames.extend(std::iter::from_fn(|| self.reassembly.take()));
        frames
    }
}

#[test]
fn fragments_wait_for_each_other_and_get_one_verdict() {
    for (a, b) in [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))] {
        let setup = setup();
        let packet = udp(a, 7, b, 80, &[5; 200]);
        let pieces = fragments(&packet, 9, 80);
        for piece in &pieces[..2] {
            assert!(setup.send(vec![piece.clone()], &COMMIT, 0).is_empty());
        }
        assert_eq!(setup.engine.connections(), 0);
        let out = setup.send(vec![pieces[2].clone()], &COMMIT, 0);
        assert_eq!(out.len(), 3);
        for frame in &out {
            assert_eq!(frame.metadata.state, state::TRK | state::NEW);
            assert!(pieces.contains(&frame.bytes), "as it came");
        }
        assert_eq!(setup.engine.connections(), 1);
        // The answer in one batch with other traffic, in any order.
        let answer = udp(b, 80, a, 7, &[6; 200]);
        let mut batch = fragments(&answer, 10, 80);
        batch.reverse();
        batch.insert(1, udp(a, 99, b, 99, b"?"));
        let out = setup.send(batch, &Action::default(), 0);
        let states: Vec<u8> = out.iter().map(|frame| frame.metadata.state).collect();
        let reply = state::TRK | state::EST | state::RPL;
        assert_eq!(states, [state::TRK | state::NEW, reply, reply, reply]);
    }
}

/// What `ct_nw_src`, `ct_tp_dst` and their kind match: the connection's original tuple, ports included.
#[test]
fn every_fragment_shows_the_original_tuple_of_its_connection() {
    for (a, b) in [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))] {
        let setup = setup();
        let there = udp(a, 7, b, 80, &[5; 200]);
        let back = udp(b, 80, a, 7, &[6; 200]);
        for (number, packet) in [(1, there), (2, back)] {
            let out = setup.send(fragments(&packet, number, 80), &COMMIT, 0);
            assert_eq!(out.len(), 3);
            for frame in out {
                let original = frame.original.expect("it was asked for");
                assert_eq!((original.src, original.sport), (a.number(), 7));
                assert_eq!((original.dst, original.dport), (b.number(), 80));
            }
        }
    }
}

#[test]
fn fragments_are_translated_together_and_keep_their_sizes() {
    for (a, b, public) in [
        (Ip::v4(1), Ip::v4(2), Ip::v4(9)),
        (Ip::v6(1), Ip::v6(2), Ip::v6(9)),
    ] {
        let setup = setup();
        let action = Action {
            nat: Some(Nat {
                source: Some(NatRange {
                    ports: Some((5000, 5000)),
                    ..NatRange::address(public.number())
                }),
                ..Nat::default()
            }),
            ..COMMIT
        };
        let payload: Vec<u8> = (0..200).collect();
        let out = setup.send(fragments(&udp(a, 7, b, 80, &payload), 9, 80), &action, 0);
        let mut right = fragments(&udp(public, 5000, b, 80, &payload), 9, 80);
        assert_eq!(out.len(), right.len());
        for frame in &out {
            assert_eq!(frame.metadata.state, state::TRK | state::NEW | state::SNAT);
            assert!(frame.modified.source);
            right.retain(|bytes| *bytes != frame.bytes);
        }
        assert!(right.is_empty(), "each of them left once, translated");
    }
}

#[test]
fn a_wrong_checksum_of_the_whole_makes_every_fragment_invalid() {
    let setup = setup();
    let mut pieces = fragments(&udp(Ip::v4(1), 7, Ip::v4(2), 80, &[5; 200]), 9, 80);
    let last = pieces.len() - 1;
    pieces[last][25] ^= 1;
    let out = setup.send(pieces, &COMMIT, 0);
    assert_eq!(out.len(), 3);
    for frame in out {
        assert_eq!(frame.metadata.state, state::TRK | state::INV);
        assert_eq!(frame.metadata.reason, Reason::L4Checksum);
    }
}

#[test]
fn a_refused_fragment_is_invalid_and_stays_in_its_batch() {
    let setup = setup();
    let pieces = fragments(&udp(Ip::v4(1), 7, Ip::v4(2), 80, &[5; 200]), 9, 80);
    let out = setup.send(vec![pieces[0].clone(), pieces[0].clone()], &COMMIT, 0);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].metadata.state, state::TRK | state::INV);
    assert_eq!(out[0].metadata.reason, Reason::FragmentOverlap);
    assert_eq!(out[0].bytes, pieces[0]);
}

#[test]
fn what_does_not_become_whole_comes_back_invalid() {
    for (a, b) in [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))] {
        let pieces = fragments(&udp(a, 7, b, 80, &[5; 200]), 9, 80);
        // The first, one from the middle, the last.
        for piece in pieces {
            let setup = setup();
            assert!(setup.send(vec![piece.clone()], &COMMIT, 0).is_empty());
            let out = setup.send(Vec::new(), &COMMIT, 15_000);
            assert_eq!(out.len(), 1);
            assert_eq!(out[0].metadata.state, state::TRK | state::INV);
            assert_eq!(out[0].metadata.reason, Reason::FragmentExpired);
            assert_eq!(out[0].bytes, piece);
            assert_eq!(setup.engine.connections(), 0);
        }
    }
}

/// Two fragments of which the second begins one unit of eight octets too early.
#[test]
fn fragments_that_overlap_by_one_unit_begin_no_connection_in_either_order() {
    let datagram = udp(Ip::v4(1), 1, Ip::v4(2), 2, &[5; 420]);
    let payload = &datagram[20..];
    let first = fragment(&datagram, 1, 0, true, &payload[..400]);
    let second = fragment(&datagram, 1, 392, false, &payload[392..420]);
    for order in [[&first, &second], [&second, &first]] {
        let setup = setup();
        assert!(setup.send(vec![order[0].clone()], &COMMIT, 0).is_empty());
        let out = setup.send(vec![order[1].clone()], &COMMIT, 0);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].metadata.state, state::TRK | state::INV);
        assert_eq!(out[0].metadata.reason, Reason::FragmentOverlap);
        assert_eq!(setup.engine.connections(), 0);
    }
}

/// Hop-by-hop and destination options before the fragment header, and options behind it.
#[test]
fn ipv6_fragments_with_extension_headers_are_one_connection_in_either_order() {
    const FRAGMENT: u8 = 44;
    let datagram = udp(Ip::v6(1), 1, Ip::v6(2), 2, &[5; 1_292]);
    for (headers, in_front) in [
        (&[(0, 8)][..], 48),
        (&[(0, 8), (60, 16)], 64),
        (&[(0, 8), (60, 8)], 48),
        (&[(60, 8)], 40),
    ] {
        let packet = with_extensions(&datagram, headers);
        let (front, payload) = packet.split_at(in_front);
        // Where the last header in front says what follows it.
        let next = match (headers, in_front) {
            (_, 40) => 6,
            ([_, _], 64) => 48,
            _ => 40,
        };
        let piece = |offset: usize, more: bool, data: &[u8]| {
            let mut bytes = front.to_vec();
            bytes.extend([front[next], 0]);
            bytes[next] = FRAGMENT;
            bytes.extend((offset as u16 | u16::from(more)).to_be_bytes());
            bytes.extend([0, 0, 0, 9]);
            bytes.extend(data);
            let length = (bytes.len() - 40) as u16;
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes
        };
        let first = piece(0, true, &payload[..1_272]);
        let second = piece(1_272, false, &payload[1_272..]);
        for order in [[&first, &second], [&second, &first]] {
            let setup = setup();
            assert!(setup.send(vec![order[0].clone()], &COMMIT, 0).is_empty());
            let out = setup.send(vec![order[1].clone()], &COMMIT, 0);
            assert_eq!(out.len(), 2);
            for frame in out {
                assert_eq!(frame.metadata.state, state::TRK | state::NEW, "{headers:?}");
                assert!(order.contains(&&frame.bytes), "as it came");
                let original = frame.original.expect("it was asked for");
                assert_eq!((original.sport, original.dport), (1, 2));
            }
            assert_eq!(setup.engine.connections(), 1);
        }
    }
}

#[test]
fn fragments_of_a_datagram_that_is_too_long_are_invalid_at_once() {
    for (a, b) in [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))] {
        let setup = setup();
        let packet = udp(a, 7, b, 80, &[5; 200]);
        let pieces = fragments(&packet, 9, 80);
        let longest = |longest| Limits {
            longest,
            ..setup.reassembly.reassembler().limits()
        };
        let length = packet.len() as u32;
        assert!(setup.reassembly.set_limits(longest(length - 1)).is_ok());
        let out = setup.send(pieces.clone(), &COMMIT, 0);
        assert_eq!(out.len(), 3);
        for frame in &out {
            assert_eq!(frame.metadata.state, state::TRK | state::INV);
            assert_eq!(frame.metadata.reason, Reason::DatagramTooLong);
            assert!(pieces.contains(&frame.bytes), "as it came");
        }
        assert_eq!(out[0].in_port, 2, "the last one stays in its batch");
        assert_eq!(setup.engine.connections(), 0);
        assert_eq!(setup.engine.reason_count(Reason::DatagramTooLong), 1);
        assert!(setup.reassembly.set_limits(longest(length)).is_ok());
        for frame in setup.send(pieces, &COMMIT, 0) {
            assert_eq!(frame.metadata.state, state::TRK | state::NEW);
        }
    }
}

#[test]
fn without_reassembly_every_fragment_is_invalid() {
    let setup = setup();
    for family in [crate::packet::Family::V4, crate::packet::Family::V6] {
        setup.reassembly.reassembler().set_enabled(family, false);
    }
    let pieces = fragments(&udp(Ip::v4(1), 7, Ip::v4(2), 80, &[5; 200]), 9, 80);
    for frame in setup.send(pieces, &COMMIT, 0) {
        assert_eq!(frame.metadata.reason, Reason::Fragment);
    }
}

#[test]
fn fragments_of_two_zones_do_not_meet() {
    let setup = setup();
    let pieces = fragments(&udp(Ip::v4(1), 7, Ip::v4(2), 80, &[5; 100]), 9, 80);
    let elsewhere = Action { zone: 1, ..COMMIT };
    assert!(setup.send(vec![pieces[0].clone()], &COMMIT, 0).is_empty());
    assert!(
        setup
            .send(vec![pieces[1].clone()], &elsewhere, 0)
            .is_empty()
    );
    assert_eq!(setup.reassembly.reassembler().held(), 2);
}

#[test]
fn a_helper_sees_the_whole_message_but_cannot_make_it_longer() {
    let setup = setup();
    let action = Action {
        helper: Some(Helper::Sip),
        nat: Some(Nat {
            source: Some(NatRange::address(Ip::V4([198, 51, 100, 200]).number())),
            ..Nat::default()
        }),
        ..COMMIT
    };
    let text = format!(
        "OPTIONS sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\n\
         Contact: <sip:a@10.0.0.1:5060>\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        "y".repeat(200)
    );
    let packet = udp(Ip::v4(1), 5060, Ip::v4(2), 5060, text.as_bytes());
    let out = setup.send(fragments(&packet, 9, 160), &action, 0);
    let len: usize = out.iter().map(|frame| frame.bytes.len() - 20).sum();
    assert_eq!(len, packet.len() - 20);
    assert!(
        out.iter()
            .all(|frame| frame.modified.source && !frame.modified.payload)
    );
    assert!(setup.engine.reason_count(Reason::NoRoom) > 0);
    assert!(
        setup
            .engine
            .next(&mut Cursor::default(), Time::from_millis(0))
            .is_some()
    );
}

#[test]
fn the_limits_are_those_of_open_vswitch_until_others_are_set() {
    let limits = Limits::default();
    assert_eq!(limits.fragments, 1000);
    assert_eq!((limits.smallest_v4, limits.smallest_v6), (1200, 1280));
    assert_eq!((limits.lifetime, Limits::MOST_FRAGMENTS), (15_000, 5000));
    assert_eq!(
        limits.longest, 65_575,
        "what IPv6 can say without jumbograms"
    );
    let most = Limits {
        fragments: 5000,
        smallest_v4: 400,
        smallest_v6: 400,
        ..limits
    };
    assert!(most.check().is_ok());
    let reassembly: Reassembly<Frame> = Reassembly::new(limits, true);
    assert!(reassembly.set_limits(most).is_ok());
    let too_many = Limits {
        fragments: 5001,
        ..limits
    };
    assert!(reassembly.set_limits(too_many).is_err());
}

#[test]
fn fragments_behind_vlan_tags_are_tracked_and_keep_them() {
    let families = [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))];
    let tags = [&[0x8100][..], &[0x88a8, 0x8100]];
    let cases = families.map(|hosts| tags.map(|tags| (hosts, tags)));
    for ((a, b), tags) in cases.into_iter().flatten() {
        let setup = setup();
        let packet = udp(a, 7, b, 80, &[5; 200]);
        let pieces: Vec<Vec<u8>> = fragments(&packet, 9, 80)
            .iter()
            .map(|piece| ethernet(tags, piece))
            .collect();
        let mut frames: Vec<Frame> = pieces.iter().cloned().map(Frame::ethernet).collect();
        let now = Time::from_millis(0);
        setup
            .engine
            .execute_with(&mut frames, &COMMIT, now, &setup.reassembly);
        frames.retain(|frame| !frame.held);
        frames.extend(std::iter::from_fn(|| setup.reassembly.take()));
        assert_eq!((frames.len(), setup.engine.connections()), (3, 1));
        for frame in &frames {
            assert_eq!(frame.metadata.state, state::TRK | state::NEW);
            assert!(pieces.contains(&frame.bytes), "as it came");
        }
    }
}

#[test]
fn what_is_beyond_the_limit_is_invalid_and_not_held() {
    let setup = setup();
    let limits = Limits {
        fragments: 3,
        smallest_v4: 0,
        smallest_v6: 0,
        ..Limits::default()
    };
    setup.reassembly.set_limits(limits).expect("valid");
    let first = |id| {
        let packet = udp(Ip::v4(1), 7, Ip::v4(2), 80, &[5; 200]);
        fragments(&packet, id, 80).swap_remove(0)
    };
    let out = setup.send((0..5).map(first).collect(), &COMMIT, 0);
    assert_eq!(out.len(), 2);
    for frame in &out {
        assert_eq!(frame.metadata.state, state::TRK | state::INV);
        assert_eq!(frame.metadata.reason, Reason::Fragment);
    }
    // They come back when their time is over, and there is room again.
    let out = setup.send(Vec::new(), &COMMIT, 15_001);
    assert_eq!(out.len(), 3);
    assert!(setup.send(vec![first(9)], &COMMIT, 15_001).is_empty());
}

//! The parser against packets that are right, cut off, and wrong in every way that has a rule.

use super::Segment as PlainSegment;
use super::*;
use crate::tests::packets::{
    self, Ip, Segment, echo, finish_ipv4, icmp, ip, sctp, udp, unreachable,
};
use crate::tuple::{Key, Side, Tuple};
use proptest::prelude::*;

mod fragment;
mod peer;
mod rewrite;
mod sums;

const VERIFY: Options = Options {
    verify_checksums: true,
    sack: false,
    netfilter: false,
};
const RAW: Hints = Hints {
    l3: Some(0),
    total_len: 0,
    ip_checksum: Checksum::Unknown,
    l4_checksum: Checksum::Unknown,
    read_only: false,
};
const BELIEVED: Hints = Hints {
    ip_checksum: Checksum::Good,
    l4_checksum: Checksum::Good,
    ..RAW
};

fn read(bytes: &[u8]) -> Result<Facts, Reason> {
    parse(bytes, &RAW, &VERIFY).map_err(|malformed| malformed.reason)
}

/// One right packet of each kind.
fn every_kind() -> Vec<Vec<u8>> {
    let mut kinds = Vec::new();
    for (a, b) in [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))] {
        let tcp = Segment {
            src: a,
            dst: b,
            options: vec![2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 9],
            ..Segment::v4(1, 1000, 2, 80, tcp_flags::SYN)
        };
        let question = udp(a, 5, b, 53, b"question");
        kinds.push(tcp.bytes());
        kinds.push(tcp.payload(7).bytes());
        kinds.push(unreachable(b, a, &question));
        kinds.push(question);
        kinds.push(sctp(a, 5, b, 6, 7, &[1, 0, 0, 8, 0, 0, 0, 1, 3, 0, 0, 4]));
        kinds.push(echo(a, b, 9, false));
        kinds.push(ip(a, b, proto::GRE, b"anything"));
    }
    kinds
}

#[test]
fn every_kind_of_packet_gives_its_facts() {
    let kinds = every_kind();
    let facts: Vec<Facts> = kinds
        .iter()
        .map(|bytes| read(bytes).expect("right"))
        .collect();
    for (facts, bytes) in facts.iter().zip(&kinds) {
        assert_eq!(facts.ip_len(), bytes.len() as u64);
        assert!(Tuple::of(facts, 0).is_some());
    }
    let Transport::Tcp(tcp) = facts[0].transport else {
        panic!("TCP comes first")
    };
    assert_eq!(
        (tcp.sport, tcp.dport, tcp.seq, tcp.window),
        (1000, 80, 1000, 8192)
    );
    assert_eq!(
        (tcp.wscale, tcp.sack_permitted, tcp.payload),
        (Some(9), true, 0)
    );
    assert_eq!(
        (facts[0].src, facts[0].dst),
        (Ip::v4(1).number(), Ip::v4(2).number())
    );
    let Transport::Tcp(tcp) = facts[1].transport else {
        panic!("TCP again")
    };
    assert_eq!(tcp.payload, 7);
    let Transport::Error(inner) = facts[2].transport else {
        panic!("an error")
    };
    assert_eq!(
        (facts[2].dst, inner.dport, inner.proto),
        (Ip::v4(1).number(), 53, proto::UDP)
    );
    assert_eq!(facts[4].transport, Transport::Sctp(5, 6, 7));
    assert_eq!(
        facts[5].transport,
        Transport::Query(Query { kind: 8, id: 9 })
    );
    assert_eq!(facts[6].transport, Transport::Other);
}

#[test]
fn a_packet_cut_anywhere_is_refused_by_a_rule() {
    for bytes in every_kind() {
        for len in 0..bytes.len() {
            let reason = read(&bytes[..len]).expect_err("the IP header says that more follows");
            assert!(
                matches!(reason, Reason::Truncated | Reason::IpHeader),
                "{reason:?} at {len}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_is_found_by_a_checksum_or_changes_what_none_covers() {
    for bytes in every_kind() {
        let right = read(&bytes);
        // Another version is another packet altogether: its bits are left alone.
        for bit in (0..bytes.len() * 8).filter(|bit| !(4..8).contains(bit)) {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let facts = read(&wrong);
            let covered = matches!(
                right.as_ref().map(|facts| facts.transport),
                Ok(Transport::Tcp(_) | Transport::Query(_) | Transport::Error(_))
            );
            if covered && bytes[0] == 0x45 {
                assert!(facts.is_err(), "bit {bit}");
            }
        }
    }
}

#[test]
fn what_the_device_vouches_for_is_not_checked_again() {
    let mut bytes = Segment::v4(1, 1, 2, 2, tcp_flags::ACK).bytes();
    bytes[10] ^= 0xff;
    bytes[36] ^= 0xff;
    assert_eq!(read(&bytes), Err(Reason::IpChecksum));
    assert!(parse(&bytes, &BELIEVED, &VERIFY).is_ok());
    let partial = Hints {
        l4_checksum: Checksum::Partial,
        ..BELIEVED
    };
    assert!(parse(&bytes, &partial, &VERIFY).is_ok());
    for (hints, reason) in [
        (
            Hints {
                ip_checksum: Checksum::Bad,
                ..BELIEVED
            },
            Reason::IpChecksum,
        ),
        (
            Hints {
                l4_checksum: Checksum::Bad,
                ..BELIEVED
            },
            Reason::L4Checksum,
        ),
    ] {
        assert_eq!(parse(&bytes, &hints, &VERIFY), Err(Malformed { reason }));
    }
    assert!(parse(&bytes, &RAW, &Options::default()).is_ok());
}

#[test]
fn an_icmp_checksum_is_checked_whatever_the_device_says() {
    let mut bytes = echo(Ip::v4(1), Ip::v4(2), 9, false);
    bytes[22] ^= 1;
    let reason = Reason::L4Checksum;
    assert_eq!(parse(&bytes, &BELIEVED, &VERIFY), Err(Malformed { reason }));
}

#[test]
fn a_udp_checksum_of_zero_is_none_in_ipv4_and_wrong_in_ipv6() {
    for (a, b, field, right) in [
        (Ip::v4(1), Ip::v4(2), 26, true),
        (Ip::v6(1), Ip::v6(2), 46, false),
    ] {
        let mut bytes = udp(a, 5, b, 53, b"?");
        bytes[field..field + 2].fill(0);
        assert_eq!(read(&bytes).is_ok(), right);
    }
}

#[test]
fn a_short_frame_may_be_padded() {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"));
    frame.resize(60, 0xee);
    let facts = parse(&frame, &Hints::default(), &VERIFY).expect("padding is not payload");
    assert_eq!((facts.l3, facts.l4_len), (14, 9));
}

#[test]
fn ip_options_are_skipped() {
    let plain = Segment::v4(1, 1000, 2, 80, tcp_flags::ACK)
        .payload(3)
        .bytes();
    for len in [1, 4, 11, 40] {
        let facts = read(&packets::with_options(&plain, &[1].repeat(len))).expect("right");
        let header = 20 + len.next_multiple_of(4);
        assert_eq!((usize::from(facts.l4), facts.l4_len), (header, 23));
        assert_eq!(facts.transport, read(&plain).expect("right").transport);
    }
}

#[test]
fn an_error_whose_quote_lies_beyond_the_offsets_is_refused() {
    let question = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?");
    let error = unreachable(Ip::v4(2), Ip::v4(1), &question);
    for (l3, right) in [(65535 - 48, true), (65535 - 47, false), (65535 - 20, false)] {
        let bytes = [&vec![0; l3][..], &error].concat();
        let hints = Hints {
            l3: Some(l3 as u16),
            ..RAW
        };
        let result = parse(&bytes, &hints, &VERIFY)
            .map(|_| ())
            .map_err(|bad| bad.reason);
        assert_eq!(
            result,
            if right {
                Ok(())
            } else {
                Err(Reason::IcmpInner)
            }
        );
    }
}

#[test]
fn the_chunks_of_an_sctp_packet_that_is_not_contiguous_are_checked_as_far_as_they_are_there() {
    let chunks = [&[3, 0, 0, 16][..], &[0; 12], &[0, 3, 0, 200], &[0; 196]].concat();
    let whole = sctp(Ip::v4(1), 5, Ip::v4(2), 6, 7, &chunks);
    let cut_off = |bytes: &[u8], len: usize| {
        let hints = Hints {
            total_len: bytes.len() as u32,
            ..RAW
        };
        parse(&bytes[..len], &hints, &VERIFY)
            .map(|_| ())
            .map_err(|bad| bad.reason)
    };
    for len in [
        32,
        33,
        36,
        40,
        48,
        49,
        52,
        100,
        whole.len() - 1,
        whole.len(),
    ] {
        assert_eq!(cut_off(&whole, len), Ok(()), "{len}");
    }
    assert_eq!(cut_off(&whole, 31), Err(Reason::Truncated));
    let mut wrong = whole.clone();
    for (high, low) in [(0, 3), (0, 201), (255, 255)] {
        wrong[50..52].copy_from_slice(&[high, low]);
        assert_eq!(cut_off(&wrong, 60), Err(Reason::SctpChunk), "{high} {low}");
    }
}

#[test]
fn vlan_tags_are_looked_through() {
    let packet = udp(Ip::v6(1), 5, Ip::v6(2), 53, b"?");
    for tags in [
        &[][..],
        &[0x8100],
        &[0x88a8, 0x8100],
        &[0x9100, 0x8100, 0x8100],
    ] {
        let mut frame = vec![0; 12];
        for tag in tags {
            frame.extend(u16::to_be_bytes(*tag));
            frame.extend([0, 5]);
        }
        frame.extend([0x86, 0xdd]);
        frame.extend(&packet);
        let facts = parse(&frame, &Hints::default(), &VERIFY).expect("an IPv6 packet");
        assert_eq!(usize::from(facts.l3), 14 + 4 * tags.len());
    }
    let arp = [&[0; 12][..], &[0x08, 0x06], &[0; 30]].concat();
    let reason = Reason::NotIp;
    assert_eq!(
        parse(&arp, &Hints::default(), &VERIFY),
        Err(Malformed { reason })
    );
}

#[test]
fn malformed_packets_are_refused_by_their_rule() {
    type Wrong = (&'static str, Vec<u8>, Reason);
    let (a, b) = (Ip::v4(1), Ip::v4(2));
    let (a6, b6) = (Ip::v6(1), Ip::v6(2));
    let tcp = |change: fn(&mut Segment)| {
        let mut segment = Segment::v4(1, 1000, 2, 80, tcp_flags::ACK);
        change(&mut segment);
        segment.bytes()
    };
    let with = |mut bytes: Vec<u8>, at: usize, value: u8| {
        bytes[at] = value;
        bytes
    };
    let question = udp(a, 5, b, 53, b"question");
    let cases: Vec<Wrong> = vec![
        ("version 5", with(question.clone(), 0, 0x55), Reason::NotIp),
        (
            "header of 16 bytes",
            with(question.clone(), 0, 0x44),
            Reason::IpHeader,
        ),
        (
            "TCP port zero",
            tcp(|segment| segment.dport = 0),
            Reason::PortZero,
        ),
        ("UDP port zero", udp(a, 0, b, 53, b"?"), Reason::PortZero),
        (
            "SCTP port zero",
            sctp(a, 1, b, 0, 7, &[1, 0, 0, 4]),
            Reason::PortZero,
        ),
        (
            "SCTP without chunks",
            sctp(a, 1, b, 2, 7, &[]),
            Reason::SctpChunk,
        ),
        (
            "SCTP chunk too long",
            sctp(a, 1, b, 2, 7, &[1, 0, 0, 9, 0, 0, 0, 0]),
            Reason::SctpChunk,
        ),
        (
            "SCTP chunk too short",
            sctp(a, 1, b, 2, 7, &[1, 0, 0, 3]),
            Reason::SctpChunk,
        ),
        (
            "echo with a code",
            icmp(a, b, 8, 1, [0; 4], b""),
            Reason::IcmpCode,
        ),
        (
            "router advertisement",
            icmp(a, b, 9, 0, [0; 4], b""),
            Reason::IcmpType,
        ),
        (
            "neighbour solicitation",
            icmp(a6, b6, 135, 0, [0; 4], &[0; 16]),
            Reason::IcmpType,
        ),
        (
            "ICMPv6 in IPv4",
            ip(a, b, proto::ICMPV6, &[128; 16]),
            Reason::IcmpType,
        ),
        (
            "ICMP in IPv6",
            ip(a6, b6, proto::ICMP, &[8; 16]),
            Reason::IcmpType,
        ),
        (
            "an error that quotes nothing",
            unreachable(b, a, &[]),
            Reason::IcmpInner,
        ),
        (
            "an error that quotes too little",
            unreachable(b, a, &question[..27]),
            Reason::IcmpInner,
        ),
        (
            "an error about another host",
            unreachable(b, Ip::v4(3), &question),
            Reason::IcmpInnerAddress,
        ),
        (
            "an error about an error",
            unreachable(b, a, &unreachable(a, b, &question)),
            Reason::IcmpInner,
        ),
        (
            "UDP length too long",
            with(question.clone(), 25, 200),
            Reason::L4Header,
        ),
        (
            "UDP length too short",
            with(question.clone(), 25, 7),
            Reason::L4Header,
        ),
    ];
    for (name, bytes, reason) in cases {
        // With checksums believed, so that they don't hide the rule.
        let hints = Hints {
            ip_checksum: Checksum::Good,
            ..RAW
        };
        let result = parse(&bytes, &hints, &VERIFY);
        assert_eq!(result, Err(Malformed { reason }), "{name}");
    }
}

#[test]
fn every_fragment_is_refused() {
    let whole = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"question");
    for (flags, offset, refused) in [(0x20, 0, true), (0, 4, true), (0x40, 0, false)] {
        let mut bytes = whole.clone();
        bytes[6] = flags;
        bytes[7] = offset;
        let result = parse(&bytes, &BELIEVED, &VERIFY);
        assert_eq!(
            result
                == Err(Malformed {
                    reason: Reason::Fragment
                }),
            refused
        );
    }
    let fragment = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &[0; 8]].concat();
    assert_eq!(
        read(&ip(Ip::v6(1), Ip::v6(2), 44, &fragment)),
        Err(Reason::Fragment)
    );
}

#[test]
fn extension_headers_are_walked_as_far_as_they_make_sense() {
    let inner = udp(Ip::v6(1), 5, Ip::v6(2), 53, b"?")[40..].to_vec();
    let chain = |headers: &[(u8, u8, usize)]| {
        // Next header, length field, bytes.
        let mut payload = Vec::new();
        for &(next, length, bytes) in headers {
            let start = payload.len();
            payload.extend([next, length]);
            payload.resize(start + bytes, 0);
        }
        payload.extend(&inner);
        payload
    };
    let packet = |first, payload: &[u8]| ip(Ip::v6(1), Ip::v6(2), first, payload);
    let walked = read(&packet(
        0,
        &chain(&[(43, 0, 8), (60, 1, 16), (51, 0, 8), (17, 1, 12)]),
    ));
    assert_eq!(walked.map(|facts| (facts.proto, facts.l4)), Ok((17, 84)));
    let long = packets::with_extensions(&packet(17, &inner), &[(60, 8); 8]);
    assert_eq!(read(&long).map(|facts| facts.l4), Ok(104));
    let endless: Vec<_> = std::iter::repeat_n((60, 0, 8), 9).collect();
    assert_eq!(
        read(&packet(60, &chain(&endless))),
        Err(Reason::Ipv6Extension)
    );
    assert_eq!(
        read(&packet(0, &chain(&[(17, 200, 8)]))),
        Err(Reason::Ipv6Extension)
    );
}

#[test]
fn a_chained_packet_is_tracked_by_its_headers_alone() {
    let bytes = Segment::v4(1, 1, 2, 2, tcp_flags::ACK)
        .payload(1000)
        .bytes();
    let hints = Hints {
        total_len: bytes.len() as u32,
        ..RAW
    };
    let facts = parse(&bytes[..40], &hints, &VERIFY).expect("the headers are there");
    assert!(matches!(
        facts.transport,
        Transport::Tcp(Tcp { payload: 1000, .. })
    ));
}

#[test]
fn tcp_options_that_lie_about_their_length_end_the_walk() {
    for (options, wscale) in [
        (vec![3, 3, 7, 0], Some(7)),
        (vec![1, 1, 3, 3, 7, 0], Some(7)),
        (vec![9, 0, 3, 3, 7, 0], None),
        (vec![9, 1, 3, 3, 7, 0], None),
        (vec![9, 200, 3, 3, 7, 0], None),
        (vec![3, 4, 7, 7], None),
        (vec![0, 0, 3, 3, 7, 0], None),
        (vec![1, 1, 1, 3], None),
    ] {
        let segment = Segment {
            options,
            ..Segment::v4(1, 1, 2, 2, tcp_flags::SYN)
        };
        let facts = read(&segment.bytes()).expect("the header is right");
        let Transport::Tcp(tcp) = facts.transport else {
            panic!("TCP")
        };
        assert_eq!(tcp.wscale, wscale, "{:?}", segment.options);
    }
}

fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        ..ProptestConfig::default()
    }
}

#[test]
fn tcp_options_are_walked_with_their_places() {
    use super::tcp::{Options, kind};
    let options = [
        1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 254, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4, 0, 8,
    ];
    let walked: Vec<_> = Options::new(&options).collect();
    let places: Vec<_> = walked
        .iter()
        .map(|option| (option.kind, option.at, option.value.len()))
        .collect();
    assert_eq!(
        places,
        [(kind::TIMESTAMPS, 3, 8), (254, 14, 0), (kind::SACK, 16, 8)]
    );
    assert_eq!(walked[0].timestamps(), Some((1, 2)));
    assert_eq!(walked[2].timestamps(), None);
    let segment = Segment {
        options: options.to_vec(),
        ..Segment::v4(1, 1, 2, 2, tcp_flags::ACK)
    };
    let bytes = segment.payload(30).bytes();
    assert!(Options::of(&bytes[20..]).eq(walked));
    assert_eq!(Options::of(&bytes[20..40]).count(), 0);
}

proptest! {
    #![proptest_config(seeded(4000))]

    #[test]
    fn no_bytes_make_the_parser_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, l3 in prop::option::of(0u16..40), total_len in 0u32..300) {
        if let Some(first) = bytes.get_mut(usize::from(l3.unwrap_or(14))) {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        let hints = Hints { l3, total_len, ..BELIEVED };
        for options in [VERIFY, Options { sack: true, ..VERIFY }] {
            if let Ok(facts) = parse(&bytes, &hints, &options) {
                prop_assert!(usize::from(facts.l4) <= bytes.len());
                let _ = Tuple::of(&facts, 0);
            }
        }
    }

    #[test]
    fn no_change_to_a_right_packet_makes_the_parser_panic(kind in 0usize..14, changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..6), cut: u16) {
        let mut bytes = every_kind().swap_remove(kind);
        for (at, value) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(usize::from(cut) % (bytes.len() + 1));
        let _ = (parse(&bytes, &BELIEVED, &VERIFY), parse(&bytes, &RAW, &VERIFY));
    }

    #[test]
    fn the_express_way_says_what_the_parser_says_or_nothing(
        (kind, changes) in (0usize..14, prop::collection::vec((0u16..60, any::<u8>()), 0..3)),
        (cut, padding, front) in (0usize..8, 0usize..8, 0usize..3),
        (statuses, verify, sack, fix) in (any::<[u8; 2]>(), any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let mut packet = every_kind().swap_remove(kind);
        for (at, value) in changes {
            let at = usize::from(at) % packet.len();
            packet[at] = value;
        }
        if fix && packet[0] == 0x45 {
            finish_ipv4(&mut packet);
        }
        packet.truncate(packet.len().saturating_sub(cut));
        packet.resize(packet.len() + padding, 0);
        let mut bytes = vec![0; front];
        bytes.extend(packet);
        let status = |byte: u8| match byte % 4 {
            0 => Checksum::Unknown,
            1 => Checksum::Good,
            2 => Checksum::Bad,
            _ => Checksum::Partial,
        };
        let hints = Hints {
            l3: Some(front as u16),
            ip_checksum: status(statuses[0]),
            l4_checksum: status(statuses[1]),
            ..BELIEVED
        };
        let options = Options { verify_checksums: verify, sack, netfilter: false };
        if let Some(facts) = express(&bytes, &hints, &options) {
            prop_assert_eq!(parse(&bytes, &hints, &options), Ok(facts));
            let (key, side, segment) = plain_key(&bytes, &hints, &options).expect("it is plain");
            let tuple = Tuple::of(&facts, 7).expect("it has ports");
            prop_assert_eq!((key, side), tuple.key());
            prop_assert_eq!(key.facts(side, &segment, &bytes), Some(facts));
        }
    }
}

/// The key of a plain packet, as the engine makes it.
fn plain_key(bytes: &[u8], hints: &Hints, options: &Options) -> Option<(Key, Side, PlainSegment)> {
    let start = start(bytes, hints)?;
    match start.protocol {
        proto::TCP => plain_key_of::<{ proto::TCP }>(&start, hints, options),
        _ => plain_key_of::<{ proto::UDP }>(&start, hints, options),
    }
}

fn plain_key_of<const PROTO: u8>(
    start: &Start<'_>,
    hints: &Hints,
    options: &Options,
) -> Option<(Key, Side, PlainSegment)> {
    let ((key, side), segment) = match start.family {
        Family::V4 => {
            let plain = plain_v4::<PROTO>(start, hints, options)?;
            (Key::of_plain_v4(&plain, 7), plain.segment)
        }
        Family::V6 => {
            let plain = plain_v6::<PROTO>(start, hints, options)?;
            (Key::of_plain_v6(&plain, 7), plain.segment)
        }
    };
    Some((key, side, segment))
}

#[test]
fn the_express_way_takes_plain_tcp_and_udp_of_both_families() {
    let taken = |bytes: &[u8]| express(bytes, &RAW, &VERIFY).is_some();
    for flags in [tcp_flags::ACK, tcp_flags::SYN] {
        assert!(taken(&Segment::v4(1, 2, 3, 4, flags).bytes()));
        let v6 = Segment {
            src: Ip::v6(1),
            dst: Ip::v6(3),
            ..Segment::v4(1, 2, 3, 4, flags)
        };
        assert!(taken(&v6.bytes()));
    }
    assert!(taken(&udp(Ip::v4(1), 2, Ip::v4(3), 4, b"data")));
    assert!(taken(&udp(Ip::v6(1), 2, Ip::v6(3), 4, b"data")));
    assert!(!taken(&icmp(Ip::v4(1), Ip::v4(2), 8, 0, [0; 4], b"ping")));
}

#[test]
fn key_and_side_of_a_plain_packet_are_those_of_its_tuple_and_give_its_ends_back() {
    let key_of = |facts: Facts| Tuple::of(&facts, 7).expect("it has ports").key();
    let ends = [(1, 1), (1, 2), (2, 1), (255, 3)];
    let ports = [(9, 9), (2, 4), (4, 2), (0xff00, 0x00ff)];
    for ((src, dst), (sport, dport)) in ends.into_iter().flat_map(|end| ports.map(|p| (end, p))) {
        let bytes = udp(Ip::v4(src), sport, Ip::v4(dst), dport, b"data");
        let started = start(&bytes, &RAW).expect("it is plain");
        let plain = plain_v4::<{ proto::UDP }>(&started, &RAW, &VERIFY).expect("it is plain");
        let (key, side) = Key::of_plain_v4(&plain, 7);
        let facts = parse(&bytes, &RAW, &VERIFY).expect("it is right");
        assert_eq!((key, side), key_of(facts));
        assert_eq!(key.ends_v4(side), plain.ends);

        let bytes = udp(Ip::v6(src), sport, Ip::v6(dst), dport, b"data");
        let started = start(&bytes, &RAW).expect("it is plain");
        let plain = plain_v6::<{ proto::UDP }>(&started, &RAW, &VERIFY).expect("it is plain");
        let (key, side) = Key::of_plain_v6(&plain, 7);
        let facts = parse(&bytes, &RAW, &VERIFY).expect("it is right");
        assert_eq!((key, side), key_of(facts));
        assert_eq!(key.ends_v6(side), plain.ends);
    }
}

#[test]
fn the_express_way_finds_the_ip_header_behind_ethernet_but_not_behind_tags() {
    let hints = Hints::default();
    let frame = |kind: [u8; 2], ip: &[u8]| [&[0; 12][..], &kind, ip].concat();
    let (v4, v6) = (
        udp(Ip::v4(1), 2, Ip::v4(3), 4, b"data"),
        udp(Ip::v6(1), 2, Ip::v6(3), 4, b"data"),
    );
    for bytes in [frame([0x08, 0x00], &v4), frame([0x86, 0xdd], &v6)] {
        let facts = express(&bytes, &hints, &VERIFY);
        assert_eq!(parse(&bytes, &hints, &VERIFY).ok(), facts);
        assert_eq!(facts.map(|facts| facts.l3), Some(14));
    }
    let tagged = frame([0x81, 0x00], &[&[0, 7, 0x08, 0x00][..], &v4].concat());
    assert!(parse(&tagged, &hints, &VERIFY).is_ok());
    assert_eq!(express(&tagged, &hints, &VERIFY), None);
}

#[test]
fn the_express_way_takes_a_udp_datagram_without_a_checksum() {
    let mut bytes = udp(Ip::v4(1), 2, Ip::v4(3), 4, b"data");
    bytes[26..28].fill(0);
    let facts = express(&bytes, &RAW, &VERIFY);
    assert!(facts.is_some());
    assert_eq!(parse(&bytes, &RAW, &VERIFY).ok(), facts);
    bytes[27] = 1;
    assert_eq!(express(&bytes, &RAW, &VERIFY), None);
    // Only IPv4 knows datagrams without a checksum (RFC 8200, section 8.1).
    let mut bytes = udp(Ip::v6(1), 2, Ip::v6(3), 4, b"data");
    bytes[46..48].fill(0);
    assert_eq!(express(&bytes, &RAW, &VERIFY), None);
}

#[test]
fn as_netfilter_judges_port_zero_is_a_port_and_a_code_does_not_matter() {
    let netfilter = Options {
        netfilter: true,
        ..VERIFY
    };
    let (a, b) = (Ip::v4(1), Ip::v4(2));
    let (c, d) = (Ip::v6(1), Ip::v6(2));
    for (bytes, ours, theirs) in [
        (udp(a, 0, b, 53, b"?"), Some(Reason::PortZero), None),
        (
            icmp(a, b, 8, 8, [0; 4], b"ping"),
            Some(Reason::IcmpCode),
            None,
        ),
        (ip(c, d, 59, b""), None, Some(Reason::Ipv6Extension)),
    ] {
        let reason = |options| parse(&bytes, &RAW, options).err().map(|bad| bad.reason);
        assert_eq!((reason(&VERIFY), reason(&netfilter)), (ours, theirs));
    }
}

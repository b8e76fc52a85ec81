//! Rewriting against building: a packet that was given new addresses and ports is, byte for byte, the
//! packet that would have been built with them. The builder computes every checksum from scratch.

use super::*;
use crate::packet::rewrite::{Change, headers, numbers, plain_v4, plain_v6, quoted, resized};
use crate::packet::tcp::kind;
use crate::tests::packets::{checksum_at, partial, without_checksum};

/// What is built and rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Sctp,
    Query,
    Other,
}

const KINDS: [Kind; 6] = [
    Kind::Tcp,
    Kind::Udp,
    Kind::UdpWithoutChecksum,
    Kind::Sctp,
    Kind::Query,
    Kind::Other,
];

const STATUSES: [Checksum; 4] = [
    Checksum::Unknown,
    Checksum::Good,
    Checksum::Bad,
    Checksum::Partial,
];

/// Both ends of a packet.
#[derive(Clone, Copy, Debug)]
struct Ends {
    src: Ip,
    dst: Ip,
    sport: u16,
    dport: u16,
}

impl Ends {
    /// The ends after a change, which `kind` may have no use for.
    fn changed(self, change: &Change, kind: Kind) -> Ends {
        let address = |old: Ip, new: Option<u128>| match (old, new) {
            (old, None) => old,
            (Ip::V4(_), Some(new)) => Ip::V4((new as u32).to_be_bytes()),
            (Ip::V6(_), Some(new)) => Ip::V6(new.to_be_bytes()),
        };
        let named = kind != Kind::Other;
        Ends {
            src: address(self.src, change.src),
            dst: address(self.dst, change.dst),
            sport: change.sport.filter(|_| named).unwrap_or(self.sport),
            dport: change.dport.filter(|_| named).unwrap_or(self.dport),
        }
    }

    /// Gives them to a plain packet.
    fn put(self, bytes: &mut [u8], segment: &PlainSegment, hints: &Hints) -> Result<(), Reason> {
        let ports = u32::from(self.sport) << 16 | u32::from(self.dport);
        let (src, dst) = (self.src.number(), self.dst.number());
        if let Ip::V4(_) = self.src {
            let addresses = (src << 32 | dst) as u64;
            return plain_v4(
                bytes,
                segment,
                hints,
                &crate::packet::Ends { addresses, ports },
            );
        }
        let addresses = [src, dst];
        plain_v6(
            bytes,
            segment,
            hints,
            &crate::packet::Ends { addresses, ports },
        )
    }

    /// The change that makes `self` of anything.
    fn restoring(self, change: &Change) -> Change {
        Change {
            src: change.src.map(|_| self.src.number()),
            dst: change.dst.map(|_| self.dst.number()),
            sport: change.sport.map(|_| self.sport),
            dport: change.dport.map(|_| self.dport),
        }
    }
}

fn build(kind: Kind, ends: Ends, payload: &[u8]) -> Vec<u8> {
    let Ends {
        src,
        dst,
        sport,
        dport,
    } = ends;
    match kind {
        Kind::Tcp => Segment {
            src,
            dst,
            sport,
            dport,
            payload: payload.to_vec(),
            ..Segment::v4(1, 1, 2, 2, tcp_flags::ACK)
        }
        .bytes(),
        Kind::Udp => udp(src, sport, dst, dport, payload),
        Kind::UdpWithoutChecksum => without_checksum(udp(src, sport, dst, dport, payload)),
        Kind::Sctp => {
            let mut chunk = vec![0, 3];
            chunk.extend((4 + payload.len() as u16).to_be_bytes());
            chunk.extend(payload);
            chunk.resize(chunk.len().next_multiple_of(4), 0);
            sctp(src, sport, dst, dport, 7, &chunk)
        }
        Kind::Query => {
            let [high, low] = sport.to_be_bytes();
            let question = if matches!(src, Ip::V4(_)) { 8 } else { 128 };
            icmp(src, dst, question, 0, [high, low, 0, 1], payload)
        }
        Kind::Other => ip(src, dst, proto::GRE, payload),
    }
}

fn addresses() -> impl Strategy<Value = [Ip; 4]> {
    prop_oneof![
        any::<[[u8; 4]; 4]>().prop_map(|four| four.map(Ip::V4)),
        any::<[[u8; 16]; 4]>().prop_map(|four| four.map(Ip::V6)),
    ]
}

/// The ends of a packet, and a change of any of them.
fn ends_and_change() -> impl Strategy<Value = (Ends, Change)> {
    let ports = [1..=u16::MAX, 1..=u16::MAX, 1..=u16::MAX, 1..=u16::MAX];
    (addresses(), ports, any::<[bool; 4]>()).prop_map(|(ip, port, wanted)| {
        let ends = Ends {
            src: ip[0],
            dst: ip[1],
            sport: port[0],
            dport: port[1],
        };
        let change = Change {
            src: wanted[0].then(|| ip[2].number()),
            dst: wanted[1].then(|| ip[3].number()),
            sport: wanted[2].then_some(port[2]),
            dport: wanted[3].then_some(port[3]),
        };
        (ends, change)
    })
}

fn with_status(status: Checksum) -> Hints {
    Hints {
        ip_checksum: status,
        l4_checksum: status,
        ..RAW
    }
}

/// The facts of a packet of which nothing is checked.
fn facts_of(bytes: &[u8]) -> Facts {
    parse(bytes, &BELIEVED, &Options::default()).expect("a right packet")
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..70)
}

proptest! {
    #![proptest_config(seeded(3000))]

    #[test]
    fn a_translated_packet_is_the_packet_built_so(
        (ends, change) in ends_and_change(), payload in payload(), which in 0..KINDS.len(),
    ) {
        let kind = KINDS[which];
        let old = build(kind, ends, &payload);
        let new = build(kind, ends.changed(&change, kind), &payload);
        for status in STATUSES {
            // A datagram without a checksum has nothing for the device to complete.
            let skipped = kind == Kind::UdpWithoutChecksum && status == Checksum::Partial;
            let shape = |bytes: &Vec<u8>| match status {
                Checksum::Partial => partial(bytes.clone()),
                _ => bytes.clone(),
            };
            if skipped {
                continue;
            }
            let mut bytes = shape(&old);
            let facts = facts_of(&bytes);
            let hints = with_status(status);
            prop_assert_eq!(headers(&mut bytes, &facts, &hints, &change), Ok(()));
            prop_assert_eq!(&bytes, &shape(&new), "{:?} {:?}", kind, status);
            let back = ends.restoring(&change);
            prop_assert_eq!(headers(&mut bytes, &facts, &hints, &back), Ok(()));
            prop_assert_eq!(&bytes, &shape(&old), "{:?} {:?}", kind, status);
        }
    }

    #[test]
    fn a_plain_packet_is_translated_as_any_packet(
        (kind, status) in (0usize..3, 0usize..4),
        (ends, change) in ends_and_change(),
        payload in payload(),
    ) {
        let mut bytes = build(KINDS[kind], ends, &payload);
        let hints = with_status(STATUSES[status]);
        let believing = Options { verify_checksums: false, ..VERIFY };
        if let Some((_, _, segment)) = plain_key(&bytes, &hints, &believing) {
            let facts = express(&bytes, &hints, &believing).expect("it is plain");
            let mut other = bytes.clone();
            prop_assert_eq!(headers(&mut other, &facts, &hints, &change), Ok(()));
            let ends = ends.changed(&change, KINDS[kind]);
            prop_assert_eq!(ends.put(&mut bytes, &segment, &hints), Ok(()));
            prop_assert_eq!(bytes, other);
        } else {
            prop_assert_eq!(STATUSES[status], Checksum::Bad);
        }
    }

    #[test]
    fn a_translated_error_is_the_error_built_about_the_translated_packet(
        (ends, change) in ends_and_change(), payload in payload(), which in 0..KINDS.len(), cut in 0_usize..60,
    ) {
        let kind = KINDS[which];
        let header = if matches!(ends.src, Ip::V4(_)) { 20 } else { 40 };
        // As much of the quoted packet as the router put into its error: at least eight bytes.
        let quote = |ends: Ends| {
            let mut packet = build(kind, ends, &payload);
            packet.resize(packet.len().max(header + 8), 0);
            let mut len = packet.len().min(header + 8 + cut);
            // A checksum of which only a part is quoted can be held against nothing.
            let field = checksum_at(&packet);
            let width = if kind == Kind::Sctp { 4 } else { 2 };
            if (field + 1..field + width).contains(&len) {
                len = field;
            }
            packet.truncate(len);
            packet
        };
        let router = ends.dst;
        let error = |ends: Ends| unreachable(router, ends.src, &quote(ends));
        let new = ends.changed(&change, kind);
        let mut bytes = error(ends);
        let facts = facts_of(&bytes);
        let around = Change { dst: change.src, ..Change::default() };
        prop_assert_eq!(headers(&mut bytes, &facts, &RAW, &around), Ok(()));
        prop_assert_eq!(quoted(&mut bytes, &facts, &RAW, &change), Ok(()));
        prop_assert_eq!(&bytes, &error(new), "{:?}", kind);
        prop_assert!(read(&bytes).is_ok());
        let back = ends.restoring(&change);
        prop_assert_eq!(quoted(&mut bytes, &facts, &RAW, &back), Ok(()));
        let around = Change { dst: back.src, ..Change::default() };
        prop_assert_eq!(headers(&mut bytes, &facts, &RAW, &around), Ok(()));
        prop_assert_eq!(&bytes, &error(ends), "{:?}", kind);
    }

    #[test]
    fn renumbered_segments_are_the_segments_built_so(
        (ends, _) in ends_and_change(), seq: u32, ack: u32, by: u32,
        edges in prop::collection::vec(any::<u32>(), 0..4), padding in 0_usize..3,
    ) {
        let sack = |by: u32| {
            let mut options = vec![kind::NO_OPERATION; padding];
            let edges: Vec<u32> = edges.iter().flat_map(|edge| [*edge, !*edge]).collect();
            options.extend([kind::SACK, 2 + 4 * edges.len() as u8]);
            options.extend(edges.iter().flat_map(|edge| edge.wrapping_add(by).to_be_bytes()));
            options
        };
        let segment = |seq: u32, ack: u32, by: u32| {
            Segment { src: ends.src, dst: ends.dst, seq, ack, options: sack(by), ..Segment::v4(1, 1, 2, 2, tcp_flags::ACK) }.bytes()
        };
        let old = segment(1, 2, 0);
        for status in STATUSES {
            let shape = |bytes: Vec<u8>| if status == Checksum::Partial { partial(bytes) } else { bytes };
            let mut bytes = shape(old.clone());
            let facts = facts_of(&bytes);
            let result = numbers(&mut bytes, &facts, &with_status(status), seq, ack, |edge| edge.wrapping_add(by));
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(bytes, shape(segment(seq, ack, by)));
        }
    }

    #[test]
    fn packets_of_another_length_are_the_packets_built_so(
        (ends, _) in ends_and_change(), old in payload(), new in payload(), which in 0_usize..3,
    ) {
        let kind = KINDS[which];
        for status in STATUSES {
            if kind == Kind::UdpWithoutChecksum && status == Checksum::Partial {
                continue;
            }
            let shape = |bytes: Vec<u8>| if status == Checksum::Partial { partial(bytes) } else { bytes };
            let mut bytes = shape(build(kind, ends, &old));
            let facts = facts_of(&bytes);
            bytes.truncate(bytes.len() - old.len());
            bytes.extend(&new);
            let l4_len = bytes.len() as u32 - u32::from(facts.l4);
            prop_assert_eq!(resized(&mut bytes, &facts, &with_status(status), l4_len), Ok(()));
            prop_assert_eq!(bytes, shape(build(kind, ends, &new)));
        }
    }

    #[test]
    fn no_facts_make_a_rewrite_panic_or_write_half(
        bytes in prop::collection::vec(any::<u8>(), 0..120), which in 0_usize..14, l3 in 0_u16..130, l4 in 0_u16..130, l4_len: u32,
    ) {
        let facts = Facts { l3, l4, l4_len, ..facts_of(&every_kind()[which]) };
        let change = Change { src: Some(1), dst: Some(2), sport: Some(3), dport: Some(4) };
        for rewrite in [headers, quoted] {
            let mut copy = bytes.clone();
            if rewrite(&mut copy, &facts, &RAW, &change).is_err() {
                prop_assert_eq!(&copy, &bytes);
            }
        }
        let mut copy = bytes.clone();
        if resized(&mut copy, &facts, &RAW, l4_len % 200).is_err() {
            prop_assert_eq!(&copy, &bytes);
        }
        let mut copy = bytes.clone();
        if numbers(&mut copy, &facts, &RAW, 1, 2, |edge| !edge).is_err() {
            prop_assert_eq!(&copy, &bytes);
        }
    }
}

const ENDS: Ends = Ends {
    src: Ip::v4(1),
    dst: Ip::v4(2),
    sport: 1000,
    dport: 80,
};
const ELSEWHERE: Change = Change {
    src: Some(0xc633_6401),
    dst: None,
    sport: Some(4242),
    dport: None,
};

#[test]
fn a_udp_checksum_that_becomes_zero_is_sent_as_all_ones() {
    let mut bytes = build(Kind::Udp, ENDS, b"x");
    let facts = facts_of(&bytes);
    // The checksum is that of port 1000; a port higher by its value makes it zero.
    let at = checksum_at(&bytes);
    let sum = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (port, carry) = ENDS.sport.overflowing_add(sum);
    let port = port + u16::from(carry);
    let change = Change {
        sport: Some(port),
        ..Change::default()
    };
    assert_eq!(headers(&mut bytes, &facts, &RAW, &change), Ok(()));
    assert_eq!(bytes[at..at + 2], [0xff, 0xff]);
    assert_eq!(
        bytes,
        build(
            Kind::Udp,
            Ends {
                sport: port,
                ..ENDS
            },
            b"x"
        )
    );
    let back = Change {
        sport: Some(ENDS.sport),
        ..Change::default()
    };
    assert_eq!(headers(&mut bytes, &facts, &RAW, &back), Ok(()));
    assert_eq!(bytes, build(Kind::Udp, ENDS, b"x"));
}

#[test]
fn the_checksum_of_a_message_of_zeros_is_all_ones() {
    // Found by the fuzzer: RFC 1624 gives zero.
    for id in [0x1234, 0xffff] {
        let mut bytes = echo_of_zeros(id);
        let facts = facts_of(&bytes);
        for (new, right) in [(0, echo_of_zeros(0)), (id, echo_of_zeros(id))] {
            let change = Change {
                sport: Some(new),
                ..Change::default()
            };
            assert_eq!(headers(&mut bytes, &facts, &RAW, &change), Ok(()));
            assert_eq!(bytes, right);
            assert!(read(&bytes).is_ok());
        }
    }
}

fn echo_of_zeros(id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    icmp(ENDS.src, ENDS.dst, 0, 0, [high, low, 0, 0], &[0; 8])
}

#[test]
fn a_damaged_packet_stays_damaged() {
    for kind in [Kind::Tcp, Kind::Udp, Kind::Sctp, Kind::Query] {
        let mut bytes = build(kind, ENDS, b"payload!");
        *bytes.last_mut().expect("a packet") ^= 1;
        let facts = facts_of_unchecked(&bytes);
        assert_eq!(headers(&mut bytes, &facts, &RAW, &ELSEWHERE), Ok(()));
        assert_eq!(read(&bytes), Err(Reason::L4Checksum), "{kind:?}");
    }
}

fn facts_of_unchecked(bytes: &[u8]) -> Facts {
    let unchecked = Options {
        verify_checksums: false,
        sack: false,
        netfilter: false,
    };
    parse(bytes, &RAW, &unchecked).expect("damaged in its payload only")
}

#[test]
fn a_packet_needs_only_its_headers_to_be_translated() {
    for kind in KINDS {
        let whole = build(kind, ENDS, &[7; 1000]);
        let facts = facts_of(&whole);
        let mut bytes = whole.clone();
        assert_eq!(headers(&mut bytes, &facts, &RAW, &ELSEWHERE), Ok(()));
        let mut front = whole[..60].to_vec();
        assert_eq!(headers(&mut front, &facts, &RAW, &ELSEWHERE), Ok(()));
        assert_eq!(front, bytes[..60], "{kind:?}");
    }
}

#[test]
fn read_only_packets_are_left_alone() {
    let whole = unreachable(Ip::v4(9), ENDS.src, &build(Kind::Tcp, ENDS, b""));
    let facts = facts_of(&whole);
    let mut bytes = whole.clone();
    let hints = Hints {
        read_only: true,
        ..RAW
    };
    let refused = Err(Reason::ReadOnly);
    assert_eq!(headers(&mut bytes, &facts, &hints, &ELSEWHERE), refused);
    assert_eq!(quoted(&mut bytes, &facts, &hints, &ELSEWHERE), refused);
    assert_eq!(
        numbers(&mut bytes, &facts, &hints, 1, 2, |edge| edge),
        refused
    );
    assert_eq!(resized(&mut bytes, &facts, &hints, 20), refused);
    assert_eq!(bytes, whole);
}

#[test]
fn only_an_error_quotes_and_only_tcp_and_udp_are_resized() {
    let mut bytes = build(Kind::Query, ENDS, b"");
    let facts = facts_of(&bytes);
    assert_eq!(
        quoted(&mut bytes, &facts, &RAW, &ELSEWHERE),
        Err(Reason::IcmpInner)
    );
    assert_eq!(
        numbers(&mut bytes, &facts, &RAW, 1, 2, |edge| edge),
        Err(Reason::L4Header)
    );
    assert_eq!(resized(&mut bytes, &facts, &RAW, 8), Err(Reason::L4Header));
    let mut bytes = build(Kind::Udp, ENDS, b"");
    let facts = facts_of(&bytes);
    assert_eq!(resized(&mut bytes, &facts, &RAW, 7), Err(Reason::L4Header));
    assert_eq!(resized(&mut bytes, &facts, &RAW, 9), Err(Reason::NotLinear));
    assert_eq!(
        resized(&mut bytes, &facts, &RAW, 65516),
        Err(Reason::NoRoom)
    );
}

#[test]
fn padding_behind_an_error_is_not_taken_for_a_quoted_checksum() {
    // Found by the fuzzer: the quote ends where the TCP checksum would begin.
    let quote = |ends: Ends| build(Kind::Tcp, ends, b"")[..36].to_vec();
    let mut bytes = unreachable(Ip::v4(9), ENDS.src, &quote(ENDS));
    let len = bytes.len();
    bytes.extend([0xee; 8]);
    let facts = facts_of(&bytes);
    let change = Change {
        dport: Some(8080),
        ..Change::default()
    };
    assert_eq!(quoted(&mut bytes, &facts, &RAW, &change), Ok(()));
    let right = unreachable(
        Ip::v4(9),
        ENDS.src,
        &quote(ENDS.changed(&change, Kind::Tcp)),
    );
    assert_eq!(bytes[..len], right);
    assert_eq!(bytes[len..], [0xee; 8]);
}

#[test]
fn the_crc_of_a_quoted_first_fragment_is_left_alone() {
    let packet = build(Kind::Sctp, ENDS, &[7; 100]);
    let fragment = packets::fragments(&packet, 5, 64).swap_remove(0);
    let mut bytes = unreachable(Ip::v4(9), ENDS.src, &fragment);
    let facts = facts_of(&bytes);
    let crc = 28 + 20 + 8;
    let before = bytes[crc..crc + 4].to_vec();
    let around = Change {
        dst: ELSEWHERE.src,
        ..Change::default()
    };
    assert_eq!(headers(&mut bytes, &facts, &RAW, &around), Ok(()));
    assert_eq!(quoted(&mut bytes, &facts, &RAW, &ELSEWHERE), Ok(()));
    assert_eq!(bytes[crc..crc + 4], before);
    assert!(read(&bytes).is_ok());
}

//! Protocols but TCP, and which packets have a key at all (`conn_key_extract`).

use super::*;
use crate::packet::{Checksum, Hints};
use crate::tests::packets::{fragments, icmp, sctp, with_extensions, with_options};

const DATA: [u8; 8] = [3, 0, 0, 8, 0, 0, 0, 0];

fn both_families() -> [(Ip, Ip); 2] {
    [(Ip::v4(1), Ip::v4(2)), (Ip::v6(1), Ip::v6(2))]
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

/// The rule that refuses a packet, or none.
fn refused(bytes: Vec<u8>) -> Reason {
    refused_with(bytes, Hints::default())
}

fn refused_with(bytes: Vec<u8>, hints: Hints) -> Reason {
    let engine = engine();
    let mut frame = Frame::ip(bytes);
    frame.hints = Hints {
        l3: Some(0),
        ..hints
    };
    let frame = again(&engine, frame, &COMMIT, 0);
    assert_eq!(bits(&frame) == INV, engine.connections() == 0);
    frame.metadata.reason
}

#[test]
fn whatever_is_neither_tcp_nor_icmp_waits_60_60_and_30_seconds() {
    for (there, back) in [
        (question(), answer()),
        (
            sctp(Ip::v4(1), 5, Ip::v4(2), 6, 7, &DATA),
            sctp(Ip::v4(2), 6, Ip::v4(1), 5, 7, &DATA),
        ),
        (
            ip(Ip::v4(1), Ip::v4(2), 47, b"data"),
            ip(Ip::v4(2), Ip::v4(1), 47, b"data"),
        ),
        (
            ip(Ip::v6(1), Ip::v6(2), 89, b"data"),
            ip(Ip::v6(2), Ip::v6(1), 89, b"data"),
        ),
    ] {
        let engine = engine();
        let mut millis = 0;
        let mut step = |bytes: &Vec<u8>, expected, remaining| {
            millis += 1_000;
            assert_eq!(
                bits(&pass(&engine, bytes.clone(), &COMMIT, millis)),
                expected
            );
            assert_eq!(listed(&engine, millis).remaining, remaining);
        };
        step(&there, NEW, 60_000);
        step(&there, NEW, 60_000);
        step(&there, NEW, 60_000);
        step(&back, EST | RPL, 30_000);
        step(&there, EST, 30_000);
        step(&back, EST | RPL, 30_000);
    }
}

#[test]
fn a_query_waits_60_seconds_until_it_is_answered_and_30_after_that() {
    for (a, b) in both_families() {
        let engine = engine();
        for (bytes, at, expected, remaining) in [
            (echo(a, b, 9, false), 1_000, NEW, 60_000),
            (echo(a, b, 9, false), 2_000, NEW, 60_000),
            (echo(b, a, 9, true), 3_000, EST | RPL, 30_000),
            (echo(a, b, 9, false), 4_000, EST, 30_000),
        ] {
            assert_eq!(bits(&pass(&engine, bytes, &COMMIT, at)), expected);
            assert_eq!(listed(&engine, at).remaining, remaining);
        }
    }
}

#[test]
fn a_query_is_answered_only_by_its_own_kind_and_identifier() {
    let engine = engine();
    let of = |from, to, kind, id: u8| icmp(Ip::v4(from), Ip::v4(to), kind, 0, [0, id, 0, 1], b"");
    for kind in [8, 13, 15] {
        assert_eq!(verdict(&engine, of(1, 2, kind, 9), &COMMIT), NEW);
    }
    assert_eq!(engine.connections(), 3);
    for (kind, id, expected) in [
        (0, 9, EST | RPL),
        (14, 9, EST | RPL),
        (16, 9, EST | RPL),
        (0, 8, INV),
        (18, 9, INV),
    ] {
        assert_eq!(
            verdict(&engine, of(2, 1, kind, id), &COMMIT),
            expected,
            "{kind}"
        );
    }
    // The other host's question is another connection.
    assert_eq!(verdict(&engine, of(2, 1, 8, 9), &COMMIT), NEW);
}

#[test]
fn a_query_must_have_code_zero() {
    for code in 0..=2 {
        let message = icmp(Ip::v4(1), Ip::v4(2), 8, code, [0, 9, 0, 1], b"");
        let expected = if code == 0 {
            Reason::None
        } else {
            Reason::IcmpCode
        };
        assert_eq!(refused(message), expected);
    }
}

#[test]
fn neighbour_discovery_and_other_messages_have_no_key() {
    for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
        let message = icmp(Ip::v6(1), Ip::v6(2), kind, 0, [0; 4], &[0; 16]);
        assert_eq!(refused(message), Reason::IcmpType, "{kind}");
    }
    for kind in [9, 10, 17, 18, 30, 42] {
        let message = icmp(Ip::v4(1), Ip::v4(2), kind, 0, [0; 4], &[0; 16]);
        assert_eq!(refused(message), Reason::IcmpType, "{kind}");
    }
}

#[test]
fn an_ipv4_header_must_be_whole_and_right() {
    assert_eq!(refused(with_options(&question(), &[1; 8])), Reason::None);
    assert_eq!(refused(flipped(question(), 8)), Reason::IpChecksum);
    let vouched = Hints {
        ip_checksum: Checksum::Good,
        ..Hints::default()
    };
    assert_eq!(refused_with(flipped(question(), 8), vouched), Reason::None);
    let mut short = question();
    short[0] = 0x44;
    assert_eq!(refused(short), Reason::IpHeader);
    assert_eq!(refused(question()[..24].to_vec()), Reason::Truncated);
}

#[test]
fn a_fragment_that_nobody_reassembled_has_no_key() {
    for (a, b) in both_families() {
        let whole = udp(a, 5, b, 53, &[0; 64]);
        for piece in fragments(&whole, 7, 32) {
            assert_eq!(refused(piece), Reason::Fragment);
        }
    }
}

#[test]
fn ipv6_extension_headers_lead_to_the_transport_header() {
    let plain = udp(Ip::v6(1), 5, Ip::v6(2), 53, b"?");
    let chained = with_extensions(&plain, &[(0, 8), (60, 16), (43, 8)]);
    let engine = engine();
    assert_eq!(verdict(&engine, chained, &COMMIT), NEW);
    let back = udp(Ip::v6(2), 53, Ip::v6(1), 5, b"!");
    assert_eq!(verdict(&engine, back, &LOOK), EST | RPL);
}

#[test]
fn a_tcp_header_must_be_as_long_as_it_says() {
    let bytes = segment(1, SYN, 1, 0).bytes();
    let believed = Hints {
        l4_checksum: Checksum::Good,
        ..Hints::default()
    };
    for (words, expected) in [
        (4, Reason::L4Header),
        (5, Reason::None),
        (6, Reason::L4Header),
        (15, Reason::L4Header),
    ] {
        let mut bytes = bytes.clone();
        bytes[32] = words << 4;
        assert_eq!(refused_with(bytes, believed), expected, "{words} words");
    }
}

#[test]
fn a_transport_checksum_must_be_right_unless_the_device_vouches_for_it() {
    let vouched = Hints {
        l4_checksum: Checksum::Good,
        ..Hints::default()
    };
    for (a, b) in both_families() {
        let from_a = Segment {
            src: a,
            dst: b,
            ..segment(1, SYN, 1, 0)
        };
        for right in [
            from_a.payload(3).bytes(),
            udp(a, 5, b, 53, b"?"),
            sctp(a, 5, b, 6, 7, &DATA),
        ] {
            let last = right.len() - 1;
            let wrong = flipped(right, last);
            assert_eq!(refused(wrong.clone()), Reason::L4Checksum);
            assert_eq!(refused_with(wrong, vouched), Reason::None);
        }
        // ICMP is computed in any case.
        let wrong = flipped(echo(a, b, 9, false), if a == Ip::v4(1) { 30 } else { 50 });
        assert_eq!(refused_with(wrong, vouched), Reason::L4Checksum);
    }
}

#[test]
fn a_udp_length_must_fit() {
    let believed = Hints {
        l4_checksum: Checksum::Good,
        ..Hints::default()
    };
    for (length, expected) in [
        (7, Reason::L4Header),
        (8, Reason::None),
        (9, Reason::None),
        (10, Reason::L4Header),
    ] {
        let mut bytes = question();
        bytes[25] = length;
        assert_eq!(refused_with(bytes, believed), expected, "{length}");
    }
}

#[test]
fn the_chunks_of_sctp_must_fill_the_packet_exactly() {
    let of = |chunks: &[u8]| refused(sctp(Ip::v4(1), 5, Ip::v4(2), 6, 7, chunks));
    assert_eq!(of(&DATA), Reason::None);
    assert_eq!(of(&[DATA, DATA].concat()), Reason::None);
    assert_eq!(of(&[]), Reason::SctpChunk);
    assert_eq!(of(&DATA[..6]), Reason::SctpChunk);
    assert_eq!(of(&[3, 0, 0, 12, 0, 0, 0, 0]), Reason::SctpChunk);
    assert_eq!(of(&[&DATA[..], &[0]].concat()), Reason::SctpChunk);
}

#[test]
fn port_zero_names_nobody() {
    let (a, b) = (Ip::v4(1), Ip::v4(2));
    for bytes in [
        udp(a, 0, b, 53, b"?"),
        udp(a, 5, b, 0, b"?"),
        sctp(a, 0, b, 6, 7, &DATA),
        sctp(a, 5, b, 0, 7, &DATA),
        Segment::v4(1, 0, 2, 80, SYN).bytes(),
        Segment::v4(1, 7, 2, 0, SYN).bytes(),
    ] {
        assert_eq!(refused(bytes), Reason::PortZero);
    }
}

#[test]
fn a_protocol_without_ports_is_one_connection_between_two_hosts() {
    let engine = engine();
    let tunnel = |from, to, data: &[u8]| ip(Ip::v4(from), Ip::v4(to), 47, data);
    assert_eq!(verdict(&engine, tunnel(1, 2, b"one"), &COMMIT), NEW);
    assert_eq!(verdict(&engine, tunnel(1, 2, b"other"), &COMMIT), NEW);
    let original = listed(&engine, 1).original;
    assert_eq!((original.sport, original.dport), (0, 0));
    assert_eq!(verdict(&engine, tunnel(2, 1, b"back"), &COMMIT), EST | RPL);
    assert_eq!(
        verdict(&engine, ip(Ip::v4(1), Ip::v4(2), 50, b"esp"), &COMMIT),
        NEW
    );
    assert_eq!(engine.connections(), 2);
}

#[test]
fn every_kind_of_error_belongs_to_the_connection_that_it_quotes() {
    for (family, (a, b)) in both_families().into_iter().enumerate() {
        let question = udp(a, 5, b, 53, b"?");
        let engine = engine();
        pass(&engine, question.clone(), &COMMIT, 0);
        let kinds: [&[u8]; 2] = [&[3, 4, 5, 11, 12], &[1, 2, 3, 4]];
        for &kind in kinds[family] {
            let error = icmp(b, a, kind, 0, [0; 4], &question);
            assert_eq!(verdict(&engine, error, &LOOK), REL | RPL, "{kind}");
        }
        // A router on the way may say so as well.
        let router = if family == 0 { Ip::v4(99) } else { Ip::v6(99) };
        let error = unreachable(router, a, &question);
        assert_eq!(verdict(&engine, error, &LOOK), REL | RPL);
    }
}

#[test]
fn what_an_error_quotes_is_checked_as_far_as_it_is_there() {
    let engine = engine();
    let (a, b) = (Ip::v4(1), Ip::v4(2));
    let question = udp(a, 5, b, 53, b"question");
    pass(&engine, question.clone(), &COMMIT, 0);
    let reason_of = |error: Vec<u8>| pass(&engine, error, &LOOK, 0).metadata.reason;
    // Eight bytes behind the quoted IP header are enough, and its checksums are not looked at.
    let start = question[..28].to_vec();
    assert_eq!(reason_of(unreachable(b, a, &start)), Reason::None);
    assert_eq!(
        reason_of(unreachable(b, a, &flipped(start.clone(), 10))),
        Reason::None
    );
    assert_eq!(
        reason_of(unreachable(b, a, &start[..27])),
        Reason::IcmpInner
    );
    let elsewhere = unreachable(b, Ip::v4(3), &start);
    assert_eq!(reason_of(elsewhere), Reason::IcmpInnerAddress);
    let nested = unreachable(b, a, &unreachable(a, b, &question));
    assert_eq!(reason_of(nested), Reason::IcmpInner);
    // The error's own checksum is.
    let wrong = flipped(unreachable(b, a, &start), 26);
    assert_eq!(reason_of(wrong), Reason::L4Checksum);
}

#[test]
fn an_error_about_a_query_belongs_to_the_query() {
    for (a, b) in both_families() {
        let engine = engine();
        pass(&engine, echo(a, b, 9, false), &COMMIT, 0);
        let asked = unreachable(b, a, &echo(a, b, 9, false));
        assert_eq!(verdict(&engine, asked, &LOOK), REL | RPL);
        let other = unreachable(b, a, &echo(a, b, 8, false));
        assert_eq!(verdict(&engine, other, &LOOK), INV);
        pass(&engine, echo(b, a, 9, true), &LOOK, 0);
        let answered = unreachable(a, b, &echo(b, a, 9, true));
        assert_eq!(verdict(&engine, answered, &LOOK), REL);
    }
}

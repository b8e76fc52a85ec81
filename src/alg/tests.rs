//! The rules of the helpers, one test each.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::edit::{SpliceError, growth, splice};
use super::expect::{Added, Expectations, Limits, Parent};
use super::skew::Skew;
use super::*;
use crate::clock::Time;
use crate::tuple::{ConnectionId, QueryKind};

const CLIENT: u128 = 0x0a01_0101; // 10.1.1.1
const SERVER: u128 = 0x0a01_0102; // 10.1.1.2
const PUBLIC: u128 = 0xc633_64c8; // 198.51.100.200
const CLIENT6: u128 = 0xfc00_0000_0000_0000_0000_0000_0000_0001;
const SERVER6: u128 = 0xfc00_0000_0000_0000_0000_0000_0000_0002;
const PUBLIC6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0200;
const NOW: Time = Time::from_millis(1000);

fn tuple(proto: u8, sport: u16, dport: u16) -> Tuple {
    Tuple {
        src: CLIENT,
        dst: SERVER,
        sport,
        dport,
        zone: 3,
        proto,
        family: Family::V4,
        query: QueryKind::None,
        question: true,
    }
}

fn tuple6(proto: u8, sport: u16, dport: u16) -> Tuple {
    Tuple {
        src: CLIENT6,
        dst: SERVER6,
        family: Family::V6,
        ..tuple(proto, sport, dport)
    }
}

fn message<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    Message {
        payload,
        direction,
        original,
        reply: original.reversed(),
    }
}

/// The client's source is translated to the public address.
fn snat<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    let dst = if original.family == Family::V4 {
        PUBLIC
    } else {
        PUBLIC6
    };
    Message {
        reply: Tuple {
            dst,
            ..original.reversed()
        },
        ..message(payload, direction, original)
    }
}

/// The client asks the public address and reaches the server.
fn dnat<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    let public = if original.family == Family::V4 {
        PUBLIC
    } else {
        PUBLIC6
    };
    let reply = original.reversed();
    Message {
        original: Tuple {
            dst: public,
            ..original
        },
        reply,
        payload,
        direction,
    }
}

fn found(helper: Helper, message: &Message<'_>) -> Findings {
    match helper.parse(message) {
        Parsed::Found(findings) => findings,
        other => panic!("{other:?} of {}", String::from_utf8_lossy(message.payload)),
    }
}

fn edited(payload: &[u8], findings: &Findings) -> String {
    let mut buffer = payload.to_vec();
    buffer.resize(payload.len() + 256, 0);
    let len = splice(&mut buffer, payload.len(), &findings.edits).expect("there is room");
    String::from_utf8(buffer[..len].to_vec()).expect("text")
}

fn ftp(text: &str, direction: Direction) -> Parsed {
    Helper::Ftp.parse(&message(
        text.as_bytes(),
        direction,
        tuple(proto::TCP, 40_000, 21),
    ))
}

#[test]
fn ftp_port_expects_the_server_at_the_clients_port() {
    let text = b"PORT 10,1,1,1,195,80\r\n";
    let findings = found(
        Helper::Ftp,
        &message(text, Direction::Original, tuple(proto::TCP, 40_000, 21)),
    );
    let expected = findings.expected[0];
    assert_eq!((expected.tuple.src, expected.tuple.dst), (SERVER, CLIENT));
    assert_eq!(
        (expected.tuple.sport, expected.tuple.dport),
        (0, 195 * 256 + 80)
    );
    assert_eq!((expected.tuple.zone, expected.tuple.proto), (3, proto::TCP));
    assert_eq!(expected.nat, None);
    assert!(findings.edits.is_empty());
}

#[test]
fn ftp_port_under_snat_shows_the_translated_address_and_leads_back() {
    let text = b"PORT 10,1,1,1,195,80\r\n";
    let findings = found(
        Helper::Ftp,
        &snat(text, Direction::Original, tuple(proto::TCP, 40_000, 21)),
    );
    assert_eq!(edited(text, &findings), "PORT 198,51,100,200,195,80\r\n");
    let expected = findings.expected[0];
    assert_eq!((expected.tuple.src, expected.tuple.dst), (SERVER, PUBLIC));
    let destination = expected
        .nat
        .and_then(|nat| nat.destination)
        .expect("translated back");
    assert_eq!(
        (destination.min_address, destination.max_address),
        (CLIENT, CLIENT)
    );
    assert_eq!(destination.ports, Some((50_000, 50_000)));
}

#[test]
fn ftp_227_expects_the_client_at_the_servers_port() {
    let text = b"227 Entering Passive Mode (10,1,1,2,4,1).\r\n";
    let findings = found(
        Helper::Ftp,
        &snat(text, Direction::Reply, tuple(proto::TCP, 40_000, 21)),
    );
    let expected = findings.expected[0];
    assert_eq!((expected.tuple.src, expected.tuple.dst), (CLIENT, SERVER));
    assert_eq!(expected.tuple.dport, 1025);
    let nat = expected.nat.expect("the child is translated as its parent");
    assert_eq!(nat.source, Some(NatRange::address(PUBLIC)));
    assert_eq!(nat.destination, None);
    assert!(
        findings.edits.is_empty(),
        "the server's address is not translated"
    );
}

#[test]
fn ftp_227_under_dnat_shows_the_address_that_the_client_knows() {
    let text = b"227 Entering Passive Mode (10,1,1,2,4,1).\r\n";
    let findings = found(
        Helper::Ftp,
        &dnat(text, Direction::Reply, tuple(proto::TCP, 40_000, 21)),
    );
    assert_eq!(
        edited(text, &findings),
        "227 Entering Passive Mode (198,51,100,200,4,1).\r\n"
    );
    let expected = findings.expected[0];
    assert_eq!((expected.tuple.src, expected.tuple.dst), (CLIENT, PUBLIC));
    let destination = expected
        .nat
        .and_then(|nat| nat.destination)
        .expect("translated");
    assert_eq!(destination.min_address, SERVER);
}

#[test]
fn ftp_227_needs_no_parentheses() {
    let parsed = ftp("227 =10,1,1,2,4,1\r\n", Direction::Reply);
    assert!(matches!(parsed, Parsed::Found(_)));
}

#[test]
fn ftp_eprt_carries_the_address_of_its_family() {
    let v4 = b"EPRT |1|10.1.1.1|6275|\r\n";
    let findings = found(
        Helper::Ftp,
        &snat(v4, Direction::Original, tuple(proto::TCP, 4, 21)),
    );
    assert_eq!(edited(v4, &findings), "EPRT |1|198.51.100.200|6275|\r\n");
    let v6 = b"eprt !2!fc00::1!6275!\r\n";
    let findings = found(
        Helper::Ftp,
        &snat(v6, Direction::Original, tuple6(proto::TCP, 4, 21)),
    );
    assert_eq!(edited(v6, &findings), "eprt !2!2001:db8::200!6275!\r\n");
    assert_eq!(findings.expected[0].tuple.dst, PUBLIC6);
    assert_eq!(findings.expected[0].tuple.dport, 6275);
    for wrong in [
        "EPRT |2|10.1.1.1|6275|\r\n",
        "EPRT |1|fc00::1|6275|\r\n",
        "EPRT |3|x|1|\r\n",
    ] {
        assert_eq!(ftp(wrong, Direction::Original), Parsed::Refused, "{wrong}");
    }
}

#[test]
fn ftp_229_names_a_port_only() {
    let text = b"229 Entering Extended Passive Mode (|||6446|)\r\n";
    for (original, server) in [
        (tuple(proto::TCP, 4, 21), SERVER),
        (tuple6(proto::TCP, 4, 21), SERVER6),
    ] {
        let findings = found(Helper::Ftp, &message(text, Direction::Reply, original));
        assert_eq!(
            (
                findings.expected[0].tuple.dst,
                findings.expected[0].tuple.dport
            ),
            (server, 6446)
        );
        assert!(findings.edits.is_empty());
    }
}

#[test]
fn ftp_commands_count_in_any_case() {
    assert!(matches!(
        ftp("port 10,1,1,1,195,80\r\n", Direction::Original),
        Parsed::Found(_)
    ));
    assert!(matches!(
        ftp("PoRt 10,1,1,1,195,80\r\n", Direction::Original),
        Parsed::Found(_)
    ));
}

#[test]
fn ftp_reads_the_first_128_bytes_only() {
    let inside = format!("227 {}(10,1,1,2,4,1)\r\n", "x".repeat(110));
    assert!(matches!(ftp(&inside, Direction::Reply), Parsed::Found(_)));
    let outside = format!("227 {}(10,1,1,2,4,1)\r\n", "x".repeat(120));
    assert_eq!(ftp(&outside, Direction::Reply), Parsed::Refused);
}

#[test]
fn ftp_accepts_the_translated_address_too_and_leaves_it() {
    let text = b"PORT 198,51,100,200,195,80\r\n";
    let findings = found(
        Helper::Ftp,
        &snat(text, Direction::Original, tuple(proto::TCP, 40_000, 21)),
    );
    assert!(findings.edits.is_empty());
}

#[test]
fn ftp_refuses_a_foreign_address() {
    assert_eq!(
        ftp("PORT 10,9,9,9,195,80\r\n", Direction::Original),
        Parsed::Refused
    );
    assert_eq!(
        ftp("227 (10,9,9,9,195,80)\r\n", Direction::Reply),
        Parsed::Refused
    );
    assert_eq!(
        ftp("EPRT |1|10.9.9.9|80|\r\n", Direction::Original),
        Parsed::Refused
    );
}

#[test]
fn ftp_refuses_malformed_numbers() {
    for wrong in [
        "PORT 10,1,1,1,195\r\n",
        "PORT 10,1,1,1,256,1\r\n",
        "PORT 10,1,1,1,0,0\r\n",
        "PORT 10,1,1,1,4294967491,80\r\n",
        "PORT 10.1.1.1.195.80\r\n",
        "PORT \r\n",
        "PORT 10,1,1,1,195,8",
        "EPRT |1|10.1.1.1|65536|\r\n",
        "EPRT |1|10.1.1.1|62",
        "EPRT ",
    ] {
        assert_eq!(ftp(wrong, Direction::Original), Parsed::Refused, "{wrong}");
    }
}

/// NAT slipstreaming, FTP bounce: a message may not open what the host never meant to offer.
#[test]
fn ftp_refuses_a_clients_privileged_port() {
    for port in ["0,22", "3,255"] {
        let text = format!("PORT 10,1,1,1,{port}\r\n");
        assert_eq!(ftp(&text, Direction::Original), Parsed::Refused, "{port}");
    }
    assert_eq!(
        ftp("EPRT |1|10.1.1.1|1023|\r\n", Direction::Original),
        Parsed::Refused
    );
    assert!(matches!(
        ftp("PORT 10,1,1,1,4,0\r\n", Direction::Original),
        Parsed::Found(_)
    ));
}

#[test]
fn sip_opens_no_privileged_port() {
    let sdp = "c=IN IP4 10.1.1.1\r\nm=audio 445 RTP/AVP 0\r\na=rtcp:22\r\n";
    assert_eq!(sip(&invite(sdp)), Parsed::Nothing);
}

#[test]
fn ftp_leaves_other_text_alone() {
    for (text, direction) in [
        ("USER anonymous\r\n", Direction::Original),
        ("220 ready\r\n", Direction::Reply),
        ("PORT 10,1,1,1,195,80\r\n", Direction::Reply),
        ("227 (10,1,1,2,4,1)\r\n", Direction::Original),
        ("", Direction::Original),
    ] {
        assert_eq!(ftp(text, direction), Parsed::Nothing, "{text}");
    }
}

/// CVE-2026-34956: the difference of lengths was cut to eight bits and bytes were moved beyond the
/// buffer.
#[test]
fn a_long_payload_behind_an_edit_is_moved_whole() {
    for tail in [0, 1, 127, 255, 256, 257, 1400, 65_000] {
        let mut text = b"PORT 10,1,1,1,195,80\r\n".to_vec();
        text.extend((0..tail).map(|i| (i % 251) as u8));
        let findings = found(
            Helper::Ftp,
            &snat(&text, Direction::Original, tuple(proto::TCP, 4, 21)),
        );
        assert_eq!(growth(&findings.edits), 6);
        let mut buffer = text.clone();
        assert_eq!(
            splice(&mut buffer, text.len(), &findings.edits),
            Err(SpliceError::NoRoom)
        );
        assert_eq!(buffer, text, "nothing is changed without room");
        buffer.resize(text.len() + 6, 0xee);
        let len = splice(&mut buffer, text.len(), &findings.edits).expect("exactly enough");
        assert_eq!(len, text.len() + 6);
        assert!(buffer.starts_with(b"PORT 198,51,100,200,195,80\r\n"));
        assert_eq!(buffer[28..], text[22..]);
    }
}

#[test]
fn tftp_request_expects_the_server_at_the_clients_port() {
    for opcode in [1, 2] {
        let payload = [0, opcode, b'f', 0, b'o', 0];
        let findings = found(
            Helper::Tftp,
            &message(&payload, Direction::Original, tuple(proto::UDP, 50_001, 69)),
        );
        let expected = findings.expected[0];
        assert_eq!((expected.tuple.src, expected.tuple.sport), (SERVER, 0));
        assert_eq!((expected.tuple.dst, expected.tuple.dport), (CLIENT, 50_001));
    }
}

#[test]
fn tftp_answer_to_a_translated_port_leads_back_to_the_clients_own() {
    let original = tuple(proto::UDP, 50_001, 69);
    let reply = Tuple {
        dst: PUBLIC,
        dport: 61_000,
        ..original.reversed()
    };
    let request = Message {
        reply,
        ..message(&[0, 1, 0], Direction::Original, original)
    };
    let expected = found(Helper::Tftp, &request).expected[0];
    assert_eq!((expected.tuple.dst, expected.tuple.dport), (PUBLIC, 61_000));
    let destination = expected
        .nat
        .and_then(|nat| nat.destination)
        .expect("translated back");
    assert_eq!(
        (destination.min_address, destination.ports),
        (CLIENT, Some((50_001, 50_001)))
    );
    let port_only = Tuple {
        dport: 61_000,
        ..original.reversed()
    };
    let request = Message {
        reply: port_only,
        ..request
    };
    let expected = found(Helper::Tftp, &request).expected[0];
    let destination = expected
        .nat
        .and_then(|nat| nat.destination)
        .expect("translated back");
    assert_eq!(
        (destination.min_address, destination.ports),
        (CLIENT, Some((50_001, 50_001)))
    );
}

#[test]
fn tftp_data_announces_nothing() {
    let original = tuple(proto::UDP, 50_001, 69);
    for payload in [&[0, 3, 0, 1][..], &[0], &[], &[1, 0]] {
        let parsed = Helper::Tftp.parse(&message(payload, Direction::Original, original));
        assert_eq!(parsed, Parsed::Nothing);
    }
}

const INVITE_HEAD: &str = "INVITE sip:bob@10.1.1.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.1.1.1:5060;branch=z9hG4bK77\r\n\
    From: <sip:alice@10.1.1.1>;tag=1\r\n\
    To: <sip:bob@10.1.1.2>\r\n\
    Call-ID: 77@10.1.1.1\r\n\
    Contact: <sip:alice@10.1.1.1:5060>\r\n\
    Content-Type: application/sdp\r\n";

const SDP: &str = "v=0\r\no=alice 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 0\r\nm=video 51372 RTP/AVP 31\r\na=rtcp:53020\r\n";

fn invite(sdp: &str) -> String {
    format!("{INVITE_HEAD}Content-Length: {}\r\n\r\n{sdp}", sdp.len())
}

fn sip(text: &str) -> Parsed {
    Helper::Sip.parse(&message(
        text.as_bytes(),
        Direction::Original,
        tuple(proto::UDP, 5060, 5060),
    ))
}

#[test]
fn sip_media_ports_are_expected_with_their_rtcp() {
    let text = invite(SDP);
    let findings = found(
        Helper::Sip,
        &message(
            text.as_bytes(),
            Direction::Original,
            tuple(proto::UDP, 5060, 5060),
        ),
    );
    let ports: Vec<u16> = findings.expected.iter().map(|e| e.tuple.dport).collect();
    assert_eq!(ports, [49170, 49171, 51372, 53020]);
    assert!(
        findings
            .expected
            .iter()
            .all(|e| (e.tuple.src, e.tuple.dst) == (SERVER, CLIENT))
    );
    assert!(findings.edits.is_empty());
}

#[test]
fn sip_addresses_and_the_length_of_the_body_follow_the_translation() {
    let text = invite(SDP);
    let findings = found(
        Helper::Sip,
        &snat(
            text.as_bytes(),
            Direction::Original,
            tuple(proto::UDP, 5060, 5060),
        ),
    );
    let out = edited(text.as_bytes(), &findings);
    let body = SDP.replace("10.1.1.1", "198.51.100.200");
    let head = INVITE_HEAD
        .replace("10.1.1.1", "198.51.100.200")
        .replace("77@198.51.100.200", "77@10.1.1.1");
    assert_eq!(
        out,
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    );
    assert!(findings.expected.iter().all(|e| e.tuple.dst == PUBLIC));
}

#[test]
fn sip_names_a_translated_port() {
    let text = invite("");
    let original = tuple(proto::UDP, 5060, 5060);
    let reply = Tuple {
        dst: PUBLIC,
        dport: 6001,
        ..original.reversed()
    };
    let request = Message {
        reply,
        ..message(text.as_bytes(), Direction::Original, original)
    };
    let out = edited(text.as_bytes(), &found(Helper::Sip, &request));
    assert!(
        out.contains("Via: SIP/2.0/UDP 198.51.100.200:6001;"),
        "{out}"
    );
    assert!(
        out.contains("Contact: <sip:alice@198.51.100.200:6001>"),
        "{out}"
    );
    assert!(out.contains("From: <sip:alice@198.51.100.200>"), "{out}");
}

#[test]
fn sip_requests_from_outside_reach_the_client_by_its_own_address() {
    let text = "OPTIONS sip:alice@198.51.100.200 SIP/2.0\r\nTo: <sip:alice@198.51.100.200>\r\n\r\n";
    let request = snat(
        text.as_bytes(),
        Direction::Reply,
        tuple(proto::UDP, 5060, 5060),
    );
    let out = edited(text.as_bytes(), &found(Helper::Sip, &request));
    assert_eq!(out, text.replace("198.51.100.200", "10.1.1.1"));
}

#[test]
fn sip_works_over_ipv6() {
    let sdp = "v=0\r\nc=IN IP6 fc00::1\r\nm=audio 4000 RTP/AVP 0\r\n";
    let text = format!(
        "INVITE sip:bob@[fc00::2] SIP/2.0\r\nVia: SIP/2.0/UDP [fc00::1]:5060;x\r\n\
         c: application/sdp\r\nl: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let request = snat(
        text.as_bytes(),
        Direction::Original,
        tuple6(proto::UDP, 5060, 5060),
    );
    let findings = found(Helper::Sip, &request);
    assert_eq!(findings.expected[0].tuple.dst, PUBLIC6);
    let out = edited(text.as_bytes(), &findings);
    assert!(out.contains("UDP [2001:db8::200]:5060;x"), "{out}");
    assert!(out.contains("c=IN IP6 2001:db8::200\r\n"), "{out}");
    assert!(out.contains(&format!("l: {}\r\n", sdp.len() + 6)), "{out}");
}

#[test]
fn sip_media_of_a_third_party_announce_nothing() {
    let parsed = sip(&invite(
        &SDP.replace("c=IN IP4 10.1.1.1", "c=IN IP4 10.9.9.9"),
    ));
    assert_eq!(parsed, Parsed::Nothing);
}

#[test]
fn sip_a_media_line_has_its_own_address() {
    let sdp = "v=0\r\nc=IN IP4 10.9.9.9\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.1.1.1\r\n\
               m=video 5000 RTP/AVP 31\r\n";
    let Parsed::Found(findings) = sip(&invite(sdp)) else {
        panic!("announced")
    };
    let ports: Vec<u16> = findings.expected.iter().map(|e| e.tuple.dport).collect();
    assert_eq!(ports, [4000, 4001]);
}

#[test]
fn sip_a_declined_stream_announces_nothing() {
    let sdp = "c=IN IP4 10.1.1.1\r\nm=audio 0 RTP/AVP 0\r\n";
    assert_eq!(sip(&invite(sdp)), Parsed::Nothing);
}

/// CVE-2026-23457: a length beyond 32 bits was cut to a small one.
#[test]
fn sip_a_content_length_beyond_the_packet_is_refused() {
    for length in [
        "4294967396",
        "18446744073709551716",
        "65536",
        "9999",
        "-1",
        "1 2",
        "",
        "1x",
    ] {
        let text = format!("{INVITE_HEAD}Content-Length: {length}\r\n\r\n{SDP}");
        assert_eq!(sip(&text), Parsed::Refused, "{length}");
    }
}

#[test]
fn sip_what_follows_the_body_is_not_read() {
    let text = format!("{INVITE_HEAD}Content-Length: 5\r\n\r\nv=0\r\n{SDP}");
    assert_eq!(sip(&text), Parsed::Nothing);
}

#[test]
fn sip_too_many_streams_or_lines_are_refused() {
    let sdp = format!(
        "c=IN IP4 10.1.1.1\r\n{}",
        "m=audio 4000 RTP/AVP 0\r\n".repeat(5)
    );
    assert_eq!(sip(&invite(&sdp)), Parsed::Refused);
    let text = format!("OPTIONS sip:x SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert_eq!(sip(&text), Parsed::Refused);
    let text = format!(
        "OPTIONS sip:x SIP/2.0\r\n{}\r\n",
        "Via: 10.1.1.1:5060\r\n".repeat(17)
    );
    let flood = snat(
        text.as_bytes(),
        Direction::Original,
        tuple(proto::UDP, 5060, 5060),
    );
    assert_eq!(Helper::Sip.parse(&flood), Parsed::Refused);
}

#[test]
fn sip_keep_alives_and_other_bytes_pass() {
    for text in [
        "\r\n\r\n",
        "",
        "\0\0\0\0",
        "HELLO\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(sip(text), Parsed::Nothing, "{text:?}");
    }
}

#[test]
fn a_helper_is_stored_only_where_it_fits() {
    let control = tuple(proto::TCP, 40_000, 21);
    assert!(Helper::Ftp.fits(&control));
    assert!(
        Helper::Ftp.fits(&tuple(proto::TCP, 40_000, 2121)),
        "a named helper on any port"
    );
    assert!(!Helper::Ftp.fits(&tuple(proto::UDP, 40_000, 21)));
    assert!(
        !Helper::Sip.fits(&tuple(proto::UDP, 40_000, 69)),
        "the port says TFTP"
    );
    assert_eq!(Helper::by_port(&control), Some(Helper::Ftp));
    assert_eq!(Helper::by_port(&control.reversed()), Some(Helper::Ftp));
    assert_eq!(
        Helper::by_port(&tuple(proto::UDP, 1, 69)),
        Some(Helper::Tftp)
    );
    assert_eq!(
        Helper::by_port(&tuple(proto::UDP, 69, 1)),
        None,
        "only the destination port"
    );
    for helper in Helper::ALL {
        assert_eq!(Helper::from_name(helper.name()), Some(helper));
        assert_eq!(Helper::from_number(helper as u8), Some(helper));
    }
}

fn parent(id: u64) -> Parent {
    let original = tuple(proto::TCP, 40_000, 21);
    Parent {
        id: ConnectionId(id),
        original,
        mark: 7,
        label: 9,
    }
}

fn expected(port: u16) -> Expected {
    Expected {
        tuple: tuple(proto::TCP, 0, port),
        nat: None,
    }
}

fn table(limits: Limits) -> Expectations {
    Expectations::new(limits)
}

#[test]
fn an_expectation_matches_any_source_port_and_nothing_else() {
    let table = table(Limits::default());
    assert!(table.is_empty());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 33_333, 1025);
    let found = table.find(&packet, NOW).expect("expected");
    assert_eq!(found.parent, parent(1));
    for other in [
        Tuple {
            dport: 1026,
            ..packet
        },
        Tuple {
            src: SERVER,
            ..packet
        },
        Tuple {
            dst: CLIENT,
            ..packet
        },
        Tuple { zone: 4, ..packet },
        Tuple {
            proto: proto::UDP,
            ..packet
        },
        Tuple {
            family: Family::V6,
            ..packet
        },
        packet.reversed(),
    ] {
        assert_eq!(table.find(&other, NOW), None, "{other:?}");
    }
}

#[test]
fn an_expectation_is_not_used_up() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 33_333, 1025);
    assert!(table.find(&packet, NOW).is_some());
    assert!(table.find(&packet, NOW).is_some());
}

#[test]
fn an_expectation_has_no_timeout_of_its_own_in_profile_ovs() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let late = Time::from_millis(1 << 40);
    table.sweep(late);
    assert!(table.find(&tuple(proto::TCP, 1, 1025), late).is_some());
}

#[test]
fn an_expectation_with_a_lifetime_ends() {
    let table = table(Limits {
        lifetime: Some(5000),
        per_parent: 1,
        ..Limits::default()
    });
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 1, 1025);
    assert!(table.find(&packet, NOW.plus(4999)).is_some());
    assert!(table.find(&packet, NOW.plus(5000)).is_none());
    // What is over takes no room: neither the parent's nor that of the same tuple.
    assert_eq!(
        table.add(&expected(1026), &parent(1), NOW.plus(5000)),
        Added::Added
    );
    assert_eq!(
        table.add(&expected(1025), &parent(2), NOW.plus(5000)),
        Added::Added
    );
    table.sweep(NOW.plus(10_000));
    assert!(table.is_empty());
}

#[test]
fn what_is_over_is_no_duplicate_and_survives_its_first_parent() {
    let table = table(Limits {
        lifetime: Some(5000),
        ..Limits::default()
    });
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let later = NOW.plus(5000);
    assert_eq!(table.add(&expected(1025), &parent(2), later), Added::Added);
    table.parent_removed(ConnectionId(1));
    assert!(table.find(&tuple(proto::TCP, 1, 1025), later).is_some());
    assert_eq!(table.len(), 1);
}

#[test]
fn expectations_go_with_their_parent() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(1026), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(1027), &parent(2), NOW), Added::Added);
    table.parent_removed(ConnectionId(1));
    let mut left = Vec::new();
    table.each(|expectation| left.push(expectation.tuple.dport));
    assert_eq!(left, [1027]);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_duplicate_is_ignored_and_the_first_stays() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    assert_eq!(
        table.add(&expected(1025), &parent(2), NOW),
        Added::Duplicate
    );
    table.parent_removed(ConnectionId(2));
    let found = table
        .find(&tuple(proto::TCP, 1, 1025), NOW)
        .expect("still there");
    assert_eq!(found.parent.id, ConnectionId(1));
}

#[test]
fn expectations_are_limited_per_parent_and_in_all() {
    let table = table(Limits {
        per_parent: 2,
        total: 3,
        lifetime: None,
    });
    assert_eq!(table.add(&expected(1), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(2), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(3), &parent(1), NOW), Added::ParentFull);
    assert_eq!(table.add(&expected(3), &parent(2), NOW), Added::Added);
    assert_eq!(table.add(&expected(4), &parent(2), NOW), Added::Full);
    table.parent_removed(ConnectionId(1));
    assert_eq!(table.add(&expected(4), &parent(2), NOW), Added::Added);
}

/// A dialogue as one side's stream, cut at `cuts` and partly sent twice; returns what the receiver
/// has got, or what is inconsistent about it.
fn through_helper(
    stream: &[u8],
    direction: Direction,
    cuts: &[usize],
    again: &[bool],
) -> Result<Vec<u8>, String> {
    let first = 0xffff_ff00_u32;
    let mut skew = Skew::default();
    let mut received: Vec<Option<u8>> = Vec::new();
    let mut starts = vec![0];
    starts.extend(cuts.iter().copied());
    starts.push(stream.len());
    let segments: Vec<(usize, usize)> = starts.windows(2).map(|w| (w[0], w[1])).collect();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        order.push(*segment);
        if again.get(i).copied().unwrap_or(false) {
            order.extend_from_slice(&segments[i.saturating_sub(1)..=i]);
        }
    }
    for (start, end) in order {
        let payload = &stream[start..end];
        let seq = first.wrapping_add(start as u32);
        let original = tuple(proto::TCP, 40_000, 21);
        let message = match direction {
            Direction::Original => snat(payload, direction, original),
            Direction::Reply => dnat(payload, direction, original),
        };
        let moved = skew.sequence(direction, seq);
        let mut buffer = payload.to_vec();
        let mut is_edited = false;
        if let Parsed::Found(findings) = Helper::Ftp.parse(&message)
            && !findings.edits.is_empty()
        {
            buffer.resize(payload.len() + 64, 0);
            let len = splice(&mut buffer, payload.len(), &findings.edits).expect("room");
            buffer.truncate(len);
            skew.record(direction, seq, growth(&findings.edits) as i32);
            is_edited = true;
        }
        let at = moved.wrapping_sub(first) as usize;
        if received.len() < at + buffer.len() {
            received.resize(at + buffer.len(), None);
        }
        for (slot, byte) in received[at..].iter_mut().zip(buffer) {
            if slot.is_some_and(|old| old != byte) {
                return Err(format!("a retransmission differs at {at}"));
            }
            *slot = Some(byte);
        }
        let next = skew.acknowledgement(direction.opposite(), moved.wrapping_add(1));
        if !is_edited && next != seq.wrapping_add(1) {
            return Err(format!("byte {start} is acknowledged as another"));
        }
    }
    received
        .into_iter()
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "a gap".to_owned())
}

fn line(direction: Direction) -> impl Strategy<Value = String> {
    let command = match direction {
        Direction::Original => prop_oneof![
            Just("PORT 10,1,1,1,195,80\r\n".to_owned()),
            Just("EPRT |1|10.1.1.1|6275|\r\n".to_owned()),
        ],
        Direction::Reply => prop_oneof![
            Just("227 Entering Passive Mode (10,1,1,2,4,1).\r\n".to_owned()),
            Just("227 =10,1,1,2,4,1 \r\n".to_owned()),
        ],
    };
    prop_oneof![2 => command, 3 => "[A-Z]{3,4} [a-z]{0,80}\r\n"]
}

fn dialogue() -> impl Strategy<Value = (Direction, Vec<String>)> {
    prop_oneof![Just(Direction::Original), Just(Direction::Reply)]
        .prop_flat_map(|d| (Just(d), prop::collection::vec(line(d), 1..12)))
}

/// What the receiver must see: each message that begins a segment and ends in it is rewritten.
fn rewritten(stream: &[u8], direction: Direction, cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut starts = vec![0];
    starts.extend(cuts.iter().copied());
    starts.push(stream.len());
    for window in starts.windows(2) {
        let segment = String::from_utf8(stream[window[0]..window[1]].to_vec()).expect("text");
        let (old, new, whole) = match direction {
            Direction::Original => [
                (
                    "PORT 10,1,1,1,",
                    "PORT 198,51,100,200,",
                    "PORT 10,1,1,1,195,80\r",
                ),
                (
                    "EPRT |1|10.1.1.1|",
                    "EPRT |1|198.51.100.200|",
                    "EPRT |1|10.1.1.1|6275|",
                ),
            ],
            Direction::Reply => [
                (
                    "227 Entering Passive Mode (10,1,1,2,",
                    "227 Entering Passive Mode (198,51,100,200,",
                    "227 Entering Passive Mode (10,1,1,2,4,1)",
                ),
                (
                    "227 =10,1,1,2,",
                    "227 =198,51,100,200,",
                    "227 =10,1,1,2,4,1 ",
                ),
            ],
        }
        .into_iter()
        .find(|(_, _, whole)| segment.starts_with(whole))
        .unwrap_or(("", "", ""));
        if whole.is_empty() {
            out.extend_from_slice(segment.as_bytes());
        } else {
            out.extend_from_slice(segment.replacen(old, new, 1).as_bytes());
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn ftp_is_rewritten_whole_or_not_at_all_over_any_segmentation(
        (direction, lines) in dialogue(),
        cuts in prop::collection::vec(any::<u16>(), 0..6),
        at_lines in any::<bool>(),
        again in prop::collection::vec(any::<bool>(), 20),
    ) {
        let stream = lines.concat().into_bytes();
        let mut cuts: Vec<usize> =
            cuts.into_iter().map(|cut| usize::from(cut) % (stream.len() + 1)).collect();
        if at_lines {
            let mut end = 0;
            for line in &lines {
                end += line.len();
                cuts.push(end);
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts.retain(|cut| *cut != 0 && *cut != stream.len());
        let got = through_helper(&stream, direction, &cuts, &again);
        prop_assert_eq!(got, Ok(rewritten(&stream, direction, &cuts)));
    }

    #[test]
    fn no_bytes_make_a_helper_panic_or_edit_outside(
        head in prop_oneof![
            Just("PORT "), Just("EPRT |"), Just("227 ("), Just("229 (|||"), Just("\0\x01"),
            Just("SIP/2.0 200 OK\r\n"), Just("INVITE sip:a@10.1.1.1 SIP/2.0\r\nVia: "),
            Just("SIP/2.0 200 OK\r\nc:application/sdp\r\n\r\nc=IN IP4 10.1.1.1\r\nm="), Just(""),
        ],
        tail in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[0-9,|.:()\\[\\]a-f \r\n=@mc]{0,200}".prop_map(String::into_bytes),
        ],
        v6 in any::<bool>(),
        reply in any::<bool>(),
    ) {
        let payload = [head.as_bytes(), &tail].concat();
        let direction = if reply { Direction::Reply } else { Direction::Original };
        for helper in Helper::ALL {
            let original =
                if v6 { tuple6(helper.proto(), 5060, 5060) } else { tuple(helper.proto(), 5060, 5060) };
            for message in [
                message(&payload, direction, original),
                snat(&payload, direction, original),
                dnat(&payload, direction, original),
            ] {
                if let Parsed::Found(findings) = helper.parse(&message) {
                    prop_assert!(!findings.expected.spilled() && !findings.edits.spilled());
                    let room = payload.len() + MAX_EDITS * edit::MAX_TEXT;
                    let mut buffer = payload.clone();
                    buffer.resize(room, 0);
                    let len = splice(&mut buffer, payload.len(), &findings.edits);
                    let new_len = payload.len().saturating_add_signed(growth(&findings.edits));
                    prop_assert_eq!(len, Ok(new_len));
                    for expected in &findings.expected {
                        prop_assert_eq!(expected.tuple.src, message.after().dst);
                        prop_assert_ne!(expected.tuple.dport, 0);
                    }
                }
            }
        }
    }

    /// Against the plain way: build a new text piece by piece.
    #[test]
    fn splicing_replaces_each_piece_once(
        text in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec((0_usize..20, 0_usize..20, prop::collection::vec(any::<u8>(), 0..30)), 0..8),
    ) {
        let mut edits = Vec::new();
        let mut plain = Vec::new();
        let mut at = 0;
        for (gap, len, new) in pieces {
            if at + gap + len > text.len() {
                break;
            }
            plain.extend_from_slice(&text[at..at + gap]);
            plain.extend_from_slice(&new);
            edits.push(Edit { at: at + gap, len, text: SmallVec::from_vec(new) });
            at += gap + len;
        }
        plain.extend_from_slice(&text[at..]);
        let mut buffer = text.clone();
        buffer.resize(text.len().max(plain.len()), 0);
        let len = splice(&mut buffer, text.len(), &edits);
        prop_assert_eq!(len, Ok(plain.len()));
        prop_assert_eq!(&buffer[..plain.len()], &plain[..]);
    }
}

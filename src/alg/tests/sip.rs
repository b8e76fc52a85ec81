//! The rules of SIP.

use super::*;

#[test]
fn sip_opens_no_privileged_port() {
    let sdp = "c=IN IP4 10.1.1.1\r\nm=audio 445 RTP/AVP 0\r\na=rtcp:22\r\n";
    assert_eq!(sip(&invite(sdp)), Parsed::Nothing);
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

//! The rules of FTP and TFTP.

use super::*;

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

/// CVE-2022-2663, FTP bounce: a message may only announce its own speaker.
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

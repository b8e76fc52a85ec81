//! Every file of the committed corpora, through the functions that the fuzz targets call.
//!
//! The corpora begin with seeds, one packet of each kind; `cargo test --lib -- --ignored
//! write_the_seeds` writes them again. Two are elsewhere: the reader of captures is a part of the
//! command, and so is the replay of its corpus; and that of the C interface holds what the fuzzer itself
//! came to (`cargo fuzz cmin`), since nobody writes such calls by hand.

use std::fs;
use std::path::{Path, PathBuf};

use super::packets::{self, Ip, Segment, echo, ethernet, sctp, udp, unreachable};
use super::{fuzz, fuzz_c_abi, fuzz_helpers, fuzz_tcp, model};
use crate::packet::tcp_flags;

/// The name of a target, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 12] = [
    ("parse", fuzz::parse),
    ("tcp_options", fuzz::tcp_options),
    ("icmp_inner", fuzz::icmp_inner),
    ("ipv6_ext", fuzz::ipv6_ext),
    ("sctp_chunks", fuzz::sctp_chunks),
    ("rewrite", fuzz::rewrite),
    ("c_abi", fuzz_c_abi::c_abi),
    ("tcp_sequence", fuzz_tcp::tcp_sequence),
    ("ftp", fuzz_helpers::ftp),
    ("tftp", fuzz_helpers::tftp),
    ("sip", fuzz_helpers::sip),
    ("engine_ops", |input| {
        model::agree(input);
    }),
];

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_file_of_the_corpora_passes() {
    // The published package has no corpora.
    if !corpora().exists() {
        return;
    }
    for (target, run) in TARGETS {
        let folder = fs::read_dir(corpora().join(target)).expect("each target has a corpus");
        let mut files = 0;
        for file in folder {
            let path = file.expect("readable").path();
            run(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            files += 1;
        }
        assert!(files > 0, "{target} has no file");
    }
}

/// One packet of each kind, named.
fn kinds(a: Ip, b: Ip) -> Vec<(&'static str, Vec<u8>)> {
    let syn = Segment {
        src: a,
        dst: b,
        options: vec![
            2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 9,
        ],
        ..Segment::v4(1, 1000, 2, 80, tcp_flags::SYN)
    };
    let question = udp(a, 5, b, 53, b"question");
    let chunks = [&[1, 0, 0, 20, 0, 0, 0, 1][..], &[0; 12]].concat();
    let association = sctp(a, 5, b, 6, 0, &chunks);
    vec![
        ("tcp", syn.clone().bytes()),
        ("tcp-data", syn.payload(9).bytes()),
        ("udp-zero", packets::without_checksum(question.clone())),
        ("echo", echo(a, b, 9, false)),
        (
            "gre",
            packets::ip(a, b, crate::packet::proto::GRE, b"anything"),
        ),
        ("error-udp", unreachable(b, a, &question)),
        ("error-sctp", unreachable(b, a, &association)),
        ("error-echo", unreachable(b, a, &echo(a, b, 9, false))),
        ("udp", question),
        ("sctp", association),
    ]
}

/// A handshake, data, and an end, as the target of TCP sequences reads them.
fn conversations() -> Vec<(&'static str, String, Vec<u8>)> {
    use tcp_flags::{ACK, FIN, RST, SYN};

    let segment = |from: u8, flags: u8, seq: u32, ack: u32, len: u16| {
        let mut bytes = vec![flags];
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend(8192_u16.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        // A SYN has scale 7.
        bytes.extend([from, if flags & SYN == 0 { 0 } else { 7 << 3 | 1 }, 0]);
        assert_eq!(bytes.len(), fuzz_tcp::SEGMENT);
        bytes
    };
    let opening = [
        segment(0, SYN, 1000, 0, 0),
        segment(1, SYN | ACK, 5000, 1001, 0),
        segment(0, ACK, 1001, 5001, 100),
        segment(1, ACK, 5001, 1101, 500),
    ]
    .concat();
    let close = [
        segment(0, FIN | ACK, 1101, 5501, 0),
        segment(1, FIN | ACK, 5501, 1102, 0),
        segment(0, ACK, 1102, 5502, 0),
        segment(0, SYN, 90_000, 0, 0),
    ]
    .concat();
    let reset = [
        segment(1, RST, 5501, 0, 0),
        segment(0, ACK, 1101, 5501, 9),
        segment(1, SYN, 70_000, 0, 0),
    ]
    .concat();
    let mut seeds = Vec::new();
    for (machine, choice) in [("ovs", 0), ("kernel", 1)] {
        for (name, end) in [("close", &close), ("reset", &reset)] {
            let bytes = [&[choice][..], &opening, end].concat();
            seeds.push(("tcp_sequence", format!("{machine}-{name}"), bytes));
        }
    }
    seeds
}

/// A message that announces something, for each helper and from each side that may say it: the low bits
/// of the first byte choose family, direction and translation.
fn messages() -> Vec<(&'static str, String, Vec<u8>)> {
    let body = "v=0\r\no=u 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
                m=audio 6000 RTP/AVP 0\r\n";
    let invite = format!(
        "INVITE sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.1.1:5060;branch=z9hG4bKx\r\n\
         Contact: <sip:a@10.1.1.1:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut seeds = Vec::new();
    for (target, name, choice, text) in [
        ("ftp", "port", 0, "PORT 10,1,1,1,200,10\r\n"),
        ("ftp", "eprt", 0, "EPRT |1|10.1.1.1|51210|\r\n"),
        ("ftp", "eprt-v6", 1, "EPRT |2|fc00::1|51210|\r\n"),
        ("ftp", "passive", 2, "227 Entering (10,1,1,2,200,10)\r\n"),
        ("ftp", "extended", 2, "229 Extended (|||51210|)\r\n"),
        ("ftp", "extended-v6", 3, "229 Extended (|||51210|)\r\n"),
        ("tftp", "read", 0, "\0\x01file\0octet\0"),
        ("tftp", "write-v6", 1, "\0\x02file\0octet\0"),
        ("sip", "invite", 0, &invite),
    ] {
        for (translated, bits) in [("", 0), ("-translated", 4)] {
            let bytes = [&[choice | bits][..], text.as_bytes()].concat();
            seeds.push((target, format!("{name}{translated}"), bytes));
        }
    }
    seeds
}

fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (family, a, b) in [("v4", Ip::v4(1), Ip::v4(2)), ("v6", Ip::v6(1), Ip::v6(2))] {
        for (kind, packet) in kinds(a, b) {
            let name = format!("{family}-{kind}");
            let frame = ethernet(&[0x88a8, 0x8100], &packet);
            seeds.push((
                "parse",
                format!("{name}-raw"),
                [&[0, 0][..], &packet].concat(),
            ));
            seeds.push(("parse", name.clone(), [&[1, 0][..], &frame].concat()));
            let new: Vec<u8> = (1..=36).collect();
            seeds.push(("rewrite", name.clone(), [&new[..], &packet].concat()));
            let choice = u8::from(family == "v6");
            seeds.push((
                "icmp_inner",
                name.clone(),
                [&[choice][..], &packet].concat(),
            ));
            if family == "v6" {
                let long =
                    packets::with_extensions(&packet, &[(0, 8), (43, 16), (60, 8), (51, 12)]);
                seeds.push((
                    "ipv6_ext",
                    name,
                    long[6..7].iter().chain(&long[40..]).copied().collect(),
                ));
            }
        }
        let whole = udp(a, 5, b, 53, &[b'?'; 40]);
        for (number, fragment) in packets::fragments(&whole, 7, 24).into_iter().enumerate() {
            let name = format!("{family}-fragment-{number}");
            seeds.push(("parse", name.clone(), [&[2, 0][..], &fragment].concat()));
            if family == "v6" {
                seeds.push(("ipv6_ext", name, [&[44][..], &fragment[40..]].concat()));
            }
        }
    }
    for (name, options) in [
        ("syn", &[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 9, 0, 0][..]),
        ("odd-sack", &[1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0]),
        ("timestamps", &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        ("length-zero", &[3, 0, 3, 3]),
        ("length-one", &[3, 1, 3, 3]),
        ("too-long", &[3, 3, 7, 5, 200, 0, 0, 0]),
        ("kind-at-the-end", &[1, 1, 1, 3]),
    ] {
        seeds.push(("tcp_options", name.to_owned(), options.to_vec()));
    }
    for (name, chunks) in [
        ("init", [&[1, 0, 0, 20, 0, 0, 0, 1][..], &[0; 12]].concat()),
        (
            "cookie-and-data",
            vec![10, 0, 0, 5, 1, 0, 0, 0, 0, 3, 0, 6, 1, 2, 0, 0],
        ),
        ("last-without-padding", vec![11, 0, 0, 4, 0, 3, 0, 5, 1]),
        ("too-short", vec![1, 0, 0, 3]),
        ("too-long", vec![1, 0, 0, 9, 0, 0, 0, 0]),
        ("nothing", vec![]),
    ] {
        seeds.push(("sctp_chunks", name.to_owned(), chunks));
    }
    seeds.extend(conversations());
    seeds.extend(messages());
    for seed in 0..6_u8 {
        seeds.push((
            "engine_ops",
            format!("traffic-{seed}"),
            model::bytes(seed.into(), 80),
        ));
    }
    seeds
}

#[test]
#[ignore = "writes into fuzz/corpus"]
fn write_the_seeds() {
    for (target, name, bytes) in seeds() {
        let folder = corpora().join(target);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join(name), bytes).expect("the file can be written");
    }
}

#[test]
fn every_seed_passes() {
    for (target, name, bytes) in seeds() {
        let (_, run) = TARGETS
            .iter()
            .find(|(known, _)| *known == target)
            .unwrap_or_else(|| panic!("{name} is a seed of {target}"));
        run(&bytes);
    }
}

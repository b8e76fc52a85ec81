//! Files written byte by byte, whole and damaged.

use super::*;

fn pcap(big: bool, nano: bool, link: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let word = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let magic = if nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file: Vec<u8> = [magic, 0x0004_0002, 0, 0, 65535, link].map(word).concat();
    for (seconds, fraction, bytes) in packets {
        let len = bytes.len() as u32;
        file.extend([*seconds, *fraction, len, len + 4].map(word).concat());
        file.extend_from_slice(bytes);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn pcapng() -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let mut file = block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    file.extend(block(1, &words(&[101, 2])));
    // Nanoseconds: if_tsresol 9.
    file.extend(block(1, &words(&[1, 0, 9 | 1 << 16, 9, 0])));
    file.extend(block(0x0bad, &[0; 8]));
    file.extend(block(6, &words(&[1, 0, 5, 4, 60, 0x0403_0201])));
    file.extend(block(6, &words(&[0, 0, 5, 1, 1, 0x45])));
    file.extend(block(3, &words(&[9, 0x0000_4645])));
    file
}

fn read(file: &[u8]) -> (Vec<Packet>, Option<String>) {
    let mut packets = Vec::new();
    match Reader::new(file) {
        Err(error) => return (packets, Some(error.to_string())),
        Ok(reader) => {
            for packet in reader {
                match packet {
                    Ok(packet) => packets.push(packet),
                    Err(error) => return (packets, Some(error.to_string())),
                }
            }
        }
    }
    (packets, None)
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_resolutions() {
    for (big, nano, time) in [
        (false, false, 7_000_005_000),
        (true, false, 7_000_005_000),
        (false, true, 7_000_000_005),
        (true, true, 7_000_000_005),
    ] {
        let (packets, error) = read(&pcap(big, nano, 1, &[(7, 5, b"abc")]));
        assert_eq!(error, None);
        let wanted = Packet {
            time,
            link: 1,
            wire_len: 7,
            bytes: b"abc".to_vec(),
        };
        assert_eq!(packets, [wanted]);
    }
}

#[test]
fn pcapng_packets_belong_to_their_interfaces() {
    let (packets, error) = read(&pcapng());
    assert_eq!(error, None);
    let facts: Vec<_> = packets
        .iter()
        .map(|p| (p.time, p.link, p.wire_len, p.bytes.as_slice()))
        .collect();
    assert_eq!(
        facts,
        [
            (5, 1, 60, &[1, 2, 3, 4][..]),
            (5_000, 101, 1, &[0x45]),
            // A simple packet: first interface, its snap length, no time of its own.
            (5_000, 101, 9, &[0x45, 0x46]),
        ]
    );
}

#[test]
fn a_file_that_was_cut_off_gives_its_packets_and_then_an_error() {
    for file in [
        pcap(false, false, 1, &[(1, 0, &[0; 40]), (2, 0, &[0; 40])]),
        pcapng(),
    ] {
        let (all, error) = read(&file);
        assert_eq!(error, None);
        let mut whole = 0;
        for len in 0..file.len() {
            let (packets, error) = read(&file[..len]);
            assert!(packets.len() < all.len());
            assert_eq!(packets, all[..packets.len()]);
            match error {
                None => whole += 1,
                Some(error) => {
                    let expected = if len == 0 {
                        "the file is empty"
                    } else {
                        "truncated: "
                    };
                    assert!(error.starts_with(expected), "{len}: {error}");
                }
            }
        }
        // Only between packets or blocks a cut leaves a shorter, but whole file.
        assert!(whole <= 6, "{whole}");
    }
}

#[test]
fn a_damaged_length_ends_the_reading() {
    let mut file = pcap(false, false, 1, &[(1, 0, b"abc"), (2, 0, b"def")]);
    file[24 + 19 + 8 + 3] = 0x7f;
    let (packets, error) = read(&file);
    assert_eq!(packets.len(), 1);
    assert_eq!(
        error.as_deref(),
        Some("corrupt at byte 43: a packet of impossible length")
    );
}

#[test]
fn other_files_and_link_types_are_refused_by_name() {
    let error = |file: &[u8]| read(file).1.unwrap();
    assert_eq!(error(b""), "the file is empty");
    assert_eq!(
        error(b"GIF8"),
        "neither pcap nor pcapng (it begins with 47 49 46 38)"
    );
    assert_eq!(
        error(&pcap(false, false, 105, &[])),
        "link type 105 (IEEE 802.11) is not supported"
    );
}

#[test]
fn link_headers_are_looked_through() {
    use link::{Payload, payload};
    let mut cooked = vec![0; 16];
    cooked[14..].copy_from_slice(&[0x08, 0x00]);
    assert_eq!(payload(113, &cooked), Payload::Ip(16));
    let mut cooked2 = vec![0; 24];
    cooked2[..2].copy_from_slice(&[0x81, 0x00]);
    cooked2[22..].copy_from_slice(&[0x86, 0xdd]);
    assert_eq!(payload(276, &cooked2), Payload::Ip(24));
    assert_eq!(payload(0, &[2, 0, 0, 0, 0x45]), Payload::Ip(4));
    assert_eq!(payload(108, &[0, 0, 0, 2, 0x60]), Payload::Ip(4));
    assert_eq!(payload(101, &[0x45]), Payload::Ip(0));
    assert_eq!(payload(113, &[0; 15]), Payload::Other);
    // Cut off inside of the link header, which names IP before it ends.
    cooked2[..2].copy_from_slice(&[0x08, 0x00]);
    assert_eq!(payload(276, &cooked2[..19]), Payload::Other);
    assert_eq!(payload(276, &cooked2[..20]), Payload::Ip(20));
    assert_eq!(payload(1, &[]), Payload::Ethernet);
}

/// The corpus of the fuzz target: small captures of each form, and what it once found.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let frame = [&[0; 12][..], &[0x08, 0x00, 0x45]].concat();
    let cut_off_in_its_link_header = pcap(false, true, 276, &[(0, 0, &[0x08, 0x00, 0])]);
    vec![
        (
            "pcap",
            pcap(false, false, 1, &[(1, 2, &frame), (3, 4, &[])]),
        ),
        ("pcap-big-endian", pcap(true, true, 101, &[(1, 2, &[0x45])])),
        ("pcapng", pcapng()),
        ("cooked-cut-off", cut_off_in_its_link_header),
    ]
}

fn corpus() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/capture")
}

#[test]
fn every_file_of_the_corpus_is_read_to_its_end() {
    for (_, file) in seeds() {
        check::check(&file);
    }
    // The published package has no corpora.
    let Ok(folder) = std::fs::read_dir(corpus()) else {
        return;
    };
    let mut files = 0;
    for file in folder {
        let path = file.expect("readable").path();
        check::check(&std::fs::read(path).expect("readable"));
        files += 1;
    }
    assert!(files >= seeds().len());
}

#[test]
#[ignore = "writes into fuzz/corpus"]
fn write_the_seeds() {
    std::fs::create_dir_all(corpus()).expect("the folder can be made");
    for (name, file) in seeds() {
        std::fs::write(corpus().join(name), file).expect("the file can be written");
    }
}

//! What the fuzz targets of the packet room do with an input. The targets (`fuzz/fuzz_targets`) and the
//! replay of their corpora in the tests include the same functions, so a find is a test from the day
//! its file is committed.
//!
//! Only the public interface is used, and every checksum is computed here a second time, the plain way.

use ctoffload::packet::fragment::{self, Fragment};
use ctoffload::packet::rewrite::{self, Change};
use ctoffload::packet::sctp::{self, Chunks};
use ctoffload::packet::{
    self, Checksum, Facts, Family, Hints, Malformed, Options, Transport, proto, tcp,
};
use ctoffload::reason::Reason;
use ctoffload::tuple::Tuple;

const VERIFY: Options = Options {
    verify_checksums: true,
    sack: true,
    netfilter: false,
};

const fn raw_ip(status: Checksum) -> Hints {
    Hints {
        l3: Some(0),
        total_len: 0,
        ip_checksum: status,
        l4_checksum: status,
        read_only: false,
    }
}

/// ICMP checksums are verified whatever the device says, so nothing is.
fn parse_unverified(bytes: &[u8]) -> Result<Facts, Malformed> {
    let options = Options {
        verify_checksums: false,
        sack: true,
        netfilter: false,
    };
    packet::parse(bytes, &raw_ip(Checksum::Unknown), &options)
}

/// Facts that every accepted packet has, whatever it is.
fn check_facts(bytes: &[u8], end: usize, facts: &Facts) {
    assert!(facts.l3 < facts.l4 && usize::from(facts.l4) <= bytes.len());
    assert!(u64::from(facts.l3) + facts.ip_len() <= end as u64);
    if let Transport::Error(inner) = facts.transport {
        assert!(facts.l4 < inner.l3 && inner.l3 < inner.l4);
        assert!(usize::from(inner.l4) + 8 <= bytes.len());
    }
    if let Some(tuple) = Tuple::of(facts, 0) {
        let (key, side) = tuple.key();
        assert_eq!(key.tuple(side), tuple);
    }
}

/// Any bytes as a frame. The first byte says how it is described, the second how much of it is not
/// contiguous.
pub fn parse(input: &[u8]) {
    let &[choice, missing, ref bytes @ ..] = input else {
        return;
    };
    let status = if choice & 2 == 0 {
        Checksum::Unknown
    } else {
        Checksum::Good
    };
    let end = bytes.len() + usize::from(choice & 4) / 4 * usize::from(missing);
    let hints = Hints {
        l3: (choice & 1 == 0).then_some(u16::from(choice >> 4)),
        total_len: end as u32,
        ..raw_ip(status)
    };
    let options = Options {
        verify_checksums: choice & 2 == 0,
        sack: choice & 8 == 0,
        netfilter: choice & 16 == 0,
    };
    let result = packet::parse(bytes, &hints, &options);
    if let Ok(facts) = &result {
        check_facts(bytes, end, facts);
    }
    if let Some(found) = fragment::of(bytes, &hints) {
        check_fragment(bytes, end, &found);
        let refused =
            [Reason::Fragment, Reason::IpChecksum].map(|reason| Err(Malformed { reason }));
        assert!(refused.contains(&result));
    }
}

fn check_fragment(bytes: &[u8], end: usize, found: &Fragment) {
    assert!(found.l3 < found.data && usize::from(found.data) <= bytes.len());
    assert!(found.len > 0 && usize::from(found.data) + usize::from(found.len) <= end);
    assert!(found.offset.is_multiple_of(8) && found.end() <= 65535);
    assert!(!found.more || found.len.is_multiple_of(8));
}

/// Any bytes as TCP options: the walk ends, stays inside, and goes on; the parser sees what it sees.
pub fn tcp_options(input: &[u8]) {
    let input = &input[..input.len().min(40) / 4 * 4];
    let mut after = 0;
    let mut wscale = None;
    for option in tcp::Options::new(input) {
        assert!(option.at >= after + 2);
        after = option.at + option.value.len();
        assert_eq!(&input[option.at..after], option.value);
        if option.kind == tcp::kind::WINDOW_SCALE && option.value.len() == 1 {
            wscale = Some(option.value[0]);
        }
    }
    let mut segment = vec![0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    segment.extend([((20 + input.len()) as u8 / 4) << 4, packet::tcp_flags::SYN]);
    segment.extend([0; 6]);
    segment.extend(input);
    let mut bytes = ipv4(proto::TCP, &segment);
    let facts = parse_unverified(&bytes).expect("the header is right");
    let Transport::Tcp(tcp) = facts.transport else {
        panic!("the protocol is TCP")
    };
    assert_eq!(tcp.wscale, wscale);
    // The edges of SACK blocks may stand at odd places: the checksum follows all the same.
    seal(&mut bytes, &facts);
    let hints = raw_ip(Checksum::Unknown);
    rewrite::numbers(&mut bytes, &facts, &hints, 5, 6, |edge| !edge).expect("it can be written");
    packet::parse(&bytes, &hints, &VERIFY).expect("the checksum followed");
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(payload);
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    bytes.extend((0..32).map(|byte| 0xf0 ^ byte));
    bytes.extend(payload);
    bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes
}

/// Any bytes as what an ICMP error quotes; the first one chooses the family. The error goes to the
/// sender of the quoted packet, so that its address is no obstacle.
pub fn icmp_inner(input: &[u8]) {
    let Some((choice, quote)) = input.split_first() else {
        return;
    };
    let quote = &quote[..quote.len().min(1000)];
    let (header, mut bytes, from) = match choice & 1 {
        0 => (
            20,
            ipv4(proto::ICMP, &[&[3, 3, 0, 0, 0, 0, 0, 0], quote].concat()),
            12,
        ),
        _ => (
            40,
            ipv6(proto::ICMPV6, &[&[1, 4, 0, 0, 0, 0, 0, 0], quote].concat()),
            8,
        ),
    };
    let len = (header - from) / 2;
    if let Some(sender) = quote.get(from..from + len) {
        bytes[from + len..header].copy_from_slice(sender);
    }
    let Ok(facts) = parse_unverified(&bytes) else {
        return;
    };
    check_facts(&bytes, bytes.len(), &facts);
    translate_and_back(
        &mut bytes,
        &facts,
        &Change {
            src: Some(0x0102_0304),
            dst: None,
            sport: Some(0xfffe),
            dport: None,
        },
    );
}

/// Any bytes behind an IPv6 header; the first one says what they are.
pub fn ipv6_ext(input: &[u8]) {
    let Some((&next, chain)) = input.split_first() else {
        return;
    };
    let bytes = ipv6(next, &chain[..chain.len().min(2000)]);
    let result = parse_unverified(&bytes);
    match (result, fragment::of(&bytes, &raw_ip(Checksum::Good))) {
        (Ok(facts), None) => {
            check_facts(&bytes, bytes.len(), &facts);
            assert!(![0, 43, 44, 51, 60].contains(&facts.proto));
            assert_eq!(facts.ip_len() as usize, bytes.len());
        }
        (Err(malformed), Some(found)) => {
            assert_eq!(malformed.reason, Reason::Fragment);
            check_fragment(&bytes, bytes.len(), &found);
        }
        (Err(_), None) => {}
        (Ok(_), Some(_)) => panic!("a fragment cannot be tracked"),
    }
}

/// Any bytes as the chunks of an SCTP packet: accepted only if they fill it exactly.
pub fn sctp_chunks(input: &[u8]) {
    let input = &input[..input.len().min(2000)];
    let mut segment = vec![0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0];
    segment.extend(input);
    let mut at = 0;
    let mut chunks = 0;
    for chunk in Chunks::new(&segment) {
        assert_eq!([chunk.kind, chunk.flags], input[at..at + 2]);
        let end = at + 4 + chunk.value.len();
        assert_eq!(chunk.value, &input[at + 4..end]);
        at = end.next_multiple_of(4).min(input.len());
        chunks += 1;
    }
    let exact = chunks > 0 && at == input.len();
    let result = parse_unverified(&ipv4(proto::SCTP, &segment));
    match result {
        Ok(facts) => assert!(exact && facts.l4_len as usize == sctp::HEADER + input.len()),
        Err(malformed) => assert!(!exact && malformed.reason == Reason::SctpChunk),
    }
}

/// Any IP packet, translated: 36 bytes of new addresses and ports, then the packet. Its checksums are
/// made right first, and must be right after each step.
pub fn rewrite(input: &[u8]) {
    let Some((&new, packet)) = input.split_first_chunk::<36>() else {
        return;
    };
    let mut bytes = packet[..packet.len().min(2000)].to_vec();
    let Ok(facts) = parse_unverified(&bytes) else {
        return;
    };
    let word = |at: usize| u128::from_be_bytes(std::array::from_fn(|i| new[at + i]));
    let port = |at: usize| u16::from_be_bytes([new[at], new[at + 1]]).max(1);
    translate_and_back(
        &mut bytes,
        &facts,
        &Change {
            src: Some(word(0)),
            dst: Some(word(16)),
            sport: Some(port(32)),
            dport: Some(port(34)),
        },
    );
}

/// Seals the packet, translates it, and translates it back, the quoted headers as well.
fn translate_and_back(bytes: &mut [u8], facts: &Facts, change: &Change) {
    seal(bytes, facts);
    let hints = raw_ip(Checksum::Unknown);
    let verify = |bytes: &[u8]| packet::parse(bytes, &hints, &VERIFY).expect("all is right");
    let before = verify(bytes);
    step(bytes, &before, change);
    let after = verify(bytes);
    let back = restoring(&before, change);
    step(bytes, &after, &back);
    assert_eq!(verify(bytes), before);
    // A checksum of all ones has become zero by now, which is the same number: from here on, there
    // and back changes nothing.
    let canonical = bytes.to_vec();
    step(bytes, &before, change);
    step(bytes, &after, &back);
    assert_eq!(bytes, canonical);
    partial(bytes, &before, change);
}

/// One translation. An error is sent to the host whose packet it quotes, before and after.
fn step(bytes: &mut [u8], facts: &Facts, change: &Change) {
    let hints = raw_ip(Checksum::Unknown);
    if let Transport::Error(_) = facts.transport {
        let around = Change {
            src: None,
            dst: change.src,
            ..Change::default()
        };
        rewrite::headers(bytes, facts, &hints, &around).expect("it can be written");
        rewrite::quoted(bytes, facts, &hints, change).expect("it can be written");
    } else {
        rewrite::headers(bytes, facts, &hints, change).expect("it can be written");
    }
}

fn restoring(facts: &Facts, change: &Change) -> Change {
    let (src, dst, sport, dport) = match facts.transport {
        Transport::Error(inner) => {
            let dst = u128::from(inner.dst[0]) | u128::from(inner.dst[1]) << 64;
            (facts.dst, dst, inner.sport, inner.dport)
        }
        Transport::Tcp(tcp) => (facts.src, facts.dst, tcp.sport, tcp.dport),
        Transport::Udp(sport, dport) | Transport::Sctp(sport, dport, _) => {
            (facts.src, facts.dst, sport, dport)
        }
        Transport::Query(query) => (facts.src, facts.dst, query.id, query.id),
        Transport::Other => (facts.src, facts.dst, 0, 0),
    };
    Change {
        src: change.src.map(|_| src),
        dst: change.dst.map(|_| dst),
        sport: change.sport.map(|_| sport),
        dport: change.dport.map(|_| dport),
    }
}

/// With the pseudo-header sum in the field, translation leaves the new pseudo-header sum there.
fn partial(bytes: &mut [u8], facts: &Facts, change: &Change) {
    let at = usize::from(facts.l4)
        + match facts.proto {
            proto::TCP => 16,
            proto::UDP => 6,
            _ => return,
        };
    put_sum(bytes, at, pseudo(bytes, facts));
    rewrite::headers(bytes, facts, &raw_ip(Checksum::Partial), change).expect("it can be written");
    let field = u64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    assert_eq!(field % 0xffff, pseudo(bytes, facts) % 0xffff);
}

/// Makes the IPv4 header checksum and the transport checksum right; a UDP checksum of zero stays.
fn seal(bytes: &mut [u8], facts: &Facts) {
    let (l3, l4) = (usize::from(facts.l3), usize::from(facts.l4));
    if facts.family == Family::V4 {
        bytes[l3 + 10..l3 + 12].fill(0);
        let header = sum(&bytes[l3..l4]);
        put_sum(bytes, l3 + 10, complement(header));
    }
    let end = l4 + facts.l4_len as usize;
    let (field, base) = match facts.proto {
        proto::TCP => (16, pseudo(bytes, facts)),
        proto::UDP if facts.family == Family::V4 && bytes[l4 + 6..l4 + 8] == [0, 0] => return,
        proto::UDP => (6, pseudo(bytes, facts)),
        proto::ICMP => (2, 0),
        proto::ICMPV6 => (2, pseudo(bytes, facts)),
        proto::SCTP => {
            bytes[l4 + 8..l4 + 12].fill(0);
            let crc = crc32c(&bytes[l4..end]);
            bytes[l4 + 8..l4 + 12].copy_from_slice(&crc.to_le_bytes());
            return;
        }
        _ => return,
    };
    bytes[l4 + field..l4 + field + 2].fill(0);
    let whole = complement(base + sum(&bytes[l4..end]));
    let zero_is_none = facts.proto == proto::UDP && whole == 0;
    put_sum(bytes, l4 + field, if zero_is_none { 0xffff } else { whole });
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn folded(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn complement(sum: u64) -> u64 {
    folded(sum) ^ 0xffff
}

fn put_sum(bytes: &mut [u8], at: usize, sum: u64) {
    bytes[at..at + 2].copy_from_slice(&(folded(sum) as u16).to_be_bytes());
}

fn pseudo(bytes: &[u8], facts: &Facts) -> u64 {
    let l3 = usize::from(facts.l3);
    let addresses = match facts.family {
        Family::V4 => l3 + 12..l3 + 20,
        Family::V6 => l3 + 8..l3 + 40,
    };
    sum(&bytes[addresses]) + u64::from(facts.proto) + u64::from(facts.l4_len)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

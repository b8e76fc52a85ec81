//! Times of the packet room: parsing and rewriting of packets that lie in the first-level cache.
//!
//! `cargo bench --bench packet`.

use ctoffload::packet::rewrite::{self, Change};
use ctoffload::packet::{Checksum, Facts, Hints, Options, parse, proto, tcp_flags};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Packets in turn, so that no branch is learned by heart.
const PACKETS: usize = 32;

const fn raw_ip(status: Checksum) -> Hints {
    Hints {
        l3: Some(0),
        total_len: 0,
        ip_checksum: status,
        l4_checksum: status,
        read_only: false,
    }
}

/// An IPv4 packet from one of many clients. Its checksums are wrong, but as much work to read as right
/// ones.
fn packet(client: u8, protocol: u8, transport: &[u8], payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    bytes.extend([10, 0, 0, client, 192, 168, 0, 1, 0x80, client, 0x01, 0xbb]);
    bytes.extend(transport);
    bytes.resize(bytes.len() + payload, 0x5a);
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes
}

/// Acknowledgements with `payload` bytes.
fn tcp(payload: usize) -> Vec<Vec<u8>> {
    let rest = [
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0x50,
        tcp_flags::ACK,
        1,
        0,
        0,
        0,
        0,
        0,
    ];
    (0..PACKETS as u8)
        .map(|client| packet(client, proto::TCP, &rest, payload))
        .collect()
}

/// A DATA chunk with `payload` bytes, a multiple of four.
fn sctp(payload: usize) -> Vec<Vec<u8>> {
    let [high, low] = (4 + payload as u16).to_be_bytes();
    let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0, 3, high, low];
    (0..PACKETS as u8)
        .map(|client| packet(client, proto::SCTP, &rest, payload))
        .collect()
}

/// Calls `run` with one packet after the other; the time is that of one.
fn each(bencher: Bencher<'_, '_>, packets: Vec<Vec<u8>>, mut run: impl FnMut(&mut [u8], &Facts)) {
    let facts = |bytes: &Vec<u8>| {
        parse(bytes, &raw_ip(Checksum::Good), &Options::default()).expect("the headers are right")
    };
    let mut packets: Vec<_> = packets
        .into_iter()
        .map(|bytes| (facts(&bytes), bytes))
        .collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % PACKETS;
        let (facts, bytes) = &mut packets[turn];
        run(black_box(bytes), black_box(facts));
    });
}

#[divan::bench]
fn parse_acknowledgement(bencher: Bencher<'_, '_>) {
    let hints = raw_ip(Checksum::Good);
    each(bencher, tcp(0), |bytes, _| {
        black_box(&parse(bytes, &hints, &VERIFY));
    });
}

const VERIFY: Options = Options {
    verify_checksums: true,
    sack: false,
    netfilter: false,
};

#[divan::bench(args = [0, 1400])]
fn parse_and_verify_tcp(bencher: Bencher<'_, '_>, payload: usize) {
    let hints = Hints {
        l4_checksum: Checksum::Unknown,
        ..raw_ip(Checksum::Good)
    };
    each(bencher, tcp(payload), |bytes, _| {
        black_box(&parse(bytes, &hints, &VERIFY));
    });
}

#[divan::bench(args = [0, 1400])]
fn parse_and_verify_sctp(bencher: Bencher<'_, '_>, payload: usize) {
    let hints = Hints {
        l4_checksum: Checksum::Unknown,
        ..raw_ip(Checksum::Good)
    };
    each(bencher, sctp(payload), |bytes, _| {
        black_box(&parse(bytes, &hints, &VERIFY));
    });
}

/// New source and port, other ones each time.
fn translate(bencher: Bencher<'_, '_>, packets: Vec<Vec<u8>>) {
    let hints = raw_ip(Checksum::Good);
    let mut port = 1024;
    each(bencher, packets, |bytes, facts| {
        port = if port == u16::MAX { 1024 } else { port + 1 };
        let change = Change {
            src: Some(0xc633_6400 | u128::from(port & 0xff)),
            sport: Some(port),
            ..Change::default()
        };
        rewrite::headers(bytes, facts, &hints, &change).expect("it can be written");
    });
}

#[divan::bench(args = [0, 1400])]
fn translate_tcp(bencher: Bencher<'_, '_>, payload: usize) {
    translate(bencher, tcp(payload));
}

#[divan::bench(args = [0, 1400])]
fn translate_sctp(bencher: Bencher<'_, '_>, payload: usize) {
    translate(bencher, sctp(payload));
}

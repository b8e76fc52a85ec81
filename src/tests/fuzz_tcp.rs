//! What the fuzz target of TCP sequences does with an input: any segments through both machines, no
//! panic, and an invalid segment changes nothing. The tests replay its corpus through the same function.
//!
//! The first byte chooses machine and options; each [`SEGMENT`] bytes after it are one segment.

use ctoffload::clock::Time;
use ctoffload::packet::{Facts, Family, Tcp, Transport, proto};
use ctoffload::track::{self, Machine, Options, Outcome};
use ctoffload::tuple::Direction;

/// Bytes of one segment: flags, numbers, window, length, direction, options.
pub const SEGMENT: usize = 16;

fn segment(bytes: &[u8; SEGMENT]) -> (Facts, Direction) {
    let long =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let options = bytes[14];
    let tcp = Tcp {
        sport: 1,
        dport: 2,
        flags: bytes[0] & 0x3f,
        wscale: (options & 1 != 0).then_some(options >> 3),
        sack_permitted: options & 2 != 0,
        seq: long(1),
        ack: long(5),
        window: short(9),
        payload: u32::from(short(11)),
        sack: (options & 4 != 0).then(|| long(5).wrapping_add(u32::from(bytes[15]) << 8)),
    };
    let facts = Facts {
        src: 1,
        dst: 2,
        transport: Transport::Tcp(tcp),
        family: Family::V4,
        proto: proto::TCP,
        l3: 0,
        l4: 20,
        l4_len: 20 + tcp.payload,
    };
    let direction = if bytes[13] & 1 == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    (facts, direction)
}

/// Any sequence of segments through one of the machines.
pub fn tcp_sequence(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let options = Options {
        machine: if choice & 1 == 0 {
            Machine::Ovs
        } else {
            Machine::Kernel
        },
        sequence_check: choice & 2 == 0,
        loose: choice & 4 == 0,
        strict_reset: choice & 8 == 0,
        liberal: choice & 16 != 0,
        now: Time::from_millis(0),
    };
    let mut state = None;
    for bytes in rest.chunks_exact(SEGMENT) {
        let bytes: &[u8; SEGMENT] = bytes.try_into().expect("chunks of that size");
        let (facts, direction) = segment(bytes);
        let Some(current) = &mut state else {
            state = track::open(&facts, &[], &options)
                .ok()
                .map(|opened| opened.state);
            continue;
        };
        let before = *current;
        let step = track::advance(current, &facts, &[], direction, &options);
        if matches!(step.outcome, Outcome::Invalid(_) | Outcome::New) {
            assert_eq!(*current, before);
            assert!(step.timeout.is_none());
        }
        let _names = track::listing(current, proto::TCP, options.machine);
    }
}

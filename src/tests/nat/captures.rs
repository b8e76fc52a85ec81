//! Real sessions through the C example `nat`, as client and server saw them: what one side captured,
//! sent through the engine again, is what the other side captured, byte for byte.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::engine::action::Helper;
use crate::packet::Hints;
use crate::tests::checksums::verify;

/// Where the IP header begins.
const ETHERNET: usize = 14;

/// The public addresses of the sessions.
const PUBLIC: [Ip; 2] = [
    Ip::V4([10, 9, 0, 77]),
    Ip::V6([0xfd, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77]),
];

/// A packet of a capture: microseconds, and the frame.
type Packet = (u64, Vec<u8>);

fn read(name: &str) -> Vec<Packet> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("c-tests/captures");
    let file = std::fs::read(path.join(name)).expect("the capture is there");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(
        (word(0), word(20)),
        (0xa1b2_c3d4, 1),
        "microseconds, Ethernet"
    );
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let (len, whole) = (word(at + 8), word(at + 12));
        assert_eq!(len, whole, "nothing is cut off");
        let time = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
        at += 16 + len as usize;
        let frame = &file[at - len as usize..at];
        // Each network's own multicast is no part of the session.
        if !matches!(ends(ip_of(frame)).1, Ip::V6([0xff, ..])) {
            packets.push((time, frame.to_vec()));
        }
    }
    packets
}

fn ip_of(frame: &[u8]) -> &[u8] {
    &frame[ETHERNET..]
}

fn ends(ip: &[u8]) -> (Ip, Ip) {
    if ip[0] >> 4 == 4 {
        let address = |at: usize| Ip::V4(ip[at..at + 4].try_into().expect("four bytes"));
        (address(12), address(16))
    } else {
        let address = |at: usize| Ip::V6(ip[at..at + 16].try_into().expect("sixteen bytes"));
        (address(8), address(24))
    }
}

fn is_server(address: Ip) -> bool {
    match address {
        Ip::V4(bytes) => bytes == [10, 9, 0, 2],
        Ip::V6(bytes) => bytes[15] == 2,
    }
}

/// As the example: the helper by the port of the packet.
fn helper_of(ip: &[u8]) -> Option<Helper> {
    let (protocol, l4) = if ip[0] >> 4 == 4 {
        (ip[9], 20)
    } else {
        (ip[6], 40)
    };
    match (protocol, u16::from_be_bytes([ip[l4 + 2], ip[l4 + 3]])) {
        (proto::TCP, 21) => Some(Helper::Ftp),
        (proto::UDP, 69) => Some(Helper::Tftp),
        (proto::UDP, 5060) => Some(Helper::Sip),
        _ => None,
    }
}

/// Sends a frame through the engine as the example does, and gives what leaves.
fn forward(engine: &Engine, frame: Vec<u8>, from_server: bool, now: u64) -> Option<Frame> {
    let ip = ip_of(&frame);
    let outgoing = committing(Nat {
        source: Some(NatRange::address(
            PUBLIC[usize::from(ip[0] >> 4 == 6)].number(),
        )),
        ..Nat::default()
    });
    let outgoing = Action {
        helper: helper_of(ip),
        ..outgoing
    };
    let frame = Frame {
        bytes: frame,
        hints: Hints::default(),
        ..Frame::default()
    };
    let action = if from_server { apply() } else { outgoing };
    let frame = run(engine, frame, &action, now);
    let related = state::NEW | state::REL;
    let frame = if from_server && frame.metadata.state & related == related {
        run(engine, frame, &committing(Nat::default()), now)
    } else {
        frame
    };
    let (bits, known) = (frame.metadata.state, state::EST | state::REL);
    let may_pass = bits & state::INV == 0 && (!from_server || bits & known != 0);
    may_pass.then_some(frame)
}

/// Replays a session and gives the engine as it is afterwards.
fn replay(session: &str) -> Engine {
    let client = read(&format!("nat_{session}_client.pcap"));
    let server = read(&format!("nat_{session}_server.pcap"));
    let sent_by = |packets: &[Packet], server: bool| -> Vec<Packet> {
        let sent = |(_, frame): &&Packet| is_server(ends(ip_of(frame)).0) == server;
        packets.iter().filter(sent).cloned().collect()
    };
    let mut arriving: Vec<(u64, bool, Vec<u8>)> = Vec::new();
    for (packets, from_server) in [(&client, false), (&server, true)] {
        let sent = sent_by(packets, from_server).into_iter();
        arriving.extend(sent.map(|(time, frame)| (time, from_server, frame)));
    }
    arriving.sort();
    let begin = arriving[0].0;
    let engine = engine();
    let mut left = [Vec::new(), Vec::new()];
    for (time, from_server, frame) in arriving {
        let now = (time - begin) / 1000;
        if let Some(frame) = forward(&engine, frame, from_server, now) {
            assert_eq!(verify(ip_of(&frame.bytes)), Ok(()));
            left[usize::from(from_server)].push(frame.bytes);
        }
    }
    for (packets, from_server) in [(&server, false), (&client, true)] {
        let seen = sent_by(packets, from_server)
            .into_iter()
            .map(|(_, frame)| frame);
        let seen: Vec<Vec<u8>> = seen.collect();
        assert!(seen.len() > 2, "{session}");
        // Same packets; side by side in time, so the same order.
        assert!(left[usize::from(from_server)] == seen, "{session}");
    }
    for (_, frame) in &server {
        let (src, dst) = ends(ip_of(frame));
        assert!(PUBLIC.contains(&src) || PUBLIC.contains(&dst), "{session}");
    }
    engine
}

/// Protocols of the connections of a session, with whether a helper expected them.
fn connections(engine: &Engine) -> BTreeSet<(u8, bool)> {
    let mut cursor = Cursor::default();
    let all = std::iter::from_fn(|| engine.next(&mut cursor, at(0)));
    all.map(|connection| (connection.original.proto, connection.parent.is_some()))
        .collect()
}

#[test]
fn ftp_sessions_of_real_programs_are_translated_as_they_were() {
    for session in ["ftp_active_v4", "ftp_active_v6", "ftp_passive_v4"] {
        let engine = replay(session);
        assert_eq!(
            connections(&engine),
            BTreeSet::from([(proto::TCP, false), (proto::TCP, true)]),
            "{session}"
        );
    }
}

#[test]
fn a_tftp_session_of_real_programs_is_translated_as_it_was() {
    assert_eq!(
        connections(&replay("tftp")),
        BTreeSet::from([(proto::UDP, false), (proto::UDP, true)])
    );
}

#[test]
fn a_sip_call_of_real_programs_is_translated_as_it_was() {
    assert_eq!(
        connections(&replay("sip")),
        BTreeSet::from([(proto::UDP, false), (proto::UDP, true)])
    );
}

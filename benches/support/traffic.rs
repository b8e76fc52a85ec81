//! Packets of numbered TCP connections, for the benches of the engine.
//!
//! Everything about a connection follows from its number, so a million of them cost no memory of the
//! bench's own. The engine is told that the checksums were found good, as a card tells a switch.

use ctoffload::clock::Time;
use ctoffload::engine::Engine;
use ctoffload::engine::action::Action;
use ctoffload::engine::config::Config;
use ctoffload::engine::descriptor::{Frame, state};
use ctoffload::packet::{Checksum, Hints, tcp_flags};
use ctoffload::tuple::Direction;

/// Packets in a batch.
pub(crate) const BATCH: usize = 32;

/// When the first connection is opened.
pub(crate) const START: Time = Time::from_millis(1_000_000);

/// Look up only, and create as well.
pub(crate) const LOOK: Action = action(false);
pub(crate) const COMMIT: Action = action(true);

const fn action(commit: bool) -> Action {
    Action {
        zone: 1,
        commit,
        force: false,
        mark: None,
        label: None,
        helper: None,
        nat: None,
        timeout_policy: None,
    }
}

/// A packet without data: the SYN, the SYN-ACK or a later acknowledgement of connection `number`.
#[must_use]
pub(crate) fn packet(number: u32, direction: Direction, flags: u8) -> Frame {
    let client = (
        0x0a00_0000 | (number & 0x00ff_ffff),
        1024 + (number % 60_000) as u16,
    );
    let server = (0xc0a8_0001 + number % 251, 443);
    let (from, to) = match direction {
        Direction::Original => (client, server),
        Direction::Reply => (server, client),
    };
    let syn = flags & tcp_flags::SYN != 0;
    let seq = 1_000 + u32::from(!syn);
    let ack = if flags & tcp_flags::ACK != 0 {
        1_001_u32
    } else {
        0
    };

    let mut bytes = Vec::with_capacity(40);
    bytes.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend(from.0.to_be_bytes());
    bytes.extend(to.0.to_be_bytes());
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);

    let mut frame = Frame::ip(bytes);
    frame.hints = Hints {
        l3: Some(0),
        ip_checksum: Checksum::Good,
        l4_checksum: Checksum::Good,
        ..Hints::default()
    };
    frame
}

/// The same packet of `BATCH` connections from `first` on.
#[must_use]
pub(crate) fn batch(first: u32, direction: Direction, flags: u8) -> Vec<Frame> {
    (first..first + BATCH as u32)
        .map(|number| packet(number, direction, flags))
        .collect()
}

/// The three packets of the handshakes of `BATCH` connections from `first` on.
#[must_use]
pub(crate) fn handshakes(first: u32) -> [Vec<Frame>; 3] {
    [
        batch(first, Direction::Original, tcp_flags::SYN),
        batch(first, Direction::Reply, tcp_flags::SYN | tcp_flags::ACK),
        batch(first, Direction::Original, tcp_flags::ACK),
    ]
}

/// An engine with `connections` established TCP connections (a multiple of [`BATCH`]).
///
/// # Panics
/// When a packet of the handshakes was not tracked as it must be.
#[must_use]
pub(crate) fn established(connections: u32) -> Engine {
    let config = Config {
        seed: Some([7; 8]),
        ..Config::default()
    };
    let engine = Engine::new(&config).expect("the configuration is valid");
    for first in (0..connections).step_by(BATCH) {
        for mut frames in handshakes(first) {
            engine.execute(&mut frames, &COMMIT, START);
            let tracked = |frame: &Frame| frame.metadata.state & state::INV == 0;
            assert!(frames.iter().all(tracked), "a handshake was refused");
        }
    }
    engine
}

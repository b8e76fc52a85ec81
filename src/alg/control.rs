//! What is remembered of a TCP control connection between its packets.
//!
//! Two things: how far the numbers of both directions are moved ([`Skew`]), and where the lines of
//! both directions begin. A command counts only at the beginning of a line. Otherwise a peer that can
//! choose the text of a longer message, such as a web page posting a form, can place a command at the
//! beginning of a packet ("NAT slipstreaming") and have a port opened to the host that sent it.
//! Open vSwitch does not look; the engine decides by its profile whether it asks
//! [`Control::begins_line`].
//!
//! [`Controls`] keeps the state of the few connections that have any, by id. A connection without it
//! costs one load, and control connections lock one shard per packet.

use std::collections::HashMap;

use super::skew::{KEPT, Skew, after};
use crate::nat::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::tuple::{ConnectionId, Direction};

const SHARDS: u64 = 16;

/// Beginnings of lines that are remembered: that of the next line and, for retransmissions, those of
/// as many lines as there may be changes of length in flight.
const LINES: usize = KEPT + 1;

/// The state of one control connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// How far its sequence numbers are moved.
    pub skew: Skew,
    /// Newest first.
    lines: [[Option<u32>; LINES]; 2],
}

impl Control {
    /// A packet with this sequence number, as its sender numbered it, begins a line. The first packet
    /// of a direction is taken to begin one.
    #[must_use]
    pub fn begins_line(&self, direction: Direction, seq: u32) -> bool {
        let lines = &self.lines[direction as usize];
        lines.contains(&Some(seq)) || lines.iter().all(Option::is_none)
    }

    /// A packet went by: if it ends a line, the next one begins behind it. Its own beginning is
    /// remembered, too: what was read once is read again when it is retransmitted.
    pub fn passed(&mut self, direction: Direction, seq: u32, payload: &[u8]) {
        if self.begins_line(direction, seq) {
            self.remember(direction, seq);
        }
        if payload.last() == Some(&b'\n') {
            self.remember(direction, seq.wrapping_add(payload.len() as u32));
        }
    }

    fn remember(&mut self, direction: Direction, seq: u32) {
        let lines = &mut self.lines[direction as usize];
        if lines.contains(&Some(seq)) {
            return;
        }
        let older = lines
            .iter()
            .position(|line| line.is_none_or(|line| after(seq, line)));
        if let Some(place) = older {
            lines[place..].rotate_right(1);
            lines[place] = Some(seq);
        }
    }
}

/// The states of all control connections of an instance.
#[derive(Debug)]
pub struct Controls {
    count: AtomicU32,
    shards: Box<[Mutex<HashMap<ConnectionId, Control>>]>,
}

impl Default for Controls {
    fn default() -> Controls {
        Controls {
            count: AtomicU32::new(0),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Controls {
    /// A copy of the state of a connection; that of a new one when there is none yet.
    #[must_use]
    #[inline]
    pub fn get(&self, id: ConnectionId) -> Control {
        // Relaxed: a connection's own packets find what its earlier ones stored through the shard's
        // lock; the count only says that no connection at all has a state.
        if self.count.load(Ordering::Relaxed) == 0 {
            return Control::default();
        }
        lock(self.shard(id)).get(&id).copied().unwrap_or_default()
    }

    /// Changes the state of a connection. `change` runs with a shard locked: it must call nothing
    /// of the engine.
    pub fn update<R>(&self, id: ConnectionId, change: impl FnOnce(&mut Control) -> R) -> R {
        let mut shard = lock(self.shard(id));
        let control = shard.entry(id).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Control::default()
        });
        change(control)
    }

    /// The connection ended.
    #[inline]
    pub fn removed(&self, id: ConnectionId) {
        if self.count.load(Ordering::Relaxed) != 0 && lock(self.shard(id)).remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Number of connections with a state.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// No connection has a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, id: ConnectionId) -> &Mutex<HashMap<ConnectionId, Control>> {
        &self.shards[(id.0 % SHARDS) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_the_middle_of_a_line_does_not_begin_one() {
        let mut control = Control::default();
        let direction = Direction::Original;
        assert!(control.begins_line(direction, 100), "nothing is known yet");
        control.passed(direction, 100, b"USER x\r\n");
        assert!(control.begins_line(direction, 108));
        control.passed(direction, 108, b"STOR aaaaaaaaaaaa");
        assert!(!control.begins_line(direction, 125));
        assert!(
            control.begins_line(Direction::Reply, 125),
            "the other direction has its own lines"
        );
    }

    #[test]
    fn a_retransmitted_line_begins_where_it_did() {
        let mut control = Control::default();
        let direction = Direction::Reply;
        control.passed(direction, u32::MAX - 1, b"220\n");
        control.passed(direction, 2, b"331 x\n");
        control.passed(direction, 2, b"331 x\n");
        assert!(control.begins_line(direction, 2) && control.begins_line(direction, 8));
    }

    #[test]
    fn the_first_line_and_the_last_four_may_be_retransmitted() {
        let mut control = Control::default();
        let direction = Direction::Original;
        control.passed(direction, 0, b"PORT 1,2,3,4,5,6\n");
        assert!(control.begins_line(direction, 0));
        for line in 0..4 {
            control.passed(direction, 17 + 5 * line, b"NOOP\n");
        }
        assert!((0..5).all(|line| control.begins_line(direction, 17 + 5 * line)));
        // What is older than all that are remembered makes none of them be forgotten.
        control.passed(direction, 1, b"x\n");
        assert!(control.begins_line(direction, 17));
    }

    #[test]
    fn a_line_that_has_not_ended_goes_on_in_the_next_packet() {
        let mut control = Control::default();
        let direction = Direction::Original;
        control.passed(direction, 0, b"POST / HTTP/1.1");
        assert!(control.begins_line(direction, 0));
        assert!(!control.begins_line(direction, 15));
    }

    #[test]
    fn a_state_lives_as_long_as_its_connection() {
        let controls = Controls::default();
        let id = ConnectionId(7);
        controls.update(id, |control| {
            control.skew.record(Direction::Original, 10, 4)
        });
        assert_eq!(controls.get(id).skew.sequence(Direction::Original, 11), 15);
        assert_eq!(controls.get(ConnectionId(8)), Control::default());
        controls.removed(id);
        assert_eq!((controls.get(id), controls.len()), (Control::default(), 0));
    }
}

//! TCP sequence numbers after a helper has changed the length of the text.
//!
//! Once a message grew by `d` bytes, everything its sender sends after it must be numbered `d`
//! higher, and everything its peer acknowledges beyond it `d` lower. A single running sum, as Open
//! vSwitch keeps, is wrong for every retransmission of what came before: that must keep its old
//! numbers. Linux keeps one position and the sums before and after it (`nf_ct_seqadj`). Here the last
//! [`KEPT`] positions are kept, so that several changes may be in flight at once.
//!
//! 1. A change is recorded at the sequence number of the edited packet, as its sender numbered it.
//!    Bytes at or before that number are moved by the sum before it, bytes after it by the sum after.
//! 2. A retransmission of an edited packet is edited again, to the same text, and its change is
//!    recognised by its position: it counts once.
//! 3. Acknowledgements, and the edges of SACK blocks, are numbers of the other side's stream as the
//!    peer sees it: the position is compared in the peer's numbering, and the sum taken off.
//!
//! Positions are compared modulo 2^32, so they hold for half of the number space.

use crate::tuple::Direction;

/// Changes of one direction that are told apart. Older ones are taken to be acknowledged.
pub const KEPT: usize = 4;

/// A change of length: what stands after `position` is moved by `sum`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    position: u32,
    sum: i32,
}

/// The changes of one direction, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    /// Sum of the changes that were forgotten.
    base: i32,
    len: u8,
    changes: [Change; KEPT],
}

/// `a` stands after `b` in a TCP stream.
pub(super) const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Side {
    fn changes(&self) -> &[Change] {
        &self.changes[..usize::from(self.len)]
    }

    fn last_sum(&self) -> i32 {
        self.changes().last().map_or(self.base, |change| change.sum)
    }

    /// Move of a byte numbered by its sender.
    fn of_sent(&self, seq: u32) -> i32 {
        let change = self
            .changes()
            .iter()
            .rev()
            .find(|change| after(seq, change.position));
        change.map_or(self.base, |change| change.sum)
    }

    /// Move of a byte numbered by the receiver.
    fn of_received(&self, ack: u32) -> i32 {
        let mut before = self.base;
        for change in self.changes() {
            if !after(ack.wrapping_sub(before as u32), change.position) {
                break;
            }
            before = change.sum;
        }
        before
    }

    fn record(&mut self, position: u32, delta: i32) {
        let known = self
            .changes()
            .last()
            .is_some_and(|last| !after(position, last.position));
        if known || delta == 0 {
            return;
        }
        let sum = self.last_sum().wrapping_add(delta);
        if usize::from(self.len) == KEPT {
            self.base = self.changes[0].sum;
            self.changes.rotate_left(1);
            self.len -= 1;
        }
        self.changes[usize::from(self.len)] = Change { position, sum };
        self.len += 1;
    }
}

/// The changes of both directions of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    sides: [Side; 2],
}

impl Skew {
    /// A packet of `direction` with sequence number `seq`, as its sender numbered it, changed its
    /// length by `delta`. A packet at or before the last change is a retransmission: nothing new.
    pub fn record(&mut self, direction: Direction, seq: u32, delta: i32) {
        self.sides[direction as usize].record(seq, delta);
    }

    /// The sequence number that a packet of `direction` leaves with.
    #[must_use]
    pub fn sequence(&self, direction: Direction, seq: u32) -> u32 {
        seq.wrapping_add(self.sides[direction as usize].of_sent(seq) as u32)
    }

    /// The acknowledgement number, or edge of a SACK block, that a packet of `direction` leaves with.
    #[must_use]
    pub fn acknowledgement(&self, direction: Direction, ack: u32) -> u32 {
        ack.wrapping_sub(self.sides[direction.opposite() as usize].of_received(ack) as u32)
    }

    /// Nothing was ever changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Skew::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_follows_an_edit_is_moved_and_acknowledged_back() {
        let mut skew = Skew::default();
        skew.record(Direction::Original, 1000, 5);
        assert_eq!(skew.sequence(Direction::Original, 1000), 1000);
        assert_eq!(skew.sequence(Direction::Original, 1020), 1025);
        assert_eq!(skew.acknowledgement(Direction::Reply, 1025), 1020);
        assert_eq!(skew.sequence(Direction::Reply, 1020), 1020);
        assert_eq!(skew.acknowledgement(Direction::Original, 1025), 1025);
    }

    #[test]
    fn a_retransmission_from_before_an_edit_keeps_its_numbers() {
        let mut skew = Skew::default();
        skew.record(Direction::Original, 1000, 5);
        skew.record(Direction::Original, 1100, -3);
        assert_eq!(skew.sequence(Direction::Original, 990), 990);
        assert_eq!(skew.sequence(Direction::Original, 1050), 1055);
        assert_eq!(skew.sequence(Direction::Original, 1200), 1202);
        assert_eq!(skew.acknowledgement(Direction::Reply, 990), 990);
        assert_eq!(skew.acknowledgement(Direction::Reply, 1055), 1050);
        assert_eq!(skew.acknowledgement(Direction::Reply, 1202), 1200);
    }

    #[test]
    fn a_retransmitted_edit_counts_once() {
        let mut skew = Skew::default();
        skew.record(Direction::Original, 1000, 5);
        let once = skew;
        skew.record(Direction::Original, 1000, 5);
        assert_eq!(skew, once);
    }

    proptest! {
        /// Against the plain model: all edits ever made, any wrap of the numbers, the last four
        /// of them in flight.
        #[test]
        fn both_ways_agree_with_the_list_of_all_edits(
            start in any::<u32>(),
            edits in prop::collection::vec((1_u32..2000, -40_i32..40), 1..12),
        ) {
            let mut skew = Skew::default();
            let mut position = start;
            let mut all = Vec::new();
            for (gap, delta) in edits {
                // A message is longer than what it loses.
                position = position.wrapping_add(gap + 41);
                skew.record(Direction::Reply, position, delta);
                all.push((position, delta));
                let oldest = if all.len() > KEPT { all[all.len() - KEPT - 1].0 } else { start };
                let mut seq = oldest.wrapping_add(41);
                while !after(seq, position.wrapping_add(100)) {
                    let inside = all.iter().any(|(p, _)| {
                        after(seq, *p) && !after(seq, p.wrapping_add(40))
                    });
                    if !inside {
                        let sum: i32 =
                            all.iter().filter(|(p, _)| after(seq, *p)).map(|(_, d)| d).sum();
                        let moved = seq.wrapping_add(sum as u32);
                        prop_assert_eq!(skew.sequence(Direction::Reply, seq), moved);
                        prop_assert_eq!(skew.acknowledgement(Direction::Original, moved), seq);
                    }
                    seq = seq.wrapping_add(13);
                }
            }
        }
    }
}

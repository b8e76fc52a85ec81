//! TCP of the Open vSwitch machine: one state per side and a sequence window, as pf has it.
//!
//! The window is Guido van Rooij's ("Real stateful TCP packet filtering in IP Filter"): each side has
//! the highest sequence number it sent (`low`), the highest it may send (`high`: acknowledged plus
//! window) and its largest window. A segment must end below `high` and begin no more than one of the
//! receiver's windows before `low`, and must acknowledge about what the other side sent.
//!
//! Of the states' names a side only takes CLOSED, SYN_SENT, ESTABLISHED, CLOSING, FIN_WAIT_2 and
//! TIME_WAIT, and their order carries meaning.
//!
//! Both sides are packed into three words: `low` and `high` of a side in one word each, the rest of
//! both in the third, and beside it the scales that apply to segments without SYN, which follow from what
//! is known of both: they change with two packets and are asked for by all others. A packet unpacks,
//! decides and packs; nothing is written when it is invalid.
//!
//! One defect of the original is mended: when the answering SYN brings no scale, the opener's window
//! (already divided by its scale) is multiplied back, which may overflow 16 bits by the rounding. The
//! field of a SYN is never more than 65,535, so the product is held there.

use super::timeout::Class;
use super::{Opened, Options, Outcome, Step, TcpNames, at_or_after, illegal_flags, protocol_flags};
use crate::packet::{Tcp, tcp_flags};
use crate::reason::Reason;
use crate::tuple::Direction;
use tcp_flags::{ACK, FIN, RST, SYN};

pub(super) const CLOSED: u8 = 0;
const SYN_SENT: u8 = 2;
pub(super) const ESTABLISHED: u8 = 4;
pub(super) const CLOSING: u8 = 7;
pub(super) const FIN_WAIT_2: u8 = 9;
const TIME_WAIT: u8 = 10;

/// How listings call the states, by number.
const NAMES: [&str; 16] = [
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT_1",
    "CLOSING",
    "LAST_ACK",
    "FIN_WAIT_2",
    "TIME_WAIT",
    "CLOSED",
    "CLOSED",
    "CLOSED",
    "CLOSED",
    "CLOSED",
];

const SCALE_KNOWN: u8 = 0x20;
const SCALE_UNKNOWN: u8 = 0x10;
const SCALE_BITS: u8 = 0x0f;
const SCALE_MAX: u8 = 14;
/// Where the scale that applies to a side stands in its half of the third word.
const SHIFT: u32 = 28;

/// How far an acknowledgement may be off, and how far awkward packets may be outside the window.
const MAX_ACK_WINDOW: u32 = 0xffff + 1500;

/// One side of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Highest sequence number sent.
    pub(super) low: u32,
    /// Highest sequence number allowed.
    pub(super) high: u32,
    /// Largest window announced, unscaled.
    pub(super) window: u16,
    /// Window scale: four bits and what is known of it.
    pub(super) scale: u8,
    /// State.
    pub(super) state: u8,
}

impl Peer {
    #[inline]
    const fn unpack(numbers: u64, rest: u32) -> Peer {
        Peer {
            low: numbers as u32,
            high: (numbers >> 32) as u32,
            window: rest as u16,
            scale: (rest >> 16) as u8 & 0x3f,
            state: (rest >> 24) as u8 & 0x0f,
        }
    }

    #[inline]
    const fn numbers(self) -> u64 {
        self.low as u64 | (self.high as u64) << 32
    }

    /// Its half of the third word; `shift` is the scale that applies to it.
    #[inline]
    const fn rest(self, shift: u8) -> u64 {
        let (scale, state, shift) = (self.scale as u64, self.state as u64, shift as u64);
        self.window as u64 | scale << 16 | state << 24 | shift << SHIFT
    }

    /// The window scale that the side's SYN brought.
    pub(super) fn known_scale(self) -> Option<u8> {
        (self.scale & SCALE_KNOWN != 0).then_some(self.scale & SCALE_BITS)
    }

    /// What every accepted segment does to its sender's side.
    #[inline]
    fn sent(&mut self, window: u16, end: u32) {
        self.window = self.window.max(window);
        if at_or_after(end, self.low) {
            self.low = end;
        }
    }

    /// The window of what this side may send slides with the other's acknowledgement.
    #[inline]
    fn allow(&mut self, ack: u32, window: u32) {
        if at_or_after(ack.wrapping_add(window), self.high) {
            self.high = ack.wrapping_add(window.max(1));
        }
    }
}

#[inline]
pub(super) const fn unpack(words: &[u64; 3]) -> [Peer; 2] {
    [
        Peer::unpack(words[0], words[2] as u32),
        Peer::unpack(words[1], (words[2] >> 32) as u32),
    ]
}

#[inline]
pub(super) const fn pack(peers: &[Peer; 2]) -> [u64; 3] {
    let [first, second] = peers;
    let (first_shift, second_shift) = shifts(first, second, 0);
    let rest = first.rest(first_shift) | second.rest(second_shift) << 32;
    [first.numbers(), second.numbers(), rest]
}

/// The scale of a SYN: known, or zero without the option.
const fn scale_of(tcp: &Tcp) -> u8 {
    match tcp.wscale {
        Some(scale) if scale > SCALE_MAX => SCALE_MAX | SCALE_KNOWN,
        Some(scale) => scale | SCALE_KNOWN,
        None => 0,
    }
}

/// The first sequence number after the segment.
#[inline]
pub(super) const fn end_of(tcp: &Tcp) -> u32 {
    let phantom = (tcp.flags & SYN != 0) as u32 + (tcp.flags & FIN != 0) as u32;
    tcp.seq.wrapping_add(tcp.payload).wrapping_add(phantom)
}

/// Whether a segment may open a connection.
#[inline]
pub(super) const fn may_open(tcp: &Tcp) -> Result<(), Reason> {
    if illegal_flags(tcp.flags) {
        Err(Reason::TcpFlags)
    } else if tcp.flags & (SYN | ACK) == SYN | ACK {
        Err(Reason::TcpSynAckFirst)
    } else {
        Ok(())
    }
}

#[inline(always)]
pub(super) fn open(tcp: &Tcp) -> Result<Opened, Reason> {
    may_open(tcp)?;
    let (scale, other_scale) = if tcp.flags & SYN != 0 {
        (scale_of(tcp), 0)
    } else {
        (SCALE_UNKNOWN, SCALE_UNKNOWN)
    };
    let source = Peer {
        low: tcp.seq,
        high: end_of(tcp).wrapping_add(1),
        window: tcp.window.max(1).div_ceil(1 << (scale & SCALE_BITS)),
        scale,
        state: SYN_SENT,
    };
    let target = Peer {
        low: 0,
        high: 1,
        window: 1,
        scale: other_scale,
        state: CLOSED,
    };
    Ok(Opened::new(pack(&[source, target]), Class::TcpFirstPacket))
}

#[inline(always)]
pub(super) fn advance(
    words: &mut [u64; 3],
    tcp: &Tcp,
    direction: Direction,
    options: impl FnOnce() -> Options,
) -> Step {
    if let Some((after, class)) = acknowledging(*words, tcp, direction) {
        *words = after;
        return Step::new(Outcome::Valid, class);
    }
    // On a copy, so that those of the other way stay in registers.
    let mut by_rules = *words;
    let step = advance_by_rules(&mut by_rules, tcp, direction, &options());
    *words = by_rules;
    step
}

/// The straight way: what becomes of a connection by a packet that is nothing but an acknowledgement,
/// with data or without, between two established sides and inside the window. It is valid then, and
/// waits for [`Class::TcpEstablished`]. `None`: the rules must say.
#[must_use]
#[inline(always)]
pub fn established(words: [u64; 3], tcp: &Tcp, direction: Direction) -> Option<[u64; 3]> {
    if both_established(&words) {
        settled(words, tcp, direction)
    } else {
        None
    }
}

/// [`established`] for a connection of which it is known that both sides are.
#[must_use]
#[inline(always)]
pub fn settled(words: [u64; 3], tcp: &Tcp, direction: Direction) -> Option<[u64; 3]> {
    debug_assert!(both_established(&words));
    if tcp.flags & (SYN | FIN | RST | ACK) == ACK {
        inside_window(words, tcp, tcp.payload, direction)
    } else {
        None
    }
}

/// What becomes of a connection by any acknowledgement without SYN or RST that is inside the window, of a
/// side that has begun, and what it waits for then: most packets of a connection that opens or closes.
/// `None`: the rules must say, which would say the same.
#[inline(always)]
fn acknowledging(words: [u64; 3], tcp: &Tcp, direction: Direction) -> Option<([u64; 3], Class)> {
    let (source, target) = state_places(direction);
    if tcp.flags & (SYN | RST | ACK) != ACK || state_at(words[STATES], source) < SYN_SENT {
        return None;
    }
    let fin = tcp.flags & FIN != 0;
    let length = tcp.payload.wrapping_add(fin.into());
    let mut after = inside_window(words, tcp, length, direction)?;
    let sender = match state_at(words[STATES], source) {
        state if fin => state.max(CLOSING),
        state => state,
    };
    let receiver = acknowledged(state_at(words[STATES], target));
    after[STATES] =
        after[STATES] & !BOTH_STATES | u64::from(sender) << source | u64::from(receiver) << target;
    Some((after, class_of(sender, receiver)))
}

/// The state of a side after an acknowledgement by the other.
#[inline]
const fn acknowledged(state: u8) -> u8 {
    match state {
        SYN_SENT => ESTABLISHED,
        CLOSING => FIN_WAIT_2,
        state => state,
    }
}

/// The word that the states of both sides are in.
const STATES: usize = 2;

/// Both sides are established.
#[inline(always)]
pub(super) const fn both_established(words: &[u64; 3]) -> bool {
    words[STATES] & BOTH_STATES == BOTH_ESTABLISHED
}

/// All rules, for any packet.
pub(super) fn advance_by_rules(
    words: &mut [u64; 3],
    tcp: &Tcp,
    direction: Direction,
    options: &Options,
) -> Step {
    if illegal_flags(tcp.flags) {
        return Step::invalid(Reason::TcpFlags);
    }
    // The sender's half of the third word comes first; so both sides stay in registers.
    let side = direction as usize;
    let turn = 32 * side as u32;
    let rest = words[2].rotate_right(turn);
    let mut source = Peer::unpack(words[side], rest as u32);
    let mut target = Peer::unpack(words[1 - side], (rest >> 32) as u32);
    let step = 'step: {
        if tcp.flags & (SYN | ACK) == SYN {
            if source.state >= FIN_WAIT_2 && target.state >= FIN_WAIT_2 {
                return Step::quiet(Outcome::New);
            }
            if source.state <= SYN_SENT {
                // A retransmitted SYN keeps the numbers of the first, whatever it carries.
                source.state = SYN_SENT;
                break 'step Step::new(Outcome::ValidNew, Class::TcpFirstPacket);
            }
        }
        follow(&mut source, &mut target, tcp, options)
    };
    if !matches!(step.outcome, Outcome::Invalid(_)) {
        let [source_numbers, target_numbers, rest] = pack(&[source, target]);
        words[side] = source_numbers;
        words[1 - side] = target_numbers;
        words[2] = rest.rotate_left(turn);
    }
    step
}

/// Where both states stand in the third word, and what stands there when both are ESTABLISHED.
const BOTH_STATES: u64 = 0x0f00_0000_0f00_0000;
const BOTH_ESTABLISHED: u64 = (ESTABLISHED as u64) << 24 | (ESTABLISHED as u64) << 56;

/// Where the states of sender and receiver stand in the third word.
const fn state_places(direction: Direction) -> (u32, u32) {
    match direction {
        Direction::Original => (24, 56),
        Direction::Reply => (56, 24),
    }
}

const fn state_at(word: u64, place: u32) -> u8 {
    (word >> place) as u8 & 0x0f
}

/// The numbers after a segment with an acknowledgement, of this length, if it is inside the window.
#[inline(always)]
fn inside_window(
    words: [u64; 3],
    tcp: &Tcp,
    length: u32,
    direction: Direction,
) -> Option<[u64; 3]> {
    // The sender's numbers and its half of the third word come first.
    let [source, target, rest] = match direction {
        Direction::Original => words,
        Direction::Reply => [words[1], words[0], words[2].rotate_left(32)],
    };
    let (sent, allowed) = (source as u32, (source >> 32) as u32);
    let (acked, target_allowed) = (target as u32, (target >> 32) as u32);
    let (source_shift, target_shift) = (rest as u32 >> SHIFT, rest >> (32 + SHIFT));
    let (seq, end) = if length == 0 {
        (sent, sent)
    } else {
        (tcp.seq, tcp.seq.wrapping_add(length))
    };
    let back = u32::from((rest >> 32) as u16) << target_shift;
    // Between one window ahead and one scaled one behind: a number from zero to their sum.
    let skew = acked.wrapping_sub(tcp.ack).wrapping_add(MAX_ACK_WINDOW);
    let inside = at_or_after(allowed, end)
        & at_or_after(seq, sent.wrapping_sub(back))
        & (skew <= (MAX_ACK_WINDOW << source_shift) + MAX_ACK_WINDOW);
    if !inside {
        return None;
    }
    let highest = if at_or_after(end, sent) { end } else { sent };
    let window = u32::from(tcp.window) << source_shift;
    let edge = if at_or_after(tcp.ack.wrapping_add(window), target_allowed) {
        tcp.ack.wrapping_add(window.max(1))
    } else {
        target_allowed
    };
    let source = u64::from(highest) | u64::from(allowed) << 32;
    let target = u64::from(acked) | u64::from(edge) << 32;
    let rest = rest & !0xffff | u64::from(tcp.window.max(rest as u16));
    Some(match direction {
        Direction::Original => [source, target, rest],
        Direction::Reply => [target, source, rest.rotate_left(32)],
    })
}

#[inline(always)]
fn follow(source: &mut Peer, target: &mut Peer, tcp: &Tcp, options: &Options) -> Step {
    let mut window = tcp.window;
    let (mut source_shift, mut target_shift) = shifts(source, target, tcp.flags);
    let end = end_of(tcp);
    let mut check_ack = true;
    if source.state < SYN_SENT {
        if tcp.flags & SYN != 0 && target.scale & SCALE_KNOWN != 0 {
            source.scale = scale_of(tcp);
            if source.scale & SCALE_KNOWN != 0 {
                source_shift = source.scale & SCALE_BITS;
                target_shift = target.scale & SCALE_BITS;
                window = window.div_ceil(1 << source_shift);
            } else {
                let whole = u32::from(target.window) << (target.scale & SCALE_BITS);
                target.window = u16::try_from(whole).unwrap_or(u16::MAX);
                target.scale = 0;
            }
        }
        source.low = tcp.seq;
        source.state = SYN_SENT;
        let allowed = end.wrapping_add((u32::from(target.window) << target_shift).max(1));
        if source.high == 1 || at_or_after(allowed, source.high) {
            source.high = allowed;
            check_ack = false;
        }
        source.window = source.window.max(window);
    }
    // No ACK, or a RST of a stack that leaves the field empty: nothing to check.
    let ack = if tcp.flags & ACK == 0 || (tcp.flags & RST != 0 && tcp.ack == 0) {
        target.low
    } else {
        tcp.ack
    };
    // A segment without data is where its sender is.
    let (seq, end) = if tcp.seq == end {
        (source.low, source.low)
    } else {
        (tcp.seq, end)
    };
    let skew = if check_ack {
        target.low.wrapping_sub(ack) as i32
    } else {
        0
    };
    let allowed = u32::from(window) << source_shift;
    let refusal = refusal(
        source,
        target,
        tcp,
        [seq, end],
        skew,
        [source_shift, target_shift],
    );
    if refusal == Reason::None || options.lenient() {
        source.sent(window, end);
        target.allow(ack, allowed);
        if tcp.flags & FIN != 0 {
            source.state = source.state.max(CLOSING);
        }
        if tcp.flags & ACK != 0 {
            target.state = acknowledged(target.state);
        }
        if tcp.flags & RST != 0 {
            source.state = TIME_WAIT;
            target.state = TIME_WAIT;
        }
        let mut step = Step::new(Outcome::Valid, class_of(source.state, target.state));
        step.bypassed = refusal != Reason::None;
        return step;
    }
    // SYNs that cross, streams picked up in the middle and what stacks send after the close. No
    // refresh: a flood of such packets must not keep the connection.
    if (target.state < SYN_SENT || target.state >= FIN_WAIT_2 || source.state >= FIN_WAIT_2)
        && at_or_after(source.high.wrapping_add(MAX_ACK_WINDOW), end)
        && at_or_after(seq, source.low.wrapping_sub(MAX_ACK_WINDOW))
    {
        source.sent(window, end);
        target.allow(ack, allowed);
        if tcp.flags & FIN != 0 {
            source.state = source.state.max(CLOSING);
        }
        if tcp.flags & RST != 0 {
            source.state = TIME_WAIT;
            target.state = TIME_WAIT;
        }
        return Step::quiet(Outcome::Valid);
    }
    Step::invalid(refusal)
}

/// The scales that apply to a segment: none for a SYN or when only one side has one, the largest
/// possible when the connection was picked up in mid-stream.
#[inline]
const fn shifts(source: &Peer, target: &Peer, flags: u8) -> (u8, u8) {
    let both = source.scale & target.scale;
    if flags & SYN != 0 {
        (0, 0)
    } else if both & SCALE_KNOWN != 0 {
        (source.scale & SCALE_BITS, target.scale & SCALE_BITS)
    } else if both & SCALE_UNKNOWN != 0 {
        (SCALE_MAX, SCALE_MAX)
    } else {
        (0, 0)
    }
}

/// The part of the window that a segment misses.
#[inline]
fn refusal(
    source: &Peer,
    target: &Peer,
    tcp: &Tcp,
    [seq, end]: [u32; 2],
    skew: i32,
    [source_shift, target_shift]: [u8; 2],
) -> Reason {
    let back = u32::from(target.window) << target_shift;
    if !at_or_after(source.high, end) {
        Reason::TcpAboveWindow
    } else if !at_or_after(seq, source.low.wrapping_sub(back)) {
        Reason::TcpBelowWindow
    } else if skew < -(MAX_ACK_WINDOW as i32) {
        Reason::TcpAckAboveData
    } else if skew > (MAX_ACK_WINDOW << source_shift) as i32 {
        Reason::TcpAckTooOld
    } else if tcp.flags & RST != 0 && tcp.seq.wrapping_sub(source.low).wrapping_add(1) > 2 {
        Reason::TcpResetSequence
    } else {
        Reason::None
    }
}

#[inline]
pub(super) const fn class_of(a: u8, b: u8) -> Class {
    let (least, most) = if a < b { (a, b) } else { (b, a) };
    if least >= FIN_WAIT_2 {
        Class::TcpClosed
    } else if least >= CLOSING {
        Class::TcpFinWait
    } else if least < ESTABLISHED {
        Class::TcpOpening
    } else if most >= CLOSING {
        Class::TcpClosing
    } else {
        Class::TcpEstablished
    }
}

/// Both sides' states, and the later one with FIN_WAIT_2 shown as TIME_WAIT.
pub(super) fn listing(words: &[u64; 3]) -> TcpNames {
    let peers = unpack(words);
    let combined = match peers[0].state.max(peers[1].state) {
        FIN_WAIT_2 => TIME_WAIT,
        state => state,
    };
    let flag = |peer: Peer, bit: u8, flag: u8| if peer.scale & bit != 0 { flag } else { 0 };
    TcpNames {
        sides: peers.map(|peer| NAMES[usize::from(peer.state & 0x0f)]),
        combined: NAMES[usize::from(combined & 0x0f)],
        window_scale: peers.map(Peer::known_scale),
        flags: peers.map(|peer| {
            flag(peer, SCALE_KNOWN, protocol_flags::WINDOW_SCALE)
                | flag(peer, SCALE_UNKNOWN, protocol_flags::BE_LIBERAL)
        }),
    }
}

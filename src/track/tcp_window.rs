//! The sequence window of the kernel machine.
//!
//! The same paper as Open vSwitch's (van Rooij), with RFC 793's boundaries: a segment must *touch* the
//! window instead of lying inside it, because what lies outside is cut off by the receiver. Per side:
//!
//! * `end`, the highest sequence number that it sent;
//! * `max_end`, the highest that the other side will take (acknowledged plus window);
//! * `max_window`, the largest window that it announced, scaled; zero until it sent something;
//! * `max_ack`, the highest acknowledgement that it sent.
//!
//! Four rules: I. the segment begins no later than its sender's `max_end`. II. it ends no earlier than
//! the sender's `end` less the receiver's `max_window`. III. it acknowledges nothing that the receiver
//! did not send. IV. its acknowledgement is no older than [`OLDEST_ACK`]. A segment that breaks I or
//! III is invalid. One that breaks only II or IV is late: a retransmission of what was received, or an
//! overtaken acknowledgement. It passes and moves nothing, not even the timer. SACK blocks count as
//! acknowledgements.

use super::protocol_flags::{DATA_UNACKNOWLEDGED, MAXACK_SET, SACK_PERM, WINDOW_SCALE};
use super::tcp_kernel::Association;
use super::tcp_table::{Kind, State};
use super::{Options, at_or_after};
use crate::packet::{Tcp, tcp_flags};
use crate::reason::Reason;
use crate::tuple::Direction;
use tcp_flags::{ACK, FIN, RST, SYN};

/// The least age at which an acknowledgement is too old: the largest unscaled window and a bit.
const OLDEST_ACK: u32 = 66_000;

/// RFC 7323: larger scales count as this one.
const SCALE_MAX: u8 = 14;

/// One side of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Highest sequence number sent.
    pub(super) end: u32,
    /// Highest sequence number that the other side takes.
    pub(super) max_end: u32,
    /// Largest window announced, scaled; zero before the first packet.
    pub(super) max_window: u32,
    /// Highest acknowledgement sent.
    pub(super) max_ack: u32,
    /// Window scale.
    pub(super) scale: u8,
    /// See [`super::protocol_flags`].
    pub(super) flags: u8,
}

impl Peer {
    /// The side that sends a SYN, with its options.
    pub(super) fn begun(tcp: &Tcp) -> Peer {
        let end = end_of(tcp);
        let mut peer = Peer {
            end,
            max_end: end,
            max_window: u32::from(tcp.window).max(1),
            scale: tcp.wscale.unwrap_or(0).min(SCALE_MAX),
            ..Peer::default()
        };
        if tcp.wscale.is_some() {
            peer.flags |= WINDOW_SCALE;
        }
        if tcp.sack_permitted {
            peer.flags |= SACK_PERM;
        }
        peer
    }

    /// The side that sends a segment in mid-stream: its history is lost.
    pub(super) fn joined(tcp: &Tcp, scale: u8, flags: u8) -> Peer {
        let end = end_of(tcp);
        let max_window = (u32::from(tcp.window) << scale).max(1);
        Peer {
            end,
            max_end: end.wrapping_add(max_window),
            max_window,
            scale,
            flags,
            ..Peer::default()
        }
    }
}

/// The first sequence number after the segment.
#[inline]
pub(super) const fn end_of(tcp: &Tcp) -> u32 {
    let phantom = (tcp.flags & SYN != 0) as u32 + (tcp.flags & FIN != 0) as u32;
    tcp.seq.wrapping_add(tcp.payload).wrapping_add(phantom)
}

/// Where a segment stands.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In the window.
    Inside,
    /// Late: it passes, and nothing follows from it.
    Late,
    /// Outside, but windows are not checked here.
    Bypassed,
    /// Outside.
    Outside(Reason),
}

/// Judges a segment and learns from it.
pub(super) fn check(
    connection: &mut Association,
    tcp: &Tcp,
    kind: Kind,
    direction: Direction,
    options: &Options,
) -> Verdict {
    let end = end_of(tcp);
    if begin(connection, tcp, direction) == Begun::Opener {
        return Verdict::Inside;
    }
    let side = direction as usize;
    let mut sender = connection.peers[side];
    let mut receiver = connection.peers[1 - side];
    let (mut ack, mut sack) = acknowledged(tcp, &receiver);
    if tcp.flags & ACK == 0 || (tcp.flags & RST != 0 && tcp.ack == 0) {
        ack = receiver.end;
        sack = receiver.end;
    }
    let resets_syn = tcp.flags & RST != 0 && tcp.seq == 0 && connection.state == State::SynSent;
    let (seq, end) = if resets_syn {
        (sender.end, sender.end)
    } else {
        (tcp.seq, end)
    };

    let verdict = judge(&mut sender, &receiver, seq, end, sack);
    if verdict != Verdict::Inside {
        connection.peers[side] = sender;
        let lenient = options.lenient() || sender.flags & super::protocol_flags::BE_LIBERAL != 0;
        return if lenient { Verdict::Bypassed } else { verdict };
    }

    let shift = if tcp.flags & SYN != 0 {
        0
    } else {
        sender.scale
    };
    let window = u32::from(tcp.window) << shift;
    sender.max_window = sender
        .max_window
        .max(window.wrapping_add(sack.wrapping_sub(ack)));
    if !at_or_after(sender.end, end) {
        sender.end = end;
        sender.flags |= DATA_UNACKNOWLEDGED;
    }
    if tcp.flags & ACK != 0 && (sender.flags & MAXACK_SET == 0 || at_or_after(ack, sender.max_ack))
    {
        sender.max_ack = ack;
        sender.flags |= MAXACK_SET;
    }
    if receiver.max_window != 0 && !at_or_after(sender.max_end, end) {
        let over = end.wrapping_sub(sender.max_end);
        receiver.max_window = receiver.max_window.saturating_add(over);
    }
    if at_or_after(sack.wrapping_add(window), receiver.max_end) {
        receiver.max_end = sack.wrapping_add(window.max(1));
    }
    if ack == receiver.end {
        receiver.flags &= !DATA_UNACKNOWLEDGED;
    }
    connection.peers[side] = sender;
    connection.peers[1 - side] = receiver;
    if kind == Kind::Ack {
        connection.last.repeat(tcp, ack, end, direction);
    }
    Verdict::Inside
}

/// The four rules. Data a little beyond the window is only late, but remembered: when the receiver
/// takes it after all, its acknowledgement must not break rule III.
fn judge(sender: &mut Peer, receiver: &Peer, seq: u32, end: u32, sack: u32) -> Verdict {
    let oldest = receiver.end.wrapping_sub(sender.max_window.max(OLDEST_ACK));
    let ack_known = at_or_after(receiver.end, sack);
    let ack_recent = at_or_after(sack, oldest);
    let touches = at_or_after(end, sender.end.wrapping_sub(receiver.max_window));
    if !at_or_after(sender.max_end, seq) {
        let over = end.wrapping_sub(sender.max_end).wrapping_add(1);
        let near = receiver.max_window != 0 && touches && over <= receiver.max_window;
        if near && ack_known && ack_recent {
            sender.end = end;
            sender.flags |= DATA_UNACKNOWLEDGED;
            return Verdict::Late;
        }
        return Verdict::Outside(Reason::TcpAboveWindow);
    }
    if !ack_known {
        return Verdict::Outside(Reason::TcpAckAboveData);
    }
    if (receiver.max_window != 0 && !touches) || !ack_recent {
        return Verdict::Late;
    }
    Verdict::Inside
}

/// What a segment acknowledges: by its number, and by its blocks when they were agreed on.
fn acknowledged(tcp: &Tcp, receiver: &Peer) -> (u32, u32) {
    match tcp.sack {
        Some(edge) if receiver.flags & SACK_PERM != 0 && at_or_after(edge, tcp.ack) => {
            (tcp.ack, edge)
        }
        _ => (tcp.ack, tcp.ack),
    }
}

/// Whether the segment is done with after its sender's side began.
#[derive(PartialEq, Eq)]
enum Begun {
    /// A SYN without ACK: there is nothing to check it against.
    Opener,
    /// To be checked.
    Checked,
}

/// Begins a side with its first segment, or again with another SYN before the connection is open:
/// an answer may be followed by one with other numbers (RFC 793, "crash recovery").
fn begin(connection: &mut Association, tcp: &Tcp, direction: Direction) -> Begun {
    let side = direction as usize;
    let sender = connection.peers[side];
    let first = sender.max_window == 0;
    let syn = tcp.flags & SYN != 0;
    let opening = matches!(connection.state, State::SynSent | State::SynRecv);
    if syn && (first || (opening && !at_or_after(sender.end, end_of(tcp)))) {
        connection.peers[side] = Peer::begun(tcp);
        let scaled = connection
            .peers
            .iter()
            .all(|peer| peer.flags & WINDOW_SCALE != 0);
        if direction == Direction::Reply && !scaled {
            for peer in &mut connection.peers {
                peer.scale = 0;
            }
        }
        let answer = tcp.flags & ACK != 0;
        if !answer && (first || direction == Direction::Reply) {
            return Begun::Opener;
        }
    } else if first {
        connection.peers[side] = Peer::joined(tcp, sender.scale, sender.flags);
        let sack = acknowledged(tcp, &connection.peers[1 - side]).1;
        let receiver = &mut connection.peers[1 - side];
        if receiver.max_window == 0 {
            receiver.end = sack;
            receiver.max_end = sack;
        } else if sack == receiver.end.wrapping_add(1) {
            // The answer to a keepalive.
            receiver.end = sack;
        }
    }
    Begun::Checked
}

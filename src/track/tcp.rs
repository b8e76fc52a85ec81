//! TCP as Open vSwitch's userspace tracker sees it: pf's state machine, one state per side, and Guido
//! van Rooij's window tracking.
//!
//! Each side has the highest sequence number it sent (`seqlo`), the highest it may send (`seqhi`), its
//! largest window, and its window scale. A segment is legal when it lies inside the window that the
//! other side offered and not more than one window back, and acknowledges neither much more nor much
//! less than was sent. The rules are numbered as in the function [`advance`].
//!
//! One defect of the original is not reproduced: it keeps the largest window in 16 bits, which
//! overflow when a scaled window replaces an unscaled one; here it is held at the largest value.

use super::timeout::Class;
use super::{Options, Outcome, Step};
use crate::packet::{Tcp, tcp_flags};
use crate::reason::Reason;
use crate::tuple::Direction;

/// How far an acknowledgement may be off: the largest window and one packet.
const MAX_ACK_WINDOW: i64 = 0xffff + 1500;
/// The largest window scale (RFC 7323, section 2.3).
const MAX_SCALE: u8 = 14;

/// The state of one side, in the order that comparisons use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Side {
    Closed = 0,
    SynSent = 2,
    Established = 4,
    Closing = 7,
    FinWait2 = 9,
    TimeWait = 10,
}

impl Side {
    const fn from_bits(bits: u8) -> Side {
        match bits {
            2 => Side::SynSent,
            4 => Side::Established,
            7 => Side::Closing,
            9 => Side::FinWait2,
            10 => Side::TimeWait,
            _ => Side::Closed,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Side::Closed => "CLOSED",
            Side::SynSent => "SYN_SENT",
            Side::Established => "ESTABLISHED",
            Side::Closing => "CLOSING",
            Side::FinWait2 => "FIN_WAIT_2",
            Side::TimeWait => "TIME_WAIT",
        }
    }
}

/// What is known of a side's window scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Its SYN carried no such option, or was not seen yet.
    None,
    /// Its SYN carried it.
    Known(u8),
    /// The connection was picked up in mid-stream.
    Unknown,
}

/// One side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    seqlo: u32,
    seqhi: u32,
    max_win: u16,
    pub(super) scale: Scale,
    pub(super) state: Side,
}

/// Both sides: the originator first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peers(pub(super) [Peer; 2]);

const SCALE_KNOWN: u8 = 0x80;
const SCALE_UNKNOWN: u8 = 0x40;

impl Peers {
    #[inline]
    pub(super) fn unpack(words: &[u64; 3]) -> Peers {
        let peer = |window: u64, rest: u32| Peer {
            seqlo: window as u32,
            seqhi: (window >> 32) as u32,
            max_win: rest as u16,
            scale: match (rest >> 16) as u8 {
                bits if bits & SCALE_KNOWN != 0 => Scale::Known(bits & 0x0f),
                bits if bits & SCALE_UNKNOWN != 0 => Scale::Unknown,
                _ => Scale::None,
            },
            state: Side::from_bits((rest >> 24) as u8),
        };
        Peers([
            peer(words[0], words[2] as u32),
            peer(words[1], (words[2] >> 32) as u32),
        ])
    }

    #[inline]
    pub(super) fn pack(&self) -> [u64; 3] {
        let window = |peer: &Peer| u64::from(peer.seqlo) | u64::from(peer.seqhi) << 32;
        let rest = |peer: &Peer| {
            let scale = match peer.scale {
                Scale::None => 0,
                Scale::Known(scale) => SCALE_KNOWN | scale,
                Scale::Unknown => SCALE_UNKNOWN,
            };
            u64::from(peer.max_win) | u64::from(scale) << 16 | (peer.state as u64) << 24
        };
        let [a, b] = &self.0;
        [window(a), window(b), rest(a) | rest(b) << 32]
    }
}

/// A combination of flags that no TCP sends: SYN with RST or FIN; neither SYN, ACK nor RST; FIN, PSH
/// or URG without ACK.
#[inline]
pub(super) const fn has_illegal_flags(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
    let opening = if flags & SYN != 0 {
        flags & (RST | FIN) != 0
    } else {
        flags & (ACK | RST) == 0
    };
    opening || flags & ACK == 0 && flags & (FIN | PSH | URG) != 0
}

/// Sequence numbers compare by the sign of their difference (RFC 9293, section 3.4).
#[inline]
const fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

/// Both sides after the first packet of a connection.
pub(super) fn open(tcp: &Tcp, options: &Options) -> Result<Peers, Reason> {
    use tcp_flags::{ACK, FIN, SYN};
    if has_illegal_flags(tcp.flags) {
        return Err(Reason::TcpFlags);
    }
    let syn = tcp.flags & SYN != 0;
    if syn && tcp.flags & ACK != 0 {
        return Err(Reason::TcpSynAckFirst);
    }
    if !syn && !options.loose {
        return Err(Reason::TcpMidstream);
    }
    let mut seqhi = tcp.seq.wrapping_add(tcp.payload).wrapping_add(1);
    let mut max_win = tcp.window.max(1);
    let mut scales = [Scale::Unknown; 2];
    if syn {
        seqhi = seqhi.wrapping_add(1);
        scales = [scale_of(tcp), Scale::None];
        if let Scale::Known(shift) = scales[0] {
            max_win = unscaled(max_win, shift);
        }
    }
    if tcp.flags & FIN != 0 {
        seqhi = seqhi.wrapping_add(1);
    }
    Ok(Peers([
        Peer {
            seqlo: tcp.seq,
            seqhi,
            max_win,
            scale: scales[0],
            state: Side::SynSent,
        },
        Peer {
            seqlo: 0,
            seqhi: 1,
            max_win: 1,
            scale: scales[1],
            state: Side::Closed,
        },
    ]))
}

fn scale_of(tcp: &Tcp) -> Scale {
    tcp.wscale
        .map_or(Scale::None, |shift| Scale::Known(shift.min(MAX_SCALE)))
}

/// The window of a SYN, which is not scaled (RFC 7323, section 2.2), in units of `1 << shift`.
fn unscaled(window: u16, shift: u8) -> u16 {
    u32::from(window).div_ceil(1 << shift) as u16
}

/// What a segment is checked against, and what it then changes.
struct Segment {
    /// First sequence number; that of a segment without data is taken from the sender's state.
    seq: u32,
    /// First sequence number after it.
    end: u32,
    /// As it stands in the header.
    raw_seq: u32,
    ack: u32,
    window: u16,
    sender_shift: u8,
    receiver_shift: u8,
    check_ack: bool,
}

/// The next state after a packet of an existing connection.
#[inline]
pub(super) fn advance(
    peers: &mut Peers,
    tcp: &Tcp,
    direction: Direction,
    options: &Options,
) -> Step {
    use tcp_flags::{ACK, RST, SYN};
    if has_illegal_flags(tcp.flags) {
        return Step::invalid(Reason::TcpFlags);
    }
    let [original, reply] = &mut peers.0;
    let (src, dst) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    // 1: a SYN on a closed connection begins another; a repeated one is a first packet again.
    if tcp.flags & (SYN | ACK) == SYN {
        if src.state >= Side::FinWait2 && dst.state >= Side::FinWait2 {
            return Step {
                outcome: Outcome::New,
                ..Step::invalid(Reason::None)
            };
        }
        if src.state <= Side::SynSent {
            src.state = Side::SynSent;
            return Step::new(Outcome::ValidNew, Class::TcpFirstPacket);
        }
    }
    let mut segment = Segment {
        seq: tcp.seq,
        end: end_of(tcp),
        raw_seq: tcp.seq,
        ack: tcp.ack,
        window: tcp.window,
        sender_shift: 0,
        receiver_shift: 0,
        check_ack: true,
    };
    // 2: window scales count outside SYNs, and only if both sides sent the option.
    if tcp.flags & SYN == 0 {
        (segment.sender_shift, segment.receiver_shift) = match (src.scale, dst.scale) {
            (Scale::Known(a), Scale::Known(b)) => (a, b),
            (Scale::Unknown, Scale::Unknown) => (MAX_SCALE, MAX_SCALE),
            _ => (0, 0),
        };
    }
    // 3: the first packet of this side.
    if src.state < Side::SynSent {
        first_of_side(src, dst, tcp, &mut segment);
    }
    // 4: what acknowledges nothing passes the check of acknowledgements.
    let ack_of_nothing =
        tcp.flags & ACK == 0 || tcp.ack == 0 && tcp.flags & (ACK | RST) == ACK | RST;
    if ack_of_nothing {
        segment.ack = dst.seqlo;
    }
    // 5: neither can the sequence number of a segment without data be held against it.
    if segment.seq == segment.end {
        segment.seq = src.seqlo;
        segment.end = src.seqlo;
    }
    // 6: inside the window.
    let refused = refusal(src, dst, &segment, tcp.flags);
    let checked = options.sequence_check && !options.liberal;
    if refused == Reason::None || !checked {
        accept(src, dst, &segment, tcp.flags);
        let step = Step::new(Outcome::Valid, class_of(src.state, dst.state));
        return Step {
            bypassed: refused != Reason::None,
            assured: src.state >= Side::Established && dst.state >= Side::Established,
            ..step
        };
    }
    // 7: softly, at the beginning and the end of a connection: the packet passes, but it neither
    // keeps the connection alive nor establishes it.
    let awkward =
        dst.state < Side::SynSent || dst.state >= Side::FinWait2 || src.state >= Side::FinWait2;
    let reach = MAX_ACK_WINDOW as u32;
    if awkward
        && at_or_after(src.seqhi.wrapping_add(reach), segment.end)
        && at_or_after(segment.seq, src.seqlo.wrapping_sub(reach))
    {
        synchronise(src, dst, &segment);
        end_by_flags(src, dst, tcp.flags);
        return Step {
            timeout: None,
            ..Step::new(Outcome::Valid, Class::TcpClosed)
        };
    }
    // 8.
    Step::invalid(refused)
}

fn end_of(tcp: &Tcp) -> u32 {
    let flags = tcp.flags;
    let ends = u32::from(flags & tcp_flags::SYN != 0) + u32::from(flags & tcp_flags::FIN != 0);
    tcp.seq.wrapping_add(tcp.payload).wrapping_add(ends)
}

#[cold]
fn first_of_side(src: &mut Peer, dst: &mut Peer, tcp: &Tcp, segment: &mut Segment) {
    if tcp.flags & tcp_flags::SYN != 0
        && let Scale::Known(other) = dst.scale
    {
        src.scale = scale_of(tcp);
        if let Scale::Known(own) = src.scale {
            segment.sender_shift = own;
            segment.receiver_shift = other;
            segment.window = unscaled(tcp.window, own);
        } else {
            // This side does not scale, so neither does the other: its window is what its SYN said.
            let window = u32::from(dst.max_win) << other;
            dst.max_win = window.min(u32::from(u16::MAX)) as u16;
            dst.scale = Scale::None;
        }
    }
    src.seqlo = tcp.seq;
    src.state = Side::SynSent;
    let offered = (u32::from(dst.max_win) << segment.receiver_shift).max(1);
    let allowed = segment.end.wrapping_add(offered);
    if src.seqhi == 1 || at_or_after(allowed, src.seqhi) {
        src.seqhi = allowed;
        // A connection that begins, or one that began before it was seen.
        segment.check_ack = false;
    }
    src.max_win = src.max_win.max(segment.window);
}

/// The first rule of the window that a segment breaks.
#[inline]
fn refusal(src: &Peer, dst: &Peer, segment: &Segment, flags: u8) -> Reason {
    if !at_or_after(src.seqhi, segment.end) {
        return Reason::TcpAboveWindow;
    }
    let window = u32::from(dst.max_win) << segment.receiver_shift;
    if !at_or_after(segment.seq, src.seqlo.wrapping_sub(window)) {
        return Reason::TcpBelowWindow;
    }
    if segment.check_ack {
        let skew = i64::from(dst.seqlo.wrapping_sub(segment.ack).cast_signed());
        if skew < -MAX_ACK_WINDOW {
            return Reason::TcpAckAboveData;
        }
        if skew > MAX_ACK_WINDOW << segment.sender_shift {
            return Reason::TcpAckTooOld;
        }
    }
    if flags & tcp_flags::RST != 0 {
        let off = segment.raw_seq.wrapping_sub(src.seqlo).cast_signed();
        if !(-1..=1).contains(&off) {
            return Reason::TcpResetSequence;
        }
    }
    Reason::None
}

/// What every segment that passes does to the windows.
#[inline]
fn synchronise(src: &mut Peer, dst: &mut Peer, segment: &Segment) {
    src.max_win = src.max_win.max(segment.window);
    if !at_or_after(src.seqlo, segment.end) {
        src.seqlo = segment.end;
    }
    let window = u32::from(segment.window) << segment.sender_shift;
    if at_or_after(segment.ack.wrapping_add(window), dst.seqhi) {
        dst.seqhi = segment.ack.wrapping_add(window.max(1));
    }
}

#[inline]
fn end_by_flags(src: &mut Peer, dst: &mut Peer, flags: u8) {
    if flags & tcp_flags::FIN != 0 && src.state < Side::Closing {
        src.state = Side::Closing;
    }
    if flags & tcp_flags::RST != 0 {
        src.state = Side::TimeWait;
        dst.state = Side::TimeWait;
    }
}

/// What a segment inside the window does.
#[inline]
fn accept(src: &mut Peer, dst: &mut Peer, segment: &Segment, flags: u8) {
    synchronise(src, dst, segment);
    if flags & tcp_flags::FIN != 0 && src.state < Side::Closing {
        src.state = Side::Closing;
    }
    if flags & tcp_flags::ACK != 0 {
        match dst.state {
            Side::SynSent => dst.state = Side::Established,
            Side::Closing => dst.state = Side::FinWait2,
            _ => {}
        }
    }
    end_by_flags(src, dst, flags);
}

/// The timeout of a pair of states; the first that fits.
#[inline]
fn class_of(src: Side, dst: Side) -> Class {
    let (less, more) = if src <= dst { (src, dst) } else { (dst, src) };
    if less >= Side::FinWait2 {
        Class::TcpClosed
    } else if less >= Side::Closing {
        Class::TcpFinWait
    } else if less < Side::Established {
        Class::TcpOpening
    } else if more >= Side::Closing {
        Class::TcpClosing
    } else {
        Class::TcpEstablished
    }
}

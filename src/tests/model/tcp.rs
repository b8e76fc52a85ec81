//! TCP as Open vSwitch's userspace tracker decides it (lib/conntrack-tcp.c), written down rule by rule.
//! Slow and plain on purpose: sides are structs, numbers are compared as the difference of two.

/// How far a side got. The order carries meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    Closed,
    SynSent,
    Established,
    Closing,
    FinWait2,
    TimeWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// The side sent none, or the other one did not.
    None,
    /// The connection was picked up in mid-stream.
    Unknown,
    Known(u32),
}

#[derive(Clone, Copy, Debug)]
struct Side {
    low: u32,
    high: u32,
    window: u32,
    scale: Scale,
    at: At,
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) psh: bool,
    pub(super) urg: bool,
    pub(super) seq: u32,
    pub(super) ack_seq: u32,
    pub(super) window: u32,
    pub(super) payload: u32,
    pub(super) wscale: Option<u8>,
}

/// What a segment is to its connection; a wait in seconds where the timer is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Valid(Option<u64>),
    StillNew(u64),
    Invalid,
    Over,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp {
    sides: [Side; 2],
}

const SLACK: i64 = 65535 + 1500;

/// a - b in sequence space.
fn ahead(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b) as i32)
}

fn ceil_shift(value: u32, shift: u32) -> u32 {
    value.div_ceil(1 << shift)
}

fn illegal(s: &Segment) -> bool {
    (s.syn && (s.rst || s.fin))
        || (!s.syn && !s.ack && !s.rst)
        || ((s.fin || s.psh || s.urg) && !s.ack)
}

fn option(s: &Segment) -> Scale {
    s.wscale
        .map_or(Scale::None, |scale| Scale::Known(u32::from(scale.min(14))))
}

impl Tcp {
    /// May this segment open a connection, and how does it begin? The first wait is 30 seconds.
    pub(super) fn open(s: &Segment) -> Option<Tcp> {
        if illegal(s) || (s.syn && s.ack) {
            return None;
        }
        let phantom = u32::from(s.syn) + u32::from(s.fin);
        let scale = if s.syn { option(s) } else { Scale::Unknown };
        let mut window = s.window.max(1);
        if let Scale::Known(shift) = scale {
            window = ceil_shift(window, shift);
        }
        let opener = Side {
            low: s.seq,
            high: s.seq.wrapping_add(s.payload + 1 + phantom),
            window,
            scale,
            at: At::SynSent,
        };
        let other = Side {
            low: 0,
            high: 1,
            window: 1,
            scale: if s.syn { Scale::None } else { Scale::Unknown },
            at: At::Closed,
        };
        Some(Tcp {
            sides: [opener, other],
        })
    }

    pub(super) fn update(&mut self, s: &Segment, reply: bool, check: bool) -> Answer {
        if illegal(s) {
            return Answer::Invalid;
        }
        let (mut src, mut dst) = (
            self.sides[usize::from(reply)],
            self.sides[usize::from(!reply)],
        );
        if s.syn && !s.ack {
            if src.at >= At::FinWait2 && dst.at >= At::FinWait2 {
                return Answer::Over;
            }
            if src.at <= At::SynSent {
                src.at = At::SynSent;
                self.set(src, dst, reply);
                return Answer::StillNew(30);
            }
        }
        let (mut src_shift, mut dst_shift) = match (src.scale, dst.scale) {
            (Scale::Known(a), Scale::Known(b)) if !s.syn => (a, b),
            (Scale::Unknown, Scale::Unknown) if !s.syn => (14, 14),
            _ => (0, 0),
        };
        let phantom = u32::from(s.syn) + u32::from(s.fin);
        let mut seq = s.seq;
        let mut end = seq.wrapping_add(s.payload + phantom);
        let mut window = s.window;
        let mut check_ack = true;
        if src.at < At::SynSent {
            if let (true, Scale::Known(theirs)) = (s.syn, dst.scale) {
                match option(s) {
                    Scale::Known(ours) => {
                        src.scale = Scale::Known(ours);
                        (src_shift, dst_shift) = (ours, theirs);
                        window = ceil_shift(window, ours);
                    }
                    _ => {
                        src.scale = Scale::None;
                        dst.window = (dst.window << theirs).min(65535);
                        dst.scale = Scale::None;
                    }
                }
            }
            src.low = seq;
            src.at = At::SynSent;
            let edge = end.wrapping_add((dst.window << dst_shift).max(1));
            if src.high == 1 || ahead(edge, src.high) >= 0 {
                src.high = edge;
                check_ack = false;
            }
            src.window = src.window.max(window);
        }
        let ack = if !s.ack || (s.rst && s.ack_seq == 0) {
            dst.low
        } else {
            s.ack_seq
        };
        if seq == end {
            (seq, end) = (src.low, src.low);
        }
        let skew = if check_ack { ahead(dst.low, ack) } else { 0 };
        let fits = ahead(src.high, end) >= 0
            && ahead(seq, src.low.wrapping_sub(dst.window << dst_shift)) >= 0
            && skew >= -SLACK
            && skew <= SLACK << src_shift
            && (!s.rst || ahead(s.seq, src.low).abs() <= 1);
        if fits || !check {
            keep(&mut src, &mut dst, window, end, ack, window << src_shift);
            if s.fin {
                src.at = src.at.max(At::Closing);
            }
            if s.ack {
                dst.at = match dst.at {
                    At::SynSent => At::Established,
                    At::Closing => At::FinWait2,
                    at => at,
                };
            }
            if s.rst {
                (src.at, dst.at) = (At::TimeWait, At::TimeWait);
            }
            self.set(src, dst, reply);
            return Answer::Valid(Some(wait(src.at, dst.at)));
        }
        let soft = dst.at < At::SynSent || dst.at >= At::FinWait2 || src.at >= At::FinWait2;
        let near_above = ahead(src.high.wrapping_add(SLACK as u32), end) >= 0;
        let near_below = ahead(seq, src.low.wrapping_sub(SLACK as u32)) >= 0;
        if soft && near_above && near_below {
            keep(&mut src, &mut dst, window, end, ack, window << src_shift);
            if s.fin {
                src.at = src.at.max(At::Closing);
            }
            if s.rst {
                (src.at, dst.at) = (At::TimeWait, At::TimeWait);
            }
            self.set(src, dst, reply);
            return Answer::Valid(None);
        }
        Answer::Invalid
    }

    fn set(&mut self, src: Side, dst: Side, reply: bool) {
        self.sides[usize::from(reply)] = src;
        self.sides[usize::from(!reply)] = dst;
    }

    /// Both sides are established and nothing began to close.
    pub(super) fn is_established(&self) -> bool {
        self.sides.iter().all(|side| side.at == At::Established)
    }
}

/// What an accepted segment says of the windows.
fn keep(src: &mut Side, dst: &mut Side, window: u32, end: u32, ack: u32, allowed: u32) {
    src.window = src.window.max(window);
    if ahead(end, src.low) > 0 {
        src.low = end;
    }
    if ahead(ack.wrapping_add(allowed), dst.high) >= 0 {
        dst.high = ack.wrapping_add(allowed.max(1));
    }
}

/// Seconds that a connection waits with its sides in these states.
fn wait(a: At, b: At) -> u64 {
    let both = |at: At| a >= at && b >= at;
    let either = |at: At| a >= at || b >= at;
    if both(At::FinWait2) {
        30
    } else if both(At::Closing) {
        45
    } else if !both(At::Established) {
        30
    } else if either(At::Closing) {
        900
    } else {
        86_400
    }
}

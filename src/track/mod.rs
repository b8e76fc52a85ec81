//! State machines of the protocols, as pure functions.
//!
//! A machine takes a connection's state, a packet's facts and the packet's direction, and answers
//! with a [`Step`]: is the packet a legal next step, and what does the connection now wait for?
//! Nothing here knows tables, zones, policies or clocks. That is why property tests and fuzzers work
//! in this room, and why a replay of a capture decides exactly as the live engine did.
//!
//! Two machines live here. [`Machine::Ovs`] is Open vSwitch's userspace tracker: one TCP state per
//! side (from pf), three states for everything else. [`Machine::Kernel`] is Linux nf_conntrack: one
//! TCP state per connection, SCTP associations, GRE. Profile `strict` is the second one with its
//! options changed.
//!
//! The state is three words that lie in the connection's hot line. TCP of the kernel machine needs
//! more: the extension, in a side record, see [`uses_extension`]. A step that is [`Outcome::Invalid`]
//! leaves the state as it was.

pub mod handover;
pub mod timeout;

mod icmp;
mod other;
mod sctp;
mod tcp;
mod tcp_kernel;
mod tcp_table;
mod tcp_window;
mod udp;

#[cfg(test)]
mod tests;

use crate::clock::Time;
use crate::packet::{Facts, Tcp, Transport, proto, tcp_flags};
use crate::reason::Reason;
use crate::tuple::Direction;
use timeout::Class;

pub use other::{STATE as OTHER_STATE, is_answered};
pub use tcp::{established, settled};

/// The state of a connection's protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The part that lies in the connection's hot line.
    pub words: [u64; 3],
    /// The part in a side record; meaningful only where [`uses_extension`] says so.
    pub extension: [u64; 8],
}

impl State {
    /// That of no connection, all zeros.
    pub const NONE: State = State {
        words: [0; 3],
        extension: [0; 8],
    };
}

/// Whose state machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// Open vSwitch's userspace tracker.
    #[default]
    Ovs,
    /// Linux nf_conntrack.
    Kernel,
}

/// What may differ from batch to batch or from zone to zone.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whose state machines.
    pub machine: Machine,
    /// TCP sequence numbers are checked.
    pub sequence_check: bool,
    /// TCP may be picked up in mid-stream (kernel machine; Open vSwitch's always may).
    pub loose: bool,
    /// A RST closes an established connection only when it hits the expected sequence number exactly
    /// (RFC 5961, section 3.2). Kernel machine; Open vSwitch's always wants it within one.
    pub strict_reset: bool,
    /// This zone or connection is not held to its window.
    pub liberal: bool,
    /// The time of the batch: a UDP stream of the kernel machine is one only after two seconds.
    pub now: Time,
}

impl Options {
    /// Packets outside the window pass.
    #[inline]
    const fn lenient(&self) -> bool {
        self.liberal || !self.sequence_check
    }
}

/// What a packet is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A legal next step.
    Valid,
    /// Not a legal step; the state did not change.
    Invalid(Reason),
    /// The connection is over: forget it and treat the packet as the first of another one.
    New,
    /// A legal step of a connection that is still new.
    ValidNew,
}

/// The answer of a state machine to a packet.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the packet is to its connection.
    pub outcome: Outcome,
    /// What the connection now waits for; `None` leaves its expiry alone.
    pub timeout: Option<Class>,
    /// The wait is no longer than this class lasts (retransmissions, unacknowledged data).
    pub at_most: Option<Class>,
    /// The connection is worth keeping when the table is full.
    pub assured: bool,
    /// The packet is legal and the connection ends with it: remove it at once.
    pub remove: bool,
    /// The packet was outside the window and passed only because windows are not checked.
    pub bypassed: bool,
}

impl Step {
    /// A step that changes nothing, of a connection that waits for `class`.
    pub const fn staying(class: Class) -> Step {
        Step::new(Outcome::Valid, class)
    }

    #[inline]
    const fn quiet(outcome: Outcome) -> Step {
        Step {
            outcome,
            timeout: None,
            at_most: None,
            assured: false,
            remove: false,
            bypassed: false,
        }
    }

    #[inline]
    const fn new(outcome: Outcome, class: Class) -> Step {
        let mut step = Step::quiet(outcome);
        step.timeout = Some(class);
        step
    }

    #[inline]
    const fn invalid(reason: Reason) -> Step {
        Step::quiet(Outcome::Invalid(reason))
    }
}

/// A connection that a packet may open.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its first state.
    pub state: State,
    /// What it waits for.
    pub timeout: Class,
    /// The wait is no longer than this class lasts.
    pub at_most: Option<Class>,
}

impl Opened {
    const fn new(words: [u64; 3], timeout: Class) -> Opened {
        Opened {
            state: State {
                words,
                extension: [0; 8],
            },
            timeout,
            at_most: None,
        }
    }
}

/// Does this protocol's state reach into [`State::extension`]?
#[must_use]
#[inline]
pub const fn uses_extension(machine: Machine, protocol: u8) -> bool {
    matches!(machine, Machine::Kernel) && protocol == proto::TCP
}

/// May this packet open a connection, and in which state does it begin?
///
/// `bytes` are those that [`Facts::l4`] counts in (SCTP chunks are read from them).
///
/// # Errors
/// The rule that refuses it.
#[inline]
pub fn open(facts: &Facts, bytes: &[u8], options: &Options) -> Result<Opened, Reason> {
    match (options.machine, &facts.transport) {
        (_, Transport::Error(_)) => Err(Reason::IcmpErrorUnrelated),
        (machine, Transport::Query(query)) => icmp::open(facts.family, query, machine),
        (Machine::Ovs, Transport::Tcp(tcp)) => tcp::open(tcp),
        (Machine::Ovs, _) => Ok(open_other()),
        (Machine::Kernel, Transport::Tcp(tcp)) => tcp_kernel::open(tcp, options),
        (Machine::Kernel, Transport::Udp(..)) => Ok(udp::open(options.now)),
        (Machine::Kernel, Transport::Sctp(_, _, tag)) => {
            sctp::open(*tag, sctp::chunk_bytes(facts, bytes))
        }
        (Machine::Kernel, Transport::Other) => Ok(other::open_kernel(facts.proto)),
    }
}

/// Is this packet a legal next step of its connection? The state follows it.
///
/// An ICMP error is no step of the connection that it is about: it passes and changes nothing.
#[inline]
pub fn advance(
    state: &mut State,
    facts: &Facts,
    bytes: &[u8],
    direction: Direction,
    options: &Options,
) -> Step {
    match (options.machine, &facts.transport) {
        (Machine::Ovs, Transport::Tcp(tcp)) => {
            tcp::advance(&mut state.words, tcp, direction, || *options)
        }
        (_, Transport::Error(_)) => Step::quiet(Outcome::Valid),
        (Machine::Ovs, Transport::Query(_)) => icmp::advance(&mut state.words[0], direction),
        (Machine::Ovs, _) => other::advance(&mut state.words[0], direction),
        (Machine::Kernel, Transport::Tcp(tcp)) => {
            tcp_kernel::advance(state, tcp, direction, options)
        }
        (Machine::Kernel, Transport::Udp(..)) => {
            udp::advance(&mut state.words[0], direction, options.now)
        }
        (Machine::Kernel, Transport::Query(_)) => {
            icmp::advance_kernel(&mut state.words[0], direction)
        }
        (Machine::Kernel, Transport::Sctp(_, _, tag)) => sctp::advance(
            &mut state.words,
            *tag,
            sctp::chunk_bytes(facts, bytes),
            direction,
        ),
        (Machine::Kernel, Transport::Other) => {
            other::advance_kernel(&mut state.words[0], facts.proto, direction)
        }
    }
}

/// Whether a TCP segment may open a connection of the Open vSwitch machine.
#[must_use]
#[inline]
pub const fn may_open_tcp(tcp: &Tcp) -> bool {
    tcp::may_open(tcp).is_ok()
}

/// [`open`] for TCP in the Open vSwitch machine.
///
/// # Errors
/// The rule that refuses it.
#[inline(always)]
pub fn open_tcp(tcp: &Tcp) -> Result<Opened, Reason> {
    tcp::open(tcp)
}

/// [`open`] for UDP, SCTP and protocols without a state machine in the Open vSwitch machine.
#[inline(always)]
pub const fn open_other() -> Opened {
    Opened::new([0; 3], Class::OtherFirst)
}

/// [`advance`] for TCP in the Open vSwitch machine. `options` is asked if the rules depend on them, which is
/// seldom.
#[inline(always)]
pub fn advance_tcp(
    words: &mut [u64; 3],
    tcp: &Tcp,
    direction: Direction,
    options: impl FnOnce() -> Options,
) -> Step {
    tcp::advance(words, tcp, direction, options)
}

/// [`advance`] for UDP, SCTP and protocols without a state machine in the Open vSwitch machine.
#[inline]
pub fn advance_other(words: &mut [u64; 3], direction: Direction) -> Step {
    other::advance(&mut words[0], direction)
}

/// A TCP or UDP connection with this state of the Open vSwitch machine is established, and an ordinary packet
/// changes no more than numbers.
#[must_use]
#[inline]
pub const fn is_settled(protocol: u8, words: &[u64; 3]) -> bool {
    match protocol {
        proto::TCP => tcp::both_established(words),
        proto::UDP => is_answered(words[OTHER_STATE]),
        _ => false,
    }
}

/// A TCP connection as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpNames {
    /// State of each side, original then reply; the same twice in the kernel machine.
    pub sides: [&'static str; 2],
    /// The one state that listings show.
    pub combined: &'static str,
    /// Window scale of each side, where it is known.
    pub window_scale: [Option<u8>; 2],
    /// Flags of each side, with the bits of [`protocol_flags`].
    pub flags: [u8; 2],
}

/// Bits of [`TcpNames::flags`], with the numbers that Open vSwitch and nf_conntrack share.
pub mod protocol_flags {
    /// The side sent a window scale.
    pub const WINDOW_SCALE: u8 = 1;
    /// The side permits selective acknowledgements.
    pub const SACK_PERM: u8 = 1 << 1;
    /// The side began to close.
    pub const CLOSE_INIT: u8 = 1 << 2;
    /// The side is not held to its window.
    pub const BE_LIBERAL: u8 = 1 << 3;
    /// The side sent data that is not acknowledged.
    pub const DATA_UNACKNOWLEDGED: u8 = 1 << 4;
    /// The side acknowledged something.
    pub const MAXACK_SET: u8 = 1 << 5;
}

/// The state of a protocol as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing that listings show.
    None,
    /// TCP.
    Tcp(TcpNames),
    /// SCTP of the kernel machine: state and verification tags, original then reply.
    Sctp(&'static str, [u32; 2]),
}

/// The names of a state for listings.
#[must_use]
pub fn listing(state: &State, protocol: u8, machine: Machine) -> Listing {
    match (machine, protocol) {
        (Machine::Ovs, proto::TCP) => Listing::Tcp(tcp::listing(&state.words)),
        (Machine::Kernel, proto::TCP) => Listing::Tcp(tcp_kernel::listing(state)),
        (Machine::Kernel, proto::SCTP) => sctp::listing(&state.words),
        _ => Listing::None,
    }
}

/// Flag combinations that no TCP sends: SYN with RST or FIN; none of SYN, ACK, RST; FIN, PSH or URG
/// without ACK.
#[inline]
const fn illegal_flags(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
    let opener = if flags & SYN != 0 {
        flags & (RST | FIN) != 0
    } else {
        flags & (ACK | RST) == 0
    };
    opener || (flags & ACK == 0 && flags & (FIN | PSH | URG) != 0)
}

/// `a` is at or after `b` in sequence space.
#[inline]
const fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

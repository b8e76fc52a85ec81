//! The state machines: a connection's state and a packet's facts give the next state, a verdict and a
//! timeout class. Pure functions: no table, no clock, no allocation.
//!
//! A protocol's state is a few words that only its machine can read; the table stores them in the
//! connection's hot line, so advancing a connection touches nothing else.

mod other;
mod tcp;
#[cfg(test)]
mod tcp_tests;
pub mod timeout;

use crate::packet::{Facts, Transport};
use crate::reason::Reason;
use crate::tuple::{Direction, QueryKind};
use timeout::Class;

/// Whose state machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Those of Open vSwitch's userspace tracker.
    Ovs,
    /// Those of Linux nf_conntrack.
    Kernel,
}

/// How strict they are.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whose state machines.
    pub machine: Machine,
    /// TCP sequence numbers are checked.
    pub sequence_check: bool,
    /// A TCP connection may be picked up in mid-stream.
    pub loose: bool,
    /// Only a RST that hits the expected sequence number exactly closes.
    pub strict_reset: bool,
    /// Sequence numbers are tracked but nothing is refused for them.
    pub liberal: bool,
}

/// A protocol's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What every packet needs.
    pub words: [u64; 3],
    /// What some machines need besides, see [`uses_extension`].
    pub extension: [u64; 8],
}

/// What a packet is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A legal next step.
    Valid,
    /// Not one, by this rule.
    Invalid(Reason),
    /// The connection is over, and this packet is the first of another with the same tuple.
    New,
    /// Legal, and the connection is still as good as new.
    ValidNew,
}

/// What [`advance`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// The verdict.
    pub outcome: Outcome,
    /// The connection may be idle for as long as this class says from now on; `None` leaves its
    /// expiry as it is.
    pub timeout: Option<Class>,
    /// The connection is worth keeping when the table is full.
    pub assured: bool,
    /// The packet broke a rule of the window, and was let through because nothing is refused for
    /// that here.
    pub bypassed: bool,
}

impl Step {
    const fn new(outcome: Outcome, timeout: Class) -> Step {
        Step {
            outcome,
            timeout: Some(timeout),
            assured: false,
            bypassed: false,
        }
    }

    const fn invalid(reason: Reason) -> Step {
        let outcome = Outcome::Invalid(reason);
        Step {
            outcome,
            timeout: None,
            assured: false,
            bypassed: false,
        }
    }
}

/// A connection that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Opened {
    /// Its first state.
    pub state: State,
    /// Its first timeout class.
    pub timeout: Class,
}

/// The machine of a protocol keeps more state than three words.
#[must_use]
#[inline]
pub const fn uses_extension(_machine: Machine, _proto: u8) -> bool {
    false
}

/// The first state of the connection that a packet opens.
///
/// # Errors
/// The rule by which it cannot open one.
pub fn open(facts: &Facts, _bytes: &[u8], options: &Options) -> Result<Opened, Reason> {
    let mut state = State::default();
    let timeout = match facts.transport {
        Transport::Tcp(ref packet) => {
            state.words = tcp::open(packet, options)?.pack();
            Class::TcpFirstPacket
        }
        Transport::Query(query) => match QueryKind::of(facts.family, query.kind) {
            // An address mask request is a question that Open vSwitch does not track.
            Some((QueryKind::Mask, _)) | None => return Err(Reason::IcmpType),
            Some((_, false)) => return Err(Reason::IcmpReplyFirst),
            Some((_, true)) => Class::IcmpFirst,
        },
        Transport::Error(_) => return Err(Reason::IcmpErrorUnrelated),
        Transport::Udp(..) | Transport::Sctp(..) | Transport::Other => Class::OtherFirst,
    };
    Ok(Opened { state, timeout })
}

/// The next state after a packet of an existing connection. An ICMP error is not a packet of its
/// connection and leaves it alone.
#[inline]
pub fn advance(
    state: &mut State,
    facts: &Facts,
    _bytes: &[u8],
    direction: Direction,
    options: &Options,
) -> Step {
    match facts.transport {
        Transport::Tcp(ref packet) => {
            let mut peers = tcp::Peers::unpack(&state.words);
            let step = tcp::advance(&mut peers, packet, direction, options);
            state.words = peers.pack();
            step
        }
        Transport::Query(_) => other::advance_query(&mut state.words[0], direction),
        Transport::Udp(..) | Transport::Sctp(..) | Transport::Other => {
            other::advance(&mut state.words[0], direction)
        }
        Transport::Error(_) => Step::invalid(Reason::IcmpErrorUnrelated),
    }
}

/// What listings show of a protocol's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing.
    None,
    /// TCP: the states of both sides, the one state for the connection, and both window scales when
    /// both sides sent the option.
    Tcp {
        /// The originator's state.
        original: &'static str,
        /// The other side's state.
        reply: &'static str,
        /// The connection's state.
        state: &'static str,
        /// Window scales.
        scales: Option<[u8; 2]>,
    },
}

/// The listing of a state.
#[must_use]
pub fn listing(state: &State, proto: u8, _machine: Machine) -> Listing {
    if proto != crate::packet::proto::TCP {
        return Listing::None;
    }
    let [original, reply] = tcp::Peers::unpack(&state.words).0;
    let later = original.state.max(reply.state);
    Listing::Tcp {
        original: original.state.name(),
        reply: reply.state.name(),
        // Open vSwitch's `ct_dpif_coalesce_tcp_state`.
        state: if later == tcp::Side::FinWait2 {
            "TIME_WAIT"
        } else {
            later.name()
        },
        scales: match (original.scale, reply.scale) {
            (tcp::Scale::Known(a), tcp::Scale::Known(b)) => Some([a, b]),
            _ => None,
        },
    }
}

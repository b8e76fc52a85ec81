//! When packets go by without being seen: a device carries a connection and gives it back.
//!
//! A device that tracks windows itself is told the numbers ([`numbers`]) and tells them when the
//! connection comes back ([`adopt`]). One that does not leaves the window unknown ([`forget`]): the
//! next packets of each side begin it again ([`relearn`]), and [`settle`] closes the lesson. What
//! hardware saw of the connection's end is told by [`close`]. [`waiting`] says what a connection
//! waits for by its state alone, without a packet.

use super::timeout::Class;
use super::{Machine, State, icmp, other, sctp, udp};
use crate::packet::{Facts, Transport, proto};
use crate::tuple::Direction;

mod tcp;
mod tcp_kernel;

/// TCP numbers of one side: the fields of DPDK's `rte_flow_tcp_dir_param`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSide {
    /// Window scale; `None` when the side sent no such option.
    pub scale: Option<u8>,
    /// This side sent a FIN.
    pub close_initiated: bool,
    /// The other side acknowledged that FIN.
    pub last_ack_seen: bool,
    /// This side sent data that is not acknowledged.
    pub data_unacked: bool,
    /// Highest sequence number sent, plus one.
    pub sent_end: u32,
    /// Highest sequence number the other side allows, plus one.
    pub reply_end: u32,
    /// Largest window this side announced, scaled.
    pub max_win: u32,
    /// Highest acknowledgement this side sent.
    pub max_ack: u32,
}

/// What a connection waits for, by its state alone.
#[must_use]
pub fn waiting(state: &State, protocol: u8, machine: Machine) -> Class {
    match (machine, protocol) {
        (Machine::Ovs, proto::TCP) => tcp::waiting(&state.words),
        (Machine::Kernel, proto::TCP) => tcp_kernel::waiting(state),
        (Machine::Ovs, proto::ICMP | proto::ICMPV6) => icmp::waiting(state.words[0]),
        (Machine::Kernel, proto::ICMP | proto::ICMPV6) => Class::KernelIcmp,
        (Machine::Ovs, _) => other::waiting(state.words[0]),
        (Machine::Kernel, proto::UDP) => udp::waiting(state.words[0]),
        (Machine::Kernel, proto::SCTP) => sctp::waiting(&state.words),
        (Machine::Kernel, _) => other::waiting_kernel(state.words[0], protocol),
    }
}

/// The numbers of both sides, original then reply; `None` for other protocols than TCP.
///
/// Open vSwitch's machine keeps no acknowledgements: `max_ack` is then the highest that the side can
/// have sent. And the opener's `sent_end` is the number of its SYN until it sends data, as in pf.
#[must_use]
pub fn numbers(state: &State, protocol: u8, machine: Machine) -> Option<[TcpSide; 2]> {
    match (machine, protocol) {
        (Machine::Ovs, proto::TCP) => Some(tcp::numbers(&state.words)),
        (Machine::Kernel, proto::TCP) => Some(tcp_kernel::numbers(state)),
        _ => None,
    }
}

/// Takes over the numbers that a device reports.
pub fn adopt(state: &mut State, sides: &[TcpSide; 2], machine: Machine) {
    match machine {
        Machine::Ovs => tcp::adopt(&mut state.words, sides),
        Machine::Kernel => tcp_kernel::adopt(state, sides),
    }
}

/// Forgets where the window is: the next packets say it.
pub fn forget(state: &mut State, machine: Machine) {
    match machine {
        Machine::Ovs => tcp::forget(&mut state.words),
        Machine::Kernel => tcp_kernel::forget(state),
    }
}

/// A packet of a connection whose window was forgotten, before [`super::advance`]: the first one of
/// each side says where it is.
pub fn relearn(state: &mut State, facts: &Facts, direction: Direction, machine: Machine) {
    if let (Machine::Ovs, Transport::Tcp(segment)) = (machine, &facts.transport) {
        tcp::relearn(&mut state.words, segment, direction);
    }
}

/// The lesson is over: what was not learned is taken to be as wide as it can be.
pub fn settle(state: &mut State, machine: Machine) {
    match machine {
        Machine::Ovs => tcp::settle(&mut state.words),
        Machine::Kernel => {}
    }
}

/// These sides (original, reply) sent a FIN or RST that nobody else saw. Only TCP has such an end.
pub fn close(state: &mut State, sides: [bool; 2], protocol: u8, machine: Machine) {
    match (machine, protocol) {
        (Machine::Ovs, proto::TCP) => tcp::close(&mut state.words, sides),
        (Machine::Kernel, proto::TCP) => tcp_kernel::close(state, sides),
        _ => {}
    }
}

/// The connection of this class is ending, or has ended.
#[must_use]
pub const fn is_ending(class: Class) -> bool {
    matches!(
        class,
        Class::TcpClosing
            | Class::TcpFinWait
            | Class::TcpClosed
            | Class::KernelTcpFinWait
            | Class::KernelTcpCloseWait
            | Class::KernelTcpLastAck
            | Class::KernelTcpTimeWait
            | Class::KernelTcpClose
            | Class::SctpClosed
            | Class::SctpShutdownSent
            | Class::SctpShutdownReceived
            | Class::SctpShutdownAckSent
    )
}

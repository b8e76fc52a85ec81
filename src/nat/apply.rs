//! A binding and a packet: what is rewritten.
//!
//! A packet of one direction leaves with the other direction's tuple, reversed. Addresses are named
//! only where the rule translates them, so that the rest of the header is left alone; ports always
//! follow, because resolving a clash may change the source port even of a destination rule.
//!
//! An ICMP error is about a packet that went the *other* way, in its translated form. Its own
//! addresses are translated as those of any packet of its direction, and the quoted packet backwards,
//! so that the host that receives the error finds in it the packet that it sent. An error from a
//! router in between has the router's source address: it is replaced only where the rule translates
//! the source of this direction, which hides what lies behind (as Open vSwitch and Linux do).

use super::Binding;
use crate::tuple::{Direction, Tuple};

/// Which headers of a packet are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The headers of a packet that is no ICMP error: addresses, and ports or identifier.
    Itself,
    /// The outer IP header of an ICMP error: addresses only.
    AroundQuote,
    /// The headers quoted by an ICMP error: addresses, and ports or identifier.
    Quoted,
}

/// New addresses and ports for one set of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// New source address; `None` leaves it.
    pub src: Option<u128>,
    /// New destination address.
    pub dst: Option<u128>,
    /// The tuple of these headers afterwards: ports and identifier are taken from it.
    pub tuple: Tuple,
}

impl Rewrite {
    /// What is rewritten at `place` in a packet of `direction`.
    #[must_use]
    pub const fn of(binding: &Binding, direction: Direction, place: Place) -> Rewrite {
        let kind = binding.kind(direction);
        let after = binding.after(direction);
        let (tuple, kind) = match place {
            Place::Itself | Place::AroundQuote => (after, kind),
            Place::Quoted => (after.reversed(), kind.reversed()),
        };
        Rewrite {
            src: if kind.source() { Some(tuple.src) } else { None },
            dst: if kind.destination() {
                Some(tuple.dst)
            } else {
                None
            },
            tuple,
        }
    }
}

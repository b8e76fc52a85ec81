//! Where the walk starts: the addresses and ports that a rule allows, and the first of them.
//!
//! The rules are those of Open vSwitch:
//!
//! * The address is `min + hash % count`; a zero minimum keeps the packet's own address.
//! * A source port range is walked from `min + offset % count`. Without one the packet's own port
//!   comes first and its class after it: a privileged port stays privileged (1-511, 600-1023), any
//!   other is taken from 1024-65535. Ports 512 to 599 are tried first although their class begins
//!   above them.
//! * A destination port range is walked from `min + offset % count`; without one the port stays.
//! * The hash covers both endpoints; `persistent` covers the source address only and no secret, so
//!   that a host keeps its address over restarts. The offset is the same hash, for `persistent` that
//!   of the whole connection, or a random number when the rule asks for one.
//!
//! An ICMP identifier is treated as a source port. That of ICMPv6 stays when it can even if the rule
//! has a port range, since Open vSwitch never changes it. Protocols without ports choose addresses.

use super::range::{Grid, span};
use super::{Kind, Nat, NatRange, NatSelection};
use crate::packet::{Family, proto};
use crate::tuple::hash::{Secret, hash};
use crate::tuple::{QueryKind, Tuple};

/// The fixed words behind `persistent`: its choice must not depend on a secret.
const PERSISTENT: Secret = Secret::new([
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
]);

/// The candidates of one choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// New sources of the original direction.
    pub(crate) sources: Grid,
    /// New destinations.
    pub(crate) destinations: Grid,
    /// The source that is tried first; its port may lie outside its class.
    pub(crate) first_source: (u128, u16),
}

impl Plan {
    /// The plan for `original` under `nat`; `None` when the rule translates nothing.
    pub(crate) fn new(original: &Tuple, nat: &Nat, secret: &Secret, random: u64) -> Option<Plan> {
        let kind = nat.kind()?;
        let persistent = nat.selection == NatSelection::Persistent;
        let pick = |range: &NatRange| {
            let whole = mix(hash(secret, &original.key().0), range);
            let address = if persistent {
                let source = Tuple {
                    dst: 0,
                    sport: 0,
                    dport: 0,
                    query: QueryKind::None,
                    ..*original
                };
                mix(hash(&PERSISTENT, &source.key().0), range)
            } else {
                whole
            };
            let offset = if nat.selection == NatSelection::Random {
                random
            } else {
                whole
            };
            (address, offset)
        };
        let has_ports = has_ports(original);
        let is_query = original.query != QueryKind::None;

        let mut first_source = (original.src, original.sport);
        let range = nat.source.unwrap_or(NatRange::address(original.src));
        let (address_hash, offset) = pick(&range);
        let mut sources = addresses(&range, original.src, address_hash);
        first_source.0 = sources.at_start();
        if has_ports {
            let (min, max) = range.ports.map_or_else(|| class(original.sport), in_order);
            let count = u32::from(max - min) + 1;
            let keep = range.ports.is_none() || (is_query && original.family == Family::V6);
            if !keep {
                first_source.1 = min + (offset % u64::from(count)) as u16;
            }
            sources.first_port = min;
            sources.ports = count;
            // A first port outside the class is followed by the lowest of the class.
            let start = first_source.1.checked_sub(min).map_or(0, u32::from);
            sources.start_port = if start < count { start } else { 0 };
        } else {
            (sources.first_port, sources.ports) = (original.sport, 1);
        }

        let range = nat.destination.unwrap_or(NatRange::address(original.dst));
        let (address_hash, offset) = pick(&range);
        let mut destinations = addresses(&range, original.dst, address_hash);
        match range.ports {
            Some(ports) if has_ports && !is_query => {
                let (min, max) = in_order(ports);
                destinations.first_port = min;
                destinations.ports = u32::from(max - min) + 1;
                destinations.start_port = (offset % u64::from(destinations.ports)) as u32;
            }
            _ => (destinations.first_port, destinations.ports) = (original.dport, 1),
        }
        Some(Plan {
            kind,
            sources,
            destinations,
            first_source,
        })
    }
}

impl Grid {
    fn at_start(&self) -> u128 {
        self.first_address + u128::from(self.start_address)
    }
}

/// Protocols whose source port, or identifier, may be chosen.
fn has_ports(tuple: &Tuple) -> bool {
    matches!(tuple.proto, proto::TCP | proto::UDP | proto::SCTP) || tuple.query != QueryKind::None
}

const fn in_order((min, max): (u16, u16)) -> (u16, u16) {
    if min <= max { (min, max) } else { (min, min) }
}

/// The class of a source port that a rule without a port range stays in.
pub(crate) const fn class(port: u16) -> (u16, u16) {
    match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, u16::MAX),
    }
}

/// The addresses of a range, beginning where the hash says.
fn addresses(range: &NatRange, own: u128, hash: u64) -> Grid {
    if range.min_address == 0 {
        return Grid::one(own, 0);
    }
    let count = span(range.min_address, range.max_address);
    Grid {
        addresses: count,
        start_address: hash % count,
        ..Grid::one(range.min_address, 0)
    }
}

/// A hash that also depends on the range, so that two rules choose independently.
fn mix(hash: u64, range: &NatRange) -> u64 {
    let (low, high) = range.ports.unwrap_or((0, 0));
    let words = [
        range.min_address as u64,
        (range.min_address >> 64) as u64,
        range.max_address as u64,
        (range.max_address >> 64) as u64,
        u64::from(low) | u64::from(high) << 16,
    ];
    words.iter().fold(hash, |sum, word| {
        let product = u128::from(sum ^ word) * 0x9e37_79b9_7f4a_7c15;
        (product as u64) ^ (product >> 64) as u64
    })
}

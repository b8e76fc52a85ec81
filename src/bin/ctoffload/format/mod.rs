//! How connections, events and packets look: the forms that people and their scripts know.
//!
//! Each form has a file of its own and is a pure function from a connection to a line. What a
//! tracker in a kernel would know and a replay cannot (process names, security contexts) is left
//! out; reference counts are those of an idle connection.

pub mod conntrack;
pub mod events;
pub mod json;
pub mod ovs;
pub mod procfs;
#[cfg(test)]
mod tests;

use clap::ValueEnum;
use ctoffload::clock::Time;
use ctoffload::engine::action::Helper;
use ctoffload::engine::descriptor::state;
use ctoffload::engine::listing::{Connection, ProtocolListing};
use ctoffload::offload::registry::Standing;
use ctoffload::packet::{Family, proto};
use ctoffload::tuple::Tuple;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A form of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As `conntrack -L -o extended`
    Conntrack,
    /// As /proc/net/nf_conntrack
    Procfs,
    /// As `ovs-appctl dpctl/dump-conntrack` (see -m and -s)
    Ovs,
    /// One JSON object per line
    Json,
}

/// What a line shows beyond the ordinary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Form `ovs`: `-m`.
    pub more: bool,
    /// Form `ovs`: `-s`.
    pub statistics: bool,
    /// Forms `conntrack` and `procfs`: `id=`.
    pub id: bool,
    /// Forms `conntrack` and `procfs`: `delta-time=`.
    pub age: bool,
}

/// A connection to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What the engine says about it.
    pub connection: &'a Connection,
    /// Its number in the order of creation, from 1: what is shown as its id.
    pub number: u64,
    /// The time at which it is shown.
    pub now: Time,
    /// How far it got in each offload provider; empty where that is not told.
    pub standing: &'a [Standing],
}

/// The line of a connection, without its end.
#[must_use]
pub fn line(format: Format, entry: &Entry, look: &Look) -> String {
    match format {
        Format::Conntrack => conntrack::line(entry, look),
        Format::Procfs => procfs::line(entry, look),
        Format::Ovs => ovs::line(entry, look),
        Format::Json => json::connection(entry).to_string(),
    }
}

/// The state of a connection's protocol, if it has one.
#[must_use]
pub fn state_name(connection: &Connection) -> Option<&'static str> {
    match connection.protocol {
        ProtocolListing::None => None,
        ProtocolListing::Tcp(tcp) => Some(tcp.state),
        ProtocolListing::Sctp(name, _) => Some(name),
    }
}

/// An address as people write it.
pub struct Address(pub Family, pub u128);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Family::V4 => Ipv4Addr::from(self.1 as u32).fmt(f),
            Family::V6 => Ipv6Addr::from(self.1).fmt(f),
        }
    }
}

/// The ports of a tuple, or what stands in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Source and destination port.
    Pair(u16, u16),
    /// ICMP type and identifier.
    Query(u8, u16),
    /// GRE: no keys are tracked.
    Keys,
    /// None.
    None,
}

impl Ports {
    /// What a tuple has.
    #[must_use]
    pub fn of(tuple: &Tuple) -> Ports {
        match tuple.proto {
            proto::TCP | proto::UDP | proto::SCTP => Ports::Pair(tuple.sport, tuple.dport),
            proto::ICMP | proto::ICMPV6 => Ports::Query(tuple.icmp_type(), tuple.sport),
            proto::GRE => Ports::Keys,
            _ => Ports::None,
        }
    }
}

/// The name of a protocol that the tracker knows by name.
#[must_use]
pub fn proto_name(number: u8) -> Option<&'static str> {
    Some(match number {
        proto::ICMP => "icmp",
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::GRE => "gre",
        proto::ICMPV6 => "icmpv6",
        proto::SCTP => "sctp",
        _ => return None,
    })
}

/// The name of a helper.
#[must_use]
pub fn helper_name(helper: Helper) -> &'static str {
    match helper {
        Helper::Ftp => "ftp",
        Helper::Tftp => "tftp",
        Helper::Sip => "sip",
    }
}

const STATE_NAMES: [(u8, &str); 8] = [
    (state::NEW, "new"),
    (state::EST, "est"),
    (state::REL, "rel"),
    (state::RPL, "rpl"),
    (state::INV, "inv"),
    (state::TRK, "trk"),
    (state::SNAT, "snat"),
    (state::DNAT, "dnat"),
];

/// The names of the `ct_state` bits that are set, as Open vSwitch writes them.
pub fn state_bits(bits: u8) -> impl Iterator<Item = &'static str> {
    STATE_NAMES
        .into_iter()
        .filter(move |(bit, _)| bits & bit != 0)
        .map(|(_, name)| name)
}

/// Seconds and microseconds of a time in nanoseconds.
pub struct Stamp(pub u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

//! A connection as listings show it: one consistent copy of a record, without references into the
//! table.

use super::action::Helper;
use super::descriptor::ConnectionId;
use crate::clock::Time;
use crate::track;
use crate::tuple::Tuple;

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// What is known of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpListing {
    /// State of the originating side (profile `ovs`), or of the connection (profiles `kernel` and
    /// `strict`), by its common name, e.g. `ESTABLISHED`.
    pub state_original: &'static str,
    /// State of the replying side; the same as above in profiles `kernel` and `strict`.
    pub state_reply: &'static str,
    /// The one state that listings show: the later of both sides, `FIN_WAIT_2` as `TIME_WAIT` and
    /// `SYN_RECV` as `ESTABLISHED` in profile `ovs`.
    pub state: &'static str,
    /// Window scale of each side, where it is known.
    pub window_scale: [Option<u8>; 2],
    /// Flags of each side, with the bits of [`crate::track::protocol_flags`].
    pub flags: [u8; 2],
}

/// What is known of the protocol's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolListing {
    /// Nothing that listings show (UDP, ICMP, others).
    #[default]
    None,
    /// TCP.
    Tcp(TcpListing),
    /// SCTP in profiles `kernel` and `strict`: state name and both verification tags.
    Sctp(&'static str, [u32; 2]),
}

impl ProtocolListing {
    /// The one state that listings show.
    #[must_use]
    pub const fn state(&self) -> Option<&'static str> {
        match self {
            ProtocolListing::None => None,
            ProtocolListing::Tcp(tcp) => Some(tcp.state),
            ProtocolListing::Sctp(state, _) => Some(state),
        }
    }

    pub(super) fn of(listing: &track::Listing) -> ProtocolListing {
        match *listing {
            track::Listing::None => ProtocolListing::None,
            track::Listing::Tcp(names) => ProtocolListing::Tcp(TcpListing {
                state_original: names.sides[0],
                state_reply: names.sides[1],
                state: names.combined,
                window_scale: names.window_scale,
                flags: names.flags,
            }),
            track::Listing::Sctp(state, tags) => ProtocolListing::Sctp(state, tags),
        }
    }
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Tuple of packets in the original direction.
    pub original: Tuple,
    /// Tuple of packets in the reply direction, as they arrive (before reverse translation).
    pub reply: Tuple,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// Milliseconds until it expires.
    pub remaining: u64,
    /// When it was created.
    pub created: Time,
    /// A packet was seen in the reply direction.
    pub seen_reply: bool,
    /// It would survive a full table (nf_conntrack's ASSURED).
    pub assured: bool,
    /// Its source is translated.
    pub source_nat: bool,
    /// Its destination is translated.
    pub destination_nat: bool,
    /// It is in its zone's flow table.
    pub flow: bool,
    /// An offload provider carries it.
    pub offloaded: bool,
    /// It was created from an expectation; the tuple of the parent's original direction.
    pub parent: Option<Tuple>,
    /// Its helper.
    pub helper: Option<Helper>,
    /// Its timeout policy.
    pub timeout_policy: Option<u32>,
    /// State of the protocol.
    pub protocol: ProtocolListing,
    /// Packets and bytes, original then reply, when accounting is on.
    pub counters: Option<[Counters; 2]>,
}

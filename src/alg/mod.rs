//! Helpers: protocols whose control channel announces further connections.
//!
//! A helper reads the messages of a control connection and answers with what they announce: an
//! [`Expected`] for each data connection, and an [`Edit`] for each address in the text that must
//! follow the translation. It is a pure function of the message and the connection's two tuples:
//! it sees no table, keeps no state and changes no packet. What is done with its findings is the
//! same for all: expectations go to [`expect`], edits are spliced into the payload ([`edit`]), and
//! for TCP the change of length is remembered ([`skew`], [`control`]).
//!
//! A new helper is a file with one function `parse(&Message) -> Parsed`, a number in [`Helper`] and a
//! line in each `match` of this file.
//!
//! What no helper may do, because it opened holes elsewhere: accept an announced address that is not
//! the speaker's own or its translated one; announce for another protocol or zone than its
//! parent's; expect from a peer that is not the parent's; open a privileged port to that peer; guess at
//! an incomplete number; or edit text that it has not parsed.

use std::fmt;

use smallvec::SmallVec;

use crate::nat::{Nat, NatRange};
use crate::packet::{Family, proto};
use crate::tuple::{Direction, Tuple};

pub mod control;
pub mod edit;
pub mod expect;
mod ftp;
mod sip;
pub mod skew;
mod text;
mod tftp;

#[cfg(test)]
mod tests;

pub use edit::Edit;

/// Expectations that one message can announce.
pub const MAX_EXPECTED: usize = 8;

/// The first port that is not privileged.
const FIRST_FREE_PORT: u16 = 1024;

/// Places in one message that can be edited.
pub const MAX_EDITS: usize = 16;

/// A helper that follows a protocol's control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Helper {
    /// FTP (RFC 959, RFC 2428).
    Ftp = 1,
    /// TFTP (RFC 1350).
    Tftp = 2,
    /// SIP over UDP (RFC 3261).
    Sip = 3,
}

impl Helper {
    /// Every helper.
    pub const ALL: [Helper; 3] = [Helper::Ftp, Helper::Tftp, Helper::Sip];

    /// The name in actions and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Helper::Ftp => "ftp",
            Helper::Tftp => "tftp",
            Helper::Sip => "sip",
        }
    }

    /// The helper of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Helper> {
        Helper::ALL.into_iter().find(|helper| helper.name() == name)
    }

    /// The helper with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Helper> {
        match number {
            1 => Some(Helper::Ftp),
            2 => Some(Helper::Tftp),
            3 => Some(Helper::Sip),
            _ => None,
        }
    }

    /// The protocol of its control channel. A connection of another protocol cannot have the helper.
    #[must_use]
    pub const fn proto(self) -> u8 {
        match self {
            Helper::Ftp => proto::TCP,
            Helper::Tftp | Helper::Sip => proto::UDP,
        }
    }

    /// The helper whose control channel a packet seems to belong to by its ports alone, as Open
    /// vSwitch judges: TCP port 21 at either end, UDP destination port 69. Such packets do not take
    /// the short way of recirculated packets; they announce nothing unless the connection was
    /// committed with a helper.
    #[must_use]
    pub const fn by_port(packet: &Tuple) -> Option<Helper> {
        match (packet.proto, packet.sport, packet.dport) {
            (proto::TCP, 21, _) | (proto::TCP, _, 21) => Some(Helper::Ftp),
            (proto::UDP, _, 69) => Some(Helper::Tftp),
            _ => None,
        }
    }

    /// Whether this helper, named in an action, is stored with a connection committed by `packet`.
    /// FTP and TFTP on their own ports accept no other helper; on other ports the name decides.
    #[must_use]
    pub const fn fits(self, packet: &Tuple) -> bool {
        self.proto() == packet.proto
            && match Helper::by_port(packet) {
                Some(other) => other as u8 == self as u8,
                None => true,
            }
    }

    /// Reads one message.
    pub fn parse(self, message: &Message<'_>) -> Parsed {
        match self {
            Helper::Ftp => ftp::parse(message),
            Helper::Tftp => tftp::parse(message),
            Helper::Sip => sip::parse(message),
        }
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The payload of one packet of a control connection, and the connection's tuples.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The bytes after the transport header, as they arrived.
    pub payload: &'a [u8],
    /// Which way the packet travels.
    pub direction: Direction,
    /// The original tuple of the connection.
    pub original: Tuple,
    /// Its reply tuple; the original one reversed when it is not translated.
    pub reply: Tuple,
}

impl Message<'_> {
    /// The packet's tuple as it arrived.
    #[must_use]
    pub const fn before(&self) -> Tuple {
        match self.direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// The packet's tuple as it leaves.
    #[must_use]
    pub const fn after(&self) -> Tuple {
        match self.direction {
            Direction::Original => self.reply.reversed(),
            Direction::Reply => self.original.reversed(),
        }
    }

    /// The connection that the receiver of this message will open to `port` of its speaker: from the
    /// receiver's address, any port, to the speaker as the receiver knows it. Its translation is
    /// the parent's, whatever the announced port is.
    #[must_use]
    pub fn towards_speaker(&self, port: u16) -> Expected {
        let arriving = self.after().reversed();
        let leaving = self.before().reversed();
        let tuple = Tuple {
            sport: 0,
            dport: port,
            ..arriving
        };
        let source = (arriving.src != leaving.src).then(|| NatRange::address(leaving.src));
        let destination = (arriving.dst != leaving.dst).then(|| NatRange {
            ports: Some((port, port)),
            ..NatRange::address(leaving.dst)
        });
        let nat = Nat {
            source,
            destination,
            ..Nat::default()
        };
        Expected {
            tuple,
            nat: nat.kind().map(|_| nat),
        }
    }
}

/// A connection that a message announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The tuple of its first packet, as it will arrive; the source port is zero: any.
    pub tuple: Tuple,
    /// How the connection is translated; `None`: not.
    pub nat: Option<Nat>,
}

/// What a message holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Announced connections.
    pub expected: SmallVec<[Expected; MAX_EXPECTED]>,
    /// Places to be rewritten, ascending, disjoint.
    pub edits: SmallVec<[Edit; MAX_EDITS]>,
}

/// The answer of a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of the one packet it is about"
)]
pub enum Parsed {
    /// Nothing of interest: the packet passes as it is.
    Nothing,
    /// Something was announced or must be rewritten.
    Found(Findings),
    /// A message of interest that is malformed, or announces a foreign address: the packet is
    /// marked invalid and passes unchanged.
    Refused,
}

impl Findings {
    /// This as an answer.
    fn parsed(self) -> Parsed {
        if self.expected.is_empty() && self.edits.is_empty() {
            Parsed::Nothing
        } else {
            Parsed::Found(self)
        }
    }
}

/// The text of an address.
fn address_text(family: Family, address: u128) -> SmallVec<[u8; edit::MAX_TEXT]> {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, Ipv6Addr};

    let mut text = SmallVec::new();
    let written = match family {
        Family::V4 => write!(text, "{}", Ipv4Addr::from_bits(address as u32)),
        Family::V6 => write!(text, "{}", Ipv6Addr::from_bits(address)),
    };
    written.expect("writing to a vector cannot fail");
    text
}

//! What the datapath asks of the tracker for a batch: the `ct()` action.

use crate::tuple::Zone;

/// A value to be stored under a mask: bits outside the mask keep what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked<T> {
    /// The bits to be set; bits outside the mask must be zero.
    pub value: T,
    /// Which bits are meant.
    pub mask: T,
}

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
    /// The helper with this number; `None` for others, zero among them.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Helper> {
        match number {
            1 => Some(Helper::Ftp),
            2 => Some(Helper::Tftp),
            3 => Some(Helper::Sip),
            _ => None,
        }
    }

    /// Its name, as in Open vSwitch's `alg=` and netfilter's `helper=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Helper::Ftp => "ftp",
            Helper::Tftp => "tftp",
            Helper::Sip => "sip",
        }
    }
}

/// An address and port range to translate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatRange {
    /// Lowest address (IPv4 in the low 32 bits); zero: keep the packet's own address.
    pub min_address: u128,
    /// Highest address, inclusive.
    pub max_address: u128,
    /// Port range, inclusive; `None` chooses as Open vSwitch does.
    pub ports: Option<(u16, u16)>,
}

/// How a port is chosen inside the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum NatSelection {
    /// By a hash of the connection (default).
    #[default]
    Hash = 0,
    /// At random.
    Random = 1,
    /// By a hash of the source address only, stable over restarts.
    Persistent = 2,
}

/// The `nat` part of the action. With neither range it only applies what the connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Translate sources to this range.
    pub source: Option<NatRange>,
    /// Translate destinations to this range.
    pub destination: Option<NatRange>,
    /// How to choose.
    pub selection: NatSelection,
}

/// The `ct()` action: the same for every packet of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Zone to track in.
    pub zone: Zone,
    /// Store new connections.
    pub commit: bool,
    /// A connection found in the reply direction is dropped and begun anew with this packet as its
    /// first. Implies `commit`.
    pub force: bool,
    /// Set the connection's mark.
    pub mark: Option<Masked<u32>>,
    /// Set the connection's label.
    pub label: Option<Masked<u128>>,
    /// Helper for connections that this action commits.
    pub helper: Option<Helper>,
    /// Translate.
    pub nat: Option<Nat>,
    /// Number of the timeout policy for connections that this action commits; `None` is the zone's.
    pub timeout_policy: Option<u32>,
}

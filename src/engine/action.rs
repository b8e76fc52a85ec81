//! What the datapath asks of the tracker for a batch: the `ct()` action.

use crate::tuple::Zone;

pub use crate::alg::Helper;
pub use crate::nat::{Nat, NatRange, NatSelection};

/// A value to be stored under a mask: bits outside the mask keep what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked<T> {
    /// The bits to be set; bits outside the mask must be zero.
    pub value: T,
    /// Which bits are meant.
    pub mask: T,
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

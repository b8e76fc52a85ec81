//! What the datapath asks of the tracker for a batch: the `ct()` action.

use crate::error::Error;
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

impl Action {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the part named: bits outside a mask, a range of addresses or ports that
    /// is none.
    #[inline(always)]
    pub fn check(&self) -> Result<(), Error> {
        if self.mark.is_some_and(|mark| mark.value & !mark.mask != 0)
            || self
                .label
                .is_some_and(|label| label.value & !label.mask != 0)
        {
            return Err(Error::invalid("mark or label has bits outside its mask"));
        }
        match &self.nat {
            Some(nat) => nat.check(),
            None => Ok(()),
        }
    }
}

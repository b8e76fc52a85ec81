//! What the control plane decided, as the packet path reads it.
//!
//! Everything here is small, changes rarely and is read often: how long a connection of some kind may
//! be idle, and what is peculiar to a zone. Reading never takes a lock.

pub mod limits;
pub mod timeouts;
pub mod zones;

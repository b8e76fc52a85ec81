//! The C boundary: pointers checked, panics stopped, errors numbered. Nothing is decided here.
//!
//! What every exported function obeys, and a test checks:
//! * its body begins with a guard (`guard.rs`): a panic becomes ENOTRECOVERABLE and poisons the
//!   instance, whose packets then pass untracked;
//! * NULL and nonsense are answered with EINVAL and a message; out parameters are untouched then;
//! * a struct that may grow begins with its own size, see `convert`;
//! * it returns 0 or a positive errno.
//!
//! The functions are written by hand, never by a macro: the generator of the C header sees no macros.

pub mod control;
mod convert;
pub mod dummy;
pub mod dump;
pub mod events;
pub mod execute;
mod filter;
mod flow;
pub mod flow_table;
mod guard;
pub mod handle;
pub mod ipf;
pub mod merge;
mod nat;
pub mod offload;
mod packet;
mod provider;
pub mod sim;
mod status;
pub mod timeouts;
mod tuple;
pub mod types;
pub mod version;
mod workers;
pub mod zones;

//! Merged flows: a chain of filters that a packet went through, folded into one.
//!
//! A datapath sends a packet through several tables: each filter matches some fields, rewrites others,
//! asks the connection tracker, and recirculates. Once every connection on the way is established, the
//! whole way is the same for every further packet of the connection, and one exact flow can stand for it
//! (Paul Blakey and Eli Britstein's "end to end cache", Netronome's "assume established").
//!
//! `flow` is the model of matches, in words; `action` what filters do; `fold` the algebra, a pure
//! function from a trace to a merged flow or a reason why not; `pipeline` a small datapath that runs
//! filters on packet keys, by which the algebra is tested. Registration of filters, traces of packets
//! and the cache itself are not here yet.

pub mod action;
pub mod flow;
pub mod fold;
pub mod pipeline;
#[cfg(all(test, not(loom)))]
mod tests;

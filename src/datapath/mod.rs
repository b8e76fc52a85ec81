//! A small datapath of several tables, with and without merged flows: to try rules, and to compare.
//!
//! Rules come from a text ([`rules`]): lines of `tc filter add` or of `ovs-ofctl`. Packets walk from
//! table to table ([`walk`]), are tracked, rewritten ([`edit`]) and sent out of ports. What a packet
//! meets is told to the engine as *filters*, as the cache of a switch would: a rule together with all
//! bits that had to be looked at to choose it, so that filters never overlap even where rules do (Open
//! vSwitch's megaflows). With the cache on, packets are first looked up among the merged flows.
//!
//! This room is a user of the engine, and does nothing that one in C could not do. It is written to be
//! compared with itself: its tables are searched rule by rule, and are no match for those of a switch.

pub mod edit;
pub mod rules;
pub mod walk;

pub use rules::{Rules, parse};
pub use walk::{Datapath, Output, Packet, Settings};

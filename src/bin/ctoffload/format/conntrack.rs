//! `conntrack -L -o extended`, and what its lines share with those of procfs.

use super::{Address, Entry, Look, Ports, helper_name, proto_name, state_name};
use ctoffload::engine::listing::Counters;
use ctoffload::packet::Family;
use ctoffload::tuple::Tuple;
use std::fmt::{self, Display, Write};

/// The line of a connection.
#[must_use]
pub fn line(entry: &Entry, look: &Look) -> String {
    let mut line = layer3(entry.connection.original.family);
    line += &flow(entry, &Parts::LISTING);
    let connection = entry.connection;
    push(&mut line, format_args!("mark={}", connection.mark));
    if connection.original.zone != 0 {
        push(&mut line, format_args!("zone={}", connection.original.zone));
    }
    if look.age {
        push(
            &mut line,
            format_args!("delta-time={}", entry.now.since(connection.created) / 1000),
        );
    }
    if let Some(helper) = connection.helper {
        push(&mut line, format_args!("helper={}", helper_name(helper)));
    }
    line += "use=1";
    if look.id {
        push(&mut line, format_args!(" id={}", entry.number));
        line.pop();
    }
    line
}

/// Which of the optional parts [`flow`] writes.
pub(super) struct Parts {
    pub(super) timeout: bool,
    pub(super) counters: bool,
    /// Every group of an IPv6 address in full, as the kernel prints it.
    pub(super) full_addresses: bool,
}

impl Parts {
    pub(super) const LISTING: Parts = Parts {
        timeout: true,
        counters: true,
        full_addresses: false,
    };
}

/// Appends words and the blank behind them.
pub(super) fn push(line: &mut String, words: fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = line.write_fmt(words);
    line.push(' ');
}

/// The columns of the address family.
pub(super) fn layer3(family: Family) -> String {
    let (name, number) = match family {
        Family::V4 => ("ipv4", 2),
        Family::V6 => ("ipv6", 10),
    };
    format!("{name:<8} {number} ")
}

/// From the protocol to the status flags, with a blank at the end.
pub(super) fn flow(entry: &Entry, parts: &Parts) -> String {
    let connection = entry.connection;
    let number = connection.original.proto;
    let mut line = format!("{:<8} {number} ", proto_name(number).unwrap_or("unknown"));
    if parts.timeout {
        push(&mut line, format_args!("{}", connection.remaining / 1000));
    }
    if let Some(state) = state_name(connection) {
        push(&mut line, format_args!("{state}"));
    }
    let [original, reply] = match connection.counters {
        Some(counters) if parts.counters => counters.map(Some),
        _ => [None, None],
    };
    direction(&mut line, &connection.original, original, parts);
    if !connection.seen_reply {
        line += "[UNREPLIED] ";
    }
    direction(&mut line, &connection.reply, reply, parts);
    if connection.assured {
        line += "[ASSURED] ";
    }
    if connection.flow {
        line += "[OFFLOAD] ";
    }
    if connection.offloaded {
        line += "[HW_OFFLOAD] ";
    }
    line
}

/// One direction: addresses, ports, counters.
fn direction(line: &mut String, tuple: &Tuple, counters: Option<Counters>, parts: &Parts) {
    if parts.full_addresses && tuple.family == Family::V6 {
        push(
            line,
            format_args!("src={} dst={}", Full(tuple.src), Full(tuple.dst)),
        );
    } else {
        let [src, dst] = [tuple.src, tuple.dst].map(|address| Address(tuple.family, address));
        push(line, format_args!("src={src} dst={dst}"));
    }
    match Ports::of(tuple) {
        Ports::Pair(sport, dport) => push(line, format_args!("sport={sport} dport={dport}")),
        Ports::Query(kind, id) => push(line, format_args!("type={kind} code=0 id={id}")),
        Ports::Keys => line.push_str("srckey=0x0 dstkey=0x0 "),
        Ports::None => {}
    }
    if let Some(counters) = counters {
        push(
            line,
            format_args!("packets={} bytes={}", counters.packets, counters.bytes),
        );
    }
}

/// An IPv6 address with all its digits.
struct Full(u128);

impl Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in (0..8).rev() {
            let separator = if group == 0 { "" } else { ":" };
            write!(f, "{:04x}{separator}", (self.0 >> (16 * group)) as u16)?;
        }
        Ok(())
    }
}

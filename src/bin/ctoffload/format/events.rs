//! `conntrack -E -o timestamp`, and the line of a packet's verdict.
//!
//! An event says what the kernel's says: a new connection without its counters, a destroyed one
//! without the time that it no longer has.

use super::conntrack::{Parts, flow, push};
use super::{Address, Entry, Look, Ports, Stamp, helper_name, proto_name, state_bits};
use crate::replay::Tracked;
use ctoffload::reason::Reason;
use std::fmt::Write;

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was committed.
    New,
    /// Its state, status, mark, label or helper changed.
    Update,
    /// It expired, or made way for another one.
    Destroy,
}

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What.
    pub kind: Kind,
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// The connection afterwards, or as it was last.
    pub entry: Entry<'a>,
}

/// The line of an event.
#[must_use]
pub fn line(event: &Event, look: &Look) -> String {
    let connection = event.entry.connection;
    let (name, parts) = match event.kind {
        Kind::New => (
            "[NEW]",
            Parts {
                counters: false,
                ..Parts::LISTING
            },
        ),
        Kind::Update => (
            "[UPDATE]",
            Parts {
                counters: false,
                ..Parts::LISTING
            },
        ),
        Kind::Destroy => (
            "[DESTROY]",
            Parts {
                timeout: false,
                ..Parts::LISTING
            },
        ),
    };
    let mut line = format!(
        "[{}]\t{name:>9} {}",
        Stamp(event.time),
        flow(&event.entry, &parts)
    );
    if connection.mark != 0 {
        push(&mut line, format_args!("mark={}", connection.mark));
    }
    if connection.original.zone != 0 {
        push(&mut line, format_args!("zone={}", connection.original.zone));
    }
    if look.age && event.kind == Kind::Destroy {
        let age = event.entry.now.since(connection.created) / 1000;
        push(&mut line, format_args!("delta-time={age}"));
    }
    if let Some(helper) = connection.helper {
        push(&mut line, format_args!("helper={}", helper_name(helper)));
    }
    if look.id {
        push(&mut line, format_args!("id={}", event.entry.number));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The line of a packet's verdict: number, time, tuple, state bits, connection, reason.
#[must_use]
pub fn verdict(packet: &Tracked) -> String {
    let mut line = format!("{:>6} {} ", packet.number, Stamp(packet.time));
    match &packet.tuple {
        Some(tuple) => {
            match proto_name(tuple.proto) {
                Some(name) => push(&mut line, format_args!("{name}")),
                None => push(&mut line, format_args!("{}", tuple.proto)),
            }
            let [src, dst] = [tuple.src, tuple.dst].map(|address| Address(tuple.family, address));
            push(&mut line, format_args!("src={src} dst={dst}"));
            match Ports::of(tuple) {
                Ports::Pair(sport, dport) => {
                    push(&mut line, format_args!("sport={sport} dport={dport}"));
                }
                Ports::Query(kind, id) => push(&mut line, format_args!("type={kind} id={id}")),
                Ports::Keys | Ports::None => {}
            }
        }
        None => line += "- ",
    }
    line += &state_bits(packet.metadata.state)
        .collect::<Vec<_>>()
        .join("|");
    // Writing to a string cannot fail.
    if let Some(number) = packet.connection {
        let _ = write!(line, " id={number}");
    }
    let reason = packet.metadata.reason;
    if reason != Reason::None {
        let _ = write!(line, " ({}: {})", reason.name(), reason.text());
    }
    line
}

//! Counts of a replay: per protocol, verdict, reason and state.

use crate::format::events::Kind;
use crate::format::{proto_name, state_bits, state_name};
use crate::replay::Tracked;
use crate::watch::Change;
use ctoffload::engine::listing::Connection;
use ctoffload::reason::Reason;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    packets: u64,
    bytes: u64,
    created: u64,
    alive: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Summary {
    packets: u64,
    bytes: u64,
    created: u64,
    destroyed: u64,
    protocols: BTreeMap<String, Traffic>,
    verdicts: BTreeMap<String, u64>,
    reasons: BTreeMap<&'static str, u64>,
    states: BTreeMap<String, u64>,
}

impl Summary {
    /// Counts a packet.
    pub fn packet(&mut self, packet: &Tracked) {
        let bytes = u64::from(packet.wire_len);
        self.packets += 1;
        self.bytes += bytes;
        let protocol = packet
            .tuple
            .map_or_else(|| "untracked".to_owned(), |t| name(t.proto));
        let traffic = self.protocols.entry(protocol).or_default();
        traffic.packets += 1;
        traffic.bytes += bytes;
        let verdict = state_bits(packet.metadata.state)
            .collect::<Vec<_>>()
            .join("|");
        *self.verdicts.entry(verdict).or_default() += 1;
        if packet.metadata.reason != Reason::None {
            *self
                .reasons
                .entry(packet.metadata.reason.name())
                .or_default() += 1;
        }
    }

    /// Counts a change.
    pub fn change(&mut self, change: &Change) {
        match change.kind {
            Kind::New => {
                self.created += 1;
                let protocol = name(change.connection.original.proto);
                self.protocols.entry(protocol).or_default().created += 1;
            }
            Kind::Destroy => self.destroyed += 1,
            Kind::Update => {}
        }
    }

    /// Counts a connection that lives at the end.
    pub fn alive(&mut self, connection: &Connection) {
        let protocol = name(connection.original.proto);
        let state = match (state_name(connection), connection.seen_reply) {
            (Some(state), _) => state,
            (None, true) => "REPLIED",
            (None, false) => "UNREPLIED",
        };
        *self
            .states
            .entry(format!("{protocol} {state}"))
            .or_default() += 1;
        self.protocols.entry(protocol).or_default().alive += 1;
    }

    /// The summary for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} packets, {} bytes; {} connections created, {} destroyed\n",
            self.packets, self.bytes, self.created, self.destroyed
        );
        if !self.protocols.is_empty() {
            let heads = ["protocol", "packets", "bytes", "created", "alive"];
            let [a, b, c, d, e] = heads;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{a:<12}{b:>10}{c:>14}{d:>10}{e:>10}");
            for (protocol, traffic) in &self.protocols {
                let Traffic {
                    packets,
                    bytes,
                    created,
                    alive,
                } = traffic;
                let _ = writeln!(
                    text,
                    "{protocol:<12}{packets:>10}{bytes:>14}{created:>10}{alive:>10}"
                );
            }
        }
        table(&mut text, "state", &self.states);
        table(&mut text, "verdict", &self.verdicts);
        table(&mut text, "reason", &self.reasons);
        text
    }

    /// The summary for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let protocols: BTreeMap<_, _> = self
            .protocols
            .iter()
            .map(|(name, t)| {
                let counts = json!({
                    "packets": t.packets, "bytes": t.bytes, "created": t.created, "alive": t.alive,
                });
                (name, counts)
            })
            .collect();
        json!({ "summary": {
            "packets": self.packets,
            "bytes": self.bytes,
            "created": self.created,
            "destroyed": self.destroyed,
            "protocols": protocols,
            "states": self.states,
            "verdicts": self.verdicts,
            "reasons": self.reasons,
        }})
    }
}

fn name(proto: u8) -> String {
    proto_name(proto).map_or_else(|| format!("proto {proto}"), str::to_owned)
}

fn table<K: AsRef<str>>(text: &mut String, head: &str, counts: &BTreeMap<K, u64>) {
    if !counts.is_empty() {
        let _ = writeln!(text, "\n{head:<24}{:>10}", "count");
    }
    for (name, count) in counts {
        let _ = writeln!(text, "{:<24}{count:>10}", name.as_ref());
    }
}

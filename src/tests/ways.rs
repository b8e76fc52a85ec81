//! The ways through stage 3 of a batch: the straight one, the plain one, and the whole one.
//!
//! A packet that collects a trace goes the whole way, one that does not may go another, and one that
//! comes alone does not even go through the stages. So three engines get the same traffic, once traced, once
//! not, once packet by packet, and must agree on everything: bytes, verdicts, original tuples, connections.
//!
//! So it is with the look-up in a flow table, where a packet that is not plain goes the long way.

use proptest::prelude::*;

use super::ground::{LOOK, at, engine};
use super::packets::{Ip, Segment, ethernet, partial, udp};
use crate::engine::action::{Action, Masked, Nat, NatRange};
use crate::engine::descriptor::Frame;
use crate::engine::flow::FlowTableRef;
use crate::engine::listing::Connection;
use crate::engine::{Budget, Cursor, Engine};
use crate::offload::flow_table::Count;
use crate::packet::tcp_flags::{ACK, FIN, PSH, RST, SYN};
use crate::packet::{Checksum, Hints};

/// Bytes before a packet that is tagged.
const TAGGED: usize = 18;

/// One step of the traffic.
type Choice = [u8; 6];

/// Both ends of what a side sees.
type Ends = ((Ip, u16), (Ip, u16));

/// A conversation, of which either side may say something next.
#[derive(Clone, Copy)]
struct Conversation {
    tcp: bool,
    client: Ends,
    /// What the service sees of the client's packets.
    service: Ends,
    next: [u32; 2],
}

struct World {
    whole: Engine,
    short: Engine,
    alone: Engine,
    conversations: Vec<Conversation>,
    now: u64,
}

fn host(v6: bool, number: u8) -> Ip {
    if v6 { Ip::v6(number) } else { Ip::v4(number) }
}

impl World {
    fn new() -> World {
        let conversations = (0..12).map(|number: u8| {
            let v6 = number & 1 != 0;
            let client = (
                (host(v6, 1 + number % 3), 1000 + u16::from(number / 6)),
                (host(v6, 9), 80),
            );
            Conversation {
                tcp: number & 2 == 0,
                client,
                service: client,
                next: [1_000, 9_000],
            }
        });
        World {
            whole: engine(),
            short: engine(),
            alone: engine(),
            conversations: conversations.collect(),
            now: 1,
        }
    }

    fn action(&self, choice: u8, v6: bool) -> Action {
        let range = |first: u8| NatRange {
            min_address: host(v6, first).number(),
            max_address: host(v6, first + 1).number(),
            ports: None,
        };
        let (source, destination) = match choice >> 2 & 7 {
            0 => (Some(range(100)), None),
            1 => (None, Some(range(50))),
            2 => (Some(range(100)), Some(range(50))),
            _ => (None, None),
        };
        let nat = Nat {
            source,
            destination,
            ..Nat::default()
        };
        Action {
            commit: choice & 3 != 0,
            nat: (choice >> 2 & 7 < 5).then_some(nat),
            mark: (choice > 240).then_some(Masked { value: 5, mask: 7 }),
            ..LOOK
        }
    }

    /// What the chosen side says next.
    fn packet(&mut self, [who, what, how, more, ..]: Choice) -> Vec<u8> {
        let number = usize::from(who) % self.conversations.len();
        let talk = &mut self.conversations[number];
        let side = usize::from(what & 1);
        let (from, to) = match side {
            0 => talk.client,
            _ => (talk.service.1, talk.service.0),
        };
        if !talk.tcp {
            return udp(
                from.0,
                from.1,
                to.0,
                to.1,
                &vec![how; usize::from(more % 9)],
            );
        }
        let flags = match what >> 1 & 15 {
            0..3 => SYN,
            3..5 => SYN | ACK,
            5 => FIN | ACK,
            6 => RST | ACK,
            7 => PSH | ACK,
            8 => more & 0x3f,
            _ => ACK,
        };
        let payload = if flags & (ACK | SYN) == ACK {
            more % 40
        } else {
            0
        };
        let seq = talk.next[side].wrapping_sub(u32::from(how == 7) * 90_000);
        let segment = Segment {
            src: from.0,
            dst: to.0,
            seq,
            ack: talk.next[1 - side],
            options: if flags & SYN != 0 {
                vec![3, 3, how % 9, 1]
            } else {
                Vec::new()
            },
            payload: vec![how; usize::from(payload)],
            ..Segment::v4(0, from.1, 0, to.1, flags)
        };
        let phantom = u32::from(flags & (SYN | FIN) != 0);
        talk.next[side] = seq.wrapping_add(u32::from(payload) + phantom);
        segment.bytes()
    }

    /// A batch through both engines, by way of the flow tables: what is not found there is tracked. The
    /// packets of the one are tagged, which nothing plain is.
    fn run_by_flows(
        &mut self,
        tables: &[FlowTableRef; 2],
        batch: &[Choice],
    ) -> Result<(), TestCaseError> {
        let Some(&[who, .., ask, wait]) = batch.first() else {
            return Ok(());
        };
        let v6 = who % 2 != 0;
        let action = self.action(ask, v6);
        let hints = Hints {
            ip_checksum: Checksum::Good,
            read_only: wait & 3 == 0,
            ..Hints::default()
        };
        let (mut whole, mut short) = (Vec::new(), Vec::new());
        for &choice in batch {
            let mut bytes = self.packet(choice);
            if choice[2] % 16 == 9 {
                let ttl = if bytes[0] >> 4 == 6 { 7 } else { 8 };
                bytes[ttl] = 1;
            }
            whole.push(Frame {
                hints,
                ..Frame::ethernet(ethernet(&[0x8100], &bytes))
            });
            let l3 = Some(0);
            short.push(Frame {
                hints: Hints { l3, ..hints },
                ..Frame::ip(bytes)
            });
        }
        self.now += u64::from(wait >> 2) * u64::from(wait >> 2) * 20;
        let now = at(self.now);
        let mut found = Vec::new();
        for (engine, table, frames) in [
            (&self.whole, &tables[0], &mut whole),
            (&self.short, &tables[1], &mut short),
        ] {
            found.push(engine.flow_lookup(table, frames, now, &mut |_| {}));
            for frame in frames.iter_mut().filter(|frame| frame.metadata.state == 0) {
                engine.execute(std::slice::from_mut(frame), &action, now);
            }
        }
        prop_assert_eq!(found[0], found[1]);
        for ((one, other), &[who, what, ..]) in whole.iter().zip(&short).zip(batch) {
            prop_assert_eq!(&one.bytes[TAGGED..], &other.bytes[..]);
            prop_assert_eq!(one.metadata, other.metadata);
            prop_assert_eq!(one.original, other.original);
            prop_assert_eq!(one.modified, other.modified);
            if what & 1 == 0 {
                let number = usize::from(who) % self.conversations.len();
                self.conversations[number].service = ends_of(&other.bytes);
            }
        }
        if wait == 255 {
            let budget = Budget { records: 4096 };
            let swept = self.whole.sweep(now, budget);
            prop_assert_eq!(swept, self.short.sweep(now, budget));
        }
        Ok(())
    }

    /// A batch through all engines.
    fn run(&mut self, batch: &[Choice]) -> Result<(), TestCaseError> {
        let Some(&[who, .., ask, wait]) = batch.first() else {
            return Ok(());
        };
        let v6 = who % 2 != 0;
        let action = self.action(ask, v6);
        let status = match wait & 3 {
            0 => Checksum::Unknown,
            1 => Checksum::Partial,
            _ => Checksum::Good,
        };
        let hints = Hints {
            l3: Some(0),
            l4_checksum: status,
            ..Hints::default()
        };
        let mut whole = Vec::new();
        for &choice in batch {
            let mut bytes = self.packet(choice);
            if status == Checksum::Partial {
                bytes = partial(bytes);
            }
            whole.push(Frame {
                hints,
                ..Frame::ip(bytes)
            });
        }
        let (mut short, mut alone) = (whole.clone(), whole.clone());
        for frame in &mut whole {
            frame.trace = Some(Box::default());
        }
        self.now += u64::from(wait >> 2) * u64::from(wait >> 2) * 20;
        for pass in 0..=u8::from(wait & 0x30 == 0x30) {
            self.whole.execute(&mut whole, &action, at(self.now));
            self.short.execute(&mut short, &action, at(self.now));
            for frame in &mut alone {
                let single = std::slice::from_mut(frame);
                self.alone.execute(single, &action, at(self.now));
            }
            let pairs = whole.iter().zip(&short);
            for (one, other) in pairs.chain(whole.iter().zip(&alone)) {
                prop_assert_eq!(&one.bytes, &other.bytes, "pass {}", pass);
                prop_assert_eq!(one.metadata, other.metadata, "pass {}", pass);
                prop_assert_eq!(one.original, other.original, "pass {}", pass);
                prop_assert_eq!(one.modified, other.modified, "pass {}", pass);
            }
        }
        for (&[who, what, ..], frame) in batch.iter().zip(&whole) {
            let number = usize::from(who) % self.conversations.len();
            if what & 1 == 0 {
                self.conversations[number].service = ends_of(&frame.bytes);
            }
        }
        if wait == 255 {
            let budget = Budget { records: 4096 };
            let swept = self.whole.sweep(at(self.now), budget);
            prop_assert_eq!(swept, self.short.sweep(at(self.now), budget));
            prop_assert_eq!(swept, self.alone.sweep(at(self.now), budget));
        }
        Ok(())
    }
}

fn ends_of(packet: &[u8]) -> Ends {
    let (src, dst, l4) = match packet[0] >> 4 {
        4 => (
            Ip::V4(packet[12..16].try_into().expect("four bytes")),
            Ip::V4(packet[16..20].try_into().expect("four bytes")),
            20,
        ),
        _ => (
            Ip::V6(packet[8..24].try_into().expect("sixteen bytes")),
            Ip::V6(packet[24..40].try_into().expect("sixteen bytes")),
            40,
        ),
    };
    let port = |at: usize| u16::from_be_bytes([packet[l4 + at], packet[l4 + at + 1]]);
    ((src, port(0)), (dst, port(2)))
}

fn listed(engine: &Engine, now: u64) -> Vec<Connection> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| engine.next(&mut cursor, at(now))).collect()
}

proptest! {
    #[test]
    fn a_packet_has_the_same_verdict_on_every_way(
        batches in prop::collection::vec(prop::collection::vec(any::<Choice>(), 1..8), 1..80),
    ) {
        let mut world = World::new();
        for batch in &batches {
            world.run(batch)?;
        }
        let whole = listed(&world.whole, world.now);
        prop_assert_eq!(&whole, &listed(&world.short, world.now));
        prop_assert_eq!(&whole, &listed(&world.alone, world.now));
    }
    #[test]
    fn a_packet_of_a_flow_has_the_same_verdict_on_every_way(
        batches in prop::collection::vec(prop::collection::vec(any::<Choice>(), 1..8), 1..80),
    ) {
        let mut world = World::new();
        let tables = [world.whole.flow_table_get(0), world.short.flow_table_get(0)];
        for batch in &batches {
            world.run_by_flows(&tables, batch)?;
        }
        for &count in Count::ALL {
            prop_assert_eq!(tables[0].count(count), tables[1].count(count), "{:?}", count);
        }
        prop_assert_eq!(listed(&world.whole, world.now), listed(&world.short, world.now));
    }
}

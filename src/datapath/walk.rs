//! Packets through the tables.
//!
//! A batch goes together as far as it can: packets that meet the same filter are tracked as one batch,
//! as in a switch. A copy that goes out of a port is what the packet was at that moment.

use std::collections::HashMap;

use super::edit;
use super::rules::{Does, Rule, Rules};
use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::action::Action as Ask;
use crate::engine::descriptor::{Descriptor, Frame, Metadata, Modified, Pass};
use crate::error::Error;
use crate::merge::action::Action;
use crate::merge::flow::{Field, Key, Match};
use crate::merge::fold::Filter;
use crate::merge::key::{Tunnel, key_of, link_key};
use crate::merge::merged::{Flow, Used};
use crate::merge::trace::Trace;
use crate::packet::Hints;
use crate::tuple::Tuple;

/// Tables that a packet may visit: loops end.
const MOST_TABLES: usize = 64;

/// What may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Merged flows are used.
    pub cache: bool,
    /// What leaves a port is kept.
    pub keep: bool,
}

/// A packet on its way through the tables.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Bytes and metadata.
    pub frame: Frame,
    /// Tunnel metadata.
    pub tunnel: Tunnel,
}

/// A packet that left a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Number of the packet in its batch.
    pub packet: usize,
    /// The port.
    pub port: u32,
    /// Its bytes then.
    pub bytes: Vec<u8>,
    /// Its tunnel metadata then.
    pub tunnel: Tunnel,
}

/// A filter that was told to the engine: its name.
type Cookie = u64;

/// A datapath with its rules and its engine.
pub struct Datapath {
    engine: Engine,
    rules: Rules,
    settings: Settings,
    filters: HashMap<(usize, Match), Cookie>,
    tallies: Vec<Tally>,
    /// Packets that met no rule.
    unmatched: Used,
    /// Packets that left, by port.
    sent: Sent,
}

/// What is known of a rule.
#[derive(Clone, Default)]
struct Tally {
    /// What it carried without merged flows.
    own: Used,
    /// The names of its filters.
    cookies: Vec<Cookie>,
    /// The filter that was met last: that of the next packet as well, most of the time.
    last: Option<(Match, Cookie)>,
}

/// What left each port. There are few of them.
#[derive(Clone, Default)]
struct Sent(Vec<(u32, Used)>);

impl Sent {
    fn add(&mut self, port: u32, used: Used) {
        match self.0.iter_mut().find(|(other, _)| *other == port) {
            Some((_, sent)) => *sent = sent.and(used),
            None => self.0.push((port, used)),
        }
    }
}

/// A packet that is tracked in place.
struct Borrowed<'p>(&'p mut Frame);

/// Everything is the frame's.
impl Descriptor for Borrowed<'_> {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
    fn hints(&self) -> Hints {
        self.0.hints()
    }
    fn in_port(&self) -> u32 {
        self.0.in_port()
    }
    fn pass(&self) -> Pass {
        self.0.pass()
    }
    fn set_metadata(&mut self, metadata: &Metadata) {
        self.0.set_metadata(metadata);
    }
    fn original(&self) -> Option<Tuple> {
        self.0.original()
    }
    fn set_original(&mut self, tuple: Option<&Tuple>) {
        self.0.set_original(tuple);
    }
    fn wants_original(&self) -> bool {
        // No rule asks for it.
        false
    }
    fn is_traced(&self) -> bool {
        self.0.is_traced()
    }
    fn trace(&mut self) -> Option<&mut Trace> {
        self.0.trace()
    }
    fn set_modified(&mut self, modified: Modified) {
        self.0.set_modified(modified);
    }
    fn resize(&mut self, len: usize) -> bool {
        self.0.resize(len)
    }
    fn prefetch(&self) {
        crate::sync::line::prefetch(self.0.bytes.as_ptr());
    }
}

/// A packet that is on its way: its number in the batch, and the table where it is.
struct Walker {
    packet: usize,
    table: u32,
    rule: usize,
}

impl Datapath {
    /// A datapath whose packets are tracked by `engine`.
    ///
    /// # Errors
    /// Those of [`Engine::enable_merging`].
    pub fn new(engine: Engine, rules: Rules, settings: Settings) -> Result<Datapath, Error> {
        if settings.cache {
            let of = crate::merge::store::Settings::default();
            match engine.enable_merging(&of, None) {
                Ok(()) | Err(Error::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let tallies = vec![Tally::default(); rules.rules.len()];
        Ok(Datapath {
            engine,
            rules,
            settings,
            filters: HashMap::new(),
            tallies,
            unmatched: Used::default(),
            sent: Sent::default(),
        })
    }

    /// Its engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its rules.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What a rule carried, merged flows included.
    #[must_use]
    pub fn used(&self, rule: usize) -> Used {
        let Tally { own, cookies, .. } = &self.tallies[rule];
        let merged = cookies
            .iter()
            .filter_map(|&cookie| self.engine.filter_used(cookie).ok());
        merged.fold(*own, Used::and)
    }

    /// Packets that met no rule in some table, and went nowhere.
    #[must_use]
    pub const fn unmatched(&self) -> Used {
        self.unmatched
    }

    /// The ports that packets left by, in order.
    #[must_use]
    pub fn ports(&self) -> Vec<u32> {
        let mut ports: Vec<u32> = self.sent.0.iter().map(|&(port, _)| port).collect();
        ports.sort_unstable();
        ports
    }

    /// What left a port.
    #[must_use]
    pub fn sent(&self, port: u32) -> Used {
        let of = |(other, used): &(u32, Used)| (*other == port).then_some(*used);
        self.sent.0.iter().find_map(of).unwrap_or_default()
    }

    /// Sends a batch through. What leaves a port is returned when the settings say so.
    pub fn run(&mut self, packets: &mut [Packet], now: Time) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut walkers: Vec<Walker> = Vec::with_capacity(packets.len());
        if self.settings.cache {
            self.run_cache(packets, now, &mut walkers, &mut outputs);
        } else {
            walkers.extend((0..packets.len()).map(Walker::new));
        }
        let mut groups: Vec<Walker> = Vec::with_capacity(walkers.len());
        for _ in 0..MOST_TABLES {
            if walkers.is_empty() {
                break;
            }
            walkers.retain_mut(|walker| self.classify(&mut packets[walker.packet], walker, now));
            groups.clear();
            while let Some(rule) = walkers.first().map(|walker| walker.rule) {
                let group: Vec<Walker> = walkers
                    .extract_if(.., |walker| walker.rule == rule)
                    .collect();
                self.act(packets, group, now, &mut groups, &mut outputs);
            }
            std::mem::swap(&mut walkers, &mut groups);
        }
        outputs
    }

    /// Packets that a merged flow carries are done; the others begin their walk.
    fn run_cache(
        &mut self,
        packets: &mut [Packet],
        now: Time,
        walkers: &mut Vec<Walker>,
        outputs: &mut Vec<Output>,
    ) {
        let tunnels: Vec<Tunnel> = packets.iter().map(|packet| packet.tunnel).collect();
        let engine = &self.engine;
        let Ok(visit) = engine.visit_merged() else {
            return;
        };
        let mut flows: Vec<Option<&Flow>> = vec![None; packets.len()];
        {
            let mut frames: Vec<Borrowed<'_>> = packets
                .iter_mut()
                .map(|packet| Borrowed(&mut packet.frame))
                .collect();
            let tunnel = |i: usize| tunnels[i];
            engine.fastpath(&visit, &mut frames, &tunnel, now, &mut |i, flow| {
                flows[i] = Some(flow);
            });
        }
        let mut sent = std::mem::take(&mut self.sent);
        for (number, (packet, flow)) in packets.iter_mut().zip(flows).enumerate() {
            match flow {
                Some(flow) => {
                    let mut copies = Copies {
                        number,
                        sent: &mut sent,
                        outputs: self.settings.keep.then_some(&mut *outputs),
                        now,
                    };
                    for action in flow.made().rest.iter() {
                        copies.act(packet, action);
                    }
                }
                None => walkers.push(Walker::new(number)),
            }
        }
        self.sent = sent;
    }

    /// Finds the rule of a packet in its table. `false` when there is none.
    fn classify(&mut self, packet: &mut Packet, walker: &mut Walker, now: Time) -> bool {
        let key = key(packet, walker.table);
        let used = one(packet, now);
        let mut looked_at = Match::any().with(Field::Recirculation, u128::from(walker.table));
        let found = self.rules.in_table(walker.table).find(|&rule| {
            let matches = &self.rules.rules[rule].matches;
            looked_at = looked_at.widened(matches, &key);
            matches.fits(&key)
        });
        let Some(rule) = found else {
            self.unmatched = self.unmatched.and(used);
            if let Some(trace) = packet.frame.trace() {
                trace.abort();
            }
            return false;
        };
        walker.rule = rule;
        let tally = &mut self.tallies[rule];
        tally.own = tally.own.and(used);
        if self.settings.cache {
            let cookie = match tally.last {
                Some((last, cookie)) if last == looked_at => cookie,
                _ => self.cookie(rule, looked_at),
            };
            if let Some(trace) = packet.frame.trace() {
                trace.filter(cookie);
            }
        }
        true
    }

    /// The name of the filter for what was looked at to choose a rule. A new one is told to the engine.
    fn cookie(&mut self, rule: usize, looked_at: Match) -> Cookie {
        let next = self.filters.len() as Cookie + 1;
        let cookie = *self.filters.entry((rule, looked_at)).or_insert(next);
        let tally = &mut self.tallies[rule];
        tally.last = Some((looked_at, cookie));
        if cookie == next {
            let filter = Filter {
                matches: looked_at,
                actions: self.rules.rules[rule].filter_actions(),
            };
            // The name is new.
            let _added = self.engine.filter_add(cookie, filter);
            tally.cookies.push(cookie);
        }
        cookie
    }

    /// The actions of one rule on all packets that met it.
    fn act(
        &mut self,
        packets: &mut [Packet],
        mut group: Vec<Walker>,
        now: Time,
        next: &mut Vec<Walker>,
        outputs: &mut Vec<Output>,
    ) {
        group.sort_unstable_by_key(|walker| walker.packet);
        let Some(rule) = group.first().map(|walker| walker.rule) else {
            return;
        };
        let mut goes_on = false;
        let mut sent = std::mem::take(&mut self.sent);
        let Rule { actions, .. } = &self.rules.rules[rule];
        for action in actions {
            match action {
                Does::Track(ask) => track(&self.engine, packets, &group, ask, now),
                Does::Other(Action::Recirculate(table)) => {
                    group.iter_mut().for_each(|walker| walker.table = *table);
                    goes_on = true;
                    break;
                }
                Does::Other(Action::Drop) => break,
                Does::Other(action) => {
                    for walker in &group {
                        let mut copies = Copies {
                            number: walker.packet,
                            sent: &mut sent,
                            outputs: self.settings.keep.then_some(&mut *outputs),
                            now,
                        };
                        copies.act(&mut packets[walker.packet], action);
                    }
                }
            }
        }
        self.sent = sent;
        if goes_on {
            next.append(&mut group);
            return;
        }
        for walker in &group {
            if let Some(trace) = packets[walker.packet].frame.trace.as_deref() {
                self.engine.trace_end(trace);
            }
        }
    }
}

impl Walker {
    const fn new(packet: usize) -> Walker {
        Walker {
            packet,
            table: 0,
            rule: 0,
        }
    }
}

/// What is done to one packet, and where its copies go.
struct Copies<'d> {
    number: usize,
    sent: &'d mut Sent,
    outputs: Option<&'d mut Vec<Output>>,
    now: Time,
}

impl Copies<'_> {
    fn act(&mut self, packet: &mut Packet, action: &Action) {
        let hints = packet.frame.hints;
        match *action {
            Action::Output(port) => {
                self.sent.add(port, one(packet, self.now));
                if let Some(outputs) = &mut self.outputs {
                    outputs.push(Output {
                        packet: self.number,
                        port,
                        bytes: packet.frame.bytes.clone(),
                        tunnel: packet.tunnel,
                    });
                }
            }
            Action::Set(Field::TunnelId, value, mask) => {
                packet.tunnel.id = packet.tunnel.id & !(mask as u64) | (value & mask) as u64;
            }
            Action::Set(Field::TunnelSrc, value, mask) => {
                packet.tunnel.src = packet.tunnel.src & !mask | value & mask;
            }
            Action::Set(Field::TunnelDst, value, mask) => {
                packet.tunnel.dst = packet.tunnel.dst & !mask | value & mask;
            }
            Action::Set(field, value, mask) => {
                edit::set(&mut packet.frame.bytes, &hints, field, value, mask);
            }
            Action::PushVlan(tag) => edit::push_vlan(&mut packet.frame.bytes, tag),
            Action::PopVlan => edit::pop_vlan(&mut packet.frame.bytes),
            // None of the texts has words for the others.
            _ => {}
        }
    }
}

/// A packet, counted.
fn one(packet: &Packet, now: Time) -> Used {
    let length = packet
        .frame
        .hints
        .total_len
        .max(packet.frame.bytes.len() as u32);
    Used {
        packets: 1,
        bytes: u64::from(length),
        last: now.as_millis(),
    }
}

/// The flow key of a packet in a table.
fn key(packet: &Packet, table: u32) -> Key {
    let frame = &packet.frame;
    let facts = edit::facts_of(&frame.bytes, &frame.hints);
    let mut key = facts
        .and_then(|facts| {
            key_of(
                &facts,
                &frame.bytes,
                &frame.hints,
                frame.in_port,
                &packet.tunnel,
            )
        })
        .unwrap_or_else(|| {
            let key = link_key(&frame.bytes, Some(14));
            key.with(Field::InPort, u128::from(frame.in_port))
        });
    let metadata = &frame.metadata;
    key.set(Field::Recirculation, u128::from(table));
    key.set(Field::CtState, u128::from(metadata.state));
    key.set(Field::CtZone, u128::from(metadata.zone));
    key.set(Field::CtMark, u128::from(metadata.mark));
    key.set(Field::CtLabel, metadata.label);
    key
}

/// Tracks the packets of a group as one batch.
fn track(engine: &Engine, packets: &mut [Packet], group: &[Walker], ask: &Ask, now: Time) {
    // Walkers of a group are in the order of their packets.
    let mut members = group.iter().map(|walker| walker.packet).peekable();
    let mut frames: Vec<Borrowed<'_>> = Vec::with_capacity(group.len());
    for (number, packet) in packets.iter_mut().enumerate() {
        if members.next_if_eq(&number).is_some() {
            frames.push(Borrowed(&mut packet.frame));
        }
    }
    engine.execute(&mut frames, ask, now);
}

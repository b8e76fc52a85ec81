//! Translation over random rules, random packets and random lives of connections.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::engine::listing::Connection;
use crate::tests::checksums::verify;
use crate::tests::packets::{ip, partial, sctp, with_options, without_checksum};
use crate::tuple::Tuple;

/// What a packet is, but for its endpoints.
#[derive(Clone, Debug)]
enum Kind {
    Tcp(Vec<u8>, u8),
    Udp,
    UdpWithoutChecksum,
    Sctp,
    Echo,
    Gre,
}

#[derive(Clone, Debug)]
struct Recipe {
    kind: Kind,
    payload: Vec<u8>,
    /// Bytes of IPv4 options.
    options: usize,
}

impl Recipe {
    /// The packet between these endpoints; `reply` matters for echoes.
    fn build(&self, (src, sport): (Ip, u16), (dst, dport): (Ip, u16), reply: bool) -> Vec<u8> {
        let v4 = matches!(src, Ip::V4(_));
        let packet = match &self.kind {
            Kind::Tcp(options, flags) => Segment {
                src,
                dst,
                options: options.clone(),
                payload: self.payload.clone(),
                ..Segment::v4(0, sport, 0, dport, *flags)
            }
            .bytes(),
            Kind::Udp => udp(src, sport, dst, dport, &self.payload),
            Kind::UdpWithoutChecksum if v4 => {
                without_checksum(udp(src, sport, dst, dport, &self.payload))
            }
            Kind::UdpWithoutChecksum => udp(src, sport, dst, dport, &self.payload),
            Kind::Sctp => {
                let mut chunk = vec![1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1];
                chunk.extend([0, 0, 0, 1]);
                sctp(src, sport, dst, dport, 0, &chunk)
            }
            Kind::Echo => {
                let [high, low] = if reply { dport } else { sport }.to_be_bytes();
                let kind = match (v4, reply) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                };
                packets::icmp(src, dst, kind, 0, [high, low, 0, 1], &self.payload)
            }
            Kind::Gre => ip(src, dst, proto::GRE, &self.payload),
        };
        if v4 && self.options > 0 {
            with_options(&packet, &vec![1; self.options])
        } else {
            packet
        }
    }

    /// Where the transport header begins.
    fn l4(&self, packet: &[u8]) -> usize {
        match packet[0] >> 4 {
            4 => usize::from(packet[0] & 15) * 4,
            _ => 40,
        }
    }

    /// Source and destination port of a packet; the identifier of an echo as both.
    fn ports(&self, packet: &[u8]) -> (u16, u16) {
        let l4 = self.l4(packet);
        let word = |at| u16::from_be_bytes([packet[l4 + at], packet[l4 + at + 1]]);
        match self.kind {
            Kind::Echo => (word(4), word(4)),
            Kind::Gre => (0, 0),
            _ => (word(0), word(2)),
        }
    }
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let kind = prop_oneof![
        3 => prop::collection::vec(Just(1), 0..9).prop_map(|options| Kind::Tcp(options, SYN)),
        3 => Just(Kind::Udp),
        1 => Just(Kind::UdpWithoutChecksum),
        2 => Just(Kind::Sctp),
        2 => Just(Kind::Echo),
        1 => Just(Kind::Gre),
    ];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..120),
        // All zeros and all ones are where the one's complement has two zeros.
        (1_usize..20).prop_map(|n| vec![0; n]),
        (1_usize..20).prop_map(|n| vec![0xff; n]),
    ];
    (
        kind,
        payload,
        prop_oneof![3 => Just(0_usize), 1 => 1_usize..12],
    )
        .prop_map(|(kind, payload, options)| Recipe {
            kind,
            payload,
            options,
        })
}

fn address(v6: bool, host: u8) -> Ip {
    if v6 { Ip::v6(host) } else { Ip::v4(host) }
}

fn source_of(packet: &[u8]) -> Ip {
    match packet[0] >> 4 {
        4 => Ip::V4(packet[12..16].try_into().expect("four bytes")),
        _ => Ip::V6(packet[8..24].try_into().expect("sixteen bytes")),
    }
}

fn destination_of(packet: &[u8]) -> Ip {
    match packet[0] >> 4 {
        4 => Ip::V4(packet[16..20].try_into().expect("four bytes")),
        _ => Ip::V6(packet[24..40].try_into().expect("sixteen bytes")),
    }
}

/// A range of the hosts from `first` on.
fn hosts(v6: bool, first: u8, count: u8, ports: Option<(u16, u16)>) -> NatRange {
    NatRange {
        min_address: address(v6, first).number(),
        max_address: address(v6, first + count - 1).number(),
        ports,
    }
}

#[derive(Clone, Debug)]
struct Rule {
    source: Option<(u8, Option<(u16, u16)>)>,
    destination: Option<(u8, Option<(u16, u16)>)>,
    selection: NatSelection,
}

impl Rule {
    fn nat(&self, v6: bool) -> Nat {
        Nat {
            source: self
                .source
                .map(|(count, ports)| hosts(v6, 100, count, ports)),
            destination: self
                .destination
                .map(|(count, ports)| hosts(v6, 50, count, ports)),
            selection: self.selection,
            family: None,
        }
    }
}

/// A rule that translates something. `ports`: how many its ranges have at most.
fn rule(ports: u16) -> impl Strategy<Value = Rule> {
    let range = move || {
        let port = (1_u16..40_000, 0..ports).prop_map(|(first, more)| (first, first + more));
        (1_u8..4, prop::option::of(port))
    };
    let selection = prop_oneof![
        Just(NatSelection::Hash),
        Just(NatSelection::Random),
        Just(NatSelection::Persistent)
    ];
    let sides = prop_oneof![
        3 => range().prop_map(|source| (Some(source), None)),
        2 => range().prop_map(|destination| (None, Some(destination))),
        1 => (range(), range()).prop_map(|(a, b)| (Some(a), Some(b))),
    ];
    (sides, selection).prop_map(|((source, destination), selection)| Rule {
        source,
        destination,
        selection,
    })
}

/// Both ways of a connection that this rule translates: what each side sends, and what the other must
/// get.
struct Translated {
    engine: Engine,
    client: (Ip, u16),
    service: (Ip, u16),
    public: (Ip, u16),
    server: (Ip, u16),
    first: Frame,
}

/// Sends the first packet; its endpoints afterwards are read from the packet and must be in range.
fn translate_first(
    recipe: &Recipe,
    rule: &Rule,
    v6: bool,
    ports: (u16, u16),
    prepare: impl Fn(Vec<u8>) -> Frame,
) -> Translated {
    let engine = engine();
    let ports = match recipe.kind {
        Kind::Gre => (0, 0),
        Kind::Echo => (ports.0, ports.0),
        _ => ports,
    };
    let (client, service) = ((address(v6, 1), ports.0), (address(v6, 2), ports.1));
    let sent = recipe.build(client, service, false);
    let first = run(&engine, prepare(sent), &committing(rule.nat(v6)), 0);
    let (sport, dport) = recipe.ports(&first.bytes);
    let public = (source_of(&first.bytes), sport);
    let server = (destination_of(&first.bytes), dport);
    Translated {
        engine,
        client,
        service,
        public,
        server,
        first,
    }
}

fn in_range(rule: &Rule, v6: bool, done: &Translated) -> Result<(), TestCaseError> {
    let nat = rule.nat(v6);
    let within = |range: &Option<NatRange>, after: Ip, before: Ip| match range {
        Some(range) => (range.min_address..=range.max_address).contains(&after.number()),
        None => after == before,
    };
    prop_assert!(within(&nat.source, done.public.0, done.client.0));
    prop_assert!(within(&nat.destination, done.server.0, done.service.0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: RngSeed::Fixed(17), ..ProptestConfig::default() })]

    /// A packet of any protocol becomes the packet that its sender would have built between the new
    /// endpoints, and the answer to that comes back as the answer to the first one.
    #[test]
    fn translating_there_and_back_gives_the_packets_back_with_right_checksums(
        recipe in recipe(), answer in recipe(), rule in rule(300), v6 in any::<bool>(),
        ports in (1_u16.., 1_u16..), known in any::<bool>(),
    ) {
        let prepare = |bytes: Vec<u8>| {
            let mut frame = Frame::ip(bytes);
            if known {
                (frame.hints.ip_checksum, frame.hints.l4_checksum) = (Checksum::Good, Checksum::Good);
            }
            frame
        };
        let done = translate_first(&recipe, &rule, v6, ports, prepare);
        prop_assert_eq!(done.first.metadata.reason, Reason::None);
        in_range(&rule, v6, &done)?;
        prop_assert_eq!(verify(&done.first.bytes), Ok(()));
        prop_assert_eq!(&done.first.bytes, &recipe.build(done.public, done.server, false));
        // The same again is not another choice.
        let again = run(&done.engine, prepare(recipe.build(done.client, done.service, false)), &apply(), 0);
        prop_assert_eq!(&again.bytes, &done.first.bytes);
        // And back.
        let flags = if matches!(recipe.kind, Kind::Tcp(..)) { SYN | ACK } else { 0 };
        let kind = match &recipe.kind { Kind::Tcp(options, _) => Kind::Tcp(options.clone(), flags), other => other.clone() };
        let answer = Recipe { kind, ..answer };
        let back = run(&done.engine, prepare(answer.build(done.server, done.public, true)), &apply(), 0);
        prop_assert!(back.metadata.state & state::RPL != 0 || matches!(recipe.kind, Kind::Sctp));
        prop_assert_eq!(verify(&back.bytes), Ok(()));
        prop_assert_eq!(&back.bytes, &answer.build(done.service, done.client, true));
    }

    /// What a device will complete stays for the device: the partial sum is that of the new packet.
    #[test]
    fn partial_sums_are_those_of_the_packet_between_the_new_endpoints(
        recipe in recipe(), rule in rule(300), v6 in any::<bool>(), ports in (1_u16.., 1_u16..),
    ) {
        let recipe = Recipe { options: 0, ..recipe };
        prop_assume!(!matches!(recipe.kind, Kind::UdpWithoutChecksum));
        let prepare = |bytes: Vec<u8>| {
            let mut frame = Frame::ip(partial(bytes));
            (frame.hints.ip_checksum, frame.hints.l4_checksum) = (Checksum::Partial, Checksum::Partial);
            frame
        };
        let done = translate_first(&recipe, &rule, v6, ports, prepare);
        in_range(&rule, v6, &done)?;
        prop_assert_eq!(&done.first.bytes, &partial(recipe.build(done.public, done.server, false)));
        let completes = !matches!(recipe.kind, Kind::Echo | Kind::Gre);
        prop_assert_eq!(done.first.modified.l4_partial, completes);
    }

    /// An error that quotes a translated packet, in whole or in part, is the error about the packet that
    /// its sender sent; and its answer's, the other way.
    #[test]
    fn errors_about_translated_packets_are_errors_about_the_packets_that_were_sent(
        recipe in recipe(), rule in rule(300), v6 in any::<bool>(), ports in (1_u16.., 1_u16..),
        keep in 0_usize..200,
    ) {
        // An error quotes eight bytes of the message at least.
        prop_assume!(!matches!(recipe.kind, Kind::Gre) || recipe.payload.len() >= 8);
        let done = translate_first(&recipe, &rule, v6, ports, Frame::ip);
        let router = address(v6, 200);
        let quote = |bytes: &[u8]| {
            let l4 = recipe.l4(bytes);
            bytes[..bytes.len().min(l4 + 8 + keep)].to_vec()
        };
        let error = unreachable(router, done.public.0, &quote(&done.first.bytes));
        prop_assert_eq!(verify(&error), Ok(()));
        let back = one(&done.engine, error, &apply());
        prop_assert_eq!(back.metadata.state & (state::REL | state::INV), state::REL);
        prop_assert_eq!(verify(&back.bytes), Ok(()));
        let sent = recipe.build(done.client, done.service, false);
        // It hides a translated destination as all answers do, so the router's address is not seen.
        let from = if rule.destination.is_some() { done.service.0 } else { router };
        prop_assert_eq!(&back.bytes, &unreachable(from, done.client.0, &quote(&sent)));
    }
}

/// What happens to the tracker.
#[derive(Clone, Debug)]
enum Step {
    Open {
        client: u8,
        server: u8,
        sport: u16,
        rule: usize,
        zone: u16,
        kind: u8,
    },
    Answer(u16),
    Wait(u64),
    Sweep(u32),
    Flush(u16),
    FlushZone(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let open = (
        1_u8..12,
        0_u8..3,
        1000_u16..1004,
        0_usize..4,
        0_u16..2,
        0_u8..3,
    )
        .prop_map(|(client, server, sport, rule, zone, kind)| Step::Open {
            client,
            server,
            sport,
            rule,
            zone,
            kind,
        });
    prop_oneof![
        30 => open,
        6 => any::<u16>().prop_map(Step::Answer),
        3 => (0_u64..40_000).prop_map(Step::Wait),
        2 => (1_u32..200).prop_map(Step::Sweep),
        2 => any::<u16>().prop_map(Step::Flush),
        1 => (0_u16..2).prop_map(Step::FlushZone),
    ]
}

fn living(engine: &Engine, now: u64) -> Vec<Connection> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| engine.next(&mut cursor, at(now))).collect()
}

/// A packet with this tuple.
fn packet_of(tuple: &Tuple) -> Vec<u8> {
    let ip = |address: u128| Ip::V4((address as u32).to_be_bytes());
    let (src, dst) = (ip(tuple.src), ip(tuple.dst));
    match tuple.proto {
        proto::TCP => Segment {
            src,
            dst,
            ..Segment::v4(0, tuple.sport, 0, tuple.dport, SYN)
        }
        .bytes(),
        proto::UDP => udp(src, tuple.sport, dst, tuple.dport, b"data"),
        _ => echo(src, dst, tuple.sport, !tuple.question),
    }
}

/// Every living connection is named by tuples of its own, and its packets go where they should.
fn is_bijection(engine: &Engine, now: u64) -> Result<(), TestCaseError> {
    let connections = living(engine, now);
    let mut named: HashMap<Tuple, usize> = HashMap::new();
    for (i, connection) in connections.iter().enumerate() {
        for tuple in [connection.original, connection.reply] {
            if let Some(other) = named.insert(tuple, i) {
                prop_assert_eq!(other, i, "two connections are named {:?}", tuple);
            }
        }
    }
    // No tuple on the far side stands for two on the near side.
    let far: HashSet<Tuple> = connections.iter().map(|c| c.reply.reversed()).collect();
    prop_assert_eq!(far.len(), connections.len());
    for connection in &connections {
        let found = engine.lookup(&connection.reply, at(now));
        prop_assert_eq!(found.map(|found| found.id), Some(connection.id));
        let zone = connection.original.zone;
        let action = Action { zone, ..apply() };
        let there = run(
            engine,
            Frame::ip(packet_of(&connection.original)),
            &action,
            now,
        );
        prop_assert_eq!(&there.bytes, &packet_of(&connection.reply.reversed()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(19), ..ProptestConfig::default() })]

    /// Connections come by random rules with small ranges, are answered, expire, are swept, are flushed:
    /// at any time the tuples before translation and those after it belong together one by one.
    #[test]
    fn translation_is_a_bijection_on_living_tuples(
        rules in prop::collection::vec(rule(6), 4),
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let engine = engine();
        let mut now = 0;
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                Step::Open { client, server, sport, rule, zone, kind } => {
                    let action = Action { zone, ..committing(rules[rule].nat(false)) };
                    let (src, dst) = (Ip::v4(client), Ip::v4(40 + server));
                    let packet = match kind {
                        0 => udp(src, sport, dst, 80, b"data"),
                        1 => echo(src, dst, sport, false),
                        _ => Segment { src, dst, ..Segment::v4(0, sport, 0, 80, SYN) }.bytes(),
                    };
                    let sent = run(&engine, Frame::ip(packet), &action, now);
                    prop_assert!(sent.metadata.state & state::INV == 0);
                }
                Step::Answer(pick) => {
                    let connections = living(&engine, now);
                    if !connections.is_empty() {
                        let connection = &connections[usize::from(pick) % connections.len()];
                        let (zone, reply) = (connection.reply.zone, connection.reply);
                        if reply.proto != proto::TCP {
                            let action = Action { zone, ..apply() };
                            let back = run(&engine, Frame::ip(packet_of(&reply)), &action, now);
                            prop_assert_eq!(back.bytes, packet_of(&connection.original.reversed()));
                        }
                    }
                }
                Step::Wait(millis) => now += millis,
                Step::Sweep(records) => { let _ = engine.sweep(at(now), Budget { records }); }
                Step::Flush(pick) => {
                    let connections = living(&engine, now);
                    if !connections.is_empty() {
                        let tuple = connections[usize::from(pick) % connections.len()].reply;
                        engine.flush(Flush::Tuple(tuple), at(now)).expect("it was listed");
                    }
                }
                Step::FlushZone(zone) => engine.flush(Flush::Zone(zone), at(now)).expect("always"),
            }
            if count % 8 == 7 {
                is_bijection(&engine, now)?;
            }
        }
        is_bijection(&engine, now)?;
    }
}

#[test]
fn threads_that_fill_a_range_leave_a_bijection_and_no_port_unused() {
    const PORTS: u16 = 600;
    let engine = engine();
    let action = snat(to(Ip::v4(100), Some((1000, 1000 + PORTS - 1))));
    let open = |client: u8| {
        for sport in 0..300 {
            let packet = udp(Ip::v4(client), 2000 + sport, Ip::v4(40), 80, b"data");
            one(&engine, packet, &action);
            if sport % 50 == 49 {
                // Some come and go meanwhile.
                let ends = engine.lookup(&living(&engine, 0)[0].reply, at(0));
                if let Some(ends) = ends {
                    let _ = engine.flush(Flush::Tuple(ends.original), at(0));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for client in 1..=4 {
            let open = &open;
            scope.spawn(move || open(client));
        }
    });
    open(5);
    open(6);
    for sport in 0..300 {
        let packet = udp(Ip::v4(7), 2000 + sport, Ip::v4(40), 80, b"data");
        one(&engine, packet, &action);
    }
    assert_eq!(living(&engine, 0).len(), usize::from(PORTS));
    is_bijection(&engine, 0).expect("it is one");
}

//! FTP's control channel between two TCP endpoints and a wire that loses, repeats and reorders.
//!
//! Both sides send their whole text, cut anywhere; what a side sends again it cuts as before. Segments
//! reach the engine in order the first time (nobody can edit a text of which he has not seen the
//! beginning), and at most four wait for their acknowledgement: that many edits are told apart.
//! Behind the engine the wire does as it likes. Each side checks what it receives as TCP does: no byte
//! may come in two versions, and only whole segments that were sent may be acknowledged.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::tests::checksums::verify;

/// Segments of a side that are under way.
const IN_FLIGHT: usize = 4;

/// One end of the connection.
struct Peer {
    own: (Ip, u16),
    /// The other end, as this one knows it.
    other: (Ip, u16),
    initial: u32,
    /// The other side's first number, as it was seen.
    seen_initial: u32,
    segments: Vec<Vec<u8>>,
    acknowledged: usize,
    sent: usize,
    /// Bytes of the other side's text, as far as they came.
    received: Vec<Option<u8>>,
}

impl Peer {
    /// Where a segment begins in this side's text.
    fn start(&self, segment: usize) -> usize {
        self.segments[..segment].iter().map(Vec::len).sum()
    }

    /// How many segments end at this place of the text.
    fn boundary(&self, place: usize) -> Option<usize> {
        (0..=self.sent).find(|&segment| self.start(segment) == place)
    }

    /// How much of the other side's text came without a gap.
    fn in_order(&self) -> usize {
        let known = self.received.iter().position(Option::is_none);
        known.unwrap_or(self.received.len())
    }

    /// The first bytes behind a gap.
    fn beyond(&self) -> Option<(usize, usize)> {
        let from = self.in_order();
        let start = from + self.received[from..].iter().position(Option::is_some)?;
        let len = self.received[start..].iter().position(Option::is_none);
        Some((start, len.map_or(self.received.len(), |len| start + len)))
    }

    fn packet(&self, flags: u8, seq: usize, payload: &[u8]) -> Vec<u8> {
        let number = |initial: u32, place: usize| initial.wrapping_add(1 + place as u32);
        let mut segment = Segment::v4(0, 0, 0, 0, flags).numbers(
            number(self.initial, seq),
            number(self.seen_initial, self.in_order()),
        );
        (segment.src, segment.sport) = self.own;
        (segment.dst, segment.dport) = self.other;
        segment.payload = payload.to_vec();
        if let Some((start, end)) = self.beyond() {
            segment.options = vec![1, 1, 5, 10];
            for edge in [start, end] {
                let edge = number(self.seen_initial, edge);
                segment.options.extend(edge.to_be_bytes());
            }
        }
        segment.bytes()
    }

    fn text(&self, segment: usize) -> Vec<u8> {
        self.packet(PSH | ACK, self.start(segment), &self.segments[segment])
    }

    fn acknowledgement(&self) -> Vec<u8> {
        self.packet(ACK, self.start(self.sent), b"")
    }

    /// Takes a packet in; the error is what TCP would stumble over.
    fn receive(&mut self, packet: &[u8]) -> Result<(), String> {
        verify(packet)?;
        let l4 = if packet[0] >> 4 == 4 { 20 } else { 40 };
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four"));
        let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        if (port(l4), port(l4 + 2)) != (self.other.1, self.own.1) {
            return Err("it is for another connection".into());
        }
        let header = usize::from(packet[l4 + 12] >> 4) * 4;
        let text = &packet[l4 + header..];
        let at = word(l4 + 4).wrapping_sub(self.seen_initial.wrapping_add(1)) as usize;
        if at > 1 << 16 {
            return Err(format!("text at {}", at as i32));
        }
        if self.received.len() < at + text.len() {
            self.received.resize(at + text.len(), None);
        }
        for (slot, &byte) in self.received[at..].iter_mut().zip(text) {
            if slot.is_some_and(|known| known != byte) {
                return Err(format!("byte {at} and on came otherwise before"));
            }
            *slot = Some(byte);
        }
        let place = |number: u32| number.wrapping_sub(self.initial.wrapping_add(1)) as usize;
        let ack = place(word(l4 + 8));
        let until = self
            .boundary(ack)
            .ok_or(format!("{ack} is acknowledged, inside of a segment"))?;
        self.acknowledged = self.acknowledged.max(until);
        if header == 32 {
            for edge in [place(word(l4 + 24)), place(word(l4 + 28))] {
                self.boundary(edge)
                    .ok_or(format!("{edge} is an edge of a SACK block"))?;
            }
        }
        Ok(())
    }
}

/// The two ends, the engine between them, and what is under way behind it.
struct Wire {
    engine: Engine,
    peers: [Peer; 2],
    later: Action,
    /// By the side to which it goes.
    under_way: Vec<(usize, Vec<u8>)>,
}

impl Wire {
    fn through_engine(&mut self, side: usize, packet: Vec<u8>) {
        let frame = one(&self.engine, packet, &self.later);
        self.under_way.push((1 - side, frame.bytes));
    }

    fn send(&mut self, side: usize) {
        let peer = &mut self.peers[side];
        if peer.sent < peer.segments.len() && peer.sent - peer.acknowledged < IN_FLIGHT {
            let packet = peer.text(peer.sent);
            peer.sent += 1;
            self.through_engine(side, packet);
        }
    }

    fn send_again(&mut self, side: usize, pick: usize) {
        let peer = &self.peers[side];
        let waiting = peer.sent - peer.acknowledged;
        if waiting > 0 {
            let packet = peer.text(peer.acknowledged + pick % waiting);
            self.through_engine(side, packet);
        }
    }

    fn acknowledge(&mut self, side: usize) {
        let packet = self.peers[side].acknowledgement();
        self.through_engine(side, packet);
    }

    fn deliver(&mut self, pick: usize) -> Result<(), String> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let (to, packet) = self.under_way.remove(pick % self.under_way.len());
        self.peers[to].receive(&packet)
    }

    fn is_done(&self) -> bool {
        (0..2).all(|side| {
            let peer = &self.peers[side];
            peer.acknowledged == peer.segments.len()
        })
    }

    /// What one number says shall happen.
    fn step(&mut self, what: u16) -> Result<(), String> {
        let (side, pick) = (usize::from(what & 1), usize::from(what >> 4));
        match what >> 1 & 7 {
            0..=2 => self.send(side),
            3 => self.send_again(side, pick),
            4 => self.acknowledge(side),
            5 | 6 => self.deliver(pick)?,
            _ if self.under_way.is_empty() => {}
            _ => {
                let pick = pick % self.under_way.len();
                if side == 0 {
                    self.under_way.remove(pick);
                } else {
                    let again = self.under_way[pick].clone();
                    self.under_way.push(again);
                }
            }
        }
        Ok(())
    }

    /// The wire behaves from now on.
    fn finish(&mut self) -> Result<(), String> {
        for _ in 0..100 {
            while !self.under_way.is_empty() {
                self.deliver(0)?;
            }
            if self.is_done() {
                return Ok(());
            }
            for side in 0..2 {
                self.send(side);
                self.send_again(side, 0);
                self.acknowledge(side);
            }
        }
        Err("the streams do not end".into())
    }
}

/// A dialogue: who hides behind which address, and what both say.
#[derive(Clone, Debug)]
struct Dialogue {
    v6: bool,
    public_client: Option<Ip>,
    public_server: Option<Ip>,
    lines: [Vec<String>; 2],
    cuts: [Vec<u16>; 2],
    at_lines: bool,
    initial: [u32; 2],
}

fn written(ip: Ip) -> String {
    match ip {
        Ip::V4(bytes) => std::net::Ipv4Addr::from(bytes).to_string(),
        Ip::V6(bytes) => std::net::Ipv6Addr::from(bytes).to_string(),
    }
}

fn with_commas(ip: Ip) -> String {
    written(ip).replace('.', ",")
}

/// A command or reply that names this address, if the family has such; up to the end of what must be in
/// one segment, and the rest.
fn announcement(ip: Ip, server: bool, style: u8, port: u16) -> (String, &'static str) {
    let [high, low] = port.to_be_bytes();
    let v4 = matches!(ip, Ip::V4(_));
    match (server, v4, style) {
        (false, true, 0) => (format!("PORT {},{high},{low}\r", with_commas(ip)), "\n"),
        (false, ..) => (
            format!("eprt |{}|{}|{port}|", if v4 { 1 } else { 2 }, written(ip)),
            "\r\n",
        ),
        (true, true, 0) => (
            format!(
                "227 Entering Passive Mode ({},{high},{low})",
                with_commas(ip)
            ),
            ".\r\n",
        ),
        (true, ..) => (
            format!("229 Entering Extended Passive Mode (|||{port}|"),
            ")\r\n",
        ),
    }
}

/// The kinds of announcements of a side with this address.
const STYLES: [u8; 2] = [0, 1];
const PORTS: [u16; 3] = [2000, 50_000, 65_535];

fn line(ip: Ip, server: bool) -> impl Strategy<Value = String> {
    let plain = if server {
        "[1345][0-9]{2} [A-Za-z ]{0,60}\r\n"
    } else {
        "[A-Z]{3,4} [a-z/.]{0,60}\r\n"
    };
    let announced = (0_usize..2, 0_usize..3).prop_map(move |(style, port)| {
        let (whole, rest) = announcement(ip, server, STYLES[style], PORTS[port]);
        whole + rest
    });
    prop_oneof![2 => announced, 3 => plain]
}

fn dialogue() -> impl Strategy<Value = Dialogue> {
    (any::<bool>(), 0_u8..3, any::<bool>(), 0_u8..3).prop_flat_map(
        |(v6, client, longer, hidden)| {
            let host = |host| if v6 { Ip::v6(host) } else { Ip::v4(host) };
            let (short, long) = if v6 {
                (
                    Ip::V6(0x20_01_u128.rotate_right(16).to_be_bytes()),
                    Ip::V6(u128::MAX.to_be_bytes()),
                )
            } else {
                (Ip::V4([9, 9, 9, 9]), PUBLIC)
            };
            let public = if longer { long } else { short };
            let public_client = (client < 2 || hidden > 0).then_some(public);
            let public_server = (hidden > 0).then_some(host(77));
            let lines = |ip, server| prop::collection::vec(line(ip, server), 1..10);
            let cuts = || prop::collection::vec(any::<u16>(), 0..5);
            (
                [
                    lines(host(CLIENT), false).boxed(),
                    lines(host(SERVER), true).boxed(),
                ],
                [cuts(), cuts()],
                prop_oneof![3 => Just(true), 1 => Just(false)],
                [any::<u32>(), any::<u32>()],
            )
                .prop_map(move |(lines, cuts, at_lines, initial)| Dialogue {
                    v6,
                    public_client,
                    public_server,
                    lines,
                    cuts,
                    at_lines,
                    initial,
                })
        },
    )
}

/// The text of a side in segments. The first line is never cut: until it has ended nobody knows where
/// lines begin.
fn segments(lines: &[String], cuts: &[u16], at_lines: bool) -> Vec<Vec<u8>> {
    let text = lines.concat().into_bytes();
    let mut places = BTreeSet::from([lines[0].len(), text.len()]);
    let rest = text.len() - lines[0].len();
    if rest > 0 {
        places.extend(
            cuts.iter()
                .map(|&cut| lines[0].len() + usize::from(cut) % rest),
        );
    }
    if at_lines {
        let ends = lines.iter().scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        });
        places.extend(ends);
    }
    let mut start = 0;
    let cut = places.into_iter().map(|end| {
        let segment = text[start..end].to_vec();
        start = end;
        segment
    });
    cut.collect()
}

/// The port of a reply over IPv6 that is known by its text, wherever it stands in what is read.
fn extended_port(segment: &str) -> Option<u16> {
    let read = &segment[..segment.len().min(128)];
    let (_, after) = read.split_once("Extended Passive Mode (|||")?;
    after.split_once('|')?.0.parse().ok()
}

/// What the other side must get: an announcement is rewritten when it begins a segment, is whole, and
/// (`at_lines`) begins a line. Ports of such announcements are expected.
fn rewritten(
    segments: &[Vec<u8>],
    (own, public): (Ip, Ip),
    server: bool,
    at_lines: bool,
) -> (String, BTreeSet<u16>) {
    let (mut text, mut ports) = (String::new(), BTreeSet::new());
    for segment in segments {
        let mut segment = String::from_utf8(segment.clone()).expect("text");
        let begins_line = text.is_empty() || text.ends_with('\n');
        if begins_line || !at_lines {
            for (style, port) in STYLES.into_iter().flat_map(|s| PORTS.map(|p| (s, p))) {
                let (whole, _) = announcement(own, server, style, port);
                if segment.starts_with(&whole) {
                    let (shown, _) = announcement(public, server, style, port);
                    segment = segment.replacen(&whole, &shown, 1);
                    ports.insert(port);
                    break;
                }
            }
            if server && matches!(own, Ip::V6(_)) {
                ports.extend(extended_port(&segment));
            }
        }
        text += &segment;
    }
    (text, ports)
}

fn run_dialogue(profile: Profile, dialogue: &Dialogue, what: &[u16]) -> Result<(), String> {
    let host = |host| {
        if dialogue.v6 {
            Ip::v6(host)
        } else {
            Ip::v4(host)
        }
    };
    let (client, server) = (host(CLIENT), host(SERVER));
    let shown_client = dialogue.public_client.unwrap_or(client);
    let shown_server = dialogue.public_server.unwrap_or(server);
    let range = |public: Option<Ip>, inside: Ip| public.map(|_| NatRange::address(inside.number()));
    let nat = Nat {
        source: range(dialogue.public_client, shown_client),
        destination: range(dialogue.public_server, server),
        ..Nat::default()
    };
    let peer = |side: usize, own: Ip, other: Ip| Peer {
        own: (own, [40_000, 21][side]),
        other: (other, [21, 40_000][side]),
        initial: dialogue.initial[side],
        seen_initial: dialogue.initial[1 - side],
        segments: segments(
            &dialogue.lines[side],
            &dialogue.cuts[side],
            dialogue.at_lines,
        ),
        acknowledged: 0,
        sent: 0,
        received: Vec::new(),
    };
    let mut wire = Wire {
        engine: engine_of(profile),
        peers: [peer(0, client, shown_server), peer(1, server, shown_client)],
        later: apply(),
        under_way: Vec::new(),
    };
    let commit = Action {
        nat: Some(nat),
        ..ftp()
    };
    for (side, flags, action) in [
        (0, SYN, &commit),
        (1, SYN | ACK, &apply()),
        (0, ACK, &apply()),
    ] {
        let peer = &wire.peers[side];
        let mut segment = Segment::v4(0, 0, 0, 0, flags);
        (segment.src, segment.sport) = peer.own;
        (segment.dst, segment.dport) = peer.other;
        segment.seq = peer.initial.wrapping_add(u32::from(flags == ACK));
        if flags & ACK != 0 {
            segment.ack = peer.seen_initial.wrapping_add(1);
        }
        let frame = one(&wire.engine, segment.bytes(), action);
        verify(&frame.bytes)?;
        if frame.metadata.state & state::INV != 0 {
            return Err(format!("the handshake: {:?}", frame.metadata));
        }
    }
    for &what in what {
        wire.step(what)?;
    }
    wire.finish()?;
    let at_lines = profile != Profile::Ovs;
    let ends = [(client, shown_client), (server, shown_server)];
    let mut expected = BTreeSet::new();
    for (side, names) in ends.into_iter().enumerate() {
        let sender = &wire.peers[side];
        let (wanted, ports) = rewritten(&sender.segments, names, side == 1, at_lines);
        let got: Option<Vec<u8>> = wire.peers[1 - side].received.iter().copied().collect();
        let got = String::from_utf8(got.ok_or("a gap")?).expect("text");
        if got != wanted {
            return Err(format!("{got:?} instead of {wanted:?}"));
        }
        expected.extend(ports.into_iter().map(|port| (side, port)));
    }
    let known: BTreeSet<(usize, u16)> = wire
        .engine
        .expected(at(0))
        .iter()
        .map(|expectation| {
            let from_server = expectation.tuple.src == server.number();
            (usize::from(!from_server), expectation.tuple.dport)
        })
        .collect();
    if known == expected {
        Ok(())
    } else {
        Err(format!("expected are {known:?} instead of {expected:?}"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(23), ..ProptestConfig::default() })]

    #[test]
    fn both_streams_stay_whole_over_any_segmentation_and_wire(
        dialogue in dialogue(), what in prop::collection::vec(any::<u16>(), 0..200),
        kernel in any::<bool>(),
    ) {
        let profile = if kernel { Profile::Kernel } else { Profile::Ovs };
        prop_assert_eq!(run_dialogue(profile, &dialogue, &what), Ok(()));
    }
}

//! Traffic from bytes: eight bytes are one step of a few conversations that share hosts and ports.
//!
//! Half of the steps are what two stacks would say to each other next, so that deep states are reached;
//! the others are anything.

use super::tcp;
use super::tracker::{Content, Packet, Tuple};
use crate::engine::action::{Action, Masked};
use crate::packet::proto;
use crate::tests::packets::{self, Ip, Segment, echo, udp, unreachable};

/// Bytes of a step.
pub(super) const STEP: usize = 8;
const CONVERSATIONS: u8 = 6;
/// A protocol without a tracker of its own.
const ESP: u8 = 50;

/// Something that happens.
pub(super) enum Step {
    Packet(Packet, Vec<u8>, Action),
    /// The last batch goes through once more.
    Again(Action),
    Wait(u64),
    FlushAll,
    FlushZone(u16),
    FlushTuple(Tuple),
    Sweep,
    /// The batch ends here.
    Cut,
}

/// What both ends of a TCP conversation have sent so far.
#[derive(Clone, Copy)]
struct Conversation {
    said: u8,
    next: [u32; 2],
    scale: Option<u8>,
}

/// Turns bytes into steps.
pub(super) struct Traffic {
    conversations: [Conversation; CONVERSATIONS as usize],
    last: Option<(Tuple, Vec<u8>)>,
    /// Added to all hosts, so that worlds of several threads are apart.
    hosts: u8,
}

impl Traffic {
    pub(super) fn new(hosts: u8) -> Traffic {
        let quiet = Conversation {
            said: 0,
            next: [0; 2],
            scale: None,
        };
        Traffic {
            conversations: [quiet; CONVERSATIONS as usize],
            last: None,
            hosts,
        }
    }

    fn tuple(&self, conversation: u8, proto: u8, reply: bool) -> Tuple {
        let (dport, v6) = match proto {
            proto::TCP => (80, conversation % 2 == 1),
            _ => (53, conversation % 2 == 1),
        };
        let ports = match proto {
            ESP => (0, 0),
            _ => (1000 + u16::from(conversation / 2 % 2), dport),
        };
        let tuple = Tuple {
            zone: 0,
            v6,
            proto,
            src: self.hosts + 1 + conversation / 4,
            dst: self.hosts + 9,
            sport: ports.0,
            dport: ports.1,
            question: true,
        };
        if reply { tuple.reversed() } else { tuple }
    }

    pub(super) fn step(&mut self, bytes: &[u8; STEP]) -> Step {
        let [kind, a, b, c, d, e, zone, what] = *bytes;
        let action = action(zone, what);
        let conversation = a % CONVERSATIONS;
        match kind % 32 {
            0..=14 => self.talk(conversation, b, c, d, action),
            15..=17 => self.anything(conversation, [b, c, d, e], action),
            18..=22 => {
                let tuple = self.tuple(conversation, proto::UDP, b & 1 == 1);
                let (src, dst) = ends(&tuple);
                let bytes = udp(src, tuple.sport, dst, tuple.dport, &[0; 3]);
                self.packet(tuple, Content::Plain, bytes, action)
            }
            23 => {
                let reply = b & 1 == 1;
                let proto = if conversation % 2 == 1 {
                    proto::ICMPV6
                } else {
                    proto::ICMP
                };
                let mut tuple = self.tuple(conversation, proto, reply);
                (tuple.sport, tuple.dport) = (7, 7);
                let (src, dst) = ends(&tuple);
                let bytes = echo(src, dst, 7, reply);
                self.packet(tuple, Content::Echo, bytes, action)
            }
            24 => {
                let tuple = self.tuple(conversation, ESP, b & 1 == 1);
                let (src, dst) = ends(&tuple);
                let bytes = packets::ip(src, dst, ESP, &[0; 8]);
                self.packet(tuple, Content::Plain, bytes, action)
            }
            25 | 26 => match self.last.clone() {
                // About the packet before, from its receiver.
                Some((tuple, quoted)) => {
                    let (src, dst) = ends(&tuple);
                    let bytes = unreachable(dst, src, &quoted);
                    Step::Packet(
                        Packet {
                            tuple,
                            content: Content::Error,
                        },
                        bytes,
                        action,
                    )
                }
                None => Step::Cut,
            },
            27 => {
                let waits = [1, 900, 5_000, 29_999, 30_001, 60_001, 900_001, 86_400_001];
                Step::Wait(waits[usize::from(b % 8)])
            }
            28 => match b % 16 {
                0 => Step::FlushAll,
                1 | 2 => Step::FlushZone(u16::from(c & 1)),
                _ => {
                    let proto = if c & 1 == 0 { proto::TCP } else { proto::UDP };
                    let mut tuple = self.tuple(conversation, proto, c & 2 == 2);
                    tuple.zone = u16::from(c >> 2 & 1);
                    Step::FlushTuple(tuple)
                }
            },
            29 => Step::Sweep,
            30 => Step::Again(action),
            _ => Step::Cut,
        }
    }

    fn packet(&mut self, tuple: Tuple, content: Content, bytes: Vec<u8>, action: Action) -> Step {
        self.last = Some((tuple, bytes.clone()));
        Step::Packet(Packet { tuple, content }, bytes, action)
    }

    /// What two stacks would say next.
    fn talk(&mut self, number: u8, choice: u8, size: u8, window: u8, action: Action) -> Step {
        let conversation = &mut self.conversations[usize::from(number)];
        let step = match conversation.said {
            0..=2 => conversation.said,
            _ => 3 + choice % 13,
        };
        conversation.said = conversation.said.saturating_add(1);
        let len = u32::from(size) * 5;
        let mut segment = tcp::Segment {
            syn: false,
            ack: true,
            fin: false,
            rst: false,
            psh: false,
            urg: false,
            seq: 0,
            ack_seq: 0,
            window: [8192, 65535, 1024, 0][usize::from(window % 4)],
            payload: 0,
            wscale: None,
        };
        let reply = matches!(step, 1 | 6..=8 | 10 | 12 | 15);
        let side = usize::from(reply);
        match step {
            0 => {
                conversation.next = [u32::from(choice) << 24, u32::from(size) << 24];
                conversation.scale = (window & 4 == 0).then_some(window >> 4);
                (segment.syn, segment.ack) = (true, false);
                segment.wscale = conversation.scale;
            }
            1 => {
                segment.syn = true;
                segment.wscale = conversation.scale.filter(|_| window & 8 == 0);
            }
            3..=8 => {
                segment.payload = len;
                segment.psh = size & 1 == 1;
            }
            11 | 12 => segment.fin = true,
            13 => (segment.rst, segment.ack) = (true, size & 1 == 0),
            _ => {}
        }
        segment.seq = conversation.next[side];
        if segment.ack {
            segment.ack_seq = conversation.next[1 - side];
        }
        if matches!(step, 14 | 15) {
            // Something from a while ago.
            segment.payload = len;
            segment.seq = segment.seq.wrapping_sub(len);
        } else {
            let phantom = u32::from(segment.syn) + u32::from(segment.fin);
            conversation.next[side] = segment.seq.wrapping_add(segment.payload + phantom);
        }
        if step == 13 || (matches!(step, 11 | 12) && choice & 16 == 0) {
            // Another conversation may begin on the same ports.
            conversation.said = 0;
        }
        self.segment(number, reply, &segment, action)
    }

    /// Any flags, numbers near those of the conversation.
    fn anything(&mut self, number: u8, [flags, seq, ack, rest]: [u8; 4], action: Action) -> Step {
        let next = self.conversations[usize::from(number)].next;
        let reply = rest & 1 == 1;
        let side = usize::from(reply);
        let near = |base: u32, by: u8| {
            let by = i32::from(by as i8);
            base.wrapping_add((by.pow(3) / 8) as u32)
        };
        let has = |bit: u8| flags & bit != 0;
        let segment = tcp::Segment {
            fin: has(1) && has(64),
            syn: has(2),
            rst: has(4) && has(128),
            psh: has(8),
            ack: has(16),
            urg: has(32) && has(64),
            seq: near(next[side], seq),
            ack_seq: near(next[1 - side], ack),
            window: u32::from(rest) << 8,
            payload: u32::from(rest >> 3),
            wscale: (rest & 6 == 6).then_some(rest >> 4),
        };
        self.segment(number, reply, &segment, action)
    }

    fn segment(&mut self, number: u8, reply: bool, s: &tcp::Segment, action: Action) -> Step {
        let tuple = self.tuple(number, proto::TCP, reply);
        let (src, dst) = ends(&tuple);
        let flags = [s.fin, s.syn, s.rst, s.psh, s.ack, s.urg];
        let segment = Segment {
            src,
            dst,
            sport: tuple.sport,
            dport: tuple.dport,
            flags: flags
                .iter()
                .enumerate()
                .map(|(bit, &on)| u8::from(on) << bit)
                .sum(),
            seq: s.seq,
            ack: s.ack_seq,
            window: s.window as u16,
            options: s.wscale.map_or_else(Vec::new, |scale| vec![3, 3, scale, 1]),
            payload: vec![b'x'; s.payload as usize],
        };
        self.packet(tuple, Content::Tcp(*s), segment.bytes(), action)
    }
}

pub(super) fn ends(tuple: &Tuple) -> (Ip, Ip) {
    let ip = |host| if tuple.v6 { Ip::v6(host) } else { Ip::v4(host) };
    (ip(tuple.src), ip(tuple.dst))
}

/// Mostly a plain commit.
fn action(zone: u8, what: u8) -> Action {
    let mark = (zone & 0x30 == 0x30).then_some(Masked {
        value: u32::from(what) & 0x3c,
        mask: 0x3c,
    });
    let label = (zone & 0xc0 == 0xc0).then_some(Masked {
        value: u128::from(what & 0x3c) << 90,
        mask: u128::from(0x3c_u32) << 90,
    });
    Action {
        zone: u16::from(zone & 7 == 7),
        commit: what & 3 != 0,
        force: what & 0xe3 == 0xe3,
        mark,
        label,
        ..Action::default()
    }
}

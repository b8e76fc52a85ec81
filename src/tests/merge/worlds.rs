//! Rules and traffic, drawn from a seed: tables that track in several zones, translate, mark and
//! rewrite, and hosts that answer what reaches them.

use std::fmt::Write;

use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::tests::packets::{Ip, Segment, ethernet, udp};

/// Numbers that look drawn.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Draw {
        Draw(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len() as u64) as usize]
    }
}

/// A rewriting that does not change who talks to whom, or none.
fn rewriting(draw: &mut Draw) -> &'static str {
    draw.of(&[
        "",
        "",
        "",
        "mod_dl_dst:02:00:00:00:00:99,",
        "mod_nw_tos:32,",
        "mod_nw_ttl:9,mod_dl_src:02:00:00:00:00:77,",
        "mod_vlan_vid:7,",
        "set_tunnel:12,",
    ])
}

/// The text of a pipeline: what comes from port 1 and goes to port 2, and back.
pub(super) fn rules(draw: &mut Draw) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments).expect("a string takes all");
        text.push('\n');
    };
    let zone = 1 + draw.below(2);
    let translated = draw.one_in(2);
    let nat = if translated { ",nat" } else { "" };
    let choice = match draw.below(3) {
        _ if !translated => "",
        0 => ",nat(src=10.0.0.200)",
        1 => ",nat(dst=10.0.0.2-10.0.0.3)",
        _ => ",nat(src=10.0.0.200-10.0.0.201:2000-2003)",
    };
    let second = draw.one_in(2).then(|| 5 + draw.below(2));
    let marks = draw.one_in(2);
    let mark = if marks {
        ",exec(set_field:0x2/0x6->ct_mark)"
    } else {
        ""
    };
    for (from, to) in [(1, 2), (2, 1)] {
        let early = rewriting(draw);
        let wide = draw.of(&[
            "ip",
            "ip,nw_src=10.0.0.0/24",
            "ip,nw_dst=10.0.0.0/16,nw_tos=0",
        ]);
        line(format_args!(
            "table=0,in_port={from},{wide},actions={early}ct(zone={zone}{nat},table=1)"
        ));
        let opens = if from == 1 {
            "+trk+new"
        } else {
            "+trk+new+rel"
        };
        line(format_args!(
            "table=1,in_port={from},ct_state={opens},actions=ct(commit,zone={zone}{choice}{mark}),\
             output:{to}"
        ));
        let late = rewriting(draw);
        let est = draw.of(&["+trk+est", "+trk+est-inv", "+est"]);
        let on = match second {
            Some(zone) => format!("ct(zone={zone},table=2)"),
            None => draw.of(&["goto_table:2", "resubmit(,2)"]).to_string(),
        };
        let marked = if marks && draw.one_in(2) {
            "ct_mark=2/2,"
        } else {
            ""
        };
        line(format_args!(
            "table=1,priority=40000,in_port={from},ct_state={est},{marked}tcp,actions={late}{on}"
        ));
        line(format_args!(
            "table=1,in_port={from},ct_state={est},actions={late}output:{to}"
        ));
        let last = rewriting(draw);
        let narrow = draw.of(&["", "nw_dst=10.0.0.3,", "tp_dst=80,", "tp_src=80,nw_ttl=64,"]);
        let copy = draw.of(&["", "output:9,", ""]);
        line(format_args!(
            "table=2,priority=40000,in_port={from},tcp,{narrow}ct_state=+est,actions={last}{copy}output:{to}"
        ));
        if let Some(zone) = second {
            line(format_args!(
                "table=2,in_port={from},ct_state=+trk+new,actions=ct(commit,zone={zone}),output:{to}"
            ));
        }
        line(format_args!(
            "table=2,in_port={from},actions={copy}output:{to}"
        ));
    }
    if draw.one_in(4) {
        line(format_args!(
            "table=1,priority=50000,ct_state=+inv+trk,actions=drop"
        ));
    }
    text
}

/// Two hosts that talk.
struct Talk {
    client: Ip,
    server: Ip,
    cport: u16,
    sport: u16,
    tcp: bool,
    /// Next sequence number of client and server; zero: it sent nothing yet.
    next: [u32; 2],
    /// What reached the server: who the client is for it.
    seen: Option<([u8; 4], u16, [u8; 4], u16)>,
}

/// The traffic of some talks.
pub(super) struct Traffic {
    talks: Vec<Talk>,
}

/// A frame, the port where it comes in, and which talk and side it belongs to.
pub(super) struct Sent {
    pub(super) port: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) talk: usize,
}

impl Traffic {
    pub(super) fn new(draw: &mut Draw) -> Traffic {
        let talk = |draw: &mut Draw| Talk {
            client: Ip::v4(10 + draw.below(3) as u8),
            server: Ip::v4(2 + draw.below(2) as u8),
            cport: 1000 + draw.below(3) as u16,
            sport: if draw.one_in(2) { 80 } else { 443 },
            tcp: !draw.one_in(4),
            next: [100, 9000],
            seen: None,
        };
        Traffic {
            talks: (0..4).map(|_| talk(draw)).collect(),
        }
    }

    /// The next packet of some talk: mostly one that is right.
    pub(super) fn packet(&mut self, draw: &mut Draw) -> Sent {
        let number = draw.below(self.talks.len() as u64) as usize;
        let talk = &mut self.talks[number];
        let odd = draw.one_in(12);
        let reply = match (talk.next, talk.seen) {
            ([100, _], _) | (_, None) => false,
            ([_, 9000], Some(_)) => true,
            _ => draw.one_in(2),
        };
        let ends = match (reply, talk.seen) {
            (true, Some((client, cport, server, sport))) => {
                (Ip::V4(server), sport, Ip::V4(client), cport)
            }
            _ => (talk.client, talk.cport, talk.server, talk.sport),
        };
        let (src, sport, dst, dport) = ends;
        let packet = if talk.tcp {
            let side = usize::from(reply);
            let first = talk.next[side] == [100, 9000][side];
            let mut flags = if first { SYN } else { ACK };
            if reply {
                flags |= ACK;
            }
            let mut len = if first {
                0
            } else {
                draw.below(3) as usize * 100
            };
            let mut seq = talk.next[side];
            if odd {
                match draw.below(5) {
                    0 => flags |= FIN,
                    1 => flags = RST | ACK,
                    2 => seq = seq.wrapping_add(1_000_000),
                    3 => seq = seq.wrapping_sub(100),
                    _ => {
                        talk.next = [100, 9000];
                        flags = SYN;
                        seq = 100;
                        len = 0;
                    }
                }
            }
            let length = len as u32 + u32::from(flags & (SYN | FIN) != 0);
            if seq == talk.next[side] {
                talk.next[side] = seq.wrapping_add(length);
            }
            let mut segment = Segment::v4(0, sport, 0, dport, flags).payload(len);
            (segment.src, segment.dst) = (src, dst);
            let ack = if flags & ACK == 0 {
                0
            } else {
                talk.next[1 - side]
            };
            segment.numbers(seq, ack).bytes()
        } else {
            talk.next[usize::from(reply)] += 1;
            udp(src, sport, dst, dport, &[7; 20][..draw.below(20) as usize])
        };
        Sent {
            port: if reply { 2 } else { 1 },
            bytes: ethernet(&[], &packet),
            talk: number,
        }
    }

    /// A packet of a talk reached the server: it answers whom it saw.
    pub(super) fn reached(&mut self, talk: usize, frame: &[u8]) {
        let l3 = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
        let ip = &frame[l3..];
        let four = |at: usize| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]];
        let port = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
        self.talks[talk].seen = Some((four(12), port(20), four(16), port(22)));
    }
}

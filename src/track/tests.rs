//! Conversations as tables: flags, direction, numbers -> what the machine must say. A line of a table
//! is one packet; the machine is whichever the table is run against.

mod handover;
mod kernel;
mod ovs;
mod random;
mod small;
mod window;

use super::timeout::Class;
use super::*;
use crate::packet::{Family, Tcp};

const FIN: u8 = tcp_flags::FIN;
const SYN: u8 = tcp_flags::SYN;
const RST: u8 = tcp_flags::RST;
const PSH: u8 = tcp_flags::PSH;
const ACK: u8 = tcp_flags::ACK;
const URG: u8 = tcp_flags::URG;

const OVS: Options = Options {
    machine: Machine::Ovs,
    sequence_check: true,
    loose: true,
    strict_reset: false,
    liberal: false,
    now: Time::from_millis(0),
};
const KERNEL: Options = Options {
    machine: Machine::Kernel,
    strict_reset: true,
    ..OVS
};

/// A segment without options.
fn segment(flags: u8, len: u32, seq: u32, ack: u32, window: u16) -> Tcp {
    Tcp {
        sport: 1,
        dport: 2,
        flags,
        seq,
        ack,
        window,
        payload: len,
        ..Tcp::default()
    }
}

fn facts(protocol: u8, transport: Transport) -> Facts {
    Facts {
        src: 1,
        dst: 2,
        transport,
        family: Family::V4,
        proto: protocol,
        l3: 0,
        l4: 20,
        l4_len: 20,
    }
}

fn tcp(segment: Tcp) -> Facts {
    facts(proto::TCP, Transport::Tcp(segment))
}

/// A connection under test.
struct Talk {
    state: State,
    options: Options,
}

impl Talk {
    fn open(segment: Tcp, options: Options) -> Talk {
        let opened = open(&tcp(segment), &[], &options).expect("opens");
        Talk {
            state: opened.state,
            options,
        }
    }

    fn original(&mut self, segment: Tcp) -> Step {
        advance(
            &mut self.state,
            &tcp(segment),
            &[],
            Direction::Original,
            &self.options,
        )
    }

    fn reply(&mut self, segment: Tcp) -> Step {
        advance(
            &mut self.state,
            &tcp(segment),
            &[],
            Direction::Reply,
            &self.options,
        )
    }

    fn names(&self) -> TcpNames {
        match listing(&self.state, proto::TCP, self.options.machine) {
            Listing::Tcp(names) => names,
            other => panic!("not TCP: {other:?}"),
        }
    }
}

/// A line of a table: who, flags, length, seq, ack, window, outcome, state after it.
type Line = (char, u8, u32, u32, u32, u16, Outcome, &'static str);

/// Runs the lines after the opener; the state is the combined one.
fn run(talk: &mut Talk, lines: &[Line]) {
    for (i, &(who, flags, len, seq, ack, window, outcome, state)) in lines.iter().enumerate() {
        let packet = segment(flags, len, seq, ack, window);
        let step = if who == '>' {
            talk.original(packet)
        } else {
            talk.reply(packet)
        };
        assert_eq!(step.outcome, outcome, "line {i}: {packet:?}");
        assert_eq!(talk.names().combined, state, "state after line {i}");
    }
}

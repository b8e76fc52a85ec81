//! A connection that comes back from hardware is held to its window again.

use super::{ACK, KERNEL, OVS, SYN, facts};
use crate::packet::{Facts, Transport, proto};
use crate::track::handover::{
    TcpSide, adopt, close, forget, is_ending, numbers, relearn, settle, waiting,
};
use crate::track::timeout::Class;
use crate::track::{Machine, Options, Outcome, State, advance, open};
use crate::tuple::Direction::{self, Original, Reply};

const MACHINES: [Machine; 2] = [Machine::Ovs, Machine::Kernel];

const fn options(machine: Machine) -> Options {
    match machine {
        Machine::Ovs => OVS,
        Machine::Kernel => KERNEL,
    }
}

fn segment(flags: u8, seq: u32, ack: u32, payload: u32) -> Facts {
    let segment = super::segment(flags, payload, seq, ack, 1000);
    facts(proto::TCP, Transport::Tcp(segment))
}

fn step(state: &mut State, machine: Machine, packet: &Facts, direction: Direction) -> Outcome {
    advance(state, packet, &[], direction, &options(machine)).outcome
}

fn established(machine: Machine) -> State {
    let mut state = open(&segment(SYN, 100, 0, 0), &[], &options(machine))
        .expect("a SYN")
        .state;
    assert_eq!(
        waiting(&state, proto::TCP, machine),
        match machine {
            Machine::Ovs => Class::TcpFirstPacket,
            Machine::Kernel => Class::KernelTcpSynSent,
        }
    );
    assert_eq!(
        step(&mut state, machine, &segment(SYN | ACK, 500, 101, 0), Reply),
        Outcome::Valid
    );
    assert_eq!(
        step(&mut state, machine, &segment(ACK, 101, 501, 0), Original),
        Outcome::Valid
    );
    state
}

/// A gigabyte went by in hardware.
const AWAY: u32 = 1 << 30;
/// Far outside every window.
const FAR: u32 = 1 << 29;

#[test]
fn a_window_that_moved_away_unseen_refuses_what_comes_back() {
    for machine in MACHINES {
        let mut state = established(machine);
        let packet = segment(ACK, 101 + AWAY, 501, 10);
        assert!(matches!(
            step(&mut state, machine, &packet, Original),
            Outcome::Invalid(_)
        ));
    }
}

#[test]
fn a_forgotten_window_is_learned_from_both_sides_and_then_enforced() {
    for machine in MACHINES {
        let mut state = established(machine);
        forget(&mut state, machine);
        let original = segment(ACK, 101 + AWAY, 501 + AWAY, 10);
        relearn(&mut state, &original, Original, machine);
        assert_eq!(
            step(&mut state, machine, &original, Original),
            Outcome::Valid
        );
        let reply = segment(ACK, 501 + AWAY, 111 + AWAY, 20);
        relearn(&mut state, &reply, Reply, machine);
        assert_eq!(step(&mut state, machine, &reply, Reply), Outcome::Valid);
        settle(&mut state, machine);
        let stale = segment(ACK, 101, 501, 10);
        let next = segment(ACK, 111 + AWAY, 521 + AWAY, 10);
        assert_ne!(
            step(
                &mut state,
                machine,
                &segment(ACK, 111 + AWAY + FAR, 521 + AWAY, 10),
                Original
            ),
            Outcome::Valid
        );
        assert_eq!(step(&mut state, machine, &next, Original), Outcome::Valid);
        let before = state;
        let _outcome = step(&mut state, machine, &stale, Original);
        assert_eq!(
            numbers(&state, proto::TCP, machine).expect("TCP")[0].sent_end,
            numbers(&before, proto::TCP, machine).expect("TCP")[0].sent_end
        );
    }
}

#[test]
fn numbers_that_a_device_reports_are_enforced_at_once() {
    for machine in MACHINES {
        let mut state = established(machine);
        let mut sides = numbers(&state, proto::TCP, machine).expect("TCP");
        for side in &mut sides {
            *side = TcpSide {
                sent_end: side.sent_end.wrapping_add(AWAY),
                reply_end: side.reply_end.wrapping_add(AWAY),
                max_ack: side.max_ack.wrapping_add(AWAY),
                ..*side
            };
        }
        adopt(&mut state, &sides, machine);
        let packet = segment(ACK, 101 + AWAY, 501 + AWAY, 10);
        assert_eq!(step(&mut state, machine, &packet, Original), Outcome::Valid);
        let stale = segment(ACK, 101 + AWAY + FAR, 501 + AWAY, 10);
        assert!(matches!(
            step(&mut state, machine, &stale, Original),
            Outcome::Invalid(_)
        ));
    }
}

#[test]
fn an_end_that_only_hardware_saw_moves_the_state() {
    for (machine, one, both) in [
        (Machine::Ovs, Class::TcpClosing, Class::TcpClosed),
        (
            Machine::Kernel,
            Class::KernelTcpFinWait,
            Class::KernelTcpTimeWait,
        ),
    ] {
        let mut state = established(machine);
        close(&mut state, [false, false], proto::TCP, machine);
        assert!(!is_ending(waiting(&state, proto::TCP, machine)));
        close(&mut state, [true, false], proto::TCP, machine);
        assert_eq!(waiting(&state, proto::TCP, machine), one);
        close(&mut state, [true, true], proto::TCP, machine);
        assert_eq!(waiting(&state, proto::TCP, machine), both);
        assert!(is_ending(both));
    }
}

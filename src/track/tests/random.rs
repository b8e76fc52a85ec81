//! Properties over random packets and over simulated endpoints.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(0x7c9),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Numbers near each other, near the wrap and anywhere.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..3000_u32,
        (0..3000_u32).prop_map(|n| n.wrapping_neg()),
        any::<u32>()
    ]
}

prop_compose! {
    fn any_segment()(
        flags in 0..64_u8,
        seq in number(),
        ack in number(),
        window in any::<u16>(),
        payload in prop_oneof![0..2000_u32, Just(65_515)],
        wscale in proptest::option::of(any::<u8>()),
        sack in proptest::option::of(number()),
        sack_permitted in any::<bool>(),
    ) -> Tcp {
        Tcp { sport: 1, dport: 2, flags, wscale, sack_permitted, seq, ack, window, payload, sack }
    }
}

fn direction(reply: bool) -> Direction {
    if reply {
        Direction::Reply
    } else {
        Direction::Original
    }
}

/// What one endpoint of the simulation knows.
#[derive(Clone, Copy)]
struct End {
    next: u32,
    /// First byte not received yet.
    wanted: u32,
    /// Highest acknowledgement received.
    acknowledged: u32,
    /// Window that the other end announced, scaled.
    allowed: u32,
    scale: u8,
    window: u16,
}

/// One event of a simulation: who sends, how much, is it a repetition, does it arrive.
type Event = (bool, u32, bool, bool);

/// A handshake and then data with loss and repetition between two well-behaved ends. Every packet
/// that the simulation produces is legal.
fn simulate(options: Options, isn: [u32; 2], scale: [u8; 2], window: [u16; 2], events: &[Event]) {
    let syn = |side: usize, flags, ack| Tcp {
        wscale: Some(scale[side]),
        sack_permitted: true,
        ..segment(flags, 0, isn[side], ack, window[side])
    };
    let mut talk = Talk::open(syn(0, SYN, 0), options);
    assert_eq!(
        talk.reply(syn(1, SYN | ACK, isn[0].wrapping_add(1)))
            .outcome,
        Outcome::Valid
    );
    let mut ends = [0, 1].map(|side| {
        let next = isn[side].wrapping_add(1);
        End {
            next,
            wanted: isn[1 - side].wrapping_add(1),
            acknowledged: next,
            allowed: u32::from(window[1 - side]),
            scale: scale[side],
            window: window[side],
        }
    });
    let third = segment(ACK, 0, ends[0].next, ends[0].wanted, window[0]);
    assert_eq!(talk.original(third).outcome, Outcome::Valid);
    ends[1].allowed = u32::from(window[0]) << scale[0];
    for &(reply, wish, again, arrives) in events {
        let side = usize::from(reply);
        let end = ends[side];
        let flying = end.next.wrapping_sub(end.acknowledged);
        let seq = if again { end.acknowledged } else { end.next };
        let room = if again {
            flying
        } else {
            end.allowed.saturating_sub(flying)
        };
        let len = wish.min(room);
        let packet = segment(ACK, len, seq, end.wanted, end.window);
        let step = advance(
            &mut talk.state,
            &tcp(packet),
            &[],
            direction(reply),
            &options,
        );
        assert_eq!(step.outcome, Outcome::Valid, "{packet:?} from {side}");
        if !again {
            ends[side].next = seq.wrapping_add(len);
        }
        if arrives {
            let peer = &mut ends[1 - side];
            let reach = seq.wrapping_add(len);
            let in_order = at_or_after(peer.wanted, seq);
            if in_order && at_or_after(reach, peer.wanted) {
                peer.wanted = reach;
            }
            if at_or_after(end.wanted, peer.acknowledged) {
                peer.acknowledged = end.wanted;
                peer.allowed = u32::from(end.window) << end.scale;
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_sequence_of_segments_panics_and_an_invalid_one_changes_nothing(
        first in any_segment(),
        rest in proptest::collection::vec((any_segment(), any::<bool>()), 0..24),
        switches in any::<[bool; 4]>(),
        kernel in any::<bool>(),
    ) {
        let [sequence_check, loose, strict_reset, liberal] = switches;
        let machine = if kernel { Machine::Kernel } else { Machine::Ovs };
        let options = Options { machine, sequence_check, loose, strict_reset, liberal, ..OVS };
        if let Ok(opened) = open(&tcp(first), &[], &options) {
            let mut state = opened.state;
            for (packet, reply) in rest {
                let before = state;
                let step = advance(&mut state, &tcp(packet), &[], direction(reply), &options);
                if matches!(step.outcome, Outcome::Invalid(_) | Outcome::New) {
                    prop_assert_eq!(state, before);
                    prop_assert_eq!(step.timeout, None);
                }
                let Listing::Tcp(_) = listing(&state, proto::TCP, machine) else {
                    return Err(TestCaseError::fail("TCP lists as TCP"));
                };
            }
        }
    }

    #[test]
    fn packing_open_vswitch_state_loses_nothing(words in any::<[u64; 3]>()) {
        let peers = tcp::unpack(&words);
        prop_assert_eq!(tcp::unpack(&tcp::pack(&peers)), peers);
    }

    #[test]
    fn packing_kernel_state_loses_nothing(words in any::<[u64; 3]>(), extension in any::<[u64; 8]>()) {
        let connection = tcp_kernel::Association::unpack(&State { words, extension });
        let packed = connection.pack();
        prop_assert_eq!(tcp_kernel::Association::unpack(&packed), connection);
    }

    #[test]
    fn well_behaved_ends_are_never_invalid(
        kernel in any::<bool>(),
        isn in [number(), number()],
        scale in [0..15_u8, 0..15_u8],
        window in [1..=u16::MAX, 1..=u16::MAX],
        events in proptest::collection::vec(
            (any::<bool>(), prop_oneof![Just(0), 0..70_000_u32], any::<bool>(), any::<bool>()), 0..64),
    ) {
        simulate(if kernel { KERNEL } else { OVS }, isn, scale, window, &events);
    }

    #[test]
    fn a_reset_outside_the_window_changes_nothing(
        kernel in any::<bool>(),
        isn in [number(), number()],
        off in 70_000..0x7000_0000_u32,
        reply in any::<bool>(),
    ) {
        let options = if kernel { KERNEL } else { OVS };
        let mut talk = Talk::open(segment(SYN, 0, isn[0], 0, 8192), options);
        let next = [isn[0].wrapping_add(1), isn[1].wrapping_add(1)];
        let _step = talk.reply(segment(SYN | ACK, 0, isn[1], next[0], 8192));
        let _step = talk.original(segment(ACK, 0, next[0], next[1], 8192));
        let _step = talk.reply(segment(ACK, 0, next[1], next[0], 8192));
        for seq in [next[usize::from(reply)].wrapping_add(off), next[usize::from(reply)].wrapping_sub(off)] {
            let before = talk.state;
            let packet = tcp(segment(RST, 0, seq, 0, 0));
            let step = advance(&mut talk.state, &packet, &[], direction(reply), &options);
            prop_assert!(matches!(step.outcome, Outcome::Invalid(_)), "{:?}", step);
            prop_assert_eq!(talk.state, before);
        }
    }

    #[test]
    fn no_bytes_of_sctp_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        tags in any::<[u32; 2]>(),
        words in any::<[u64; 3]>(),
        l4 in 0..40_u16,
        l4_len in any::<u32>(),
    ) {
        let packet = Facts { l4, l4_len, ..facts(proto::SCTP, Transport::Sctp(1, 2, tags[0])) };
        let _opened = open(&packet, &bytes, &KERNEL);
        let mut state = State { words, extension: [0; 8] };
        let _step = advance(&mut state, &packet, &bytes, direction(tags[1] & 1 != 0), &KERNEL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..config() })]

    /// The straight ways of connections that opened, are established or close give what all rules give.
    #[test]
    fn the_straight_ways_and_the_rules_agree(
        numbers in [number(), number(), number(), number()],
        windows in any::<[u16; 2]>(),
        scales in [(0..4_u8, 0..=14_u8), (0..4_u8, 0..=14_u8)],
        states in prop_oneof![Just([4, 4]), [0..16_u8, 0..16_u8]],
        near in any::<bool>(),
        mut segment in any_segment(),
        reply: bool,
    ) {
        let [low, mut room, other_low, mut other_room] = numbers;
        if near {
            room %= 100;
            other_room %= 100;
            segment.window %= 4;
            segment.payload %= 3;
        }
        let side = |side: usize, low: u32, room: u32| tcp::Peer {
            low,
            high: low.wrapping_add(room),
            window: windows[side],
            scale: scales[side].0 << 4 | scales[side].1,
            state: states[side],
        };
        let words = tcp::pack(&[side(0, low, room), side(1, other_low, other_room)]);
        if near {
            segment.flags = tcp_flags::ACK | segment.flags & (tcp_flags::PSH | tcp_flags::FIN);
            let (mine, theirs) = if reply { (other_low, low) } else { (low, other_low) };
            segment.seq = mine.wrapping_add(segment.seq % 100).wrapping_sub(50);
            segment.ack = theirs.wrapping_add(segment.ack % 100).wrapping_sub(50);
        }
        let options = Options {
            machine: Machine::Ovs,
            sequence_check: true,
            loose: true,
            strict_reset: false,
            liberal: false,
            now: Time::from_millis(0),
        };
        let (mut straight, mut by_rules) = (words, words);
        let one = tcp::advance(&mut straight, &segment, direction(reply), || options);
        let other = tcp::advance_by_rules(&mut by_rules, &segment, direction(reply), &options);
        prop_assert_eq!(one, other);
        prop_assert_eq!(straight, by_rules);
    }
}

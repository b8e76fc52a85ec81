//! Packets that come again, in front of a batch and within it: as one by one, whatever their connections.

use proptest::prelude::*;

use super::*;

/// Where a translated connection seems to come from.
const OUTSIDE: u8 = 9;
/// More than this is asked of no batch: a stage, and half of one.
const MOST: usize = 48;

fn datagram(number: u8, port: u16) -> Vec<u8> {
    udp(Ip::v4(1), 1_000 + u16::from(number), Ip::v4(2), port, b"?")
}

fn control(flags: u8) -> Vec<u8> {
    Segment::v4(1, 7, 2, 21, flags).numbers(1_001, 0).bytes()
}

/// An engine with a connection of each kind, and a packet of each as its first pass left it.
fn world() -> (Engine, Vec<Frame>) {
    let engine = engine();
    let label = Some(Masked { value: 3, mask: 3 });
    let elsewhere = Action { zone: 1, ..COMMIT };
    let address = NatRange::address(Ip::v4(OUTSIDE).number());
    let mut frames = Vec::new();
    for (packet, action) in [
        (datagram(0, 53), COMMIT),
        (datagram(1, 53), COMMIT),
        (datagram(2, 53), marking(5, COMMIT)),
        (datagram(3, 53), Action { label, ..COMMIT }),
        (datagram(4, 69), COMMIT),
        (control(SYN), COMMIT),
        (datagram(5, 53), through(address)),
        (datagram(6, 53), elsewhere),
    ] {
        pass(&engine, packet.clone(), &action, 0);
        let look = Action {
            zone: action.zone,
            ..LOOK
        };
        frames.push(pass(&engine, packet, &look, 0));
    }
    // Of another zone than it says; of a connection that is over; of one that never was; and refused.
    frames.push(frames[7].clone());
    frames[8].metadata.zone = 0;
    for id in [frames[0].metadata.connection.0 + (1 << 32), u64::MAX] {
        let mut strange = frames[0].clone();
        strange.metadata.connection = ConnectionId(id);
        frames.push(strange);
    }
    let mut refused = frames[0].clone();
    refused.metadata.state = INV;
    frames.push(refused);
    // And some that come for the first time.
    frames.extend([datagram(0, 53), control(ACK), datagram(9, 53)].map(Frame::ip));
    (engine, frames)
}

proptest! {
    #[test]
    fn packets_that_come_again_are_told_in_any_batch_what_they_are_told_alone(
        kinds in prop::collection::vec(any::<u8>(), 1..MOST),
        mostly in any::<u8>(),
        ask in 0_u8..8,
        later in 0_u64..2,
    ) {
        let action = match ask {
            0 => marking(7, LOOK),
            1 => FORCE,
            2 => through(NatRange::address(Ip::v4(OUTSIDE).number())),
            3 => COMMIT,
            _ => LOOK,
        };
        let ((together, frames), (alone, _)) = (world(), world());
        // Half of them are of one kind, so that there are long runs of that.
        let of = |&kind: &u8| {
            let kind = if kind < 128 { mostly } else { kind };
            frames[usize::from(kind) % frames.len()].clone()
        };
        let mut batch: Vec<Frame> = kinds.iter().map(of).collect();
        let mut singles = batch.clone();
        let now = Time::from_millis(later * 40_000);
        together.execute(&mut batch, &action, now);
        for frame in &mut singles {
            // Whoever collects a trace goes the whole way.
            frame.trace = Some(Box::default());
            alone.execute(std::slice::from_mut(frame), &action, now);
        }
        for (one, other) in batch.iter().zip(&singles) {
            prop_assert_eq!(one.metadata, other.metadata);
            prop_assert_eq!(one.original, other.original);
            prop_assert_eq!(&one.bytes, &other.bytes);
        }
        prop_assert_eq!(cached(&together), cached(&alone));
    }
}

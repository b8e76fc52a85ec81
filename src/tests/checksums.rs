//! Whether every checksum of a packet is right, computed in full from its bytes.
//!
//! Nothing here knows what was rewritten, nor how: it reads the packet as its receiver would. That of a
//! packet quoted in an ICMP error is verified where all of it is quoted.

use super::packets::{crc32c, pseudo_header, sum};
use crate::packet::proto;
use crate::tests::packets::Ip;

/// What is wrong with the checksums of a packet that begins with its IP header.
pub(crate) fn verify(packet: &[u8]) -> Result<(), String> {
    let (src, dst, protocol, header, end) = header(packet)?;
    let message = packet.get(header..end).ok_or("it is cut short")?;
    transport(src, dst, protocol, message)
}

/// Addresses, protocol, and where the message begins and ends.
fn header(packet: &[u8]) -> Result<(Ip, Ip, u8, usize, usize), String> {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 15) * 4;
        if sum(&[&packet[..header]]) != 0xffff {
            return Err(format!("IPv4 header {:02x?}", &packet[..header]));
        }
        let address = |at: usize| Ip::V4(packet[at..at + 4].try_into().expect("four bytes"));
        Ok((address(12), address(16), packet[9], header, word(2)))
    } else {
        let address = |at: usize| Ip::V6(packet[at..at + 16].try_into().expect("sixteen bytes"));
        Ok((address(8), address(24), packet[6], 40, 40 + word(4)))
    }
}

fn transport(src: Ip, dst: Ip, protocol: u8, message: &[u8]) -> Result<(), String> {
    let pseudo = || pseudo_header(src, dst, protocol, message.len());
    let whole = |parts: &[&[u8]], name: &str| match sum(parts) {
        0xffff => Ok(()),
        other => Err(format!("{name}: the sum is {other:04x}")),
    };
    match protocol {
        proto::TCP => whole(&[&pseudo(), message], "TCP"),
        proto::UDP if message[6..8] == [0, 0] => match src {
            Ip::V4(_) => Ok(()),
            Ip::V6(_) => Err("UDP over IPv6 without a checksum".into()),
        },
        proto::UDP => whole(&[&pseudo(), message], "UDP"),
        proto::SCTP => {
            let mut blank = message.to_vec();
            blank[8..12].fill(0);
            if crc32c(&blank).to_le_bytes() == message[8..12] {
                Ok(())
            } else {
                Err("SCTP".into())
            }
        }
        proto::ICMP => {
            whole(&[message], "ICMP")?;
            quote(&message[8..], matches!(message[0], 3 | 11 | 12))
        }
        proto::ICMPV6 => {
            whole(&[&pseudo(), message], "ICMPv6")?;
            quote(&message[8..], message[0] < 128)
        }
        _ => Ok(()),
    }
}

/// The packet in an error.
fn quote(quoted: &[u8], is_error: bool) -> Result<(), String> {
    if !is_error {
        return Ok(());
    }
    let (src, dst, protocol, header, end) = header(quoted)?;
    match quoted.get(header..end) {
        Some(message) => {
            transport(src, dst, protocol, message).map_err(|wrong| format!("quoted {wrong}"))
        }
        None => Ok(()),
    }
}

#[test]
fn a_damaged_packet_is_found() {
    use super::packets::{Segment, echo, sctp, udp, unreachable};
    let (a, b) = (Ip::v4(1), Ip::v4(2));
    let (c, d) = (Ip::v6(1), Ip::v6(2));
    let whole = [
        Segment::v4(1, 2, 3, 4, 16).bytes(),
        udp(a, 1, b, 2, b"odd"),
        udp(c, 1, d, 2, b"even"),
        sctp(a, 1, b, 2, 3, &[0, 0, 0, 4]),
        echo(a, b, 7, false),
        echo(c, d, 7, true),
        unreachable(b, a, &udp(a, 1, b, 2, b"quoted")),
        unreachable(d, c, &sctp(c, 1, d, 2, 3, &[0, 0, 0, 4])),
    ];
    for packet in whole {
        assert_eq!(verify(&packet), Ok(()), "{packet:02x?}");
        for at in [packet.len() - 1, packet.len() - 4] {
            let mut damaged = packet.clone();
            damaged[at] ^= 1;
            assert_ne!(verify(&damaged), Ok(()), "{packet:02x?} at {at}");
        }
    }
}

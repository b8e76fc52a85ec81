//! The flow key of a packet as it comes: read from its headers, in place.
//!
//! As in Open vSwitch, the ports of an ICMP packet are its type and code, and protocols without ports
//! have none.

use super::flow::{Field, Key};
use crate::packet::{Facts, Family, Hints, Transport};

/// What a datapath knows of the tunnel that a packet came out of; all zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Tunnel key (VNI).
    pub id: u64,
    /// Outer source address, as in [`Facts::src`].
    pub src: u128,
    /// Outer destination address.
    pub dst: u128,
}

/// Ethernet addresses and one EtherType.
const ETHERNET: usize = 14;
/// A VLAN tag: TPID and TCI.
const TAG: usize = 4;

#[inline(always)]
fn number<const N: usize>(bytes: &[u8; N]) -> u128 {
    let number = bytes
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    u128::from(number)
}

/// An Ethernet address of a header.
#[inline(always)]
fn address(header: &[u8; ETHERNET], at: usize) -> Option<u128> {
    let eight = header.get(at..)?.first_chunk::<8>()?;
    Some(u128::from(u64::from_be_bytes(*eight) >> 16))
}

/// What the Ethernet header says: `l3` bytes, or as many as there are; `None`: there is no such header.
#[must_use]
#[inline]
pub fn link_key(bytes: &[u8], l3: Option<usize>) -> Key {
    let mut key = Key::default();
    let Some(ethernet) = l3.and_then(|l3| bytes.get(..l3)) else {
        return key;
    };
    let (Some((dst, rest)), Some(kind)) = (
        ethernet.split_first_chunk::<6>(),
        ethernet.last_chunk::<2>(),
    ) else {
        return key;
    };
    let Some((src, tags)) = rest.split_first_chunk::<6>() else {
        return key;
    };
    let Some(tags) = tags.get(..tags.len().saturating_sub(2)) else {
        return key;
    };
    key.set(Field::EthDst, number(dst));
    key.set(Field::EthSrc, number(src));
    key.set(Field::EthType, number(kind));
    if let Some((outer, more)) = tags.split_first_chunk::<TAG>() {
        key.set(Field::Vlan, number(outer));
        if let Some((inner, _)) = more.split_first_chunk::<TAG>() {
            key.set(Field::InnerVlan, number(inner));
        }
    }
    key
}

/// What a parser says of a packet, as far as the flow key has it.
#[derive(Clone, Copy, Debug)]
pub struct Parsed {
    /// Offset of the IP header.
    pub l3: u16,
    /// Address family.
    pub family: Family,
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// IP protocol.
    pub proto: u8,
    /// Source port, or ICMP type.
    pub sport: u16,
    /// Destination port, or ICMP code.
    pub dport: u16,
    /// TCP flags.
    pub flags: u8,
}

impl Parsed {
    /// From the facts of a packet; `None` when they are those of another one.
    #[must_use]
    pub fn of(facts: &Facts, bytes: &[u8]) -> Option<Parsed> {
        let (sport, dport, flags) = match facts.transport {
            Transport::Tcp(tcp) => (tcp.sport, tcp.dport, tcp.flags),
            Transport::Udp(sport, dport) | Transport::Sctp(sport, dport, _) => (sport, dport, 0),
            Transport::Query(_) | Transport::Error(_) => {
                let at = usize::from(facts.l4);
                let [kind, code] = bytes.get(at..at + 2)?.try_into().ok()?;
                (u16::from(kind), u16::from(code), 0)
            }
            Transport::Other => (0, 0, 0),
        };
        Some(Parsed {
            l3: facts.l3,
            family: facts.family,
            src: facts.src,
            dst: facts.dst,
            proto: facts.proto,
            sport,
            dport,
            flags,
        })
    }
}

/// Writes the flow key of a packet whose headers were parsed. `None`, and the key is of no use, when they
/// are those of another one.
#[must_use]
#[inline(always)]
pub fn key_into(
    key: &mut Key,
    parsed: &Parsed,
    bytes: &[u8],
    hints: &Hints,
    in_port: u32,
    tunnel: &Tunnel,
) -> Option<()> {
    let l3 = usize::from(parsed.l3);
    if l3 == ETHERNET {
        *key = Key::default();
        let header = bytes.first_chunk::<ETHERNET>()?;
        key.set(Field::EthDst, address(header, 0)?);
        key.set(Field::EthSrc, address(header, 6)?);
    } else {
        *key = link_key(bytes, (hints.l3.is_none() || l3 >= ETHERNET).then_some(l3));
    }
    let ip = bytes.get(l3..)?.first_chunk::<9>()?;
    let (kind, tos, ttl) = match parsed.family {
        Family::V4 => (0x0800, ip[1], ip[8]),
        Family::V6 => (0x86dd, ip[0] << 4 | ip[1] >> 4, ip[7]),
    };
    key.set(Field::InPort, u128::from(in_port));
    if tunnel.id != 0 || tunnel.src != 0 || tunnel.dst != 0 {
        key.set(Field::TunnelId, u128::from(tunnel.id));
        key.set(Field::TunnelSrc, tunnel.src);
        key.set(Field::TunnelDst, tunnel.dst);
    }
    key.set(Field::EthType, kind);
    key.set(Field::IpSrc, parsed.src);
    key.set(Field::IpDst, parsed.dst);
    key.set(Field::Proto, u128::from(parsed.proto));
    key.set(Field::Tos, u128::from(tos));
    key.set(Field::Ttl, u128::from(ttl));
    key.set(Field::PortSrc, u128::from(parsed.sport));
    key.set(Field::PortDst, u128::from(parsed.dport));
    key.set(Field::TcpFlags, u128::from(parsed.flags));
    Some(())
}

/// The flow key of a packet whose headers were parsed; `None` when they are those of another one.
#[must_use]
pub fn key_of(
    facts: &Facts,
    bytes: &[u8],
    hints: &Hints,
    in_port: u32,
    tunnel: &Tunnel,
) -> Option<Key> {
    let mut key = Key::default();
    let parsed = Parsed::of(facts, bytes)?;
    key_into(&mut key, &parsed, bytes, hints, in_port, tunnel)?;
    Some(key)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::{self, Options};

    #[test]
    fn fields_are_those_of_the_headers() {
        let mut frame: Vec<u8> = vec![
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0, 5, 0x81, 0, 0x20, 7, 8, 0,
        ];
        frame.extend([
            0x45, 0xb8, 0, 28, 0, 0, 0, 0, 63, 17, 0, 0, 10, 1, 2, 3, 10, 9, 8, 7,
        ]);
        frame.extend([0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        let hints = Hints {
            ip_checksum: packet::Checksum::Good,
            ..Hints::default()
        };
        let options = Options {
            verify_checksums: true,
            sack: false,
            netfilter: false,
        };
        let facts = packet::parse(&frame, &hints, &options).expect("it is well-formed");
        let tunnel = Tunnel {
            id: 9,
            src: 1,
            dst: 2,
        };
        let key = key_of(&facts, &frame, &hints, 4, &tunnel).expect("it has ports");
        let expected = [
            (Field::InPort, 4),
            (Field::Recirculation, 0),
            (Field::TunnelId, 9),
            (Field::TunnelSrc, 1),
            (Field::TunnelDst, 2),
            (Field::EthSrc, 0x0200_0000_0002),
            (Field::EthDst, 0x0200_0000_0001),
            (Field::EthType, 0x0800),
            (Field::Vlan, 0x88a8_0005),
            (Field::InnerVlan, 0x8100_2007),
            (Field::IpSrc, 0x0a01_0203),
            (Field::IpDst, 0x0a09_0807),
            (Field::Proto, 17),
            (Field::Tos, 0xb8),
            (Field::Ttl, 63),
            (Field::PortSrc, 0x1234),
            (Field::PortDst, 53),
            (Field::TcpFlags, 0),
        ];
        for (field, value) in expected {
            assert_eq!(key.get(field), value, "{field:?}");
        }
    }
}

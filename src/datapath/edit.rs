//! Actions on the bytes of a packet: fields set, VLAN tags put on and taken off, checksums kept.

use crate::merge::flow::Field;
use crate::packet::rewrite::{self, Change};
use crate::packet::{self, Checksum, Facts, Family, Hints, Options};

/// Where the first VLAN tag or the EtherType stands.
const TYPE: usize = 12;
/// A VLAN tag: TPID and TCI.
const TAG: usize = 4;

/// Checksums are not looked at: what is wrong stays wrong.
const OPTIONS: Options = Options {
    verify_checksums: false,
    sack: false,
    netfilter: false,
};

/// The headers of a packet, whatever its checksums are; `None` when it is malformed.
#[must_use]
pub fn facts_of(bytes: &[u8], hints: &Hints) -> Option<Facts> {
    let hints = Hints {
        ip_checksum: Checksum::Good,
        l4_checksum: Checksum::Good,
        ..*hints
    };
    packet::parse(bytes, &hints, &OPTIONS).ok()
}

/// Puts a VLAN tag on: TPID in the high, TCI in the low half.
pub fn push_vlan(bytes: &mut Vec<u8>, tag: u32) {
    if bytes.len() >= TYPE {
        bytes.splice(TYPE..TYPE, tag.to_be_bytes());
    }
}

/// Takes the outer VLAN tag off, if there is one.
pub fn pop_vlan(bytes: &mut Vec<u8>) {
    let tagged = matches!(bytes.get(TYPE..TYPE + 2), Some([0x81, 0] | [0x88, 0xa8]));
    if tagged && bytes.len() >= TYPE + TAG {
        bytes.drain(TYPE..TYPE + TAG);
    }
}

/// Whether [`set`] can set a field of a packet.
#[must_use]
pub const fn is_settable(field: Field) -> bool {
    matches!(
        field,
        Field::EthSrc
            | Field::EthDst
            | Field::IpSrc
            | Field::IpDst
            | Field::Tos
            | Field::Ttl
            | Field::PortSrc
            | Field::PortDst
    )
}

/// Sets bits of a header field. A packet that does not have the field stays as it is.
pub fn set(bytes: &mut [u8], hints: &Hints, field: Field, value: u128, mask: u128) {
    match field {
        Field::EthDst => set_bytes(bytes.get_mut(..6), value, mask),
        Field::EthSrc => set_bytes(bytes.get_mut(6..12), value, mask),
        _ => {
            if let Some(facts) = facts_of(bytes, hints) {
                set_in_ip(bytes, hints, &facts, field, value, mask);
            }
        }
    }
}

/// The bytes as a number, with the bits of the mask replaced.
fn set_bytes(bytes: Option<&mut [u8]>, value: u128, mask: u128) {
    let Some(bytes) = bytes else {
        return;
    };
    let skip = size_of::<u128>() - bytes.len();
    let (value, mask) = (value.to_be_bytes(), mask.to_be_bytes());
    for ((byte, value), mask) in bytes.iter_mut().zip(&value[skip..]).zip(&mask[skip..]) {
        *byte = *byte & !mask | value & mask;
    }
}

fn set_in_ip(
    bytes: &mut [u8],
    hints: &Hints,
    facts: &Facts,
    field: Field,
    value: u128,
    mask: u128,
) {
    let l3 = usize::from(facts.l3);
    let masked = |before: u128| before & !mask | value & mask;
    let port = |at: usize| {
        let at = usize::from(facts.l4) + at;
        let old = bytes
            .get(at..at + 2)
            .map(|b| u16::from_be_bytes([b[0], b[1]]));
        old.map(|old| masked(u128::from(old)) as u16)
    };
    let has_ports = matches!(
        facts.transport,
        packet::Transport::Tcp(_) | packet::Transport::Udp(..) | packet::Transport::Sctp(..)
    );
    let change = match field {
        Field::IpSrc => Change {
            src: Some(masked(facts.src)),
            ..Change::default()
        },
        Field::IpDst => Change {
            dst: Some(masked(facts.dst)),
            ..Change::default()
        },
        Field::PortSrc if has_ports => Change {
            sport: port(0),
            ..Change::default()
        },
        Field::PortDst if has_ports => Change {
            dport: port(2),
            ..Change::default()
        },
        Field::Tos | Field::Ttl => {
            set_in_first_bytes(&mut bytes[l3..], facts.family, field, &masked);
            return;
        }
        _ => return,
    };
    // Not read-only, and the facts are those of the bytes: this cannot be refused.
    let _done = rewrite::headers(bytes, facts, hints, &change);
}

/// Type of service and time to live lie outside every transport checksum.
fn set_in_first_bytes(ip: &mut [u8], family: Family, field: Field, masked: &dyn Fn(u128) -> u128) {
    let byte = |byte: u8| masked(u128::from(byte)) as u8;
    match (family, field) {
        (Family::V4, Field::Tos) => ip[1] = byte(ip[1]),
        (Family::V4, _) => ip[8] = byte(ip[8]),
        (Family::V6, Field::Tos) => {
            let class = byte(ip[0] << 4 | ip[1] >> 4);
            ip[0] = ip[0] & 0xf0 | class >> 4;
            ip[1] = ip[1] & 0x0f | class << 4;
        }
        (Family::V6, _) => ip[7] = byte(ip[7]),
    }
    if family == Family::V4 {
        let header = usize::from(ip[0] & 15) * 4;
        ip[10..12].fill(0);
        let words = ip[..header].chunks_exact(2);
        let sum: u32 = words
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    }
}

//! Ethernet: where the IP header begins, behind any VLAN tags.

use super::bytes::u16_at;

/// Length of an Ethernet header without tags.
const HEADER: usize = 14;
/// Offset of the EtherType.
const TYPE: usize = 12;
/// Tags that are looked through: 802.1Q inside 802.1ad, and one more for those who stack three.
const MOST_TAGS: usize = 3;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;
const OLD_QINQ: u16 = 0x9100;

/// Offset of the IP header of an Ethernet frame that has no tags.
#[inline(always)]
pub(super) fn untagged_ip_offset(frame: &[u8]) -> Option<u16> {
    matches!(u16_at(frame, TYPE)?, IPV4 | IPV6).then_some(HEADER as u16)
}

/// Offset of the IP header of an Ethernet frame; `None` when it carries something else.
#[inline(always)]
pub(super) fn ip_offset(frame: &[u8]) -> Option<usize> {
    let mut kind = u16_at(frame, TYPE)?;
    let mut offset = HEADER;
    for _ in 0..MOST_TAGS {
        match kind {
            IPV4 | IPV6 => return Some(offset),
            VLAN | QINQ | OLD_QINQ => {
                kind = u16_at(frame, offset + 2)?;
                offset += 4;
            }
            _ => return None,
        }
    }
    matches!(kind, IPV4 | IPV6).then_some(offset)
}

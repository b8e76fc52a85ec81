//! Fragments: what a reassembler must know of one.
//!
//! [`parse`](super::parse) refuses every fragment: it has no ports, or a payload that no checksum can
//! be held against. Whoever reassembles asks [`of`] about a packet that was refused with
//! [`Reason::Fragment`](crate::reason::Reason::Fragment), so packets that are none pay nothing. The
//! order matters: by then the parser has verified the IPv4 header checksum.
//!
//! A [`Fragment`] can be relied upon: it is not empty, all but the last are whole units of 8 bytes,
//! and it ends where a datagram of 65535 bytes still can (larger offsets broke reassemblers before:
//! CVE-2016-9755). A fragment inside a fragment (CVE-2023-4809) is none here.

use super::{Family, Hints, ether, ipv4, ipv6};

/// A fragment of an IP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Source address, see [`Facts::src`](super::Facts::src).
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Address family.
    pub family: Family,
    /// Protocol of the datagram; for IPv6 the header that follows the fragment header, which is an
    /// extension header perhaps.
    pub proto: u8,
    /// More fragments follow this one.
    pub more: bool,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Where the data stands in the datagram's payload, in bytes; a multiple of 8.
    pub offset: u16,
    /// Length of the data, at least 1. By the IP header's word: a packet that is not contiguous has
    /// less of it in its bytes.
    pub len: u16,
    /// Offset of the IP header in the bytes.
    pub l3: u16,
    /// Offset of the data in the bytes. For IPv6, the fragment header stands in the 8 bytes before.
    pub data: u16,
}

impl Fragment {
    /// The fragment with the transport header.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// The whole datagram in one fragment (RFC 6946): it is processed alone, whatever other fragments
    /// have its identification.
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }

    /// First byte of the datagram's payload after this fragment.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.offset as u32 + self.len as u32
    }

    /// What the walk of an IP header found, if it can be relied upon. `before` is what the datagram's
    /// length field counts besides the data.
    pub(super) fn checked(self, before: usize) -> Option<Fragment> {
        let whole_units = !self.more || self.len.is_multiple_of(8);
        let fits = before + self.end() as usize <= usize::from(u16::MAX);
        (self.len > 0 && whole_units && fits).then_some(self)
    }
}

/// The fragment in these bytes. `None`: it is a whole packet, or broken beyond use.
#[must_use]
pub fn of(bytes: &[u8], hints: &Hints) -> Option<Fragment> {
    let l3 = match hints.l3 {
        Some(offset) => usize::from(offset),
        None => ether::ip_offset(bytes)?,
    };
    let end = bytes.len().max(hints.total_len as usize);
    match bytes.get(l3)? >> 4 {
        4 => ipv4::fragment(bytes, l3, end),
        6 => ipv6::fragment(bytes, l3, end),
        _ => None,
    }
}

/// The headers of the whole datagram, before its payload of `payload` bytes: those of its first
/// fragment, without anything that says "fragment". Its IPv4 header checksum is right.
#[must_use]
pub fn whole_header(bytes: &[u8], first: &Fragment, payload: usize) -> Vec<u8> {
    let (l3, data) = (usize::from(first.l3), usize::from(first.data));
    match first.family {
        Family::V4 => {
            let mut header = bytes.get(l3..data).unwrap_or_default().to_vec();
            ipv4::unmark_fragment(&mut header, payload);
            header
        }
        Family::V6 => {
            let end = data.saturating_sub(ipv6::FRAGMENT_HEADER);
            let mut header = bytes.get(l3..end).unwrap_or_default().to_vec();
            ipv6::unmark_fragment(&mut header, first.proto, payload);
            header
        }
    }
}

/// Gives a fragment the addresses of the datagram whose packet, from its IP header on, is `whole`.
pub fn readdress(bytes: &mut [u8], place: &Fragment, whole: &[u8]) {
    let addresses = match place.family {
        Family::V4 => ipv4::SOURCE..ipv4::SHORTEST,
        Family::V6 => ipv6::SOURCE..ipv6::HEADER,
    };
    let end = usize::from(place.data);
    let Some(header) = bytes.get_mut(usize::from(place.l3)..end) else {
        return;
    };
    if let (Some(old), Some(new)) = (header.get_mut(addresses.clone()), whole.get(addresses)) {
        old.copy_from_slice(new);
    }
    if place.family == Family::V4 {
        ipv4::write_checksum(header);
    }
}

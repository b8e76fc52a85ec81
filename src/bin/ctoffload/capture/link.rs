//! Link layers: which are supported, what the others are called, and where the IP header begins.
//!
//! Numbers and names are those of the tcpdump group's list of link-layer header types.

use super::CaptureError;

const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW_BSD: u32 = 12;
const RAW_OPENBSD: u32 = 14;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const LINUX_SLL: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_SLL2: u32 = 276;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
/// VLAN tags that are looked through at most.
const MAX_TAGS: usize = 2;

/// What the link header says about the rest of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An Ethernet frame, to be parsed by the engine.
    Ethernet,
    /// An IP packet that begins at this offset.
    Ip(usize),
    /// Something else, or nothing.
    Other,
}

/// Refuses link types that are not supported.
///
/// # Errors
/// [`CaptureError::LinkType`].
pub fn check(link: u32) -> Result<(), CaptureError> {
    match link {
        NULL | ETHERNET | RAW_BSD | RAW_OPENBSD | RAW | LOOP | LINUX_SLL | IPV4 | IPV6
        | LINUX_SLL2 => Ok(()),
        _ => Err(CaptureError::LinkType(link)),
    }
}

/// Looks through the link header of a packet.
#[must_use]
pub fn payload(link: u32, bytes: &[u8]) -> Payload {
    match link {
        ETHERNET => Payload::Ethernet,
        RAW | RAW_BSD | RAW_OPENBSD | IPV4 | IPV6 => ip_at(bytes, 0),
        // The family stands in the byte order of whoever captured; only IP has a version.
        NULL | LOOP => ip_at(bytes, 4),
        LINUX_SLL => ethertype(bytes, 14, 16),
        LINUX_SLL2 => ethertype(bytes, 0, 20),
        _ => Payload::Other,
    }
}

/// An IP packet at `offset`, if a version of IP stands there.
fn ip_at(bytes: &[u8], offset: usize) -> Payload {
    match bytes.get(offset).map(|byte| byte >> 4) {
        Some(4 | 6) => Payload::Ip(offset),
        _ => Payload::Other,
    }
}

/// The packet at `offset` whose Ethernet type stands at `at`.
fn ethertype(bytes: &[u8], mut at: usize, mut offset: usize) -> Payload {
    for _ in 0..=MAX_TAGS {
        let Some(&[high, low]) = bytes.get(at..at + 2) else {
            return Payload::Other;
        };
        match u16::from_be_bytes([high, low]) {
            // The type may stand before the end of its header (cooked v2), and the capture end between.
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 if offset <= bytes.len() => return Payload::Ip(offset),
            kind if ETHERTYPE_VLAN.contains(&kind) => {
                at = offset + 2;
                offset += 4;
            }
            _ => break,
        }
    }
    Payload::Other
}

/// The name of a link type.
#[must_use]
pub fn name(link: u32) -> Option<&'static str> {
    Some(match link {
        NULL => "BSD loopback",
        ETHERNET => "Ethernet",
        6 => "IEEE 802.5 Token Ring",
        7 => "ARCNET",
        8 => "SLIP",
        9 => "PPP",
        10 => "FDDI",
        RAW_BSD | RAW_OPENBSD | RAW => "raw IP",
        50 => "PPP over serial, HDLC framing",
        51 => "PPP over Ethernet",
        100 => "LLC/SNAP ATM",
        104 => "Cisco HDLC",
        105 => "IEEE 802.11",
        107 => "Frame Relay",
        LOOP => "OpenBSD loopback",
        LINUX_SLL => "Linux cooked v1",
        114 => "Apple LocalTalk",
        117 => "OpenBSD pflog",
        119 => "IEEE 802.11 with Prism header",
        122 => "IP over Fibre Channel",
        127 => "IEEE 802.11 with radiotap header",
        147..=162 => "reserved for private use",
        163 => "IEEE 802.11 with AVS header",
        165 => "BACnet MS/TP",
        187 => "Bluetooth HCI H4",
        189 => "USB, Linux header",
        192 => "PPI",
        195 => "IEEE 802.15.4 with FCS",
        197 => "ERF",
        201 => "Bluetooth HCI H4 with direction",
        220 => "USB, padded Linux header",
        227 => "CAN",
        IPV4 => "raw IPv4",
        IPV6 => "raw IPv6",
        239 => "netfilter log",
        249 => "USBPcap",
        253 => "Linux netlink",
        LINUX_SLL2 => "Linux cooked v2",
        _ => return None,
    })
}

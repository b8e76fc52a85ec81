//! The C packet as the engine sees it: read in place, nothing copied.

use super::types::{
    CT_CONN_ICMP_RELATED, CT_CONN_REPLY, CT_MODIFIED_DST, CT_MODIFIED_L4_PARTIAL,
    CT_MODIFIED_PAYLOAD, CT_MODIFIED_SRC, CT_OFFSET_UNKNOWN, CT_PACKET_IP_CSUM_BAD,
    CT_PACKET_IP_CSUM_GOOD, CT_PACKET_L4_CSUM_BAD, CT_PACKET_L4_CSUM_GOOD, CT_PACKET_READ_ONLY,
    CT_VERDICT_HELD, CT_VERDICT_PASS, ct_packet, ct_tuple,
};
use super::{convert, tuple};
use crate::engine::descriptor::{ConnectionId, Descriptor, Holdable, Metadata, Modified, Pass};
use crate::merge::trace::Trace;
use crate::packet::{Checksum, Hints};
use crate::reason::Reason;
use crate::sync::line;
use crate::tuple::Tuple;

/// The state of a checksum from its two flags, of which `good` is the lower one.
#[inline(always)]
const fn status(flags: u32, good: u32) -> Checksum {
    match flags / good % 4 {
        0 => Checksum::Unknown,
        1 => Checksum::Good,
        2 => Checksum::Bad,
        _ => Checksum::Partial,
    }
}

const _: () = assert!(
    CT_PACKET_IP_CSUM_BAD == 2 * CT_PACKET_IP_CSUM_GOOD
        && CT_PACKET_L4_CSUM_BAD == 2 * CT_PACKET_L4_CSUM_GOOD
);

/// Length of a TCP header without options, and of the IPv4 header before it.
const HEADER_TCP: usize = 20;
const HEADERS_V4: usize = 20 + HEADER_TCP;

/// The bytes of a packet that has none. Apart, so that all others are not looked at twice.
#[cold]
const fn nothing() -> &'static [u8] {
    &[]
}

/// Makes a packet as if it had never been tracked.
pub(super) fn forget(packet: &mut ct_packet) {
    packet.connection = 0;
    packet.ct_state = 0;
    packet.ct_zone = 0;
    packet.verdict = 0;
    packet.reason = 0;
    packet.ct_mark = 0;
    packet.modified = 0;
    packet.ct_label = [0; 16];
    packet.length_delta = 0;
    packet.connection_flags = 0;
}

impl Descriptor for ct_packet {
    #[inline]
    fn bytes(&self) -> &[u8] {
        if self.data.is_null() {
            return nothing();
        }
        // SAFETY: the caller of `conntrack_execute` promises `length` readable bytes at `data`, and
        // `tailroom` more for packets that grew, that nobody else writes during the call; no slice is longer than `isize::MAX`, as `length` has 32
        // bits and the target 64.
        unsafe { std::slice::from_raw_parts(self.data, self.length as usize) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.data.is_null() {
            return &mut [];
        }
        // SAFETY: as above, and the bytes may be written; no other slice of them is alive, since this
        // one borrows the packet mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.length as usize) }
    }

    #[inline]
    fn hints(&self) -> Hints {
        Hints {
            l3: (self.l3_offset != CT_OFFSET_UNKNOWN).then_some(self.l3_offset),
            total_len: self.total_length,
            ip_checksum: status(self.flags, CT_PACKET_IP_CSUM_GOOD),
            l4_checksum: status(self.flags, CT_PACKET_L4_CSUM_GOOD),
            read_only: self.flags & CT_PACKET_READ_ONLY != 0,
        }
    }

    #[inline]
    fn in_port(&self) -> u32 {
        self.in_port
    }

    #[inline]
    fn pass(&self) -> Pass {
        Pass {
            connection: ConnectionId(self.connection),
            state: self.ct_state as u8,
            reason: Reason::None,
            reply: self.connection_flags & CT_CONN_REPLY != 0,
            icmp_related: self.connection_flags & CT_CONN_ICMP_RELATED != 0,
            zone: self.ct_zone,
        }
    }

    #[inline]
    fn set_metadata(&mut self, metadata: &Metadata) {
        self.connection = metadata.connection.0;
        self.ct_state = u32::from(metadata.state);
        self.ct_zone = metadata.zone;
        self.verdict = CT_VERDICT_PASS;
        self.reason = metadata.reason as u8;
        self.ct_mark = metadata.mark;
        self.modified = 0;
        self.ct_label = metadata.label.to_be_bytes();
        self.length_delta = 0;
        self.connection_flags = (u32::from(metadata.reply) * CT_CONN_REPLY)
            | (u32::from(metadata.icmp_related) * CT_CONN_ICMP_RELATED);
    }

    #[inline]
    fn set_metadata_again(&mut self, connection: ConnectionId, mark: u32) {
        self.connection = connection.0;
        self.verdict = CT_VERDICT_PASS;
        self.reason = Reason::None as u8;
        self.ct_mark = mark;
        self.modified = 0;
        self.ct_label = [0; 16];
        self.length_delta = 0;
    }

    fn original(&self) -> Option<Tuple> {
        convert::value(self.orig_tuple)
            .ok()
            .and_then(|tuple| tuple::from_c(&tuple).ok())
    }

    #[inline]
    fn is_traced(&self) -> bool {
        !self.trace.is_null()
    }

    fn trace(&mut self) -> Option<&mut Trace> {
        if self.trace.is_null() || !self.trace.is_aligned() {
            return None;
        }
        // SAFETY: the caller promises a trace that no other call uses; `Trace` is transparent around the
        // words of `ct_trace`, and any words are valid.
        Some(unsafe { &mut *self.trace.cast::<Trace>() })
    }

    // In its place: a tuple that lies in memory, just written, is read again in words that are wider than
    // those of its parts, which waits for all stores before it.
    #[inline(always)]
    fn set_original(&mut self, original: Option<&Tuple>) {
        // A pointer that cannot be used was never asked about.
        drop(match original {
            Some(tuple) => convert::store(self.orig_tuple, tuple::to_c(tuple)),
            None => convert::store(self.orig_tuple, ct_tuple::default()),
        });
    }

    #[inline]
    fn wants_original(&self) -> bool {
        !self.orig_tuple.is_null()
    }

    #[inline]
    fn set_modified(&mut self, modified: Modified) {
        let bit = |on: bool, bit: u32| u32::from(on) * bit;
        self.modified = bit(modified.source, CT_MODIFIED_SRC)
            | bit(modified.destination, CT_MODIFIED_DST)
            | bit(modified.payload, CT_MODIFIED_PAYLOAD)
            | bit(modified.l4_partial, CT_MODIFIED_L4_PARTIAL);
        self.length_delta = modified.length_delta;
    }

    #[cold]
    fn resize(&mut self, len: usize) -> bool {
        let Ok(len) = u32::try_from(len) else {
            return false;
        };
        let Some(tailroom) =
            u32::checked_add(self.length, self.tailroom).and_then(|most| most.checked_sub(len))
        else {
            return false;
        };
        self.tailroom = tailroom;
        self.length = len;
        if self.total_length != 0 {
            // A chained packet is never resized.
            self.total_length = len;
        }
        true
    }

    #[inline]
    fn prefetch(&self) {
        let l3 = if self.l3_offset == CT_OFFSET_UNKNOWN {
            0
        } else {
            self.l3_offset
        };
        // The transport header, which in IPv6 mostly reaches into the next line.
        let end = if self.l4_offset == CT_OFFSET_UNKNOWN {
            usize::from(l3) + HEADERS_V4
        } else {
            usize::from(self.l4_offset) + HEADER_TCP
        };
        line::prefetch(self.data.wrapping_add(usize::from(l3)));
        line::prefetch(self.data.wrapping_add(end - 1));
    }
}

impl Holdable for ct_packet {
    fn hold(&mut self) -> ct_packet {
        let mut kept = *self;
        self.verdict = CT_VERDICT_HELD;
        // Its trace is the datapath's, which may use it for another packet before this one comes back.
        kept.trace = std::ptr::null_mut();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Zone;

    const ZONE: Zone = 3;

    /// A packet as some pass left it.
    fn passed() -> ct_packet {
        // SAFETY: numbers and pointers, for which zeros are valid.
        let mut packet: ct_packet = unsafe { std::mem::zeroed() };
        packet.set_metadata(&Metadata {
            connection: ConnectionId(7 << 32 | 5),
            state: 0x2a,
            reason: Reason::NotCommitted,
            reply: true,
            icmp_related: true,
            zone: ZONE,
            mark: 9,
            label: 11 << 100 | 1,
        });
        packet.set_modified(Modified {
            source: true,
            length_delta: 4,
            ..Modified::default()
        });
        packet
    }

    #[test]
    fn a_verdict_that_stays_is_that_of_the_last_pass_but_for_mark_label_and_what_was_done() {
        let (mut packet, mut whole) = (passed(), passed());
        packet.set_metadata_again(ConnectionId(8), 6);
        whole.set_metadata(&Metadata {
            connection: ConnectionId(8),
            state: 0x2a,
            reply: true,
            icmp_related: true,
            zone: ZONE,
            mark: 6,
            ..Metadata::default()
        });
        assert_eq!(packet.pass(), whole.pass());
        for packet in [packet, whole] {
            assert_eq!((packet.verdict, packet.reason), (CT_VERDICT_PASS, 0));
            assert_eq!((packet.ct_mark, packet.ct_label), (6, [0; 16]));
            assert_eq!((packet.modified, packet.length_delta), (0, 0));
        }
    }
}

//! The block format: sections, interfaces, and packets that name their interface.
//!
//! Read are section headers, interface descriptions, enhanced, simple and (obsolete) plain packet
//! blocks; every other block is skipped by its length. A new section forgets the interfaces of the
//! one before and may have another byte order.

use super::{CaptureError, Endian, Input, MAX_PACKET, Packet};
use std::io::Read;

/// The first four bytes of every section, in either byte order.
pub(crate) const SECTION_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Block bytes that are accepted at most: a packet and its options.
const MAX_BLOCK: u32 = MAX_PACKET + (1 << 18);
/// Interfaces of one section that are accepted at most.
const MAX_INTERFACES: usize = 1 << 16;

struct Interface {
    link: u32,
    snap_len: u32,
    /// Units of the time stamp in one second.
    units: u64,
    /// Seconds to be added.
    offset: u64,
}

impl Interface {
    fn parse(endian: Endian, body: &[u8], at: u64) -> Result<Interface, CaptureError> {
        if body.len() < 8 {
            return Err(CaptureError::Corrupt(
                "an interface description that is too short",
                at,
            ));
        }
        let mut interface = Interface {
            link: u32::from(endian.u16(body, 0)),
            snap_len: endian.u32(body, 4),
            units: 1_000_000,
            offset: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let code = endian.u16(options, 0);
            let len = usize::from(endian.u16(options, 2));
            let Some(value) = options.get(4..4 + len) else {
                return Err(CaptureError::Corrupt("an option longer than its block", at));
            };
            match (code, value) {
                (OPTION_END, _) => break,
                (OPTION_TSRESOL, &[resolution]) => {
                    let exponent = u32::from(resolution & 0x7f);
                    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
                    interface.units = base.checked_pow(exponent).ok_or(CaptureError::Corrupt(
                        "an interface with an impossible time resolution",
                        at,
                    ))?;
                }
                (OPTION_TSOFFSET, &[..8]) if len == 8 => {
                    let words = [endian.u32(value, 0), endian.u32(value, 4)].map(u64::from);
                    interface.offset = match endian {
                        Endian::Little => words[1] << 32 | words[0],
                        Endian::Big => words[0] << 32 | words[1],
                    };
                }
                _ => {}
            }
            options = options
                .get(4 + len.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(interface)
    }

    /// Nanoseconds since 1970 of a time stamp in this interface's units.
    fn nanoseconds(&self, stamp: u64) -> u64 {
        let nanoseconds = u128::from(stamp) * 1_000_000_000 / u128::from(self.units);
        let offset = u128::from(self.offset) * 1_000_000_000;
        // An offset may be negative: it is added as a number of 64 bits, which wraps.
        if self.offset >> 63 == 1 {
            let back = u128::from(self.offset.wrapping_neg()) * 1_000_000_000;
            return u64::try_from(nanoseconds.saturating_sub(back)).unwrap_or(u64::MAX);
        }
        u64::try_from(nanoseconds + offset).unwrap_or(u64::MAX)
    }
}

/// The section being read.
pub(crate) struct Section {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Time of the packet before, for simple packets, which have none.
    last: u64,
}

impl Section {
    /// Reads the first section header after its magic number.
    pub(crate) fn first<R: Read>(input: &mut Input<R>) -> Result<Section, CaptureError> {
        let mut section = Section {
            endian: Endian::Little,
            interfaces: Vec::new(),
            last: 0,
        };
        section.begin(input, 0)?;
        Ok(section)
    }

    /// Reads a section header whose type was read already and stood at `start`.
    fn begin<R: Read>(&mut self, input: &mut Input<R>, start: u64) -> Result<(), CaptureError> {
        const WHAT: &str = "a section header";
        let mut head = [0; 8];
        input.exact(&mut head, WHAT, start)?;
        self.endian = match head[4..8] {
            [0x4d, 0x3c, 0x2b, 0x1a] => Endian::Little,
            [0x1a, 0x2b, 0x3c, 0x4d] => Endian::Big,
            _ => {
                return Err(CaptureError::Corrupt(
                    "a section without byte-order magic",
                    start,
                ));
            }
        };
        let len = self.endian.u32(&head, 0);
        if !(28..=MAX_BLOCK).contains(&len) || !len.is_multiple_of(4) {
            return Err(CaptureError::Corrupt(
                "a section header of impossible length",
                start,
            ));
        }
        let body = input.take(len - 12, WHAT, start)?;
        if self.endian.u16(&body, 0) != 1 {
            return Err(CaptureError::Corrupt("an unknown version of pcapng", start));
        }
        self.interfaces.clear();
        Ok(())
    }

    /// The next packet; `None` at the regular end of the file.
    pub(crate) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<Packet>, CaptureError> {
        loop {
            let start = input.position;
            let mut kind = [0; 4];
            match input.fill(&mut kind)? {
                0 => return Ok(None),
                4 => {}
                _ => return Err(CaptureError::Truncated("a block", start)),
            }
            if self.endian.u32(&kind, 0) == SECTION {
                self.begin(input, start)?;
                continue;
            }
            let body = self.body(input, start)?;
            let packet = match self.endian.u32(&kind, 0) {
                INTERFACE => {
                    if self.interfaces.len() == MAX_INTERFACES {
                        return Err(CaptureError::Corrupt("too many interfaces", start));
                    }
                    self.interfaces
                        .push(Interface::parse(self.endian, &body, start)?);
                    continue;
                }
                ENHANCED_PACKET => self.packet(u32::MAX, body, start)?,
                PACKET => self.packet(0xffff, body, start)?,
                SIMPLE_PACKET => self.simple_packet(body, start)?,
                _ => continue,
            };
            return Ok(Some(packet));
        }
    }

    /// The body of a block whose type was read already: what stands between its two lengths.
    fn body<R: Read>(&self, input: &mut Input<R>, start: u64) -> Result<Vec<u8>, CaptureError> {
        let mut field = [0; 4];
        input.exact(&mut field, "a block", start)?;
        let len = self.endian.u32(&field, 0);
        if !(12..=MAX_BLOCK).contains(&len) || !len.is_multiple_of(4) {
            return Err(CaptureError::Corrupt("a block of impossible length", start));
        }
        let body = input.take(len - 12, "a block", start)?;
        input.exact(&mut field, "a block", start)?;
        if self.endian.u32(&field, 0) != len {
            return Err(CaptureError::Corrupt(
                "a block whose two lengths differ",
                start,
            ));
        }
        Ok(body)
    }

    /// An enhanced packet, or an obsolete one, whose interface number has only `mask` bits.
    fn packet(&mut self, mask: u32, body: Vec<u8>, at: u64) -> Result<Packet, CaptureError> {
        let index = match mask {
            u32::MAX => self.endian.u32(&body, 0),
            _ => u32::from(self.endian.u16(&body, 0)),
        };
        let interface = self
            .interfaces
            .get(index as usize)
            .ok_or(CaptureError::Corrupt(
                "a packet of an interface that was not described",
                at,
            ))?;
        let [high, low, captured, wire_len] = [4, 8, 12, 16].map(|at| self.endian.u32(&body, at));
        let bytes = body
            .get(20..)
            .and_then(|data| data.get(..captured as usize))
            .ok_or(CaptureError::Corrupt("a packet longer than its block", at))?
            .to_vec();
        self.last = interface.nanoseconds(u64::from(high) << 32 | u64::from(low));
        Ok(Packet {
            time: self.last,
            link: interface.link,
            wire_len: wire_len.max(captured),
            bytes,
        })
    }

    /// A simple packet: of the first interface, without a time of its own.
    fn simple_packet(&mut self, body: Vec<u8>, at: u64) -> Result<Packet, CaptureError> {
        let interface = self.interfaces.first().ok_or(CaptureError::Corrupt(
            "a packet of an interface that was not described",
            at,
        ))?;
        if body.len() < 4 {
            return Err(CaptureError::Corrupt("a packet longer than its block", at));
        }
        let wire_len = self.endian.u32(&body, 0);
        let captured = match interface.snap_len {
            0 => wire_len,
            snap_len => wire_len.min(snap_len),
        };
        let bytes = body[4..]
            .get(..captured as usize)
            .ok_or(CaptureError::Corrupt("a packet longer than its block", at))?
            .to_vec();
        Ok(Packet {
            time: self.last,
            link: interface.link,
            wire_len,
            bytes,
        })
    }
}

//! The classic format: one header, one link type, then records.

use super::{CaptureError, Endian, Input, MAX_PACKET, Packet, link};
use std::io::Read;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// What the file header says.
pub(crate) struct Header {
    endian: Endian,
    /// Nanoseconds in one unit of the fraction field.
    unit: u64,
    link: u32,
}

impl Header {
    /// Reads the rest of the file header after its magic number.
    pub(crate) fn read<R: Read>(
        magic: [u8; 4],
        input: &mut Input<R>,
    ) -> Result<Header, CaptureError> {
        let (endian, unit) = [Endian::Little, Endian::Big]
            .into_iter()
            .find_map(|endian| match endian.u32(&magic, 0) {
                MICROSECONDS => Some((endian, 1_000)),
                NANOSECONDS => Some((endian, 1)),
                _ => None,
            })
            .ok_or(CaptureError::UnknownFormat(magic))?;
        let mut rest = [0; 20];
        input.exact(&mut rest, "the file header", 0)?;
        // The upper bits of the last field tell about frame check sequences.
        let link = endian.u32(&rest, 16) & 0x0fff_ffff;
        link::check(link)?;
        Ok(Header { endian, unit, link })
    }

    /// The next record; `None` at the regular end of the file.
    pub(crate) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<Packet>, CaptureError> {
        let start = input.position;
        let mut header = [0; 16];
        match input.fill(&mut header)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(CaptureError::Truncated("a packet header", start)),
        }
        let [seconds, fraction, captured, wire_len] =
            [0, 4, 8, 12].map(|at| self.endian.u32(&header, at));
        if captured > MAX_PACKET {
            return Err(CaptureError::Corrupt(
                "a packet of impossible length",
                start,
            ));
        }
        let bytes = input.take(captured, "a packet", start)?;
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit;
        Ok(Some(Packet {
            time,
            link: self.link,
            wire_len: wire_len.max(captured),
            bytes,
        }))
    }
}

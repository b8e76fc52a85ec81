//! Captures: pcap and pcapng files, read one packet at a time.
//!
//! A reader of our own, because what it must do beyond the formats is the point: a capture that was
//! cut off in the middle, or that is damaged, gives every packet before the damage and then one
//! error that names the place. It needs nothing but the standard library (a decompressor is put
//! underneath by [`open`](super::source::open)), so the fuzzer includes this folder by its path.
//!
//! What this module may know: the file formats (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng)
//! and the link layers, so that it can say where the IP header begins. Nothing of connections.

#[cfg(any(test, fuzzing))]
pub mod check;
pub mod link;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read};

/// Bytes of one packet that are accepted at most. Far above what capture tools write; a larger
/// length in a file is damage, not a packet.
pub const MAX_PACKET: u32 = 1 << 20;

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Link type (LINKTYPE_ number) of the interface it was captured on.
    pub link: u32,
    /// Length on the wire; more than the bytes when the capture was made with a snap length.
    pub wire_len: u32,
    /// The captured bytes, link header first.
    pub bytes: Vec<u8>,
}

/// Why a capture cannot be read any further. Packets read before remain good.
#[derive(Debug)]
pub enum CaptureError {
    /// The file has no bytes at all.
    Empty,
    /// The file begins like no capture.
    UnknownFormat([u8; 4]),
    /// The file ends inside of something; what, and at which byte it began.
    Truncated(&'static str, u64),
    /// The file contradicts its format; how, and at which byte.
    Corrupt(&'static str, u64),
    /// The link type is not supported.
    LinkType(u32),
    /// The operating system or the decompressor failed.
    Io(io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Empty => f.write_str("the file is empty"),
            CaptureError::UnknownFormat(magic) => {
                let [a, b, c, d] = magic;
                write!(
                    f,
                    "neither pcap nor pcapng (it begins with {a:02x} {b:02x} {c:02x} {d:02x})"
                )
            }
            CaptureError::Truncated(what, at) => {
                write!(
                    f,
                    "truncated: the file ends inside of {what} that begins at byte {at}"
                )
            }
            CaptureError::Corrupt(what, at) => write!(f, "corrupt at byte {at}: {what}"),
            CaptureError::LinkType(number) => match link::name(*number) {
                Some(name) => write!(f, "link type {number} ({name}) is not supported"),
                None => write!(f, "link type {number} is not supported"),
            },
            CaptureError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// A capture being read.
pub struct Reader<R> {
    input: Input<R>,
    format: Format,
    done: bool,
}

enum Format {
    Pcap(pcap::Header),
    Pcapng(pcapng::Section),
}

impl<R: Read> Reader<R> {
    /// Begins to read a capture; the format is recognised by its first four bytes.
    ///
    /// # Errors
    /// An empty file, an unknown format, a damaged file header, an unsupported link type.
    pub fn new(input: R) -> Result<Reader<R>, CaptureError> {
        let mut input = Input {
            inner: input,
            position: 0,
        };
        let mut magic = [0; 4];
        match input.fill(&mut magic)? {
            0 => return Err(CaptureError::Empty),
            4 => {}
            _ => return Err(CaptureError::Truncated("the file header", 0)),
        }
        let format = if magic == pcapng::SECTION_MAGIC {
            Format::Pcapng(pcapng::Section::first(&mut input)?)
        } else {
            Format::Pcap(pcap::Header::read(magic, &mut input)?)
        };
        Ok(Reader {
            input,
            format,
            done: false,
        })
    }

    fn read(&mut self) -> Result<Option<Packet>, CaptureError> {
        let packet = match &mut self.format {
            Format::Pcap(header) => header.next(&mut self.input)?,
            Format::Pcapng(section) => section.next(&mut self.input)?,
        };
        if let Some(packet) = &packet {
            link::check(packet.link)?;
        }
        Ok(packet)
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Packet, CaptureError>;

    /// The next packet; after an error or the end of the file, nothing.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// The bytes of the file, and how many of them were read.
pub(crate) struct Input<R> {
    inner: R,
    position: u64,
}

impl<R: Read> Input<R> {
    /// Fills `buffer` as far as the file goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CaptureError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The decompressor's word for a file that was cut off.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(CaptureError::Io(error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// Fills `buffer`, which is a part of `what` that began at byte `start`.
    fn exact(
        &mut self,
        buffer: &mut [u8],
        what: &'static str,
        start: u64,
    ) -> Result<(), CaptureError> {
        if self.fill(buffer)? == buffer.len() {
            Ok(())
        } else {
            Err(CaptureError::Truncated(what, start))
        }
    }

    /// Reads `len` bytes (bounded by the caller).
    fn take(&mut self, len: u32, what: &'static str, start: u64) -> Result<Vec<u8>, CaptureError> {
        let mut bytes = vec![0; len as usize];
        self.exact(&mut bytes, what, start)?;
        Ok(bytes)
    }
}

/// The byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// The 16-bit number at `at`; zero where the slice ends before it.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let Some(&[a, b]) = bytes.get(at..at + 2) else {
            return 0;
        };
        match self {
            Endian::Little => u16::from_le_bytes([a, b]),
            Endian::Big => u16::from_be_bytes([a, b]),
        }
    }

    /// The 32-bit number at `at`; zero where the slice ends before it.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let Some(&[a, b, c, d]) = bytes.get(at..at + 4) else {
            return 0;
        };
        match self {
            Endian::Little => u32::from_le_bytes([a, b, c, d]),
            Endian::Big => u32::from_be_bytes([a, b, c, d]),
        }
    }
}

//! Where captures come from: files, standard input, compressed or not.

use crate::capture::{CaptureError, Reader};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, IsTerminal, Read};
use std::path::Path;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 1 << 16;
/// Files below this size are done before a progress bar could be read.
const LONG_WORK: u64 = 8 << 20;

/// A capture from anywhere.
pub type Source = Reader<Box<dyn Read>>;

/// Opens a capture; `-` is standard input. `progress` allows a bar on standard error, which shows
/// itself only at a terminal and for long work.
///
/// # Errors
/// What the operating system says, or what [`Reader::new`] refuses.
pub fn open(path: &Path, progress: bool) -> Result<Source, CaptureError> {
    if path.as_os_str() == "-" {
        return begin(io::stdin().lock());
    }
    let file = File::open(path).map_err(CaptureError::Io)?;
    let size = file.metadata().map_err(CaptureError::Io)?.len();
    if progress && size >= LONG_WORK && io::stderr().is_terminal() {
        return begin(progress_bar(size).wrap_read(file));
    }
    begin(file)
}

fn progress_bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size)
        .with_style(style)
        .with_finish(indicatif::ProgressFinish::AndClear)
}

/// Puts a decompressor underneath when the first bytes are those of gzip.
fn begin(input: impl Read + 'static) -> Result<Source, CaptureError> {
    let (magic, input) = peek(input).map_err(CaptureError::Io)?;
    let input = BufReader::with_capacity(BUFFER, input);
    if magic == GZIP_MAGIC {
        Reader::new(Box::new(BufReader::with_capacity(
            BUFFER,
            MultiGzDecoder::new(input),
        )))
    } else {
        Reader::new(Box::new(input))
    }
}

/// An input with what was read of it put back in front.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// The first two bytes (fewer at the end of the file), and the whole input again.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, Whole<R>)> {
    let mut magic = Vec::new();
    input
        .by_ref()
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    Ok((magic.clone(), Cursor::new(magic).chain(input)))
}

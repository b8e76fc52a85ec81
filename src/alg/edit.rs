//! Changing the text of a message in place.

use std::ops::Range;

use smallvec::SmallVec;

/// The longest text that an edit puts in without allocating: an IPv6 address in brackets and a port.
pub const MAX_TEXT: usize = 64;

/// Bytes of a payload to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First byte of the old text.
    pub at: usize,
    /// Length of the old text.
    pub len: usize,
    /// The new text.
    pub text: SmallVec<[u8; MAX_TEXT]>,
}

impl Edit {
    /// Replaces `range` by `text`.
    #[must_use]
    pub fn new(range: Range<usize>, text: SmallVec<[u8; MAX_TEXT]>) -> Edit {
        Edit {
            at: range.start,
            len: range.end - range.start,
            text,
        }
    }
}

/// Change of the payload's length by all edits together.
#[must_use]
pub fn growth(edits: &[Edit]) -> isize {
    edits
        .iter()
        .map(|edit| edit.text.len() as isize - edit.len as isize)
        .sum()
}

/// Why edits could not be made. The payload is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceError {
    /// The new text does not fit the buffer.
    NoRoom,
    /// The edits do not ascend, overlap, or lie outside the payload.
    Misplaced,
}

/// Makes `edits` in the payload `buffer[..len]` and returns its new length. The buffer beyond the
/// payload is room to grow.
///
/// # Errors
///
/// See [`SpliceError`]; nothing is changed then.
pub fn splice(buffer: &mut [u8], len: usize, edits: &[Edit]) -> Result<usize, SpliceError> {
    let mut end = 0;
    for edit in edits {
        let next = edit
            .at
            .checked_add(edit.len)
            .ok_or(SpliceError::Misplaced)?;
        if edit.at < end || next > len {
            return Err(SpliceError::Misplaced);
        }
        end = next;
    }
    let new_len = len
        .checked_add_signed(growth(edits))
        .ok_or(SpliceError::Misplaced)?;
    if len > buffer.len() || new_len > buffer.len() {
        return Err(SpliceError::NoRoom);
    }
    // What moves down is moved from the front, what moves up from the back: so no byte is
    // overwritten before it was moved. The piece after edit `i` moves by the growth up to there.
    let piece = |i: usize| {
        let start = edits[i].at + edits[i].len;
        start..edits.get(i + 1).map_or(len, |next| next.at)
    };
    for i in 0..edits.len() {
        if growth(&edits[..=i]) < 0 {
            shift(buffer, piece(i), growth(&edits[..=i]));
        }
    }
    for i in (0..edits.len()).rev() {
        if growth(&edits[..=i]) > 0 {
            shift(buffer, piece(i), growth(&edits[..=i]));
        }
    }
    for (i, edit) in edits.iter().enumerate() {
        let at = edit.at.saturating_add_signed(growth(&edits[..i]));
        buffer[at..at + edit.text.len()].copy_from_slice(&edit.text);
    }
    Ok(new_len)
}

fn shift(buffer: &mut [u8], piece: Range<usize>, by: isize) {
    let to = piece.start.saturating_add_signed(by);
    buffer.copy_within(piece, to);
}

//! Reading the text of control messages: bounded, without guessing.

use std::ops::Range;

/// `text` begins with `prefix`, in any case.
pub(super) fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// First place of `needle` in `text`, in any case.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window.eq_ignore_ascii_case(needle))
}

/// A decimal number of at most `max`, and the place after it. `None` without a digit, above the
/// maximum, or when the text ends with the number: more digits may follow in the next packet.
pub(super) fn number(text: &[u8], at: usize, max: u64) -> Option<(u64, usize)> {
    let digits = text
        .get(at..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let end = at + digits;
    if digits == 0 || end == text.len() {
        return None;
    }
    let value = text[at..end].iter().try_fold(0_u64, |sum, byte| {
        let sum = sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        (sum <= max).then_some(sum)
    })?;
    Some((value, end))
}

/// The text at `range` as UTF-8, for the parsers of the standard library.
pub(super) fn utf8(text: &[u8], range: Range<usize>) -> Option<&str> {
    std::str::from_utf8(text.get(range)?).ok()
}

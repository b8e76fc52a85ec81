//! Pointers and growing structs.
//!
//! A struct that may grow begins with its size, as the caller's compiler saw it. The rule is that of
//! `openat2(2)`: a shorter one is filled up with zeros, which mean "as before"; a longer one is
//! accepted if what this library does not know is zero, and refused with E2BIG otherwise.

use std::mem::MaybeUninit;

use super::guard::{Failure, invalid};
use super::types::ct_packet;

/// A plain struct whose first member is its size, and for which zeros are valid.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize`, has no padding that matters and no bit pattern that
/// is invalid.
pub(super) unsafe trait Sized_: Copy {
    /// The size of the first released version; anything shorter is nonsense.
    const SHORTEST: usize;
}

/// A copy of the caller's struct.
pub(super) fn read<T: Sized_>(pointer: *const T) -> Result<T, Failure> {
    borrow(pointer, &mut None).copied()
}

/// The caller's struct: itself when it is of this version, or a copy in `space`.
#[inline]
pub(super) fn borrow<T: Sized_>(pointer: *const T, space: &mut Option<T>) -> Result<&T, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid("a struct is NULL or misaligned"));
    }
    // SAFETY: the pointer is not NULL and aligned, and the caller promises a struct that begins with
    // its size.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size == size_of::<T>() {
        // SAFETY: as above, and the struct is as long as ours; the caller promises that nobody writes
        // it during the call.
        return Ok(unsafe { &*pointer });
    }
    Ok(space.insert(read_other(pointer, size)?))
}

/// A copy of a struct of another version.
#[cold]
#[inline(never)]
fn read_other<T: Sized_>(pointer: *const T, size: usize) -> Result<T, Failure> {
    if size < T::SHORTEST || size > 4096 {
        return Err(invalid("the size of a struct is wrong"));
    }
    let known = size.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller promises `size` readable bytes; `known` of them fit into the value.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), known);
    }
    if size > known {
        let tail = pointer.cast::<u8>().wrapping_add(known);
        // SAFETY: the bytes from `known` to `size` are the caller's, who promises that they are there.
        let tail = unsafe { std::slice::from_raw_parts(tail, size - known) };
        if tail.iter().any(|&byte| byte != 0) {
            return Err(Failure::Errno(
                libc::E2BIG,
                "a struct has members that this version does not know",
            ));
        }
    }
    // SAFETY: zeros and any other bits are valid for `T` (`Sized_`).
    Ok(unsafe { value.assume_init() })
}

/// Fills the caller's struct, as much of it as the caller knows; its size stays.
pub(super) fn write<T: Sized_>(pointer: *mut T, value: &T) -> Result<(), Failure> {
    let mut size = checked_size(pointer)?;
    size = size.min(size_of::<T>());
    let head = size_of::<usize>();
    let from = std::ptr::from_ref(value).cast::<u8>().wrapping_add(head);
    let to = pointer.cast::<u8>().wrapping_add(head);
    // SAFETY: both structs have at least `size` bytes, and the caller's is not one of ours.
    unsafe { std::ptr::copy_nonoverlapping(from, to, size - head) };
    Ok(())
}

/// The size that a struct to be filled says it has.
pub(super) fn checked_size<T: Sized_>(pointer: *mut T) -> Result<usize, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid("a struct is NULL or misaligned"));
    }
    // SAFETY: as in `read`.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < T::SHORTEST || size > 4096 {
        return Err(invalid("the size of a struct is wrong"));
    }
    Ok(size)
}

/// The packets of a batch; none for `n` 0, whatever the pointer.
pub(super) fn batch<'a>(packets: *mut ct_packet, n: usize) -> Result<&'a mut [ct_packet], Failure> {
    if n == 0 {
        return Ok(&mut []);
    }
    if packets.is_null()
        || !packets.is_aligned()
        || n > isize::MAX as usize / size_of::<ct_packet>()
    {
        return Err(invalid("packets is NULL or misaligned"));
    }
    // SAFETY: the caller promises `n` packets that no other call uses, and the checks above make the
    // slice well-formed; whoever asks here lets go of the slice before asking again.
    Ok(unsafe { std::slice::from_raw_parts_mut(packets, n) })
}

/// The value behind a pointer.
pub(super) fn value<T: Copy>(pointer: *const T) -> Result<T, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid("a pointer is NULL or misaligned"));
    }
    // SAFETY: the pointer is not NULL and aligned; the caller promises a value behind it, and `T` is a
    // plain type for which every bit pattern is valid.
    Ok(unsafe { pointer.read() })
}

/// Stores a value behind a pointer.
pub(super) fn store<T>(pointer: *mut T, value: T) -> Result<(), Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid("a pointer is NULL or misaligned"));
    }
    // SAFETY: as in `value`; what was there needs no destructor.
    unsafe { pointer.write(value) };
    Ok(())
}

/// A text as C has it: NUL-terminated, cut between two characters when it is too long.
pub(super) fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let len = (0..N).rev().find(|&at| text.is_char_boundary(at));
    let head = &text.as_bytes()[..len.unwrap_or(0)];
    bytes[..head.len()].copy_from_slice(head);
    bytes
}

/// Stores up to `n` elements of a list in an array of the caller, and how many there are.
pub(super) fn store_list<T>(
    list: impl ExactSizeIterator<Item = T>,
    array: *mut T,
    n: usize,
    total: *mut usize,
) -> Result<(), Failure> {
    if n > 0 && (array.is_null() || !array.is_aligned()) {
        return Err(invalid("the array is NULL or misaligned"));
    }
    store(total, list.len())?;
    for (i, value) in list.take(n).enumerate() {
        store(array.wrapping_add(i), value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Today {
        size: usize,
        a: u64,
        b: u64,
    }
    // SAFETY: plain numbers.
    unsafe impl Sized_ for Today {
        const SHORTEST: usize = 16;
    }

    #[test]
    fn a_shorter_struct_is_filled_with_zeros_and_a_longer_one_must_be_zero() {
        let mut old = [16_usize, 7, 0xdead];
        let read_old = read(old.as_ptr().cast::<Today>());
        assert!(matches!(read_old, Ok(Today { a: 7, b: 0, .. })));
        let mut newer = [32_usize, 7, 8, 0];
        let read_newer = read(newer.as_ptr().cast::<Today>());
        assert!(matches!(read_newer, Ok(Today { a: 7, b: 8, .. })));
        newer[3] = 1;
        let refused = read(newer.as_ptr().cast::<Today>());
        assert!(matches!(refused, Err(Failure::Errno(libc::E2BIG, _))));
        old[0] = 8;
        assert!(matches!(
            read(old.as_ptr().cast::<Today>()),
            Err(Failure::Errno(libc::EINVAL, _))
        ));
    }

    #[test]
    fn a_text_ends_with_a_nul_and_between_characters() {
        assert_eq!(text::<4>("ab"), *b"ab\0\0");
        assert_eq!(text::<4>("abcdef"), *b"abc\0");
        assert_eq!(text::<4>("ab\u{e4}"), *b"ab\0\0");
        assert_eq!(text::<1>("a"), *b"\0");
    }

    #[test]
    fn an_out_struct_is_filled_as_far_as_the_caller_knows_it() {
        let mut old = [16_usize, 0, 0xdead];
        let value = Today {
            size: 0,
            a: 1,
            b: 2,
        };
        assert!(write(old.as_mut_ptr().cast::<Today>(), &value).is_ok());
        assert_eq!(old, [16, 1, 0xdead]);
    }
}

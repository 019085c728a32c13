//! Structs that grow: their first field is their size as the caller's header knew it.

use crate::error::{invalid, Error, Result};
use std::mem::{align_of, size_of};

/// Plain C structs that start with `size_t size`.
///
/// # Safety
/// `repr(C)`, made of integers only, first field a `usize` with the struct's size.
pub(super) unsafe trait Sized: Copy + Default {
    /// Name in C.
    const NAME: &'static str;
    /// Bytes of the first version of this struct, which is the least that is accepted.
    const LEAST: usize;
}

/// Bytes of a struct: its size, then fields of `rest` bytes together, the first of which is a `T`.
pub(super) const fn length<T>(rest: usize) -> usize {
    let align = align_of::<T>();
    (size_of::<usize>() + align - 1) / align * align + rest
}

/// Copies a caller's struct. Fields that its header did not have are zero, which is every
/// field's default; bytes that this library does not know must be zero.
///
/// # Safety
/// `from` is NULL or points to as many readable bytes as its first field says.
pub(super) unsafe fn read<T: Sized>(from: *const T) -> Result<T> {
    // SAFETY: the caller's promise.
    let size = unsafe { given_size(from)? };
    let mut copy = T::default();
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are readable by the caller's promise, and `known` fit `copy`.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&mut copy as *mut T).cast(), known);
        for at in known..size {
            if from.cast::<u8>().add(at).read() != 0 {
                return Err(Error::TooBig(T::NAME));
            }
        }
    }
    Ok(copy)
}

/// Copies `value` to a caller's struct, as much of it as its header knew; the rest of a longer
/// struct becomes zero. The size field stays the caller's.
///
/// # Safety
/// `to` is NULL or points to as many writable bytes as its first field says.
pub(super) unsafe fn write<T: Sized>(to: *mut T, value: &T) -> Result<()> {
    // SAFETY: the caller's promise.
    let size = unsafe { given_size(to)? };
    let field = size_of::<usize>();
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are writable by the caller's promise; known <= size.
    unsafe {
        let (to, from) = (to.cast::<u8>(), (value as *const T).cast::<u8>());
        std::ptr::copy_nonoverlapping(from.add(field), to.add(field), known - field);
        std::ptr::write_bytes(to.add(known), 0, size - known);
    }
    Ok(())
}

/// # Safety
/// `from` is NULL or points to a struct that starts with its size.
unsafe fn given_size<T: Sized>(from: *const T) -> Result<usize> {
    /// More than any struct will ever have: a size field that was never set.
    const ABSURD: usize = 4096;
    if from.is_null() {
        return Err(Error::Null(T::NAME));
    }
    // SAFETY: the first field is a usize.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size < T::LEAST || size > ABSURD {
        return Err(invalid!(
            "{}.size is {size}; set it to sizeof(struct {}), {} bytes",
            T::NAME,
            T::NAME,
            size_of::<T>()
        ));
    }
    Ok(size)
}

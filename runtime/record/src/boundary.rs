//! From bytes to records: trusted by promise, or checked.
//!
//! Invariant of this module's `unsafe`: an [`InFrame`] and every `&Archived` given out point to a
//! region that a [`RecordWriter`] wrote for the same type, or that [`validate`] accepted, and that
//! is borrowed for as long.
//!
//! ```text
//!   own frame ───── root_unchecked (unsafe: the frame's writer was ours) ──┐
//!                                                                          ├─▶ InFrame<'f, T>
//!   socket, disk ── validate (bounds, alignment, UTF-8, tags) ─────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. `validate` never panics and never reads outside the region, whatever the bytes.
//! 2. A region that it accepts holds no pointer to anything outside itself.

use std::{fmt, marker::PhantomData, mem::MaybeUninit, ptr::NonNull, slice};

use rkyv::{
    Place, api::access_pos_with_context, rancor, rancor::Strategy,
    validation::archive::ArchiveValidator,
};

use crate::{Full, Item, Record, RecordWriter, Region, Scratch};

/// What checks archived bytes. (`'static` stands for the bytes under check, which outlive it: see
/// [`validate`].)
pub type Validator = Strategy<ArchiveValidator<'static>, Invalid>;

/// These bytes are not a record of the expected type.
#[derive(Debug)]
pub struct Invalid {
    reason: Box<str>,
}

impl Invalid {
    fn because(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string().into_boxed_str() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a valid record: {}", self.reason)
    }
}

impl std::error::Error for Invalid {}

impl rancor::Trace for Invalid {
    fn trace<R: fmt::Debug + fmt::Display + Send + Sync + 'static>(self, _: R) -> Self {
        self // The innermost reason says most.
    }
}

impl rancor::Source for Invalid {
    fn new<T: std::error::Error + Send + Sync + 'static>(source: T) -> Self {
        Self::because(source)
    }
}

/// An item that lies in a frame: its root, and the region that it is copied by.
pub struct InFrame<'f, T: Record> {
    root: NonNull<T::Archived>,
    /// Length of the region, whose last bytes are the root.
    len: usize,
    frame: PhantomData<&'f [u8]>,
}

impl<T: Record> Clone for InFrame<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for InFrame<'_, T> {}

impl<T: Record> fmt::Debug for InFrame<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFrame").field(&self.get()).finish()
    }
}

impl<'f, T: Record> InFrame<'f, T> {
    /// The record in `region`, which is exactly its bytes.
    ///
    /// # Safety
    /// A [`RecordWriter`] wrote this region as a `T`, or [`validate`] accepted it, and it starts
    /// at a multiple of `T::ALIGN`.
    #[inline]
    pub unsafe fn new(region: &'f [u8]) -> Self {
        debug_assert!(region.len() >= size_of::<T::Archived>());
        debug_assert!((region.as_ptr() as usize).is_multiple_of(T::ALIGN));
        let offset = region.len() - size_of::<T::Archived>();
        // SAFETY: the caller promises a region of a `T`, whose root is its last bytes.
        let root = unsafe { region.as_ptr().add(offset) };
        // SAFETY: it points into a slice, so it is not null.
        let root = unsafe { NonNull::new_unchecked(root.cast::<T::Archived>().cast_mut()) };
        Self { root, len: region.len(), frame: PhantomData }
    }

    /// The record in `region` of `buf`, checked as [`validate`] does.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not a `T`.
    pub fn checked(buf: &'f [u8], region: Region) -> Result<Self, Invalid> {
        validate::<T>(buf, region)?;
        // SAFETY: accepted.
        Ok(unsafe { Self::new(&buf[region.start as usize..region.end as usize]) })
    }

    /// Its archived root.
    #[inline]
    pub fn archived(self) -> &'f T::Archived {
        // SAFETY: the invariant of this module.
        unsafe { self.root.as_ref() }
    }

    /// Its view, for as long as the frame.
    #[inline]
    pub fn get(self) -> T::View<'f> {
        T::view_of(self.archived())
    }

    /// Its bytes: what is copied when it is only forwarded.
    #[inline]
    pub fn region(self) -> &'f [u8] {
        let size = size_of::<T::Archived>();
        // SAFETY: the root is the last `size` bytes of a region of `len` bytes, and the pointer
        // was derived from the whole region.
        unsafe {
            slice::from_raw_parts(self.root.as_ptr().cast::<u8>().add(size).sub(self.len), self.len)
        }
    }
}

impl<T: Record> Item<T> for InFrame<'_, T> {
    #[inline]
    fn view(&self) -> T::View<'_> {
        T::view_of(self.archived())
    }

    #[inline]
    fn into_owned(self) -> T {
        T::from_view(self.get())
    }

    #[inline]
    fn write(&self, writer: &mut RecordWriter<'_>) -> Result<Region, Full> {
        if T::PACKED {
            // The length is then known to the compiler: a few stores instead of a `memcpy`.
            writer.copy_region::<T>(&self.region()[..size_of::<T::Archived>()])
        } else {
            writer.copy_region::<T>(self.region())
        }
    }
}

/// The root of the record whose region ends at `end` of `buf`.
///
/// # Safety
/// A [`RecordWriter`] wrote a region of a `T` that ends there into these bytes, or into bytes that
/// were copied here at the same alignment; or [`validate`] accepted it.
#[inline]
pub unsafe fn root_unchecked<T: Record>(buf: &[u8], end: usize) -> &T::Archived {
    debug_assert!(end <= buf.len() && end >= size_of::<T::Archived>());
    // SAFETY: the caller promises a region that ends at `end`.
    let root = unsafe { buf.as_ptr().add(end - size_of::<T::Archived>()) };
    debug_assert!((root as usize).is_multiple_of(align_of::<T::Archived>()));
    // SAFETY: and that its root is whole, aligned and valid.
    unsafe { &*root.cast() }
}

/// Checks bytes that nobody vouches for: bounds, alignment, UTF-8, tags. Some
/// tens of nanoseconds a record with strings: once, where bytes enter, never per hop.
///
/// # Errors
/// [`Invalid`] if the region is not a `T`, or points outside itself.
pub fn validate<T: Record>(buf: &[u8], region: Region) -> Result<&T::Archived, Invalid> {
    let bytes = buf
        .get(region.start as usize..region.end as usize)
        .ok_or_else(|| Invalid::because("its region is not inside the buffer"))?;
    if !(bytes.as_ptr() as usize).is_multiple_of(T::ALIGN) {
        return Err(Invalid::because(format_args!("its region is not aligned to {}", T::ALIGN)));
    }
    let root = bytes
        .len()
        .checked_sub(size_of::<T::Archived>())
        .filter(|&before| !T::PACKED || before == 0)
        .ok_or_else(|| {
            Invalid::because(format_args!(
                "its region has {} bytes, its root has {}",
                bytes.len(),
                size_of::<T::Archived>()
            ))
        })?;
    // SAFETY: the longer life is seen only by the context, which keeps addresses and is dropped
    // before this function returns. It lets `Archived: CheckBytes<Validator>` be a plain bound.
    let longer: &'static [u8] = unsafe { slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
    let mut context = ArchiveValidator::new(longer);
    access_pos_with_context::<T::Archived, _, Invalid>(bytes, root, &mut context)
}

/// As [`validate`], for a whole array of packed records.
///
/// # Errors
/// [`Invalid`] if one of the records is not a `T`, or the length is not a multiple of its size.
///
/// # Panics
/// If `T` is not [`PACKED`](Record::PACKED).
pub fn validate_packed<T: Record>(bytes: &[u8], count: usize) -> Result<(), Invalid> {
    assert!(T::PACKED, "a record with strings or lists has a region of its own length");
    let size = size_of::<T::Archived>();
    if size.checked_mul(count) != Some(bytes.len()) {
        return Err(Invalid::because(format_args!(
            "{} bytes are not {count} records of {size}",
            bytes.len()
        )));
    }
    for index in 0..if size == 0 { 0 } else { count } {
        let end = (index + 1) * size;
        let region = Region { start: (end - size) as u32, end: end as u32 };
        validate::<T>(bytes, region)?;
    }
    Ok(())
}

/// Reads a packed record whose bytes may lie at any address, by way of the stack.
///
/// A row of a table is aligned to 8; a record with a `u128` wants 16. For all others
/// [`root_unchecked`] reads in place.
///
/// # Safety
/// `bytes` are exactly the region that a [`RecordWriter`] wrote for a `T`, or that [`validate`]
/// accepted.
///
/// # Panics
/// If `T` is not [`PACKED`](Record::PACKED), or the length is not that of its root.
#[inline(always)]
pub unsafe fn read_packed<T: Record, R>(bytes: &[u8], f: impl FnOnce(T::View<'_>) -> R) -> R {
    assert!(T::PACKED && bytes.len() == size_of::<T::Archived>());
    let mut root = MaybeUninit::<T::Archived>::uninit();
    // SAFETY: as many bytes as the root has; the caller promises that they are a valid root. A
    // packed root has no relative pointer, so it may be read anywhere.
    let root = unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), root.as_mut_ptr().cast(), bytes.len());
        root.assume_init_ref()
    };
    f(T::view_of(root))
}

/// Writes a packed record into bytes at any address, by way of the stack: what [`read_packed`] reads.
///
/// # Errors
/// [`Full`] never: packed records have no parts to write. It is what serialisers can say.
///
/// # Panics
/// If `T` is not [`PACKED`](Record::PACKED), or the length is not that of its root.
#[inline(always)]
pub fn write_packed<T: Record>(
    bytes: &mut [u8],
    view: T::View<'_>,
    scratch: &mut Scratch,
) -> Result<(), Full> {
    assert!(T::PACKED && bytes.len() == size_of::<T::Archived>());
    let parts = T::write_parts(view, &mut RecordWriter::new(&mut [], 0, scratch))?;
    let mut root = MaybeUninit::<T::Archived>::zeroed();
    // SAFETY: an aligned place for one root, zeroed as `resolve` wants it, borrowed until it returns. A packed root has
    // no relative pointer, so it may be copied anywhere; the target has as many bytes, and overlaps nothing.
    unsafe {
        T::resolve(view, parts, Place::new_unchecked(0, root.as_mut_ptr()));
        let root = root.as_ptr().cast::<u8>();
        std::ptr::copy_nonoverlapping(root, bytes.as_mut_ptr(), bytes.len());
    }
    Ok(())
}

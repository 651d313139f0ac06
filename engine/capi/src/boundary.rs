//! Pointers and panics: what a C caller can get wrong becomes a code and a text. The one module with pointer access.
//!
//! Always true: no panic leaves [`guard`]; after one the engine is broken and is not touched again until it is freed. Single
//! structs arrive as `Option<&mut …>`, which is a pointer that may be null; what the library only writes is `MaybeUninit`, because a C
//! caller's variable has no value yet.

use crate::abi::{RING0_BROKEN, RING0_NULL};
use crate::engine::{Engine, Refusal, null, refuse};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Keeps a text for [`last_error`].
pub(crate) fn remember(text: &str) {
    // A name from the caller cannot bring a zero byte in: C strings end there.
    let text = CString::new(text).unwrap_or_default();
    LAST_ERROR.with(|last| *last.borrow_mut() = text);
}

/// The last text of this thread; good until the next one.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Runs `body` so that it gives a number, whatever happens.
pub(crate) fn caught(body: impl FnOnce() -> Result<i64, Refusal>) -> i64 {
    // What `body` may leave half done is the engine, which `guard` marks.
    let done = catch_unwind(AssertUnwindSafe(body));
    let refusal = match done {
        Ok(Ok(number)) => return number,
        Ok(Err(refusal)) => refusal,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Refusal {
                code: RING0_BROKEN,
                text: text.unwrap_or_else(|| "the library panicked".to_owned()),
            }
        }
    };
    remember(&refusal.text);
    refusal.code.into()
}

/// Runs `body` on an engine that is there and whole.
pub(crate) fn guard(
    engine: Option<&mut Engine>,
    body: impl FnOnce(&mut Engine) -> Result<i64, Refusal>,
) -> i64 {
    let Some(engine) = engine else {
        return caught(|| null("engine"));
    };
    if engine.broken {
        let text = "the engine is broken: destroy it; its state cannot be trusted";
        return caught(|| refuse(RING0_BROKEN, text));
    }
    let number = caught(|| body(engine));
    engine.broken |= number == i64::from(RING0_BROKEN);
    number
}

/// The items of a caller's array, copied one by one.
///
/// # Safety
/// Null, or `count` initialised items that nobody writes while the iterator lives.
pub(crate) unsafe fn items<T: Copy>(
    name: &str,
    array: *const T,
    count: usize,
) -> Result<impl Iterator<Item = T>, Refusal> {
    if array.is_null() && count != 0 {
        return Err(Refusal {
            code: RING0_NULL,
            text: format!("{name} is null"),
        });
    }
    Ok((0..count).map(move |index| {
        // SAFETY: below `count`, so inside the caller's array.
        let item = unsafe { array.add(index) };
        // SAFETY: an initialised item that nobody writes: the caller of this function said so.
        unsafe { item.read() }
    }))
}

/// A caller's array that is only written.
pub(crate) struct Room<T> {
    array: *mut T,
    count: usize,
}

impl<T> Room<T> {
    /// # Safety
    /// Null, or room for `count` items that nobody else uses while this value lives.
    pub(crate) unsafe fn new(array: *mut T, count: usize) -> Room<T> {
        let count = if array.is_null() { 0 } else { count };
        Room { array, count }
    }

    /// As [`Room::new`], a null pointer being an error.
    ///
    /// # Safety
    /// As [`Room::new`].
    pub(crate) unsafe fn needed(
        name: &str,
        array: *mut T,
        count: usize,
    ) -> Result<Room<T>, Refusal> {
        if array.is_null() && count != 0 {
            return null(name);
        }
        // SAFETY: the caller's word, handed on.
        Ok(unsafe { Room::new(array, count) })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Writes an item; nothing where there is no room for it.
    pub(crate) fn put(&mut self, index: usize, item: T) {
        if index < self.count {
            // SAFETY: below `count`, so inside the caller's array.
            let place = unsafe { self.array.add(index) };
            // SAFETY: room for an item that nobody else uses, by `new`.
            unsafe { place.write(item) };
        }
    }
}

/// The bytes of a caller's string.
///
/// # Safety
/// Null, or a string with its end, not written during `'a`.
pub(crate) unsafe fn string<'a>(name: &str, text: *const c_char) -> Result<&'a [u8], Refusal> {
    if text.is_null() {
        return null(name);
    }
    // SAFETY: not null, and by the caller's word ended and left alone.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Takes an engine back from the caller.
///
/// # Safety
/// Made by `ring0_create`, not yet given back, used by nobody.
pub(crate) unsafe fn reclaim(engine: *mut Engine) -> Box<Engine> {
    // SAFETY: `ring0_create` made it with `Box::into_raw`; the rest is the caller's word.
    unsafe { Box::from_raw(engine) }
}

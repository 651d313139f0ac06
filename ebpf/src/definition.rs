//! A map as the loader finds it: a struct in the legacy `maps` section.
//!
//! BTF map definitions cannot say "arena" to the loader library; the legacy form carries any type number.

use aya_ebpf::bindings::{bpf_map_def, bpf_map_type};
use core::{cell::UnsafeCell, ffi::c_void, ptr::NonNull};

const PIN_BY_NAME: u32 = 1;

/// One definition in the `maps` section. The loader replaces every mention of it by the map.
#[repr(transparent)]
pub struct MapDefinition(UnsafeCell<bpf_map_def>);

// SAFETY: the bytes are read by the loader only; the program uses nothing but the address, which
// the loader rewrites to a map reference.
unsafe impl Sync for MapDefinition {}

impl MapDefinition {
    /// Pinned by name, where the program is one that is pinned.
    pub const fn new(kind: u32, key: u32, value: u32, entries_max: u32, flags: u32) -> Self {
        Self(UnsafeCell::new(bpf_map_def {
            type_: kind,
            key_size: key,
            value_size: value,
            max_entries: entries_max,
            map_flags: flags,
            id: 0,
            pinning: PIN_BY_NAME,
        }))
    }

    /// An array of values.
    pub const fn array(value: u32, entries_max: u32, flags: u32) -> Self {
        Self::new(
            bpf_map_type::BPF_MAP_TYPE_ARRAY,
            4,
            value,
            entries_max,
            flags,
        )
    }

    /// Address that the loader rewrites to the map.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut c_void {
        self.0.get().cast()
    }

    /// Value number `index`, or `None` when the map is shorter. The kernel inlines this call for
    /// arrays (a bounds check and an addition).
    ///
    /// `T` must be no larger than the map's value; the verifier refuses a program that reads past it.
    #[inline(always)]
    pub fn get<T>(&self, index: u32) -> Option<NonNull<T>> {
        // SAFETY: the first argument is a map, the second points to a four-byte key on the stack,
        // as the helper wants.
        let value = unsafe {
            aya_ebpf::helpers::bpf_map_lookup_elem(self.as_ptr(), (&raw const index).cast())
        };
        NonNull::new(value.cast())
    }
}

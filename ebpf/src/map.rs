//! Maps of the program, declared as structs in the legacy `maps` section.
//!
//! BTF map definitions cannot say "arena" to the loader library; the legacy form carries any type
//! number. All maps are pinned by name. The sizes here are small ones: `xdp-loader` sets the
//! real ones when it loads the object (type, value size and flags are compared, never changed).

use aya_ebpf::bindings::{
    bpf_map_def,
    bpf_map_type::{BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY},
};
use core::{cell::UnsafeCell, ffi::c_void, ptr::NonNull};

const BPF_F_MMAPABLE: u32 = 1024;
const PIN_BY_NAME: u32 = 1;

/// One definition in the `maps` section. The loader replaces every mention of it by the map.
#[repr(transparent)]
pub struct MapDefinition(UnsafeCell<bpf_map_def>);

// SAFETY: the bytes are read by the loader only; the program uses nothing but the address, which
// the loader rewrites to a map reference.
unsafe impl Sync for MapDefinition {}

impl MapDefinition {
    const fn new(kind: u32, key: u32, value: u32, entries_max: u32, flags: u32) -> Self {
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

    const fn array(value: u32, entries_max: u32, flags: u32) -> Self {
        Self::new(BPF_MAP_TYPE_ARRAY, 4, value, entries_max, flags)
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

/// All state of the matching core: one flat memory of `max_entries` pages.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "ARENA")]
pub static ARENA: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_ARENA, 0, 0, 16, BPF_F_MMAPABLE);

/// Record ring (MQ1): 64-byte slots. Writer: the program. Readers: consumers, by mapping.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "RECORDS")]
pub static RECORDS: MapDefinition = MapDefinition::array(64, 64, BPF_F_MMAPABLE);

/// Cursors of the rings: one cache line a word, each with one writer.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "CURSORS")]
pub static CURSORS: MapDefinition = MapDefinition::array(64, 16, BPF_F_MMAPABLE);

/// Command ring: 128-byte slots. Writer: the daemon, by mapping. Reader: the program.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "COMMANDS")]
pub static COMMANDS: MapDefinition = MapDefinition::array(128, 64, BPF_F_MMAPABLE);

/// Session keys, by session index. Writer: the daemon, by system call. Not mappable.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "KEYS")]
pub static KEYS: MapDefinition = MapDefinition::array(32, 64, 0);

/// Counters, a word per CPU and reason. Writer: the program.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "COUNTERS")]
pub static COUNTERS: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 128, 0);

/// Adds one to counter `index`; an index past the map's end counts nothing.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(word) = COUNTERS.get::<u64>(index) {
        // SAFETY: the value is eight bytes, aligned, and this CPU's own; XDP does not preempt
        // itself on one CPU.
        unsafe { *word.as_ptr() += 1 };
    }
}

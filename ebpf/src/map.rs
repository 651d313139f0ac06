//! Maps of the program, all pinned by name. The sizes here are small ones: `xdp-loader` sets the
//! real ones when it loads the object (type, value size and flags are compared, never changed).

use crate::definition::MapDefinition;
use aya_ebpf::bindings::bpf_map_type::{BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_PERCPU_ARRAY};

const BPF_F_MMAPABLE: u32 = 1024;

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

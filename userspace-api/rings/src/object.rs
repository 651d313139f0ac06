//! Which program object a ring loads.

use std::borrow::Cow;
use xdp_loader::{Dispatch, Object};

/// Names a file that is loaded in place of the kept object.
pub const OBJECT_VARIABLE: &str = "RING0_BPF_OBJECT";

/// Bytes that begin where an ELF header may: its fields are read in place, as words of eight bytes.
#[repr(C, align(8))]
struct Aligned<B: ?Sized>(B);

/// `ebpf/prebuilt/ring0.bpf.o`; `cargo xtask ebpf --keep` makes it anew.
static KEPT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../ebpf/prebuilt/ring0.bpf.o"));

/// `ebpf/prebuilt/dispatch.bpf.o`.
static KEPT_DISPATCHER: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../ebpf/prebuilt/dispatch.bpf.o"));

/// What goes before the shard of this UDP port when it shares its interface with others.
#[must_use]
pub fn kept_dispatch(port: u16) -> Dispatch {
    Dispatch {
        object: Object::Bytes(Cow::Borrowed(&KEPT_DISPATCHER.0)),
        port,
    }
}

/// The kept object, which this binary carries, or the file that [`OBJECT_VARIABLE`] names.
#[must_use]
pub fn kept_object() -> Object {
    match std::env::var_os(OBJECT_VARIABLE) {
        Some(path) => Object::Path(path.into()),
        None => Object::Bytes(Cow::Borrowed(&KEPT.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_objects_are_objects_of_ours() {
        for kept in [KEPT, KEPT_DISPATCHER] {
            assert_eq!(kept.0.as_ptr().align_offset(8), 0);
            let programs = Object::Bytes(Cow::Borrowed(&kept.0)).subprograms().unwrap();
            assert!(!programs.is_empty());
        }
    }
}

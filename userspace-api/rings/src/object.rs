//! Which program object a ring loads.

use std::borrow::Cow;
use xdp_loader::Object;

/// Names a file that is loaded in place of the kept object.
pub const OBJECT_VARIABLE: &str = "RING0_BPF_OBJECT";

/// Bytes that begin where an ELF header may: its fields are read in place, as words of eight bytes.
#[repr(C, align(8))]
struct Aligned<B: ?Sized>(B);

/// `ebpf/prebuilt/ring0.bpf.o`; `cargo xtask ebpf --keep` makes it anew.
static KEPT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../ebpf/prebuilt/ring0.bpf.o"));

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
    fn the_kept_object_is_an_object_of_ours() {
        assert_eq!(KEPT.0.as_ptr().align_offset(8), 0);
        let programs = Object::Bytes(Cow::Borrowed(&KEPT.0)).subprograms().unwrap();
        assert!(!programs.is_empty());
    }
}

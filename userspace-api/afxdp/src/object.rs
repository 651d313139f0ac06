//! Which program steers.

use std::borrow::Cow;
use xdp_loader::Object;

/// Names a file that is loaded in place of the kept object.
pub const STEER_OBJECT_VARIABLE: &str = "RING0_STEER_OBJECT";

/// Bytes that begin where an ELF header may: its fields are read in place, as words of eight bytes.
#[repr(C, align(8))]
struct Aligned<B: ?Sized>(B);

/// `ebpf/prebuilt/steer.bpf.o`; `cargo xtask ebpf --keep` makes it anew.
static KEPT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../ebpf/prebuilt/steer.bpf.o"));

/// The kept object, which this binary carries, or the file that [`STEER_OBJECT_VARIABLE`] names.
#[must_use]
pub fn kept_steer_object() -> Object {
    match std::env::var_os(STEER_OBJECT_VARIABLE) {
        Some(path) => Object::Path(path.into()),
        None => Object::Bytes(Cow::Borrowed(&KEPT.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On kernels without arena and `may_goto` every function is verified once, and none is left to be verified at each call.
    #[test]
    fn every_function_of_the_kept_object_is_global() {
        assert_eq!(KEPT.0.as_ptr().align_offset(8), 0);
        let functions = Object::Bytes(Cow::Borrowed(&KEPT.0)).subprograms().unwrap();
        assert!(functions.len() > 1);
        assert!(functions.iter().all(|one| one.global), "{functions:?}");
    }
}

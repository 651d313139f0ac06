//! DPDK's functions as this machine's headers declare them, and a shim for those that are inline.
//!
//! Knows names and layouts; decides nothing. Only what `ring0-dpdk` calls is here, and only with the feature `dpdk` on a machine that has DPDK's
//! headers: without either the crate is [`AVAILABLE`]'s `false` and [`MISSING`], which says what to do. The libraries are linked as shared ones, so
//! that the drivers, which are plug-ins, share their one state.

/// Whether DPDK was there when this was built.
pub const AVAILABLE: bool = cfg!(dpdk);

/// What was missing when this was built, and what to do; empty where nothing was.
pub const MISSING: &str = if AVAILABLE {
    ""
} else if cfg!(feature = "dpdk") {
    match option_env!("DPDK_MISSING") {
        Some(missing) => missing,
        None => "libdpdk was not found",
    }
} else {
    "it was built without the feature `dpdk`; run: apt-get install libdpdk-dev libclang-dev, and build with --features dpdk"
};

#[cfg(dpdk)]
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "made by bindgen from DPDK's headers, which document it"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

#[cfg(dpdk)]
pub use bindings::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(AVAILABLE, MISSING.is_empty());
        assert!(
            AVAILABLE || MISSING.contains("apt-get install"),
            "{MISSING}"
        );
    }
}

//! The places where the one engine runs: native memory, the kernel, the reference.

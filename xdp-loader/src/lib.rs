//! Loads, pins, adopts and removes Ring0's XDP program; the only crate that makes bpf calls.

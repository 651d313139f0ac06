#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![doc = include_str!("../README.md")]

pub mod canon;
mod capacity;
pub mod control;
pub mod limits;
mod reason;
pub mod record;

pub use capacity::Capacity;
pub use reason::Reason;

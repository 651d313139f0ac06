//! Whole-system tests, and what they share: a shard in the kernel, the built command, a seed.

mod command;
pub mod hostile;
mod kernel;
mod random;
pub mod stand;

pub use command::{Ran, ring0, xdp_loader};
pub use kernel::{Kernel, PORT};
pub use random::{Random, seed};

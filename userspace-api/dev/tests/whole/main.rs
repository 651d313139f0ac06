//! Whole venues: the way of two people's money through one, with each kind of signer; processes killed meanwhile; wrong units; and what is restored from what.

mod books;
mod kills;
mod memory;
mod restores;
mod stage;
mod units;
mod way;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Venues share two processors: one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

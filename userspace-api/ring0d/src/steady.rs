//! Reading a shard that somebody else drives.
//!
//! Always true: what is given back was read while no command was carried out. The books are lists in memory that the program changes as
//! packets come; a walk that a command overtakes may meet what no book looks like, and the engine's own checks then panic. That is
//! caught here and the walk is made again, a few times at the most.

use ring0_engine::Shard;
use ring0_rings::Live;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{Ordering, fence};

/// Tries. One that fails on a busy market will likely fail again; who asks every second will ask again.
const TRIES: u32 = 8;

thread_local! {
    /// Whether this thread is inside a walk, whose panic says nothing about the shard.
    static WALKS: Cell<bool> = const { Cell::new(false) };
}

/// What `read` finds while nothing happens; `None` on a market that gave it no time.
pub(crate) fn steady<T>(shard: &dyn Live, read: impl Fn(Shard<'_>) -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !WALKS.get() {
                before(panic);
            }
        }));
    });
    // No run holds the lock, and every command that one carries out takes a sequence number.
    let idle_at = || {
        let header = shard.shard().header();
        (header.lock.get() == 0).then_some(header.next_sequence.get())
    };
    for _ in 0..TRIES {
        let before = idle_at();
        fence(Ordering::SeqCst);
        WALKS.set(true);
        let found = catch_unwind(AssertUnwindSafe(|| read(shard.shard())));
        WALKS.set(false);
        fence(Ordering::SeqCst);
        if let Ok(found) = found
            && before.is_some()
            && idle_at() == before
        {
            return Some(found);
        }
    }
    None
}

//! Work on many things at once: a batch waits for its trees, and processors stand beside the one that builds them.

use std::num::NonZero;
use std::thread;

/// Fewer than this are done sooner than a thread starts.
const ALONE: usize = 512;

/// What `f` makes of each, in their order, by as many threads as there are processors where there are many.
pub(crate) fn each<T: Sync, R: Send>(all: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // How many processors there are is read from files: nothing for a tree of two leaves.
    let threads = || thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if all.len() < ALONE { 1 } else { threads() };
    if threads == 1 {
        return all.iter().map(f).collect();
    }
    let f = &f;
    thread::scope(|scope| {
        let (own, others) = all.split_at(all.len().div_ceil(threads));
        let working: Vec<_> = others
            .chunks(own.len())
            .map(|part| scope.spawn(move || part.iter().map(f).collect::<Vec<R>>()))
            .collect();
        let mut done: Vec<R> = Vec::with_capacity(all.len());
        done.extend(own.iter().map(f));
        for it in working {
            match it.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_once_and_in_order() {
        for len in [0, 1, ALONE - 1, ALONE, ALONE + 1, 5 * ALONE + 3] {
            let all: Vec<usize> = (0..len).collect();
            assert_eq!(each(&all, |it| it + 1), (1..=len).collect::<Vec<_>>());
        }
    }
}

//! What a loop needs to know about where it runs.
//!
//! The kernel's verifier follows a counter that starts at a literal value by value and stops
//! converging; it does converge when the counter starts at a zero that it cannot see through and
//! the loop asks `can_loop` each time round. Natively both cost nothing.

/// The hooks of every loop in this crate.
pub trait Loops {
    /// Zero, in a way the verifier does not know: a volatile load of a word that holds 0.
    fn zero() -> u32;
    /// Whether the loop may go round once more. `false` is a fault: see [`Interrupted`].
    fn go() -> bool;
    /// The same number, in a way the verifier does not know. For a kernel that cannot be asked to go round: it walks a loop
    /// round by round, and a number that depends on what was found in each round (a place that grows by the length of a block)
    /// would have it walk every way there is. With such a number forgotten all ways into a round are one.
    #[inline(always)]
    fn forget(number: usize) -> usize {
        number
    }
}

/// [`Loops`] outside the kernel: a plain zero and always on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Native;

impl Loops for Native {
    #[inline(always)]
    fn zero() -> u32 {
        0
    }

    #[inline(always)]
    fn go() -> bool {
        true
    }
}

/// A loop was left through [`Loops::go`] and not at its own bound. The result would depend on
/// time, so there is none; the caller stops its shard with a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interrupted;

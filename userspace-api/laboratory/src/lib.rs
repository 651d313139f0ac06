//! The laboratory: experiments as data.
//!
//! Knows what a scenario says, what its traders send and when, what a result is and how it is shown and compared; knows no ring. The verb `ring0 lab`
//! carries a scenario to the rings and measures.
#![deny(unsafe_code)]

mod tap;

pub use tap::{Seen, Tap, TapError};

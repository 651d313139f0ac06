//! The laboratory: experiments as data.
//!
//! Knows what a scenario says, what its traders send and when, what a result is and how it is shown and compared; knows no ring. The verb `ring0 lab`
//! carries a scenario to the rings and measures. Method: `docs/research.md`.
#![deny(unsafe_code)]

pub mod compare;
mod plot;
mod random;
mod replayed;
pub mod report;
pub mod scenario;
mod schedule;
mod shim;
mod svg;
mod tap;
mod traders;

pub use plot::{Plot, plots};
pub use random::Random;
pub use replayed::Format;
pub use scenario::{Scenario, ScenarioError};
pub use schedule::{Arrivals, schedule};
pub use shim::{Fate, Faults, Injected, Shim};
pub use svg::png;
pub use tap::{Seen, Tap, TapError};
pub use traders::{Flow, Instrument, Maker, Replay, Spoofer, TICK_WIRE, Taker, Trader};

//! Loads, pins, adopts and removes Ring0's XDP program; the only crate that makes bpf calls.
//!
//! It knows the kernel and must not know orders: fresh memory is filled by the caller's `init`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use xdp_loader::{LoadOptions, Object, load, open_pinned, unload};
//!
//! let object = Object::Path("ebpf/prebuilt/ring0.bpf.o".into());
//! let mut options = LoadOptions::new(object, "veth0", Some("exchange"));
//! options.layout_hash = 0x1234;
//! let loaded = load(&options, &mut |fresh| {
//!     fresh.arena[4096..4104].copy_from_slice(b"REGION01");
//!     Ok(())
//! })?;
//! loaded.pinned.attach_peer_pass("veth1", None)?;
//!
//! // Any process, at any time afterwards:
//! let pinned = open_pinned(&options.pin_root)?;
//! let records = pinned.map_records()?;
//! let mut answer = [0; 1500];
//! let run = pinned.program()?.test_run(&[0; 64], &mut answer, 1)?;
//! # let _ = (records, run);
//! unload(&options.pin_root)?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - attached is only what is pinned, by a link, never by netlink: it outlives every process, and
//!   `unload` finds all of it;
//! - an interface has one shard, or a [`Dispatcher`] that gives each frame to the shard of its port;
//! - the book in memory is never lost by a load: what is pinned is adopted or refused by name;
//! - what a ring in a process needs ([`Steer`]) and what has no state ([`Bare`]) are the exceptions: nothing of them is pinned, all of it goes with the process;
//! - a loader may be killed at any [`Step`]; the next load or unload repairs what it left.

#![deny(unsafe_code)]

mod bare;
mod clean;
mod dispatch;
mod error;
#[expect(
    unsafe_code,
    reason = "one call into the module that owns the mappings"
)]
mod load;
mod log;
#[expect(unsafe_code, reason = "owns mapped memory")]
mod memory;
#[expect(unsafe_code, reason = "gives out an arena that nothing is attached to")]
mod migrate;
mod netdev;
mod netns;
mod object;
mod pinned;
mod pins;
mod plan;
mod probe;
mod prometheus;
mod refusal;
mod replace;
mod stats;
mod status;
mod steer;
mod subprograms;
mod survey;
#[expect(unsafe_code, reason = "makes the system calls")]
mod sys;
mod totals;
mod tune;
mod unload;

pub use bare::Bare;
pub use clean::{Leftover, clean, leftovers};
pub use dispatch::{Dispatch, Dispatcher};
pub use error::{Exit, LoaderError};
pub use load::{
    ARENA_ADDRESS, ARENA_BYTES_MAX, InitError, LoadOptions, LoadReport, Loaded, Mode, Step, load,
    load_any_mode,
};
pub use log::{Log, LogLevel, LogLine};
pub use memory::{
    Arena, COMMAND_BYTES, CURSOR_BYTES, Commands, Cursors, Fresh, PAGE_BYTES, RECORD_BYTES,
    RecordRing,
};
pub use migrate::{MigrateOptions, MigrateReport, Migrated, Migration};
pub use netdev::{Netdev, XdpFeatures, wait_carrier};
pub use netns::within;
pub use object::Object;
pub use pinned::{Counters, Keys, PeerPass, Pinned, Program, Runs, open_pinned};
pub use pins::{PIN_PARENT, default_pin_root, default_shard_root, ensure_bpffs, on_bpffs};
pub use plan::{Plan, PlannedMap, PlannedProgram, plan_load, plan_replace};
pub use probe::{Capabilities, Feature, Probe, drop_privileges, probe};
pub use prometheus::{Families, Histogram};
pub use replace::{ReplaceOptions, ReplaceReport, replace};
pub use stats::{ConsumerStat, CounterStat, Observer, RingStat, Stats, stats};
pub use status::{DispatcherStatus, MapStatus, ProgramStatus, Status, status};
pub use steer::{QUEUES_MAX, Steer, SteerOptions};
pub use subprograms::{Subprogram, Subprograms};
pub use survey::{InterfaceSurvey, Machine, RingVerdict, Survey, XDP_MTU_MAX, survey};
pub use sys::TestRun;
pub use totals::TotalStat;
pub use tune::{Channels, Interrupt, Tuning, tune, tuning};
pub use unload::{Unloaded, unload};

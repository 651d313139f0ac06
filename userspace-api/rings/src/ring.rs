//! The seam: what every ring does for a replay, a test or a comparison.

use ring0_engine::canon::StateHash;
use ring0_engine::control::Control;
use ring0_engine::native::{Dropped, Native, NativeError};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use ring0_engine::{Capacity, Depth, Reason};
use std::path::PathBuf;
use xdp_loader::LoaderError;

/// Why a ring could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The native shard could not be made.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// The kernel's side failed.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The packet is not one of ours.
    #[error("the packet was dropped: {0:?}; see docs/wire.md for what a packet must be")]
    Dropped(Dropped),
    /// The kernel program dropped or passed the packet.
    #[error(
        "the kernel program gave no answer (verdict {verdict}); look at the counters of `xdp-loader status`"
    )]
    NoAnswer {
        /// The XDP action.
        verdict: u32,
    },
    /// A living shard dropped the packet.
    #[error("the shard dropped the packet; look at its counters")]
    Unanswered,
    /// A client's socket.
    #[error("a client's socket: {0}")]
    Client(std::io::Error),
    /// The doorbell did not carry the commands out.
    #[error(
        "the shard took {taken} of {written} control commands; it is busy, broken or its record ring is full: look at `ring0 ctl status`"
    )]
    ControlNotTaken {
        /// Commands taken.
        taken: u64,
        /// Commands written.
        written: u64,
    },
    /// A record ring in a file.
    #[error(transparent)]
    Shared(#[from] ring0_record_ring::SharedError),
    /// A userspace ring has ended.
    #[error(
        "the {port} ring has ended: {cause}; restore its shard from a snapshot and the records (docs/rings.md)"
    )]
    Ended {
        /// Its port's name.
        port: &'static str,
        /// Why.
        cause: String,
    },
    /// The last shard's records would be lost.
    #[error(
        "{path} has {slots} slots of a shard that has ended which its required consumer {name} has not taken: let it catch up (`ring0 record --mq {path}`), or remove the file",
        path = .path.display()
    )]
    Unrecorded {
        /// The ring's file.
        path: PathBuf,
        /// The consumer's name.
        name: String,
        /// Slots it has not taken.
        slots: u64,
    },
    /// A userspace ring could not begin.
    #[error("cannot start the ring's thread: {0}; look at the limits of this user")]
    Thread(std::io::Error),
    /// A port could not be opened, or failed.
    #[error(transparent)]
    Port(#[from] crate::port::PortError),
    /// A snapshot was not taken, or does not fit.
    #[error(transparent)]
    Snapshot(#[from] ring0_engine::snapshot::SnapshotError),
    /// Somebody's reading would break off where the shard moves.
    #[error(
        "the record ring's consumer {name} is {slots} slots behind and does not catch up; see to it that it runs, then ask again: nothing was moved"
    )]
    Behind {
        /// Its name.
        name: String,
        /// Slots that it has not committed.
        slots: u64,
    },
    /// A consumer was overrun or all places are taken.
    #[error("{0}")]
    Consumer(String),
    /// A snapshot would come in the place of a living shard.
    #[error(
        "a shard is pinned at {pin_root} already and is left alone; `xdp-loader unload` takes it away, book and all",
        pin_root = .pin_root.display()
    )]
    ShardPinned {
        /// Where.
        pin_root: PathBuf,
    },
    /// The memory is not what this build knows.
    #[error(
        "the shard's memory is of another layout ({found:#x}, this build makes {expected:#x}); unload it and load anew"
    )]
    Layout {
        /// In memory.
        found: u64,
        /// Of this build.
        expected: u64,
    },
}

/// One engine somewhere. `boot_ns` is the boot-time clock of the input; a ring with a clock of its own ignores it.
pub trait Ring {
    /// Its name in tools: `native`, `reference`, `kernel`.
    fn name(&self) -> &'static str;
    /// A run by doorbell: continuation steps, then these commands in order.
    ///
    /// # Errors
    /// The ring's own failures; a rejected command is a result.
    fn control(
        &mut self,
        commands: &[Control],
        boot_ns: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError>;
    /// A run with a packet of a granted session, tagged where the ring checks tags; gives the answer's payload.
    ///
    /// # Errors
    /// The packet was dropped, or the ring's own failures.
    fn packet(&mut self, payload: &[u8], boot_ns: u64) -> Result<Vec<u8>, RingError>;
    /// A run with nothing but continuation steps.
    ///
    /// # Errors
    /// The ring's own failures.
    fn steps(&mut self) -> Result<(), RingError>;
    /// Records since the last call: 64-byte slots.
    ///
    /// # Errors
    /// Records were lost.
    fn take_records(&mut self) -> Result<Vec<u8>, RingError>;
    /// Hash of the state, while nothing else drives the ring.
    fn state_hash(&mut self) -> StateHash;
    /// Best levels of a side (`B` or `S`) of an instrument.
    fn depth(&mut self, instrument: u32, side: u8, levels: usize) -> Vec<Depth>;
}

/// [`Ring`] in ordinary memory, without tags.
pub struct NativeRing(pub Native);

impl NativeRing {
    /// An empty shard.
    ///
    /// # Errors
    /// The capacity is refused, or memory is short.
    pub fn new(capacity: &Capacity) -> Result<Self, RingError> {
        Ok(NativeRing(Native::new(capacity)?))
    }
}

impl Ring for NativeRing {
    fn name(&self) -> &'static str {
        "native"
    }

    fn control(
        &mut self,
        commands: &[Control],
        boot_ns: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError> {
        Ok(self.0.control(commands, boot_ns))
    }

    fn packet(&mut self, payload: &[u8], boot_ns: u64) -> Result<Vec<u8>, RingError> {
        let (_, answer) = self
            .0
            .packet(payload, boot_ns, None)
            .map_err(RingError::Dropped)?;
        Ok(answer)
    }

    fn steps(&mut self) -> Result<(), RingError> {
        self.0.steps();
        Ok(())
    }

    fn take_records(&mut self) -> Result<Vec<u8>, RingError> {
        Ok(self.0.take_records())
    }

    fn state_hash(&mut self) -> StateHash {
        self.0.shard().state_hash()
    }

    fn depth(&mut self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        self.0.shard().depth(instrument, side, levels)
    }
}

/// [`Ring`] of the naive reference, without tags.
pub struct ReferenceRing(pub Reference);

impl ReferenceRing {
    /// An empty shard.
    #[must_use]
    pub fn new(capacity: &Capacity) -> Self {
        ReferenceRing(Reference::new(*capacity))
    }
}

impl Ring for ReferenceRing {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn control(
        &mut self,
        commands: &[Control],
        boot_ns: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError> {
        Ok(self.0.control(commands, boot_ns))
    }

    fn packet(&mut self, payload: &[u8], boot_ns: u64) -> Result<Vec<u8>, RingError> {
        Ok(self.0.packet(payload, boot_ns))
    }

    fn steps(&mut self) -> Result<(), RingError> {
        self.0.steps();
        Ok(())
    }

    fn take_records(&mut self) -> Result<Vec<u8>, RingError> {
        Ok(self.0.take_records())
    }

    fn state_hash(&mut self) -> StateHash {
        self.0.state_hash()
    }

    fn depth(&mut self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        let levels = self.0.depth(instrument, side, levels);
        levels
            .into_iter()
            .map(|(price, lots, orders)| Depth {
                price,
                lots,
                orders,
            })
            .collect()
    }
}

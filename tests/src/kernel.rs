//! A shard in the kernel behind a veth pair of its own, gone with the value.

use ring0_engine::Capacity;
use ring0_engine::layout::Layout;
use ring0_engine::snapshot::Snapshot;
use ring0_lab::{Options, Veth};
use ring0_rings::{
    KernelOptions, KernelShard, RingError, kept_dispatch, kept_object, load_shard, restore_shard,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use xdp_loader::{ARENA_ADDRESS, LoadOptions, Loaded, unload};

/// UDP port of the shard.
pub const PORT: u16 = 4400;

/// The shard and the wire to it.
pub struct Kernel {
    /// The shard.
    pub shard: KernelShard,
    /// Its pins and how it was loaded.
    pub loaded: Loaded,
    /// The pair.
    pub veth: Veth,
    pin_root: PathBuf,
}

impl Kernel {
    /// A fresh shard, its peer passing everything.
    ///
    /// # Panics
    /// Whatever is missing for it, in words of the loader: these tests do not skip.
    #[must_use]
    pub fn up(capacity: &Capacity, record_slots: u32, veth: Options) -> Kernel {
        Kernel::load(capacity, record_slots, veth, load_shard)
    }

    /// As [`Kernel::up`], behind a dispatcher, as one of several shards of the interface.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn behind_dispatcher(capacity: &Capacity, record_slots: u32, veth: Options) -> Kernel {
        Kernel::load(capacity, record_slots, veth, |options| {
            let mut options = options.clone();
            options.load = options.load.behind(kept_dispatch(PORT));
            load_shard(&options)
        })
    }

    /// The shard of a snapshot, its peer passing everything.
    ///
    /// # Panics
    /// As [`Kernel::up`].
    #[must_use]
    pub fn restored(snapshot: &Snapshot, capacity: &Capacity, record_slots: u32) -> Kernel {
        Kernel::load(capacity, record_slots, Options::default(), |options| {
            restore_shard(options, snapshot)
        })
    }

    fn load(
        capacity: &Capacity,
        record_slots: u32,
        veth: Options,
        load_shard: impl FnOnce(&KernelOptions) -> Result<(Loaded, KernelShard), RingError>,
    ) -> Kernel {
        /// Shards made so far by this process, whose arenas must lie apart. Any thread; only uniqueness matters.
        static MADE: AtomicU64 = AtomicU64::new(0);

        let veth = Veth::up(veth).unwrap_or_else(|error| panic!("{error}"));
        let mut load = LoadOptions::new(kept_object(), &veth.exchange_if, Some(&veth.exchange_ns));
        load.record_slots = record_slots;
        load.arena_address = ARENA_ADDRESS + (MADE.fetch_add(1, Ordering::Relaxed) << 33);
        let options = KernelOptions {
            load,
            acks: ring0_rings::Acks::default(),
            layout: Layout::new(capacity).unwrap_or_else(|error| panic!("{error}")),
            port: PORT,
            address: Some(veth.exchange_address),
        };
        let (loaded, shard) = load_shard(&options).unwrap_or_else(|error| {
            let _ = unload(&options.load.pin_root);
            panic!("{error}")
        });
        let pinned = &loaded.pinned;
        let pin_root = pinned.pin_root().to_owned();
        pinned
            .attach_peer_pass(&veth.trader_if, Some(&veth.trader_ns))
            .unwrap_or_else(|error| panic!("{error}"));
        Kernel {
            shard,
            loaded,
            veth,
            pin_root,
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = unload(&self.pin_root) {
            eprintln!("{error}");
        }
    }
}

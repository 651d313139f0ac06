//! Where a shard lives, and how it is found there or begun: in the kernel, or in a thread of this process.

use crate::{Args, Attach, DaemonError, RingKind};
use ring0_engine::layout::Layout;
use ring0_market::Market;
use ring0_mq::read_snapshot;
use ring0_rings::{
    Consumer, KernelOptions, Live, Outlet, Port, RecordRing, UdpPort, UserOptions, UserShard,
    kept_object, load_shard, restore_shard,
};
use serde_json::{Value, json};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use xdp_loader::{LoadOptions, LoadReport, Mode, Object, Pinned};

/// Where the shard lives.
pub(crate) enum Home {
    /// In the kernel; it goes on without this process.
    Kernel {
        /// Its pins.
        pinned: Box<Pinned>,
        /// How it was loaded.
        report: LoadReport,
    },
    /// In a thread of this process.
    Thread {
        /// Its record ring.
        ring: RecordRing,
        /// The way out for held answers.
        outlet: Outlet,
    },
}

/// Begins the shard that the arguments ask for, or adopts the one in the kernel.
pub(crate) fn find(args: &Args, market: &Market) -> Result<(Home, Box<dyn Live>), DaemonError> {
    match args.ring {
        RingKind::Kernel => in_kernel(args, market),
        RingKind::Udp => {
            let address = SocketAddrV4::new(args.listen, market.plan.shard.port);
            let port = UdpPort::bind(address).map_err(ring0_rings::RingError::from)?;
            in_thread(args, market, Box::new(port))
        }
    }
}

fn in_kernel(args: &Args, market: &Market) -> Result<(Home, Box<dyn Live>), DaemonError> {
    let object = match &args.object {
        Some(path) => Object::Path(path.clone()),
        None => kept_object(),
    };
    let Some(interface) = &args.interface else {
        return Err(DaemonError::Usage(
            "the kernel ring wants --interface: where traders' packets come in",
        ));
    };
    let layout = Layout::new(&market.capacity())
        .map_err(|error| DaemonError::Capacity(error.to_string()))?;
    let mut load = LoadOptions::new(object, interface, args.netns.as_deref());
    load.mode = match args.mode {
        Attach::Native => Mode::Native,
        Attach::Skb => Mode::Skb,
    };
    if let Some(pin_root) = &args.pin_root {
        load.pin_root.clone_from(pin_root);
    }
    load.record_slots = u32::try_from(market.plan.shard.ring_slots)
        .map_err(|_| DaemonError::Capacity("ring_slots is above 2^25; lower it".to_owned()))?;
    let options = KernelOptions {
        load,
        layout,
        port: market.plan.shard.port,
        address: None,
        acks: market.plan.shard.acks,
    };
    let (loaded, shard) = match &args.restore {
        None => load_shard(&options)?,
        Some(file) => restore_shard(&options, &read_snapshot(file)?)?,
    };
    let pinned = loaded.pinned;
    if let Some(peer) = &args.peer {
        let (interface, netns) = match peer.split_once('%') {
            Some((interface, netns)) => (interface, Some(netns)),
            None => (peer.as_str(), None),
        };
        pinned.attach_peer_pass(interface, netns)?;
    }
    let home = Home::Kernel {
        pinned: Box::new(pinned),
        report: loaded.report,
    };
    Ok((home, Box::new(shard)))
}

fn in_thread(
    args: &Args,
    market: &Market,
    port: Box<dyn Port>,
) -> Result<(Home, Box<dyn Live>), DaemonError> {
    let path = record_ring_path(args, market);
    let options = UserOptions {
        capacity: market.capacity(),
        record_slots: market.plan.shard.ring_slots,
        record_ring: Some(path.clone()),
        acks: market.plan.shard.acks,
        processor: args.processor,
        spin: args.spin,
    };
    let snapshot = args.restore.as_deref().map(read_snapshot).transpose()?;
    let shard = UserShard::start(&options, port, snapshot.as_ref())?;
    let home = Home::Thread {
        ring: RecordRing::open(&path)?,
        outlet: shard.outlet(),
    };
    Ok((home, Box::new(shard)))
}

/// The record ring's file of a shard in a thread.
fn record_ring_path(args: &Args, market: &Market) -> PathBuf {
    let name = &market.plan.shard.name;
    args.mq
        .clone()
        .unwrap_or_else(|| ring0_rings::record_ring_named(name))
}

impl Home {
    /// A reader of the shard's records.
    pub(crate) fn records(&self) -> Result<Consumer, DaemonError> {
        Ok(match self {
            Home::Kernel { pinned, .. } => Consumer::observer(&**pinned)?,
            Home::Thread { ring, .. } => Consumer::observer(ring)?,
        })
    }

    /// What became of it when it was looked for: `adopted`, `restored`, `loaded` or `begun`.
    pub(crate) fn found(&self, is_restored: bool) -> &'static str {
        match self {
            Home::Kernel { report, .. } if report.adopted => "adopted",
            _ if is_restored => "restored",
            Home::Kernel { .. } => "loaded",
            Home::Thread { .. } => "begun",
        }
    }

    /// For the status: where it is.
    pub(crate) fn status(&self) -> Value {
        match self {
            Home::Kernel { pinned, report } => json!({
                "interface": pinned.interface(),
                "netns": pinned.netns(),
                "pin_root": pinned.pin_root(),
                "attached": pinned.link_program_id().ok().flatten().is_some(),
                "adopted": report.adopted,
                "program_id": report.program_id,
                "arena_id": report.arena_id,
            }),
            Home::Thread { ring, .. } => json!({ "mq": self.mq(ring), "adopted": false }),
        }
    }

    fn mq<'a>(&self, ring: &'a RecordRing) -> Option<&'a Path> {
        match ring {
            RecordRing::Shared(ring) => Some(ring.path()),
            RecordRing::Pinned(_) => None,
        }
    }

    /// Takes everything away.
    pub(crate) fn remove(&self) -> Result<(), DaemonError> {
        match self {
            Home::Kernel { pinned, .. } => {
                xdp_loader::unload(pinned.pin_root())?;
            }
            Home::Thread { ring, .. } => {
                if let Some(path) = self.mq(ring) {
                    // Gone already: so be it.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        Ok(())
    }

    /// What goes on when this process ends.
    pub(crate) fn farewell(&self) -> &'static str {
        match self {
            Home::Kernel { .. } => "the shard goes on trading, the next start adopts it",
            Home::Thread { .. } => {
                "the shard has ended with it; its records are in its ring and with its recorder: make a snapshot of them and --restore it"
            }
        }
    }
}

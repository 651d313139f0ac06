//! Where a shard lives, and how it is found there or begun: in the kernel, or in a thread of this process.

use crate::{Args, DaemonError, RingKind};
use ring0_afxdp::{AfxdpOptions, AfxdpShard, BusyPoll, kept_steer_object};
use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};
use ring0_engine::layout::Layout;
use ring0_engine::snapshot::Snapshot;
use ring0_market::Market;
use ring0_mq::read_snapshot;
use ring0_rings::{
    Consumer, KernelOptions, Live, Outlet, Port, RecordRing, RingError, UdpPort, UserOptions,
    UserShard, kept_dispatch, kept_object, load_shard, restore_shard,
};
use serde_json::{Value, json};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xdp_loader::{LoadOptions, LoadReport, Object, Pinned};

/// Packets that one busy poll takes at the most: what needs no privilege (socket(7), `SO_BUSY_POLL_BUDGET`).
const BUSY_POLL_BUDGET: u32 = 64;
/// How long a DPDK thread that does not spin sleeps when nothing has come: far below a human's time, far above a packet's.
const NAP: Duration = Duration::from_micros(50);

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
        RingKind::Udp => udp(args, market),
        RingKind::Afxdp => afxdp(args, market),
        RingKind::Dpdk => dpdk(args, market),
    }
}

fn udp(args: &Args, market: &Market) -> Result<(Home, Box<dyn Live>), DaemonError> {
    let address = SocketAddrV4::new(args.listen, market.plan.shard.port);
    let port = xdp_loader::within(args.netns.as_deref(), || Ok(UdpPort::bind(address)))?;
    in_thread(args, market, Box::new(port.map_err(RingError::from)?))
}

fn afxdp(args: &Args, market: &Market) -> Result<(Home, Box<dyn Live>), DaemonError> {
    let Some(interface) = &args.interface else {
        return Err(DaemonError::Usage(
            "the afxdp ring wants --interface: where traders' packets come in",
        ));
    };
    let object = match &args.object {
        Some(path) => Object::Path(path.clone()),
        None => kept_steer_object(),
    };
    let port = market.plan.shard.port;
    let options = AfxdpOptions {
        mode: args.mode.into(),
        queues: args.queues,
        busy_poll: args.busy_poll.map(|micros| BusyPoll {
            micros,
            budget: BUSY_POLL_BUDGET,
        }),
        ..AfxdpOptions::new(object, interface, args.netns.as_deref(), port)
    };
    let (shard, report) = AfxdpShard::start(
        &user_options(args, market),
        &options,
        snapshot(args)?.as_ref(),
    )?;
    eprintln!("ring0d: AF_XDP on {interface}: {report}");
    let outlet = shard.user().outlet();
    Ok((threads_home(args, market, outlet)?, Box::new(shard)))
}

fn dpdk(args: &Args, market: &Market) -> Result<(Home, Box<dyn Live>), DaemonError> {
    let Some(device) = &args.device else {
        return Err(DaemonError::Usage(
            "the dpdk ring wants --device: a DPDK device, for instance net_af_packet0,iface=eth1 (docs/rings-dpdk.md)",
        ));
    };
    let options = PortOptions {
        address: (!args.listen.is_loopback()).then_some(args.listen),
        nap: if args.spin { Duration::ZERO } else { NAP },
        ..PortOptions::new(device.as_str(), market.plan.shard.port)
    };
    let eal_options = EalOptions {
        huge_pages: args.huge_pages,
        ..EalOptions::new([device.as_str()])
    };
    // Virtual devices open their sockets where they begin.
    let port = xdp_loader::within(args.netns.as_deref(), || {
        Ok(Eal::start(&eal_options).and_then(|eal| DpdkPort::open(&eal, &options)))
    })??;
    in_thread(args, market, Box::new(port))
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
    if market.plan.peers.len() > 1 {
        load = load.behind(kept_dispatch(market.plan.shard.port));
    }
    load.mode = args.mode.into();
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
    let options = user_options(args, market);
    let shard = UserShard::start(&options, port, snapshot(args)?.as_ref())?;
    Ok((threads_home(args, market, shard.outlet())?, Box::new(shard)))
}

fn user_options(args: &Args, market: &Market) -> UserOptions {
    UserOptions {
        capacity: market.capacity(),
        record_slots: market.plan.shard.ring_slots,
        record_ring: Some(record_ring_path(args, market)),
        acks: market.plan.shard.acks,
        processor: args.processor,
        spin: args.spin,
    }
}

fn snapshot(args: &Args) -> Result<Option<Snapshot>, DaemonError> {
    Ok(args.restore.as_deref().map(read_snapshot).transpose()?)
}

fn threads_home(args: &Args, market: &Market, outlet: Outlet) -> Result<Home, DaemonError> {
    Ok(Home::Thread {
        ring: RecordRing::open(&record_ring_path(args, market))?,
        outlet,
    })
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
                "behind_dispatcher": pinned.port().is_some(),
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

//! A shard in the kernel behind a veth pair of its own, for a replay or a bench: up in one call, gone when dropped.
//!
//! Invariant: pins, link, namespaces and memory go with the value, also when what it was made for failed.

use crate::fail::Fail;
use ring0_engine::Capacity;
use ring0_engine::layout::Layout;
use ring0_lab::{Options, Veth};
use ring0_rings::{KernelOptions, KernelShard, kept_object, load_shard};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use xdp_loader::{LoadOptions, Loaded, unload};

/// UDP port of the shard.
pub(crate) const PORT: u16 = 4400;

/// The shard and the wire to it.
pub(crate) struct WireLab {
    /// The shard.
    pub(crate) shard: KernelShard,
    /// Its pins.
    pub(crate) loaded: Loaded,
    /// The pair.
    pub(crate) veth: Veth,
    pin_root: PathBuf,
}

impl WireLab {
    /// Makes the pair, loads the program with a fresh shard of this capacity, and attaches the peer's pass program.
    pub(crate) fn up(capacity: &Capacity, record_slots: u32) -> Result<WireLab, Fail> {
        let layout = Layout::new(capacity).map_err(Fail::new)?;
        let veth = veth_up()?;
        let mut load = LoadOptions::new(kept_object(), &veth.exchange_if, Some(&veth.exchange_ns));
        load.record_slots = record_slots;
        let pin_root = load.pin_root.clone();
        let options = KernelOptions {
            load,
            layout,
            port: PORT,
            address: Some(veth.exchange_address),
        };
        let (loaded, shard) = load_shard(&options).inspect_err(|_| {
            let _ = unload(&pin_root); // the first error is the one to tell
        })?;
        let lab = WireLab {
            shard,
            loaded,
            veth,
            pin_root,
        };
        let peer = (&lab.veth.trader_if, &lab.veth.trader_ns);
        lab.loaded.pinned.attach_peer_pass(peer.0, Some(peer.1))?;
        Ok(lab)
    }

    /// The shard's address.
    pub(crate) fn venue(&self) -> SocketAddr {
        SocketAddrV4::new(self.veth.exchange_address, PORT).into()
    }

    /// A socket at the trader's end, connected to the shard.
    pub(crate) fn trader_socket(&self) -> Result<UdpSocket, Fail> {
        trader_socket(&self.veth, self.venue())
    }
}

impl Drop for WireLab {
    fn drop(&mut self) {
        if let Err(error) = unload(&self.pin_root) {
            eprintln!("ring0: {error}");
        }
    }
}

/// A veth pair, or what is missing for one.
pub(crate) fn veth_up() -> Result<Veth, Fail> {
    if !rustix::process::geteuid().is_root() {
        return Err(Fail::privilege(
            "network namespaces and the kernel ring need root; run it again with sudo",
        ));
    }
    Ok(Veth::up(Options::default())?)
}

/// A socket at the trader's end of a pair, connected to `venue`.
pub(crate) fn trader_socket(veth: &Veth, venue: SocketAddr) -> Result<UdpSocket, Fail> {
    let address = veth.trader_address;
    let socket = veth.in_trader(|| {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(venue)?;
        Ok::<_, std::io::Error>(socket)
    })?;
    Ok(socket?)
}

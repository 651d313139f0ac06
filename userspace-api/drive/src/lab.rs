//! A shard in the kernel behind a veth pair of its own, for a replay or a bench: up in one call, gone when dropped.
//!
//! Invariant: pins, link, namespaces and memory go with the value, also when what it was made for failed.

use crate::DriveError;
use ring0_engine::Capacity;
use ring0_engine::layout::Layout;
use ring0_lab::{Options, Veth};
use ring0_rings::{KernelOptions, KernelShard, kept_dispatch, kept_object, load_shard};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use xdp_loader::{ARENA_ADDRESS, LoadOptions, Loaded, unload};

/// The XDP action that sends a frame back.
pub const XDP_TX: u32 = 3;
/// UDP port of the shard.
pub const PORT: u16 = 4400;

/// The shard and the wire to it.
pub struct WireLab {
    /// The shard.
    pub shard: KernelShard,
    /// Its pins.
    pub loaded: Loaded,
    /// The pair.
    pub veth: Veth,
    pin_root: PathBuf,
}

impl WireLab {
    /// Makes the pair, loads the program with a fresh shard of this capacity, and attaches the peer's pass program.
    ///
    /// # Errors
    /// A privilege or feature is missing, or the capacity is refused.
    pub fn up(capacity: &Capacity, record_slots: u32) -> Result<WireLab, DriveError> {
        WireLab::with(capacity, record_slots, |load| load)
    }

    /// The same behind a dispatcher, as one of several shards of the interface.
    ///
    /// # Errors
    /// As there.
    pub fn shared(capacity: &Capacity, record_slots: u32) -> Result<WireLab, DriveError> {
        WireLab::with(capacity, record_slots, |load| {
            load.behind(kept_dispatch(PORT))
        })
    }

    fn with(
        capacity: &Capacity,
        record_slots: u32,
        place: impl FnOnce(LoadOptions) -> LoadOptions,
    ) -> Result<WireLab, DriveError> {
        /// Shards made so far. Any thread; only uniqueness matters.
        static MADE: AtomicU64 = AtomicU64::new(0);
        /// As far apart as arenas of one process must be ([`LoadOptions::arena_address`]).
        const APART: u64 = 8 << 30;

        let layout = Layout::new(capacity)?;
        let veth = veth_up()?;
        let mut load = LoadOptions::new(kept_object(), &veth.exchange_if, Some(&veth.exchange_ns));
        load.record_slots = record_slots;
        load.arena_address = ARENA_ADDRESS + MADE.fetch_add(1, Ordering::Relaxed) * APART;
        let load = place(load);
        let pin_root = load.pin_root.clone();
        let options = KernelOptions {
            load,
            layout,
            port: PORT,
            address: Some(veth.exchange_address),
            acks: ring0_rings::Acks::default(),
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
    #[must_use]
    pub fn venue(&self) -> SocketAddr {
        SocketAddrV4::new(self.veth.exchange_address, PORT).into()
    }

    /// A socket at the trader's end, connected to the shard.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the socket not be made.
    pub fn trader_socket(&self) -> Result<UdpSocket, DriveError> {
        trader_socket(&self.veth, self.venue())
    }
}

impl Drop for WireLab {
    fn drop(&mut self) {
        if let Err(error) = unload(&self.pin_root) {
            eprintln!("the shard of this run could not be unloaded: {error}");
        }
    }
}

/// A veth pair, or what is missing for one.
///
/// # Errors
/// Not root, or the pair cannot be made.
pub fn veth_up() -> Result<Veth, DriveError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DriveError::Privilege);
    }
    Ok(Veth::up(Options::default())?)
}

/// A socket at the trader's end of a pair, connected to `venue`.
///
/// # Errors
/// The namespace cannot be entered, or the socket not be made.
pub fn trader_socket(veth: &Veth, venue: SocketAddr) -> Result<UdpSocket, DriveError> {
    let address = veth.trader_address;
    let socket = veth.in_trader(|| {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(venue)?;
        Ok::<_, std::io::Error>(socket)
    })?;
    Ok(socket?)
}

/// Sixteen random bytes for a session's key.
///
/// # Panics
/// The system has no random bytes, which it has once it has started.
#[must_use]
pub fn rand_key() -> [u8; 16] {
    let mut key = [0; 16];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .expect("sixteen random bytes are there once the system has started");
    key
}

//! The rings that are attacked.

use super::frames::Level;
use super::packet_socket::PacketSocket;
use super::siege::{Share, Target};
use crate::PORT;
use ring0_afxdp::{AfxdpOptions, AfxdpShard, kept_steer_object};
use ring0_engine::Capacity;
use ring0_lab::{Options, Veth};
use ring0_rings::{Acks, KernelShard, Live, UdpPort, UserOptions, UserShard};
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use xdp_loader::Counters;

/// The kernel ring by test-run.
pub struct ByRun<'a>(pub &'a mut KernelShard);

impl Target for ByRun<'_> {
    fn live(&mut self) -> &mut dyn Live {
        self.0
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.0.run_frame(bytes)?;
        Ok(())
    }
}

/// The kernel ring over veth.
pub struct OverVeth<'a> {
    /// The shard.
    pub shard: &'a mut KernelShard,
    /// The trader's end.
    pub socket: PacketSocket,
    /// Counters of the dispatcher that it is behind.
    pub dispatcher: Option<Counters>,
}

impl Target for OverVeth<'_> {
    fn counted_before(&self) -> Vec<u64> {
        let sums = self.dispatcher.as_ref().map(Counters::sums);
        sums.map_or_else(Vec::new, |sums| sums.expect("counters can be read"))
    }

    fn live(&mut self) -> &mut dyn Live {
        self.shard
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.socket.send(bytes)?)
    }
}

/// A thread's ring with room for what the attacks need.
fn user_options() -> UserOptions {
    UserOptions {
        capacity: Capacity::SMALL,
        record_slots: 1 << 16,
        record_ring: None,
        acks: Acks::Matched,
        processor: None,
        spin: false,
    }
}

/// The AF_XDP ring over veth. What the steering program passes and drops it counts itself; what it lets through the ring's thread counts.
pub struct OverAfxdp {
    shard: AfxdpShard,
    socket: PacketSocket,
    veth: Veth,
}

impl OverAfxdp {
    /// A fresh shard on a pair of its own.
    ///
    /// # Panics
    /// Whatever is missing for it.
    #[must_use]
    pub fn up() -> OverAfxdp {
        let veth = Veth::up(Options::default()).unwrap_or_else(|error| panic!("{error}"));
        let object = kept_steer_object();
        let namespace = Some(veth.exchange_ns.as_str());
        let mut port = AfxdpOptions::new(object, &veth.exchange_if, namespace, PORT);
        port.address = Some(veth.exchange_address);
        let started = AfxdpShard::start(&user_options(), &port, None);
        let (shard, report) = started.unwrap_or_else(|error| panic!("{error}"));
        println!("{report}");
        let socket = PacketSocket::open(&veth);
        OverAfxdp {
            shard,
            socket,
            veth,
        }
    }

    /// The pair.
    #[must_use]
    pub fn veth(&self) -> &Veth {
        &self.veth
    }
}

impl Target for OverAfxdp {
    fn live(&mut self) -> &mut dyn Live {
        &mut self.shard
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.socket.send(bytes)?)
    }

    fn losses(&self) -> &'static [&'static str] {
        &[
            "arrivals_lost",
            "xsk_late",
            "xsk_foreign",
            "drop_no_socket",
            "drop_no_metadata",
        ]
    }

    fn shares(&self) -> &'static [(&'static str, Share)] {
        &[("redirected", Share::Answered)]
    }
}

/// The UDP ring on loopback: payloads.
pub struct OverUdp {
    shard: UserShard,
    socket: UdpSocket,
}

impl OverUdp {
    /// A fresh shard.
    ///
    /// # Panics
    /// Whatever is missing for it.
    #[must_use]
    pub fn up() -> OverUdp {
        let here = (Ipv4Addr::LOCALHOST, 0);
        let socket = UdpSocket::bind(here).expect("a free port on loopback");
        let address = socket.local_addr().expect("a bound socket has an address");
        let port = UdpPort::new(socket).unwrap_or_else(|error| panic!("{error}"));
        let started = UserShard::start(&user_options(), Box::new(port), None);
        let shard = started.unwrap_or_else(|error| panic!("{error}"));
        let socket = UdpSocket::bind(here).expect("a free port on loopback");
        socket.connect(address).expect("loopback is there");
        OverUdp { shard, socket }
    }
}

impl Target for OverUdp {
    fn live(&mut self) -> &mut dyn Live {
        &mut self.shard
    }

    fn level(&self) -> Level {
        Level::Payloads
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.socket.send(bytes)?;
        Ok(())
    }

    fn losses(&self) -> &'static [&'static str] {
        &["udp_receive_full"]
    }
}

/// The DPDK ring over veth, through DPDK's AF_PACKET device. What the port drops and passes it counts itself, under the kernel program's names.
#[cfg(feature = "dpdk")]
pub struct OverDpdk {
    shard: UserShard,
    socket: PacketSocket,
    _veth: Veth,
}

#[cfg(feature = "dpdk")]
impl OverDpdk {
    /// Of the pair: a place of the device has 2,048 bytes with the kernel's own header in it, and what is longer the kernel cuts.
    pub const MTU: u32 = 1900;

    /// A fresh shard on a pair of its own. Once a process: DPDK begins once.
    ///
    /// # Panics
    /// Whatever is missing for it.
    #[must_use]
    pub fn up() -> OverDpdk {
        use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};

        let wire = Options {
            mtu: OverDpdk::MTU,
            ..Options::default()
        };
        let veth = Veth::up(wire).unwrap_or_else(|error| panic!("{error}"));
        // Without an address the exchange's own stack says nothing that the device would bring too.
        let status = Command::new("ip")
            .args(["-n", &veth.exchange_ns, "address", "flush", "dev"])
            .arg(&veth.exchange_if)
            .status();
        assert!(status.expect("`ip` is there: it made the pair").success());
        let device = format!("net_af_packet0,iface={}", veth.exchange_if);
        let port = veth.in_exchange(|| {
            let eal = Eal::start(&EalOptions::new([&device]))?;
            let mut options = PortOptions::new(&device, PORT);
            options.address = Some(veth.exchange_address);
            // It polls, and the machine may have few processors.
            options.nap = std::time::Duration::from_micros(20);
            DpdkPort::open(&eal, &options)
        });
        let port = port.expect("the pair's namespace is there");
        let port = port.unwrap_or_else(|error| panic!("{error}"));
        let started = UserShard::start(&user_options(), Box::new(port), None);
        OverDpdk {
            shard: started.unwrap_or_else(|error| panic!("{error}")),
            socket: PacketSocket::open(&veth),
            _veth: veth,
        }
    }
}

#[cfg(feature = "dpdk")]
impl Target for OverDpdk {
    fn live(&mut self) -> &mut dyn Live {
        &mut self.shard
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.socket.send(bytes)?)
    }

    /// DPDK's AF_PACKET device opens its socket with `PACKET_FANOUT_FLAG_DEFRAG`: the kernel keeps IPv4 fragments until the rest has come.
    fn reaches(&self, bytes: &[u8]) -> bool {
        let be16 = |at: usize| {
            bytes
                .get(at..at + 2)
                .map(|it| u16::from_be_bytes([it[0], it[1]]))
        };
        let (Some(0x0800), Some(total), Some(fragment)) = (be16(12), be16(16), be16(20)) else {
            return true;
        };
        // Those whose header makes no sense it leaves alone (`ip_check_defrag`).
        let header = usize::from(bytes[14] & 15) * 4;
        let is_sound = bytes[14] >> 4 == 4
            && header >= 20
            && (header..=bytes.len() - 14).contains(&usize::from(total));
        fragment & 0x3FFF == 0 || !is_sound
    }

    fn losses(&self) -> &'static [&'static str] {
        &[
            "dpdk_arp_answered",
            "dpdk_drop_segmented",
            "dpdk_drop_shared",
            "dpdk_missed",
            "dpdk_receive_no_buffer",
        ]
    }

    fn shares(&self) -> &'static [(&'static str, Share)] {
        &[
            ("dpdk_received", Share::All),
            ("dpdk_sent", Share::Answered),
        ]
    }
}

/// Largest MTU that the kernel allows at both ends against the programs there; it is set. A frame must fit the receiving end's too.
///
/// # Panics
/// The pair is gone.
#[must_use]
pub fn largest_mtu(veth: &Veth) -> usize {
    let ends = [
        (&veth.trader_ns, &veth.trader_if),
        (&veth.exchange_ns, &veth.exchange_if),
    ];
    let set = |mtu: usize| {
        ends.iter().all(|(namespace, interface)| {
            let status = Command::new("ip")
                .args(["-n", namespace, "link", "set", "dev", interface])
                .args(["mtu", &mtu.to_string()])
                .stderr(Stdio::null())
                .status();
            status.expect("`ip` is there: it made the pair").success()
        })
    };
    let (mut good, mut bad) = (1500, 65_536);
    while bad - good > 1 {
        let middle = (good + bad) / 2;
        if set(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    assert!(set(good));
    good
}

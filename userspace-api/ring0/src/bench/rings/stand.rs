//! A ring, or what stands in its place, behind a veth pair of its own.
//!
//! Invariant: all of it goes with the value: threads, programs, pins, namespaces.

use super::napi::ThreadedNapi;
use super::switch::{Switch, Way};
use super::{OTHER, RECORD_SLOTS};
use crate::fail::Fail;
use ring0_afxdp::{
    AfxdpControl, AfxdpOptions, BusyPoll, Report, Tag, kept_steer_object, open as open_afxdp,
};
use ring0_drive::{PORT, WireLab, session_id, set_up, trader_socket, veth_up};
use ring0_engine::Capacity;
use ring0_engine::canon::{Hasher, Listing, Tag as Item};
use ring0_engine::control::Control;
use ring0_lab::Veth;
use ring0_rings::{Acks, Live, Port, RingError, UdpPort, UserOptions, UserShard};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use xdp_loader::{Bare, Mode, Object};

/// Bytes that begin where an ELF header may: its fields are read in place, as words of eight bytes.
#[repr(C, align(8))]
struct Aligned<B: ?Sized>(B);

/// `ebpf/prebuilt/echo.bpf.o`; `cargo xtask ebpf --keep` makes it anew.
static ECHO: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../../ebpf/prebuilt/echo.bpf.o"));

/// What every ring is set up with.
pub(crate) struct SetUp<'a> {
    pub(crate) capacity: Capacity,
    pub(crate) controls: &'a [Control],
    /// By session.
    pub(crate) keys: &'a [Option<[u8; 16]>],
}

/// The rings of the table, in its order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum RingName {
    /// A UDP socket, `recvmmsg` and `sendmmsg`.
    Udp,
    /// AF_XDP, its thread asleep in `poll` when nothing comes.
    Afxdp,
    /// AF_XDP, its thread driving the queue itself.
    AfxdpBusy,
    /// DPDK's net_af_packet, polled without end.
    Dpdk,
    /// The XDP program, on the sender's processor.
    Kernel,
    /// The XDP program behind a dispatcher, as one of several shards of the interface.
    KernelShared,
    /// The XDP program in a kernel thread on the other processor (threaded NAPI).
    KernelNapi,
}

impl RingName {
    /// All of them.
    pub(crate) const ALL: [RingName; 7] = [
        RingName::Udp,
        RingName::Afxdp,
        RingName::AfxdpBusy,
        RingName::Dpdk,
        RingName::Kernel,
        RingName::KernelShared,
        RingName::KernelNapi,
    ];

    /// As `--rings` takes it and reports say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RingName::Udp => "udp",
            RingName::Afxdp => "afxdp",
            RingName::AfxdpBusy => "afxdp-busy",
            RingName::Dpdk => "dpdk",
            RingName::Kernel => "kernel",
            RingName::KernelShared => "kernel-shared",
            RingName::KernelNapi => "kernel-napi",
        }
    }
}

/// What stands behind the pair. The fields of a variant end in their order: what uses a wire before the wire.
enum Inside {
    User {
        shard: Box<UserShard>,
        switch: Switch,
        /// The steering program, and how its sockets came to be.
        steer: Option<(AfxdpControl, Report)>,
        veth: Veth,
    },
    Kernel {
        napi: Option<ThreadedNapi>,
        lab: Box<WireLab>,
    },
    Echo {
        napi: Option<ThreadedNapi>,
        _programs: [Bare; 2],
        veth: Veth,
    },
}

/// The stand.
pub(crate) struct Stand(Inside);

impl Stand {
    /// A ring with its market, its port off.
    pub(crate) fn ring(name: RingName, with: &SetUp<'_>) -> Result<Stand, Fail> {
        let (mut shard, inside) = match name {
            RingName::Kernel | RingName::KernelShared | RingName::KernelNapi => {
                let up = match name {
                    RingName::KernelShared => WireLab::shared,
                    _ => WireLab::up,
                };
                let mut lab = Box::new(up(&with.capacity, RECORD_SLOTS)?);
                fill(&mut lab.shard, with)?;
                let threaded = name == RingName::KernelNapi;
                let napi = threaded.then(|| ThreadedNapi::on(&lab.veth, OTHER));
                let napi = napi.transpose()?;
                return Ok(Stand(Inside::Kernel { napi, lab }));
            }
            RingName::Udp => {
                let veth = veth_up()?;
                let port = UdpPort::new(exchange_socket(&veth)?).map_err(RingError::from)?;
                user(Box::new(port), None, veth, with)?
            }
            RingName::Afxdp | RingName::AfxdpBusy => {
                let veth = veth_up()?;
                let (interface, netns) = (&veth.exchange_if, Some(veth.exchange_ns.as_str()));
                let mut options = AfxdpOptions::new(kept_steer_object(), interface, netns, PORT);
                options.address = Some(veth.exchange_address);
                options.busy_poll = (name == RingName::AfxdpBusy).then(BusyPoll::default);
                let (port, control) = open_afxdp(&options)?;
                let report = port.report().clone();
                user(Box::new(port), Some((control, report)), veth, with)?
            }
            RingName::Dpdk => {
                let veth = veth_up()?;
                user(dpdk_port(&veth)?, None, veth, with)?
            }
        };
        fill(&mut *shard, with)?;
        let Below {
            switch,
            steer,
            veth,
        } = inside;
        if let Some((control, _)) = &steer {
            for (session, key) in (0..).zip(with.keys) {
                let tag = key.as_ref().map_or(Tag::Off, Tag::Checked);
                control.set_session(session_id(session), tag)?;
            }
        }
        Ok(Stand(Inside::User {
            shard,
            switch,
            steer,
            veth,
        }))
    }

    /// The program that turns packets round, in the kernel ring's place.
    pub(crate) fn xdp_echo(threaded: bool) -> Result<Stand, Fail> {
        let veth = veth_up()?;
        let echo = Object::Bytes(Cow::Borrowed(&ECHO.0));
        let ns = Some(veth.exchange_ns.as_str());
        let programs = [
            Bare::attach(&echo, &veth.exchange_if, ns, Mode::Native)?,
            Bare::pass(&veth.trader_if, Some(&veth.trader_ns))?,
        ];
        let napi = threaded.then(|| ThreadedNapi::on(&veth, OTHER));
        Ok(Stand(Inside::Echo {
            napi: napi.transpose()?,
            _programs: programs,
            veth,
        }))
    }

    fn veth(&self) -> &Veth {
        match &self.0 {
            Inside::User { veth, .. } | Inside::Echo { veth, .. } => veth,
            Inside::Kernel { lab, .. } => &lab.veth,
        }
    }

    /// A client's socket, connected to the ring.
    pub(crate) fn client(&self) -> Result<UdpSocket, Fail> {
        let veth = self.veth();
        let venue = SocketAddrV4::new(veth.exchange_address, PORT);
        Ok(trader_socket(veth, venue.into())?)
    }

    /// Says where packets go from now on. The kernel's programs have one way, and nothing to be switched off.
    pub(crate) fn turn(&self, way: Way) -> Result<(), Fail> {
        match &self.0 {
            Inside::User { shard, switch, .. } => switch
                .turn(way)
                .map_err(|fail| shard.failure().map_or(fail, Fail::new)),
            Inside::Kernel { .. } | Inside::Echo { .. } => Ok(()),
        }
    }

    /// What a row's stand is made of, and, of a ring, what it counted and its state. Nothing is under way.
    pub(crate) fn report(&mut self, way: Way) -> Result<Value, Fail> {
        let mut report = Map::new();
        match &self.0 {
            Inside::User {
                steer: Some((_, made)),
                ..
            } => {
                report.insert("port".into(), json!(made.to_string()));
            }
            Inside::Kernel {
                napi: Some(napi), ..
            }
            | Inside::Echo {
                napi: Some(napi), ..
            } => {
                report.insert("napi_threads".into(), json!(napi.threads()));
            }
            _ => {}
        }
        if way == Way::Echo {
            return Ok(Value::Object(report));
        }
        let shard: &mut dyn Live = match &mut self.0 {
            Inside::User { shard, .. } => &mut **shard,
            Inside::Kernel { lab, .. } => &mut lab.shard,
            Inside::Echo { .. } => return Ok(Value::Object(report)),
        };
        let counters = shard.counters()?;
        let ports: BTreeMap<_, _> = shard.port_counters().into_iter().collect();
        report.insert("counters".into(), counted(&counters));
        report.insert("port_counters".into(), json!(ports));
        report.insert("record_slots".into(), json!(shard.tail()));
        shard.shard().check();
        let mut timeless = Timeless::default();
        shard.shard().list(&mut timeless);
        let hash = timeless.0.finish().to_string();
        report.insert("state_hash_without_time".into(), json!(hash));
        Ok(Value::Object(report))
    }
}

/// What a userspace ring stands on.
struct Below {
    switch: Switch,
    steer: Option<(AfxdpControl, Report)>,
    veth: Veth,
}

fn user(
    port: Box<dyn Port>,
    steer: Option<(AfxdpControl, Report)>,
    veth: Veth,
    with: &SetUp<'_>,
) -> Result<(Box<UserShard>, Below), Fail> {
    let switch = Switch::default();
    let options = UserOptions {
        capacity: with.capacity,
        record_slots: RECORD_SLOTS.into(),
        record_ring: None,
        acks: Acks::Matched,
        processor: Some(OTHER),
        spin: false,
    };
    let shard = UserShard::start(&options, switch.before(port), None)?;
    let below = Below {
        switch,
        steer,
        veth,
    };
    Ok((Box::new(shard), below))
}

/// Carries the market's commands out and sets the keys.
fn fill(shard: &mut dyn Live, with: &SetUp<'_>) -> Result<(), Fail> {
    set_up(shard.command(with.controls)?)?;
    for (session, key) in (0..).zip(with.keys) {
        shard.set_key(session, key.as_ref())?;
    }
    Ok(())
}

fn exchange_socket(veth: &Veth) -> Result<UdpSocket, Fail> {
    let address = (veth.exchange_address, PORT);
    Ok(veth.in_exchange(|| UdpSocket::bind(address))??)
}

/// The exchange's end as a DPDK device. Its kernel, which sees the packets too, loses its address, or it would answer each with an ICMP refusal.
#[cfg(feature = "dpdk")]
fn dpdk_port(veth: &Veth) -> Result<Box<dyn Port>, Fail> {
    use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};
    use std::process::Command;

    let ns = &veth.exchange_ns;
    let status = Command::new("ip")
        .args(["-n", ns, "address", "flush", "dev", &veth.exchange_if])
        .status()?;
    if !status.success() {
        let text = format!("`ip -n {ns} address flush` failed; its own words are above");
        return Err(Fail::new(text));
    }
    let device = format!("net_af_packet0,iface={}", veth.exchange_if);
    // Packet sockets belong to the namespace of the thread that opens them.
    let port = veth.in_exchange(|| {
        let eal = Eal::start(&EalOptions::new([&device]))?;
        let mut options = PortOptions::new(&device, PORT);
        options.address = Some(veth.exchange_address);
        DpdkPort::open(&eal, &options)
    })?;
    Ok(Box::new(port.map_err(Fail::new)?))
}

#[cfg(not(feature = "dpdk"))]
fn dpdk_port(_: &Veth) -> Result<Box<dyn Port>, Fail> {
    Err(Fail::new(NO_DPDK))
}

/// Why there is no DPDK row, where this program has none.
const NO_DPDK: &str =
    "not built: build `ring0` with `--features dpdk` (libdpdk-dev, pkg-config and libclang-dev)";

/// Why a ring cannot be measured by this program, if so.
pub(crate) fn missing(name: RingName) -> Option<&'static str> {
    #[cfg(feature = "dpdk")]
    let is_there = ring0_dpdk::AVAILABLE;
    #[cfg(not(feature = "dpdk"))]
    let is_there = false;
    (name == RingName::Dpdk && !is_there).then_some(NO_DPDK)
}

/// Counters by name that are not zero.
fn counted(counters: &[u64]) -> Value {
    let named = (0..).zip(counters).filter(|(_, count)| **count != 0);
    let named = named.filter_map(|(number, count)| {
        let (prefix, name) = ring0_abi::counter_name(number)?;
        Some((format!("{prefix}{name}"), json!(count)))
    });
    Value::Object(named.collect())
}

/// The state without what the clock alone decides, so that rings which took the same packets at different times agree.
#[derive(Default)]
struct Timeless(Hasher);

impl Listing for Timeless {
    fn item(&mut self, tag: Item, numbers: &[u64]) {
        let mut numbers = numbers.to_vec();
        match tag {
            Item::Shard => numbers[0] = 0,   // venue time
            Item::Session => numbers[7] = 0, // rate state
            _ => {}
        }
        self.0.item(tag, &numbers);
    }
}

//! What a machine and one interface give to each ring, and why not.

use crate::{
    error::LoaderError,
    netdev::Netdev,
    netns,
    pinned::program_name,
    probe::{Probe, probe},
};
use std::{fs, path::Path};

/// Largest packet, without its Ethernet header, that fits a page with what XDP puts before it and the kernel behind it: 4096 − 256 − 320 − 14
/// (`drivers/net/veth.c`, `veth_xdp_set`, 6.18). Drivers with smaller limits say so when they refuse.
pub const XDP_MTU_MAX: u32 = 3506;

/// The same in a frame of the AF_XDP ring: 2048 − 256 − 14 (`userspace-api/afxdp`, `umem.rs`).
const AFXDP_MTU_MAX: u32 = 1778;

/// Largest packet of the wire format.
const WIRE_MTU: u32 = 1500;

/// What the machine has besides the kernel's features.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Machine {
    /// Whether the kernel compiles programs; an arena wants it.
    pub jit: bool,
    /// Whether the kernel carries its types.
    pub btf: bool,
    /// Microseconds that sockets poll their device before they sleep (`net.core.busy_read`).
    pub busy_read_us: u64,
    /// The same for `poll` and `select` (`net.core.busy_poll`).
    pub busy_poll_us: u64,
    /// Memory that this process may lock, bytes; `None`: any.
    pub locked_bytes_max: Option<u64>,
    /// Huge pages that the machine keeps.
    pub huge_pages: u64,
    /// Those of them that nobody has.
    pub huge_pages_free: u64,
    /// Bytes of one.
    pub huge_page_bytes: u64,
    /// Whether DPDK's libraries are installed.
    pub dpdk: bool,
}

/// What a ring could do on an interface.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct RingVerdict {
    /// `kernel`, `afxdp`, `dpdk` or `udp`.
    pub ring: &'static str,
    /// Whether it can run here, now, by this user.
    pub works: bool,
    /// Why not, or what is to be known.
    pub reasons: Vec<String>,
}

/// Result of [`survey`].
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Survey {
    /// What the kernel and this process can do.
    #[serde(flatten)]
    pub probe: Probe,
    /// What the machine has.
    pub machine: Machine,
    /// The interface asked for.
    pub interface: Option<InterfaceSurvey>,
    /// What each ring could do; without an interface, on a good one.
    pub rings: Vec<RingVerdict>,
}

/// An interface and what hangs on it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct InterfaceSurvey {
    /// Its name.
    pub name: String,
    /// Its network namespace.
    pub netns: Option<String>,
    /// What the kernel knows of it.
    pub device: Netdev,
    /// Largest MTU with XDP in the driver.
    pub xdp_mtu_max: u32,
    /// Kernel id and name of the XDP program on it.
    pub program: Option<(u32, String)>,
}

/// Looks at the machine, and at an interface in a network namespace.
///
/// # Errors
/// No such interface or namespace.
pub fn survey(interface: Option<&str>, netns: Option<&str>) -> Result<Survey, LoaderError> {
    let probe = probe();
    let machine = Machine::look();
    let interface = match interface {
        None => None,
        Some(name) => {
            let device = Netdev::find(name, netns)?;
            let attached = netns::within(netns, || netns::attached_xdp(device.ifindex))?;
            Some(InterfaceSurvey {
                name: name.to_owned(),
                netns: netns.map(str::to_owned),
                device,
                xdp_mtu_max: XDP_MTU_MAX,
                program: attached.map(|one| (one.program_id, program_name(one.program_id))),
            })
        }
    };
    let rings = vec![
        kernel(&probe, &machine, interface.as_ref()),
        afxdp(&probe, &machine, interface.as_ref()),
        dpdk(&machine),
        udp(interface.as_ref()),
    ];
    Ok(Survey {
        probe,
        machine,
        interface,
        rings,
    })
}

impl Machine {
    fn look() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().unwrap_or(0);
        let memory = text("/proc/meminfo");
        let of_memory = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name));
            let first =
                line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
            first.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        let limits = text("/proc/self/limits");
        let locked = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max locked memory"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|soft| soft.parse().ok());
        Self {
            // Where there is no switch the kernel was built with it always on.
            jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable")
                .map_or(true, |value| value.trim() != "0"),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            busy_read_us: number("/proc/sys/net/core/busy_read"),
            busy_poll_us: number("/proc/sys/net/core/busy_poll"),
            locked_bytes_max: locked,
            huge_pages: of_memory("HugePages_Total"),
            huge_pages_free: of_memory("HugePages_Free"),
            huge_page_bytes: of_memory("Hugepagesize") << 10,
            dpdk: has_dpdk(),
        }
    }
}

fn has_dpdk() -> bool {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib"];
    let mut entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    entries.any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("librte_eal.so")
    })
}

/// Collects what speaks against a ring, and what is only to be known.
struct Reasons {
    ring: &'static str,
    against: Vec<String>,
    known: Vec<String>,
}

impl Reasons {
    fn of(ring: &'static str) -> Self {
        Self {
            ring,
            against: Vec::new(),
            known: Vec::new(),
        }
    }

    fn require(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.against.push(otherwise.into());
        }
    }

    fn note(&mut self, applies: bool, text: impl Into<String>) {
        if applies {
            self.known.push(text.into());
        }
    }

    fn verdict(self) -> RingVerdict {
        let works = self.against.is_empty();
        RingVerdict {
            ring: self.ring,
            works,
            reasons: if works { self.known } else { self.against },
        }
    }
}

fn kernel(probe: &Probe, machine: &Machine, interface: Option<&InterfaceSurvey>) -> RingVerdict {
    let mut reasons = Reasons::of("kernel");
    for name in probe.capabilities.missing() {
        reasons.require(false, format!("{name} is missing"));
    }
    for (name, feature) in [("arena", &probe.arena), ("may_goto", &probe.may_goto)] {
        reasons.require(
            feature.works,
            format!("the kernel has no {name} ({})", feature.detail),
        );
    }
    reasons.require(
        machine.jit,
        "the JIT is off: `sysctl net.core.bpf_jit_enable=1`",
    );
    reasons.note(!probe.bpffs, "no bpf file system yet: `--mount-bpffs`");
    if let Some(interface) = interface {
        xdp(&mut reasons, interface, XDP_MTU_MAX);
    }
    reasons.verdict()
}

/// What both rings behind an XDP program ask of an interface.
fn xdp(reasons: &mut Reasons, interface: &InterfaceSurvey, mtu_max: u32) {
    let device = &interface.device;
    reasons.require(
        device.mtu <= mtu_max,
        format!("MTU {} is over {mtu_max}", device.mtu),
    );
    reasons.note(
        device.mtu < WIRE_MTU,
        format!(
            "MTU {} is below the largest packet of {WIRE_MTU}",
            device.mtu
        ),
    );
    let native = device.xdp.is_none_or(|features| features.basic);
    reasons.note(!native, "no XDP in the driver: `--mode skb`, slower");
    reasons.note(
        device.kind == "veth",
        "a veth peer needs a program too: `--peer`",
    );
    reasons.note(!device.carrier, "no carrier");
    if let Some((id, name)) = &interface.program {
        let ours = name == "ring0" || name == "dispatch";
        reasons.require(ours, format!("program {name} (id {id}) is attached"));
        reasons.note(
            ours,
            format!("program {name} (id {id}) is attached already"),
        );
    }
}

fn afxdp(probe: &Probe, machine: &Machine, interface: Option<&InterfaceSurvey>) -> RingVerdict {
    let mut reasons = Reasons::of("afxdp");
    let capabilities = &probe.capabilities;
    for (has, name) in [
        (capabilities.bpf, "CAP_BPF"),
        (capabilities.net_admin, "CAP_NET_ADMIN"),
        (capabilities.net_raw, "CAP_NET_RAW"),
    ] {
        reasons.require(has, format!("{name} is missing"));
    }
    if let Some(bytes) = machine.locked_bytes_max
        && !capabilities.ipc_lock
    {
        reasons.note(
            true,
            format!("frames count as locked memory, {bytes} bytes at most"),
        );
    }
    if let Some(interface) = interface {
        xdp(&mut reasons, interface, AFXDP_MTU_MAX);
        let features = interface.device.xdp;
        let redirects = features.is_none_or(|features| features.redirect);
        reasons.note(!redirects, "the driver does not redirect: skb mode");
        let copies = features.is_some_and(|features| !features.zero_copy);
        reasons.note(copies, "the driver copies each frame");
        let queues = interface.device.rx_queues;
        reasons.note(
            queues > 1,
            format!("{queues} receive queues: a socket each"),
        );
    }
    reasons.verdict()
}

fn dpdk(machine: &Machine) -> RingVerdict {
    let mut reasons = Reasons::of("dpdk");
    reasons.require(machine.dpdk, "DPDK's libraries are not installed");
    reasons.note(
        machine.huge_pages_free == 0,
        "no free huge pages: `sysctl vm.nr_hugepages=…`, or `--no-huge`",
    );
    reasons.verdict()
}

fn udp(interface: Option<&InterfaceSurvey>) -> RingVerdict {
    let mut reasons = Reasons::of("udp");
    let is_down = interface.is_some_and(|interface| !interface.device.carrier);
    reasons.note(is_down, "no carrier");
    reasons.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Capabilities, Feature};

    fn check(
        capabilities: &str,
        device: Netdev,
        program: Option<(u32, String)>,
    ) -> Vec<RingVerdict> {
        let yes = Feature {
            works: true,
            detail: String::new(),
        };
        let probe = Probe {
            kernel: "6.18".to_owned(),
            arena: yes.clone(),
            may_goto: yes,
            capabilities: Capabilities::parse(capabilities),
            bpffs: true,
        };
        let machine = Machine::look();
        let interface = InterfaceSurvey {
            name: "eth0".to_owned(),
            netns: None,
            device,
            xdp_mtu_max: XDP_MTU_MAX,
            program,
        };
        vec![
            kernel(&probe, &machine, Some(&interface)),
            afxdp(&probe, &machine, Some(&interface)),
        ]
    }

    fn device(mtu: u32) -> Netdev {
        Netdev {
            ifindex: 2,
            kind: String::new(),
            mtu,
            rx_queues: 4,
            tx_queues: 4,
            carrier: true,
            xdp: None,
        }
    }

    #[test]
    fn what_speaks_against_a_ring_is_named() {
        const ALL: &str = "CapEff: ffffffffffffffff";
        let works = |verdicts: Vec<RingVerdict>| -> Vec<bool> {
            verdicts.iter().map(|verdict| verdict.works).collect()
        };
        assert_eq!(works(check(ALL, device(1500), None)), [true, true]);
        let no_raw = check("CapEff: ffffffffffdfdfff", device(1500), None);
        assert_eq!(no_raw[1].reasons, ["CAP_NET_RAW is missing"]);
        assert!(no_raw[0].works);
        let large = check(ALL, device(9000), None);
        assert_eq!(large[0].reasons, ["MTU 9000 is over 3506"]);
        let foreign = check(ALL, device(1500), Some((7, "theirs".to_owned())));
        assert_eq!(foreign[0].reasons, ["program theirs (id 7) is attached"]);
        let none = check("CapEff: 0", device(1500), None);
        assert_eq!(none[0].reasons.len(), 3, "{none:?}");
    }
}

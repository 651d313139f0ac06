//! What this kernel and this process can do, found out by doing it (RULES 33).

use crate::{
    error::LoaderError,
    pins,
    sys::{self, MapShape},
};
use std::{
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

/// One thing the kernel can do or not.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Feature {
    /// Whether a tiny program that uses it was taken.
    pub works: bool,
    /// What the kernel said when it was not; empty otherwise.
    pub detail: String,
}

/// Capabilities of this process that loading needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Capabilities {
    /// CAP_BPF: make maps, load programs.
    pub bpf: bool,
    /// CAP_NET_ADMIN: attach to interfaces.
    pub net_admin: bool,
    /// CAP_PERFMON: programs with arena pointers.
    pub perfmon: bool,
    /// CAP_NET_RAW: AF_XDP sockets.
    pub net_raw: bool,
    /// CAP_IPC_LOCK: more locked memory than the limit.
    pub ipc_lock: bool,
    /// CAP_SYS_ADMIN: enter network namespaces, mount bpffs, name foreign programs.
    pub sys_admin: bool,
}

impl Capabilities {
    /// Of the calling process.
    pub fn current() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&status)
    }

    pub(crate) fn parse(status: &str) -> Self {
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0);
        let has = |bit: u32| bits & (1 << bit) != 0;
        let sys_admin = has(21);
        // CAP_SYS_ADMIN stands for the two that were split off from it (capabilities(7)).
        Self {
            bpf: has(39) || sys_admin,
            net_admin: has(12),
            perfmon: has(38) || sys_admin,
            net_raw: has(13),
            ipc_lock: has(14),
            sys_admin,
        }
    }

    /// All of them by name, with whether this process has it.
    pub fn named(&self) -> [(&'static str, bool); 6] {
        [
            ("CAP_BPF", self.bpf),
            ("CAP_NET_ADMIN", self.net_admin),
            ("CAP_PERFMON", self.perfmon),
            ("CAP_NET_RAW", self.net_raw),
            ("CAP_IPC_LOCK", self.ipc_lock),
            ("CAP_SYS_ADMIN", self.sys_admin),
        ]
    }

    /// Names of those that loading needs and that are missing.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.bpf, "CAP_BPF"),
            (self.net_admin, "CAP_NET_ADMIN"),
            (self.perfmon, "CAP_PERFMON"),
        ]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect()
    }
}

/// Gives up every capability of the calling thread, for good: for a process that has opened what it needs.
///
/// # Errors
/// The kernel's; none is known.
pub fn drop_privileges() -> Result<(), LoaderError> {
    sys::drop_capabilities().map_err(LoaderError::call(
        "giving up the capabilities",
        "report this kernel",
    ))
}

/// Result of [`probe`].
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Probe {
    /// Release of the running kernel.
    pub kernel: String,
    /// Arena memory, with an atomic exchange on it.
    pub arena: Feature,
    /// Bounded loops without a provable bound.
    pub may_goto: Feature,
    /// What this process may do.
    pub capabilities: Capabilities,
    /// Whether `/sys/fs/bpf` is mounted; [`crate::ensure_bpffs`] mounts it.
    pub bpffs: bool,
}

impl Probe {
    /// Whether the kernel ring can run here, apart from mounting bpffs.
    ///
    /// # Errors
    /// The first thing that is missing: a capability, then a kernel feature.
    pub fn require(&self) -> Result<(), LoaderError> {
        let missing = self.capabilities.missing();
        if !missing.is_empty() {
            return Err(LoaderError::Privilege {
                missing: missing.join(", "),
                doing: "load and attach a program",
            });
        }
        for (feature, found) in [("BPF arena", &self.arena), ("may_goto", &self.may_goto)] {
            if !found.works {
                return Err(LoaderError::KernelLacks {
                    feature,
                    kernel: self.kernel.clone(),
                    detail: found.detail.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Tries what the program needs, with a one-page arena and two tiny programs that are gone again
/// when this returns. Takes about a millisecond.
pub fn probe() -> Probe {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Probe {
        kernel: kernel.trim().to_owned(),
        arena: feature(arena()),
        may_goto: feature(may_goto()),
        capabilities: Capabilities::current(),
        bpffs: pins::on_bpffs(Path::new("/sys/fs/bpf")),
    }
}

fn feature(result: Result<(), String>) -> Feature {
    Feature {
        works: result.is_ok(),
        detail: result.err().unwrap_or_default(),
    }
}

/// An instruction: code, destination and source register, offset, constant.
pub(crate) const fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> [u8; 8] {
    let [o0, o1] = offset.to_le_bytes();
    let [a, b, c, d] = constant.to_le_bytes();
    [code, to | (from << 4), o0, o1, a, b, c, d]
}

pub(crate) const EXIT: [u8; 8] = instruction(0x95, 0, 0, 0, 0);

/// `return XDP_PASS`.
pub(crate) const PASS: [[u8; 8]; 2] = [instruction(0xb7, 0, 0, 0, 2), EXIT];

/// `return XDP_DROP`.
pub(crate) const DROP: [[u8; 8]; 2] = [instruction(0xb7, 0, 0, 0, 1), EXIT];

fn take(name: &str, code: &[[u8; 8]]) -> Result<(), String> {
    match sys::program_load(name, code, None) {
        Ok(_) => Ok(()),
        Err(refused) => {
            let last = refused
                .log
                .lines()
                .rev()
                .find(|line| !line.starts_with("processed"));
            Err(match last {
                Some(line) => format!("{} ({line})", refused.source),
                None => refused.source.to_string(),
            })
        }
    }
}

fn may_goto() -> Result<(), String> {
    take(
        "probe_may_goto",
        &[
            instruction(0xb7, 0, 0, 0, 0),  // r0 = 0
            instruction(0xe5, 0, 0, 1, 0),  // may_goto +1
            instruction(0x05, 0, 0, -2, 0), // goto -2
            EXIT,
        ],
    )
}

fn arena() -> Result<(), String> {
    let shape = MapShape {
        kind: sys::MAP_TYPE_ARENA,
        key_bytes: 0,
        value_bytes: 0,
        entries_max: 1,
        flags: sys::MAP_MMAPABLE,
        extra: crate::load::ARENA_ADDRESS,
    };
    let map = sys::map_create("probe_arena", &shape).map_err(|error| error.to_string())?;
    take(
        "probe_arena",
        &[
            instruction(0x18, 1, 1, 0, map.as_fd().as_raw_fd()), // r1 = map
            instruction(0, 0, 0, 0, 0),
            instruction(0xb7, 1, 0, 0, 64),   // r1 = 64
            instruction(0xbf, 1, 1, 1, 1),    // r1 = addr_space_cast(r1, 0, 1)
            instruction(0xb7, 0, 0, 0, 2),    // r0 = 2
            instruction(0xdb, 1, 0, 0, 0xe1), // r0 = xchg_64(r1 + 0, r0)
            instruction(0xb7, 0, 0, 0, 2),    // r0 = 2
            EXIT,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let check = |bits: u64, expected: &[&str]| {
            let found = Capabilities::parse(&format!("CapPrm:\t0\nCapEff:\t{bits:016x}\n"));
            assert_eq!(found.missing(), expected);
        };
        check(0, &["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        check(1 << 21, &["CAP_NET_ADMIN"]);
        check(1 << 39 | 1 << 12, &["CAP_PERFMON"]);
        check(u64::MAX, &[]);
    }

    #[test]
    fn without_a_feature_the_error_names_it() {
        let no = Feature {
            works: false,
            detail: "Invalid argument".to_owned(),
        };
        let yes = Feature {
            works: true,
            detail: String::new(),
        };
        let probe = Probe {
            kernel: "6.1.0".to_owned(),
            arena: no,
            may_goto: yes,
            capabilities: Capabilities::parse("CapEff: ffffffffffffffff"),
            bpffs: true,
        };
        let text = probe.require().expect_err("no arena").to_string();
        assert!(
            text.contains("6.1.0") && text.contains("arena") && text.contains("udp"),
            "{text}"
        );
    }
}

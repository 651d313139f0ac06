//! What can go wrong before the first packet.

use std::io;

/// Why there is no DPDK, or not this device.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// This program has no DPDK in it.
    #[error("this program has no DPDK: {missing}; or use another port, `udp` or `afxdp`")]
    Unavailable {
        /// What was missing when it was built, and what to do.
        missing: &'static str,
    },
    /// Second start in one process.
    #[error(
        "DPDK's environment was started in this process before and can be only once; name all devices in the first start, or start a new process"
    )]
    AlreadyStarted,
    /// An argument with a zero byte.
    #[error("DPDK's argument {argument:?} has a zero byte in it; take it out")]
    Argument {
        /// Which.
        argument: String,
    },
    /// Its own messages on standard error say more.
    #[error(
        "DPDK's environment does not start with the arguments `{arguments}`: {source}; its own lines above say why. Usual causes: no root, a device that is not there or not bound to vfio-pci, too few huge pages (`dpdk-hugepages.py --show`)"
    )]
    Start {
        /// What it was given.
        arguments: String,
        /// Why.
        source: io::Error,
    },
    /// The environment has started, without this device.
    #[error(
        "DPDK has no device `{device}`: {source}; give the same text to the start of the environment and to the port, a PCI address (0000:03:00.0, see `dpdk-devbind.py --status`) or a virtual device (net_af_packet0,iface=eth1)"
    )]
    NoDevice {
        /// As it was asked for.
        device: String,
        /// Why.
        source: io::Error,
    },
    /// The device refuses.
    #[error("DPDK's device `{device}` cannot {act}: {source}; {help}")]
    Device {
        /// Which.
        device: String,
        /// What was tried.
        act: &'static str,
        /// What to do.
        help: &'static str,
        /// Why.
        source: io::Error,
    },
}

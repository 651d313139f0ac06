//! The daemon: initialises the market, writes the command ring, rings the doorbell, tells the shard what the clock has come to, reports
//! faults; on a shard whose acks are durable it sends the held answers.
//!
//! Knows the market file, one pinned shard and the operator's words ([`Request`]); knows nothing of matching, and keeps
//! no record of the ring (`ring0 record` does). Matching does not need it: it may be killed and started again at any
//! time, and the next start adopts the shard or finishes the setup that it died in.
//! Rule: RULES 5, 8, 11, 23.

mod amount;
mod answers;
mod apply;
mod bust;
mod check;
#[expect(unsafe_code, reason = "asks the kernel how good its clock is")]
mod clock;
mod daemon;
mod day;
mod door;
mod duty;
mod grants;
mod home;
mod instrument;
mod metrics;
mod migrate;
mod protocol;
mod server;
mod settle;
mod setup;
mod steady;
#[expect(unsafe_code, reason = "installs a signal handler")]
mod stop;
mod transfers;
mod watch;

pub use check::{Finding, Report, check, operator_socket};
pub use daemon::run;
pub use door::{AGAIN, DROPPED};
pub use protocol::{
    Afterwards, BookSide, Grant, MarketState, Prevention, Request, Trade, Verb, default_socket,
    state_name,
};
pub use ring0_socket::{Client, ClientError};
pub use stop::{end_with_parent, stop_flag};

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// What the daemon is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The market's TOML file (docs/market.md), of a file with several shards also which one; its key files must exist (`ring0 keygen`).
    #[arg(long, value_name = "FILE[#SHARD]")]
    pub market: PathBuf,
    /// Where the engine runs.
    #[arg(long, value_enum, default_value = "kernel")]
    pub ring: RingKind,
    /// Interface that traders' packets come in by; the udp and dpdk rings need none.
    #[arg(long, value_name = "IF", required_if_eq_any([("ring", "kernel"), ("ring", "afxdp")]))]
    pub interface: Option<String>,
    /// Address that the udp ring listens at, with the market's port; one that is not loopback is also the dpdk ring's, which answers ARP for it.
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST)]
    pub listen: Ipv4Addr,
    /// The record ring's file of a ring that is not the kernel's [default: /dev/shm/ring0-SHARD.ring].
    #[arg(long, value_name = "FILE")]
    pub mq: Option<PathBuf>,
    /// Processor that the ring's thread stays on.
    #[arg(long, value_name = "N")]
    pub processor: Option<usize>,
    /// DPDK device of the dpdk ring, for instance `net_af_packet0,iface=eth1` or `0000:03:00.0`.
    #[arg(long, value_name = "DEVICE", required_if_eq("ring", "dpdk"))]
    pub device: Option<String>,
    /// DPDK memory in huge pages, as hardware wants it.
    #[arg(long)]
    pub huge_pages: bool,
    /// Receive queues that the afxdp ring takes, from 0 on [default: all].
    #[arg(long, value_name = "N")]
    pub queues: Option<u32>,
    /// Microseconds that the afxdp ring's thread polls its driver before it sleeps (preferred busy polling) [default: it sleeps].
    #[arg(long, value_name = "MICROSECONDS")]
    pub busy_poll: Option<u32>,
    /// Let the ring's thread ask for packets without ever sleeping: a whole processor, and the shortest way.
    #[arg(long)]
    pub spin: bool,
    /// Network namespace of the interface, by its `ip netns` name.
    #[arg(long, value_name = "NS")]
    pub netns: Option<String>,
    /// The other end of a veth pair, which gets a program that passes everything; without it veth drops the answers.
    #[arg(long, value_name = "IF[%NS]")]
    pub peer: Option<String>,
    /// Another program object than the one that this binary carries (or RING0_BPF_OBJECT).
    #[arg(long, value_name = "FILE")]
    pub object: Option<PathBuf>,
    /// Folder of the pins on a bpf file system [default: one named after the interface].
    #[arg(long, value_name = "DIR")]
    pub pin_root: Option<PathBuf>,
    /// Load the shard of this snapshot (`ring0 snapshot make`) in place of an empty one; nothing may be pinned yet.
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// The operator's socket [default: SHARD.sock in the folder of --sockets].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Let no good-till-time order expire while this machine's clock may be wrong by more than this: as the kernel's time synchronisation says, or beside the
    /// venue's time, which went on from when the shard was made [default: the clock is told in the numbers and halts nothing].
    #[arg(long, value_name = "MILLISECONDS")]
    pub clock_error_ms: Option<u32>,
    /// Read what the kernel says of the clock from a file in its place: for tests.
    #[arg(long, value_name = "FILE", hide = true)]
    pub clock_file: Option<PathBuf>,
    /// Serve all numbers to Prometheus at this address, as `http://ADDRESS:PORT/metrics`. Whoever reaches it may read it: give a loopback or an inner address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Folder where the daemons of the venue's shards listen, each as SHARD.sock: where transfers between shards are said.
    #[arg(long, value_name = "DIR", default_value = "/run/ring0")]
    pub sockets: PathBuf,
    /// Open a door for packets of an API: SHARD.door beside the operator's socket.
    #[arg(long)]
    pub door: bool,
    /// Number of the group that may use the door, beside this process's user.
    #[arg(long, value_name = "GID", requires = "door")]
    pub door_group: Option<u32>,
    /// Grant sessions at run time; the folder gets the venue's agreement keys and the log of what was granted.
    #[arg(long, value_name = "DIR")]
    pub grants: Option<PathBuf>,
    /// How to attach: in the driver, or in the network stack where the driver cannot.
    #[arg(long, value_enum, default_value = "native")]
    pub mode: Attach,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// At the end detach and remove everything. Without it the shard goes on trading.
    #[arg(long)]
    pub unload: bool,
    /// End when the process that started this one does: for demos and tests.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// A command line with the options of the table `[ring0d]` in the place of `--config FILE[#SHARD]`.
///
/// # Errors
/// The file's.
pub fn with_config(given: Vec<OsString>) -> Result<Vec<OsString>, ring0_config::OptionsError> {
    check::options(&check::command()).insert(given)
}

/// Where a shard's engine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum RingKind {
    /// In the kernel, at XDP.
    Kernel,
    /// Behind AF_XDP sockets in a thread of this process: checked and numbered in the kernel, Linux 5.12.
    Afxdp,
    /// Behind a DPDK device in a thread of this process, which polls it.
    Dpdk,
    /// Behind a UDP socket in a thread of this process: no privilege, any kernel.
    Udp,
}

impl RingKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RingKind::Kernel => "kernel",
            RingKind::Afxdp => "afxdp",
            RingKind::Dpdk => "dpdk",
            RingKind::Udp => "udp",
        }
    }
}

/// See [`Args::mode`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Attach {
    /// In the driver.
    Native,
    /// In the network stack.
    Skb,
}

impl From<Attach> for xdp_loader::Mode {
    fn from(attach: Attach) -> xdp_loader::Mode {
        match attach {
            Attach::Native => xdp_loader::Mode::Native,
            Attach::Skb => xdp_loader::Mode::Skb,
        }
    }
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The market file or a key file.
    #[error(transparent)]
    Market(#[from] ring0_market::MarketError),
    /// An argument is missing.
    #[error("{0}")]
    Usage(&'static str),
    /// The market does not fit.
    #[error("{0}")]
    Capacity(String),
    /// The kernel's side.
    #[error(transparent)]
    Ring(#[from] ring0_rings::RingError),
    /// The AF_XDP ring.
    #[error(transparent)]
    Afxdp(#[from] ring0_afxdp::AfxdpError),
    /// The DPDK ring.
    #[error(transparent)]
    Dpdk(#[from] ring0_dpdk::DpdkError),
    /// Sessions at run time.
    #[error(transparent)]
    GrantsFolder(#[from] grants::GrantsError),
    /// Sessions at run time could not have their keys again.
    #[error("sessions granted at run time: {0}")]
    Grants(String),
    /// Another daemon runs this shard.
    #[error(transparent)]
    Mq(#[from] ring0_mq::MqError),
    /// A command of the market was refused.
    #[error(
        "the shard refused {command}: {reason} ({help}); correct the market file, `xdp-loader unload` and start again"
    )]
    Refused {
        /// Which one.
        command: String,
        /// The reason's name.
        reason: &'static str,
        /// What it means.
        help: &'static str,
    },
    /// The shard in the kernel is another market's.
    #[error(
        "the shard in the kernel is not this market's: {what}; give the market file that it was started with, or unload it (`xdp-loader unload`) and start anew"
    )]
    OtherMarket {
        /// What differs.
        what: String,
    },
    /// Nobody could ask for numbers.
    #[error(transparent)]
    Metrics(#[from] ring0_scrape::ScrapeError),
    /// The operator's socket, or the door.
    #[error(transparent)]
    Socket(#[from] ring0_socket::SocketError),
}

impl From<xdp_loader::LoaderError> for DaemonError {
    fn from(error: xdp_loader::LoaderError) -> DaemonError {
        DaemonError::Ring(error.into())
    }
}

impl DaemonError {
    /// The exit status that tells of it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            DaemonError::Ring(ring0_rings::RingError::Loader(error))
            | DaemonError::Mq(ring0_mq::MqError::Loader(error)) => error.exit() as u8,
            _ => 1,
        }
    }
}

//! The veth pair and its two namespaces, through `scripts/veth`.
//!
//! Invariants: a [`Veth`] exists only while both namespaces do; its prefix carries this process's
//! id and a number, so that two of them, in one process or in two, never meet and a later run can
//! tell that their owner is dead.

use serde::Deserialize;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// `scripts/veth`, which is the implementation.
const SCRIPT: &str = include_str!("../../../scripts/veth");

/// What went wrong with a namespace or link.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The shell could not be started or fed.
    #[error("cannot run bash for the veth script; install bash: {0}")]
    Shell(#[source] io::Error),
    /// The script said no; its own words say what to do.
    #[error("`scripts/veth {arguments}` failed: {message}")]
    Script {
        /// What it was called with.
        arguments: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// The script's answer could not be read: script and library do not belong together.
    #[error("`scripts/veth` answered what this version cannot read; rebuild: {0}")]
    Answer(#[source] serde_json::Error),
    /// A namespace could not be entered.
    #[error(
        "cannot enter network namespace {name}; `ip netns` lists those that are there, and entering needs root: {source}"
    )]
    Enter {
        /// Its name below `/run/netns`.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// How the pair is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Receive and transmit queues of either end.
    pub queues: u32,
    /// Largest IP packet in bytes, both ends.
    pub mtu: u32,
}

impl Default for Options {
    /// One queue and Ethernet's 1,500 bytes.
    fn default() -> Self {
        Options {
            queues: 1,
            mtu: 1500,
        }
    }
}

/// Two namespaces and the wire between them. Dropping it removes both.
#[derive(Debug, Deserialize)]
pub struct Veth {
    prefix: String,
    /// Name of the exchange's namespace.
    pub exchange_ns: String,
    /// Name of the trader's namespace.
    pub trader_ns: String,
    /// The exchange's interface, in its namespace: XDP goes here.
    pub exchange_if: String,
    /// The trader's interface, in its namespace. It needs an XDP program that passes everything, or
    /// the exchange's `XDP_TX` answers are dropped.
    pub trader_if: String,
    /// The exchange's address.
    pub exchange_address: Ipv4Addr,
    /// The trader's address.
    pub trader_address: Ipv4Addr,
    /// Bits of network in both addresses.
    pub prefix_length: u8,
    /// The exchange's hardware address, as `aa:bb:cc:dd:ee:ff`.
    pub exchange_mac: String,
    /// The trader's hardware address.
    pub trader_mac: String,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Queues of either end.
    pub queues: u32,
}

impl Veth {
    /// Makes a pair, after removing those of dead processes.
    ///
    /// # Errors
    /// No root, no `ip` or `ethtool`, or the kernel has no veth; nothing is left behind.
    pub fn up(options: Options) -> Result<Veth, LabError> {
        /// Pairs made so far. Any thread; only uniqueness matters.
        static MADE: AtomicU32 = AtomicU32::new(0);

        remove_stale()?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}-{number}", process::id());
        let answer = script(&[
            "up",
            "--json",
            "--prefix",
            &prefix,
            "--queues",
            &options.queues.to_string(),
            "--mtu",
            &options.mtu.to_string(),
        ])?;
        serde_json::from_str(&answer).map_err(|error| {
            let _ = script(&["down", "--prefix", &prefix]); // the first error is the one to tell
            LabError::Answer(error)
        })
    }

    /// What `scripts/veth … --prefix` calls this pair.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Takes the address off the exchange's interface, for a ring that has the address itself and whose packets the kernel sees too (DPDK's packet
    /// sockets): the kernel would refuse them to their sender by ICMP.
    ///
    /// # Errors
    /// The namespace was removed by somebody else.
    pub fn take_exchange_address(&self) -> Result<(), LabError> {
        let arguments = [
            "-n",
            &self.exchange_ns,
            "address",
            "flush",
            "dev",
            &self.exchange_if,
        ];
        let output = Command::new("ip").args(arguments).output();
        let output = output.map_err(LabError::Shell)?;
        if output.status.success() {
            return Ok(());
        }
        Err(LabError::Script {
            arguments: format!("(ip {})", arguments.join(" ")),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs `work` at the exchange's end: [`crate::in_netns`].
    ///
    /// # Errors
    /// The namespace was removed by somebody else.
    pub fn in_exchange<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, LabError> {
        crate::in_netns(&self.exchange_ns, work)
    }

    /// Runs `work` at the trader's end: [`crate::in_netns`].
    ///
    /// # Errors
    /// The namespace was removed by somebody else.
    pub fn in_trader<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, LabError> {
        crate::in_netns(&self.trader_ns, work)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        if let Err(error) = script(&["down", "--prefix", &self.prefix]) {
            // Not a panic: a test that fails already must show its own reason. The next run
            // removes what is left.
            eprintln!("ring0-lab: {error}");
        }
    }
}

/// Removes the pairs of processes that are dead; returns their prefixes.
///
/// # Errors
/// As [`Veth::up`].
pub fn remove_stale() -> Result<Vec<String>, LabError> {
    /// Two threads that both remove one pair would each see the other's half gone.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);

    let answer = script(&["down", "--stale"])?;
    Ok(answer
        .lines()
        .filter_map(|line| line.strip_prefix("removed="))
        .map(str::to_owned)
        .collect())
}

/// What this process lacks for [`Veth::up`]; `None` when it can. For tests, which say it and skip.
#[must_use]
pub fn missing_privilege() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    script(&["status"])
        .err()
        .map(|error| error.to_string().trim_end().to_owned())
}

/// Runs the script with these arguments; returns what it wrote.
fn script(arguments: &[&str]) -> Result<String, LabError> {
    let mut shell = Command::new("bash")
        .args(["-s", "--"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LabError::Shell)?;
    if let Some(mut stdin) = shell.stdin.take() {
        // A script that ends early by its own decision closes the pipe: its status says so.
        match stdin.write_all(SCRIPT.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(LabError::Shell(error));
            }
            _ => {}
        }
    }
    let output = shell.wait_with_output().map_err(LabError::Shell)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(LabError::Script {
            arguments: arguments.join(" "),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::path::Path;
    use std::time::Duration;

    /// Whether the test can run here; says why not.
    fn possible() -> bool {
        match missing_privilege() {
            None => true,
            Some(why) => {
                eprintln!("skipped: {why}");
                false
            }
        }
    }

    #[test]
    fn a_packet_crosses_and_nothing_stays() {
        if !possible() {
            return;
        }
        let veth = Veth::up(Options {
            queues: 2,
            mtu: 1600,
        })
        .unwrap();
        assert_eq!((veth.queues, veth.mtu), (2, 1600));
        let exchange = veth
            .in_exchange(|| UdpSocket::bind((veth.exchange_address, 4000)))
            .unwrap()
            .unwrap();
        let trader = veth
            .in_trader(|| UdpSocket::bind((veth.trader_address, 0)))
            .unwrap()
            .unwrap();
        exchange
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        trader
            .send_to(b"over the wire", (veth.exchange_address, 4000))
            .unwrap();
        let mut bytes = [0; 64];
        let (len, from) = exchange.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"over the wire");
        assert_eq!(from.ip(), veth.trader_address);

        let names = [veth.exchange_ns.clone(), veth.trader_ns.clone()];
        drop(veth);
        for name in names {
            assert!(!Path::new("/run/netns").join(&name).exists(), "{name}");
        }
    }

    #[test]
    fn pairs_of_dead_processes_go_and_those_of_living_ones_stay() {
        if !possible() {
            return;
        }
        let mut child = Command::new("true").spawn().unwrap();
        let dead = format!("{}-7", child.id());
        child.wait().unwrap();
        script(&["up", "--prefix", &dead]).unwrap();
        let living = Veth::up(Options::default()).unwrap(); // removes the stale one
        assert!(!Path::new(&format!("/run/netns/ring0-{dead}-x")).exists());
        assert!(!Path::new(&format!("/run/netns/ring0-{dead}-t")).exists());
        assert!(!remove_stale().unwrap().contains(&living.prefix));
        assert!(Path::new("/run/netns").join(&living.exchange_ns).exists());
    }

    #[test]
    fn a_missing_namespace_and_a_wrong_option_say_what_to_do() {
        let error = crate::in_netns("ring0-not-there", || ()).unwrap_err();
        assert!(error.to_string().contains("`ip netns` lists"), "{error}");
        let error = script(&["up", "--queues", "none"]).unwrap_err();
        assert!(error.to_string().contains("is not 1 to 4096"), "{error}");
    }
}

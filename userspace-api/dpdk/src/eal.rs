//! DPDK's environment (EAL): memory, processors and the devices of this process.
//!
//! Once a process: EAL cannot be started again, not even after an end or a failed start.

use crate::{AVAILABLE, DpdkError, device};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the environment is started with.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Devices: a virtual one by driver, number and arguments (`net_af_packet0,iface=eth1`), a hardware one by PCI address and arguments
    /// (`0000:03:00.0`). Hardware that is not named is left alone.
    pub devices: Vec<String>,
    /// Use huge pages, which hardware devices want: fewer translations, addresses that stay. Off by default: ordinary pages, nothing to prepare.
    pub huge_pages: bool,
    /// Memory to reserve at the start, MiB. 64 by default, several times what one port's buffers take.
    pub memory_mib: u32,
    /// Name of this process's files below `/run/dpdk`, for a DPDK process that attaches to it before the first packet is asked for. None by default:
    /// nothing is written, and any number of processes run beside each other.
    pub file_prefix: Option<String>,
    /// Processors that the calling thread may use from then on; none named: those that it may use now.
    pub processors: Vec<usize>,
    /// Further arguments as EAL takes them, behind all others.
    pub arguments: Vec<String>,
}

impl EalOptions {
    /// These devices, ordinary pages, no files, the thread's own processors.
    #[must_use]
    pub fn new<D: Into<String>>(devices: impl IntoIterator<Item = D>) -> EalOptions {
        EalOptions {
            devices: devices.into_iter().map(Into::into).collect(),
            huge_pages: false,
            memory_mib: 64,
            file_prefix: None,
            processors: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// EAL's command line, the program's name included.
    fn command_line(&self, processors: &[usize]) -> Vec<String> {
        // Standard error gets what matters; no socket for foreign eyes is opened beside the one thread.
        let mut line: Vec<String> = ["ring0", "--log-level=*:warning", "--no-telemetry"]
            .map(str::to_owned)
            .into();
        // One DPDK processor, which is the calling thread: EAL starts no worker.
        let list: Vec<String> = processors.iter().map(usize::to_string).collect();
        line.push(format!("--lcores=0@({})", list.join(",")));
        line.extend(["-m".to_owned(), self.memory_mib.to_string()]);
        if !self.huge_pages {
            line.push("--no-huge".to_owned());
        }
        line.push(match &self.file_prefix {
            Some(prefix) => format!("--file-prefix={prefix}"),
            None if self.huge_pages => "--in-memory".to_owned(),
            // EAL takes `--in-memory` only with huge pages; of ordinary ones this is the same.
            None => "--no-shconf".to_owned(),
        });
        let is_virtual =
            |device: &&String| !device.starts_with(|first: char| first.is_ascii_digit());
        if self.devices.iter().all(|device| is_virtual(&device)) {
            line.push("--no-pci".to_owned());
        }
        for device in &self.devices {
            let option = if is_virtual(&device) {
                "--vdev"
            } else {
                "--allow"
            };
            line.push(format!("{option}={device}"));
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}

/// The started environment. It ends with the last of its clones and ports.
#[derive(Clone, Debug)]
pub struct Eal(#[expect(dead_code, reason = "held for its end")] Arc<Started>);

#[derive(Debug)]
struct Started;

impl Drop for Started {
    fn drop(&mut self) {
        device::end();
    }
}

impl Eal {
    /// Starts the environment, from a thread in the network namespace of its interfaces. It may use only the named processors from then on; ports may be
    /// used on any other.
    ///
    /// # Errors
    /// This program has no DPDK; it was started before; or EAL refuses, and its lines on standard error say why.
    pub fn start(options: &EalOptions) -> Result<Eal, DpdkError> {
        /// Whether a start was tried. EAL itself would answer a second one with success, or, after a failure, with a line in the log.
        static TRIED: AtomicBool = AtomicBool::new(false);

        if !AVAILABLE {
            return Err(DpdkError::Unavailable {
                missing: dpdk_sys::MISSING,
            });
        }
        let refused = |arguments: &[String], source| DpdkError::Start {
            arguments: arguments[1..].join(" "),
            source,
        };
        let processors = if options.processors.is_empty() {
            let set = rustix::thread::sched_getaffinity(None);
            let set = set.map_err(|error| refused(&options.command_line(&[]), error.into()))?;
            let all = 0..rustix::thread::CpuSet::MAX_CPU;
            all.filter(|&processor| set.is_set(processor)).collect()
        } else {
            options.processors.clone()
        };
        let line = options.command_line(&processors);
        let c_string = |argument: &String| {
            CString::new(argument.as_str()).map_err(|_| DpdkError::Argument {
                argument: argument.clone(),
            })
        };
        let arguments: Vec<CString> = line.iter().map(c_string).collect::<Result<_, _>>()?;
        if TRIED.swap(true, Ordering::Relaxed) {
            return Err(DpdkError::AlreadyStarted);
        }
        device::start(arguments).map_err(|source| refused(&line, source))?;
        Ok(Eal(Arc::new(Started)))
    }
}

#[cfg(test)]
mod tests {
    // With DPDK, `tests/` start it, one process a device.
    use super::*;

    fn check(options: &EalOptions, expected: &str) {
        assert_eq!(options.command_line(&[0, 3])[3..].join(" "), expected);
    }

    #[test]
    fn options_are_said_as_eal_takes_them() {
        let mut options = EalOptions::new(["net_null0", "net_af_packet0,iface=r0x"]);
        check(
            &options,
            "--lcores=0@(0,3) -m 64 --no-huge --no-shconf --no-pci --vdev=net_null0 --vdev=net_af_packet0,iface=r0x",
        );
        options.devices.push("0000:03:00.0".to_owned());
        options.huge_pages = true;
        options.file_prefix = Some("a".to_owned());
        options.arguments = vec!["--iova-mode=va".to_owned()];
        check(
            &options,
            "--lcores=0@(0,3) -m 64 --file-prefix=a --vdev=net_null0 --vdev=net_af_packet0,iface=r0x --allow=0000:03:00.0 --iova-mode=va",
        );
        let mut options = EalOptions::new(["0000:03:00.0"]);
        options.huge_pages = true;
        check(
            &options,
            "--lcores=0@(0,3) -m 64 --in-memory --allow=0000:03:00.0",
        );
    }

    #[cfg(not(dpdk))]
    #[test]
    fn without_dpdk_a_start_says_what_to_install() {
        let error = Eal::start(&EalOptions::new(["net_null0"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("apt-get install libdpdk-dev"), "{text}");
    }
}

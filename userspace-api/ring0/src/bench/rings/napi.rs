//! Threaded NAPI: the kernel's half of an interface in a kernel thread on a processor of its own, instead of the sender's.
//!
//! A veth end has a NAPI only with an XDP program, so it is switched on behind that.

use crate::fail::Fail;
use ring0_lab::Veth;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::process::Command;

/// The kernel threads of an interface. They end with it.
pub(crate) struct ThreadedNapi(Vec<String>);

impl ThreadedNapi {
    /// Switches it on at the exchange's end, and binds its threads to a processor.
    pub(crate) fn on(veth: &Veth, processor: usize) -> Result<ThreadedNapi, Fail> {
        let before = threads(&veth.exchange_if);
        // `/sys/class/net` is of the namespace that it was mounted in; `ip netns exec` mounts it anew.
        let write = format!("echo 1 > /sys/class/net/{}/threaded", veth.exchange_if);
        let output = Command::new("ip")
            .args(["netns", "exec", &veth.exchange_ns, "bash", "-c", &write])
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Fail::new(format!(
                "threaded NAPI cannot be switched on for {}: {text}",
                veth.exchange_if
            )));
        }
        let made: Vec<_> = threads(&veth.exchange_if)
            .difference(&before)
            .cloned()
            .collect();
        if made.is_empty() {
            return Err(Fail::new("threaded NAPI made no thread"));
        }
        let mut set = CpuSet::new();
        set.set(processor);
        for (pid, _) in &made {
            sched_setaffinity(Pid::from_raw(*pid), &set).map_err(std::io::Error::from)?;
        }
        Ok(ThreadedNapi(
            made.into_iter().map(|(_, name)| name).collect(),
        ))
    }

    /// Names of its threads.
    pub(crate) fn threads(&self) -> &[String] {
        &self.0
    }
}

/// Process ids and names of the NAPI threads of interfaces of this name, in whichever namespace.
fn threads(interface: &str) -> BTreeSet<(i32, String)> {
    let prefix = format!("napi/{interface}-");
    let entries = read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let name = read_to_string(entry.path().join("comm")).ok()?;
            let name = name.trim().to_owned();
            name.starts_with(&prefix).then_some((pid, name))
        })
        .collect()
}

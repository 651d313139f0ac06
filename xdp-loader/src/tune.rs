//! Settings of an interface that decide about latency: what they are, how they are changed, how the change is taken back.
//!
//! What is not there (a virtual device has no interrupts, an old kernel no file) is `None`, and cannot be set.

use crate::{error::LoaderError, netns, sys};
use std::{fs, io, path::PathBuf};

/// Channels, by which a device's queues are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Channels {
    /// Those that receive only.
    pub rx: u32,
    /// Those that send only.
    pub tx: u32,
    /// Those that do both.
    pub combined: u32,
}

/// One interrupt of a device, and the processors that may take it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// Processors, as the kernel lists them: `0-3,8`.
    pub cpus: String,
}

/// An interface's settings, or those of them that are to be set.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Channels.
    pub channels: Option<Channels>,
    /// Whether received packets are merged on their way to sockets (GRO). XDP sees them before.
    pub gro: Option<bool>,
    /// Whether the device merges them (LRO), which native XDP does not allow.
    pub lro: Option<bool>,
    /// How often a queue is looked at without packets before its interrupt is armed again (`napi_defer_hard_irqs`).
    pub napi_defer_hard_irqs: Option<u64>,
    /// How long after that until it is armed at the latest, nanoseconds (`gro_flush_timeout`).
    pub gro_flush_timeout_ns: Option<u64>,
    /// Interrupts.
    #[serde(default)]
    pub interrupts: Vec<Interrupt>,
}

/// The interface's settings.
///
/// # Errors
/// No such interface or namespace.
pub fn tuning(interface: &str, netns: Option<&str>) -> Result<Tuning, LoaderError> {
    in_its_place(interface, netns, || Ok(read(interface)))
}

/// Sets what `wanted` says and is not so already; what is `None` stays. Gives the settings before.
///
/// # Errors
/// The device does not have a setting, or refuses the value: what was set before that is put back.
pub fn tune(interface: &str, netns: Option<&str>, wanted: &Tuning) -> Result<Tuning, LoaderError> {
    in_its_place(interface, netns, || {
        let before = read(interface);
        if let Err(error) = apply(interface, &before, wanted) {
            let now = read(interface);
            // The first error is the one to tell.
            let _ = apply(interface, &now, &before);
            return Err(error);
        }
        Ok(before)
    })
}

/// Runs `work` in the namespace, where `/sys/class/net` shows the namespace's own interfaces.
fn in_its_place<T: Send>(
    interface: &str,
    netns: Option<&str>,
    work: impl FnOnce() -> Result<T, LoaderError> + Send,
) -> Result<T, LoaderError> {
    netns::within(netns, || {
        netns::interface_number(interface, netns)?;
        if netns.is_some() {
            sys::own_sysfs().map_err(LoaderError::call(
                "mounting a sysfs for the namespace",
                "run as root (CAP_SYS_ADMIN)",
            ))?;
        }
        work()
    })
}

fn file(interface: &str, name: &str) -> PathBuf {
    PathBuf::from(format!("/sys/class/net/{interface}/{name}"))
}

const DEFER: &str = "napi_defer_hard_irqs";
const FLUSH: &str = "gro_flush_timeout";

fn read(interface: &str) -> Tuning {
    let number = |name: &str| {
        let text = fs::read_to_string(file(interface, name)).ok()?;
        text.trim().parse().ok()
    };
    Tuning {
        channels: sys::channels(interface).ok().map(|all| all.now),
        gro: sys::gro(interface).ok(),
        lro: sys::lro(interface).ok(),
        napi_defer_hard_irqs: number(DEFER),
        gro_flush_timeout_ns: number(FLUSH),
        interrupts: interrupts(interface),
    }
}

fn affinity(number: u32) -> PathBuf {
    PathBuf::from(format!("/proc/irq/{number}/smp_affinity_list"))
}

fn interrupts(interface: &str) -> Vec<Interrupt> {
    let entries = fs::read_dir(file(interface, "device/msi_irqs"));
    let mut found: Vec<Interrupt> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_string_lossy().parse().ok()?;
            let cpus = fs::read_to_string(affinity(number)).ok()?;
            Some(Interrupt {
                number,
                cpus: cpus.trim().to_owned(),
            })
        })
        .collect();
    found.sort_by_key(|one| one.number);
    found
}

fn apply(interface: &str, now: &Tuning, wanted: &Tuning) -> Result<(), LoaderError> {
    let refused = |what: String| {
        LoaderError::call(
            format!("setting {what} of {interface}"),
            "choose a value that `xdp-loader tune IF` shows as possible, or leave it out",
        )
    };
    let missing = || io::Error::other("the device has no such setting");
    if let Some(channels) = wanted.channels.filter(|it| now.channels != Some(*it)) {
        let what = format!(
            "channels to {} receiving, {} sending, {} combined",
            channels.rx, channels.tx, channels.combined
        );
        sys::set_channels(interface, channels).map_err(refused(what))?;
    }
    if let Some(on) = wanted.gro.filter(|on| now.gro != Some(*on)) {
        sys::set_gro(interface, on).map_err(refused(format!("GRO to {on}")))?;
    }
    if let Some(on) = wanted.lro.filter(|on| now.lro != Some(*on)) {
        sys::set_lro(interface, on)
            .and_then(|()| match sys::lro(interface)? == on {
                true => Ok(()),
                false => Err(missing()), // the kernel ignores what a device cannot
            })
            .map_err(refused(format!("LRO to {on}")))?;
    }
    for (name, now, wanted) in [
        (DEFER, now.napi_defer_hard_irqs, wanted.napi_defer_hard_irqs),
        (FLUSH, now.gro_flush_timeout_ns, wanted.gro_flush_timeout_ns),
    ] {
        let Some(value) = wanted.filter(|_| wanted != now) else {
            continue;
        };
        now.ok_or_else(missing)
            .and_then(|_| fs::write(file(interface, name), value.to_string()))
            .map_err(refused(format!("{name} to {value}")))?;
    }
    for interrupt in &wanted.interrupts {
        if now.interrupts.contains(interrupt) {
            continue;
        }
        fs::write(affinity(interrupt.number), &interrupt.cpus).map_err(refused(format!(
            "the processors of interrupt {} to {}",
            interrupt.number, interrupt.cpus
        )))?;
    }
    Ok(())
}

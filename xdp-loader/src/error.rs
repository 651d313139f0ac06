//! Everything that can go wrong here, each in one line: what, and what to do.

use std::{io, path::PathBuf};

/// Exit codes of the `xdp-loader` command, the same for every verb.
///
/// | code | meaning |
/// |---|---|
/// | 0 | done; for `status`: attached |
/// | 1 | error |
/// | 2 | usage |
/// | 3 | not attached |
/// | 4 | another program is on the interface |
/// | 5 | a privilege is missing |
/// | 6 | the kernel lacks a feature |
/// | 7 | the new program was refused or taken back; the old one goes on |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `status`: attached.
    Ok = 0,
    /// Any error without a code of its own.
    Error = 1,
    /// The command line or an option is wrong.
    Usage = 2,
    /// Nothing is attached.
    NotAttached = 3,
    /// Another program is on the interface.
    Foreign = 4,
    /// A privilege is missing.
    NoPrivilege = 5,
    /// The kernel lacks a feature.
    KernelLacks = 6,
    /// The new program was refused or taken back; the old one goes on.
    Unhealthy = 7,
}

/// Why the loader did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// A capability is missing.
    #[error(
        "missing {missing} to {doing}; run as root, or give the binary `setcap cap_bpf,cap_net_admin,cap_perfmon,cap_sys_admin+ep`"
    )]
    Privilege {
        /// Capabilities by name.
        missing: String,
        /// What they are needed for.
        doing: &'static str,
    },
    /// The kernel cannot do what the program needs.
    #[error(
        "this kernel ({kernel}) has no {feature}: {detail}; Linux 6.12 has it, the `udp` ring works without"
    )]
    KernelLacks {
        /// Arena or `may_goto`.
        feature: &'static str,
        /// Release of the running kernel.
        kernel: String,
        /// What the kernel answered.
        detail: String,
    },
    /// There is no bpf file system where the pins should go.
    #[error(
        "{path} is not on a bpf file system; `mount -t bpf bpf /sys/fs/bpf`, or `--mount-bpffs`"
    )]
    NoBpffs {
        /// The pin folder.
        path: PathBuf,
    },
    /// Somebody else's program is attached.
    #[error(
        "{interface} already has XDP program {name} (id {id}); detach it (`ip link set dev {interface} xdp off`) or choose another interface"
    )]
    Foreign {
        /// Interface asked for.
        interface: String,
        /// Kernel id of the program.
        id: u32,
        /// Name of the program.
        name: String,
    },
    /// Another shard of the interface has the port.
    #[error(
        "port {port} of {interface} already has a shard (program {id}); give this one another port, or `xdp-loader unload --interface {interface} --port {port}` first (its book is lost)"
    )]
    PortTaken {
        /// Interface asked for.
        interface: String,
        /// UDP port asked for.
        port: u16,
        /// Kernel id of the program that has it.
        id: u32,
    },
    /// A shard has the interface alone.
    #[error(
        "{interface} has a shard that does not share it; `xdp-loader unload --pin-root {pin_root}` first (its book is lost), then load every shard with its --port"
    )]
    NotShared {
        /// Interface asked for.
        interface: String,
        /// That shard's folder.
        pin_root: PathBuf,
    },
    /// Several shards share the interface whose folder was asked for.
    #[error(
        "the shards of ports {ports} share this interface: say which one by --port, or --pin-root {pin_root}/PORT"
    )]
    SeveralShards {
        /// The dispatcher's folder.
        pin_root: PathBuf,
        /// Ports that have a shard.
        ports: String,
    },
    /// The driver has no native XDP, or not now.
    #[error(
        "driver of {interface} refused native XDP ({source}); `--mode skb` works anywhere, slower"
    )]
    NativeRefused {
        /// Interface asked for.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The verifier said no.
    #[error(
        "the verifier refused program {program} ({source}); rebuild it with `cargo xtask ebpf`, the log ends:\n{log_tail}"
    )]
    Verifier {
        /// Name of the program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
        /// The last lines of the verifier's log.
        log_tail: String,
    },
    /// Something else is mapped where the arena must be.
    #[error(
        "address {address:#x} is taken in this process; drop the other arena mapping first, or load with another arena address"
    )]
    ArenaTaken {
        /// Where the arena must be mapped.
        address: u64,
    },
    /// The arena cannot have this size.
    #[error("arena size {bytes} is impossible: {why}; give a multiple of {page} up to {max}")]
    ArenaSize {
        /// Size asked for.
        bytes: u64,
        /// Which rule it breaks.
        why: &'static str,
        /// Page size.
        page: u64,
        /// Largest size.
        max: u64,
    },
    /// What is pinned was made for something else.
    #[error(
        "pinned {what} is {pinned}, wanted {wanted}; `xdp-loader unload --pin-root {pin_root}` first (the book in memory is lost), or load with the pinned value"
    )]
    Mismatch {
        /// Map and property.
        what: String,
        /// What is pinned.
        pinned: String,
        /// What was asked for.
        wanted: String,
        /// The pin folder.
        pin_root: PathBuf,
    },
    /// A finished load lacks a pin, so somebody removed it.
    #[error(
        "pin {name} is missing in {pin_root}; `xdp-loader unload --pin-root {pin_root}`, then load again"
    )]
    PinMissing {
        /// Name of the pin.
        name: String,
        /// The pin folder.
        pin_root: PathBuf,
    },
    /// No finished load is pinned there.
    #[error(
        "nothing is loaded at {pin_root}; `xdp-loader load` first, or give the right --pin-root"
    )]
    NotLoaded {
        /// The pin folder.
        pin_root: PathBuf,
    },
    /// The pinned program was built without its log.
    #[error(
        "the program at {pin_root} has no log; load one that `cargo xtask ebpf --log` builds, the book stays"
    )]
    NoLog {
        /// The pin folder.
        pin_root: PathBuf,
    },
    /// No such interface.
    #[error("no interface {name} in {place}; there are: {known}")]
    UnknownInterface {
        /// Interface asked for.
        name: String,
        /// Which namespace.
        place: String,
        /// Those that exist.
        known: String,
    },
    /// No such network namespace.
    #[error("no network namespace {name} ({source}); `ip netns add {name}`, there are: {known}")]
    UnknownNetns {
        /// Namespace asked for.
        name: String,
        /// Those that exist.
        known: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The object file is not what the loader can use.
    #[error("object {name}: {what}; build it with `cargo xtask ebpf`")]
    Object {
        /// Where it came from.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// An option has an impossible value.
    #[error("{option} is {value}; {rule}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The caller could not initialise fresh memory.
    #[error(
        "fresh memory could not be initialised: {source}; nothing was attached, mend the cause and load again"
    )]
    Init {
        /// The caller's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A new program was built for other memory than what is pinned; nothing was changed.
    #[error(
        "the new program's {what} is {wanted}, that of the pinned memory is {pinned}; build it from sources with the same one, the old program goes on"
    )]
    Misfit {
        /// Map and property, or the layout.
        what: String,
        /// What is pinned.
        pinned: u64,
        /// What the object wants.
        wanted: u64,
    },
    /// A new program did not do what the running one does; nothing was changed.
    #[error(
        "the new program was refused before anything changed: {why}; the old one (id {program_id}) goes on"
    )]
    NotReplaced {
        /// What it did.
        why: String,
        /// Kernel id of the running program.
        program_id: u32,
    },
    /// A new program was not well under traffic, and the old one was put back.
    #[error(
        "the new program was not well: {why}; the old one (id {program_id}) is back after {ran_ms:.1} ms, put there in {rollback_ms:.1} ms; mend the object"
    )]
    RolledBack {
        /// What was seen.
        why: String,
        /// Kernel id of the old program.
        program_id: u32,
        /// How long the new one ran, milliseconds.
        ran_ms: f64,
        /// How long the way back took, milliseconds.
        rollback_ms: f64,
    },
    /// The shard's daemon refused.
    #[error("the daemon at {path} refused: {why}", path = .path.display())]
    Daemon {
        /// Its socket.
        path: PathBuf,
        /// Its words.
        why: String,
    },
    /// The shard's daemon did not move it.
    #[error("the shard was not moved: {why}")]
    NotMigrated {
        /// The daemon's words.
        why: String,
    },
    /// A new program was not well, and the old one could not be put back.
    #[error(
        "the new program is not well ({why}) and the old one could not be put back: {source}; `xdp-loader load` the old object now"
    )]
    RollbackFailed {
        /// What was seen.
        why: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A pinned shard has nothing attached that could be replaced.
    #[error(
        "{interface} has nothing attached; `xdp-loader load` puts the program of {pin_root} back, book and all"
    )]
    NothingAttached {
        /// Interface of the shard.
        interface: String,
        /// The pin folder.
        pin_root: PathBuf,
    },
    /// An interface did not get its carrier in time.
    #[error(
        "{interface} has no carrier after {seconds:.1} s; check the cable, or the other end and `ip link set {interface} up`"
    )]
    NoCarrier {
        /// Interface asked for.
        interface: String,
        /// How long was waited.
        seconds: f64,
    },
    /// A call that should work did not.
    #[error("{doing} failed: {source}; {cure}")]
    Call {
        /// What was tried.
        doing: String,
        /// The system's answer.
        source: io::Error,
        /// What to do.
        cure: &'static str,
    },
}

impl LoaderError {
    /// The exit code that a command ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Privilege { .. } => Exit::NoPrivilege,
            Self::KernelLacks { .. } => Exit::KernelLacks,
            Self::Foreign { .. } | Self::PortTaken { .. } | Self::NotShared { .. } => Exit::Foreign,
            Self::NotLoaded { .. } | Self::NothingAttached { .. } => Exit::NotAttached,
            Self::Misfit { .. }
            | Self::NotReplaced { .. }
            | Self::NotMigrated { .. }
            | Self::RolledBack { .. } => Exit::Unhealthy,
            Self::ArenaSize { .. } | Self::Option { .. } | Self::SeveralShards { .. } => {
                Exit::Usage
            }
            _ => Exit::Error,
        }
    }

    /// A failed call, or the missing privilege that made it fail.
    pub(crate) fn call(
        doing: impl Into<String>,
        cure: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Call {
            doing,
            source,
            cure,
        }
    }
}

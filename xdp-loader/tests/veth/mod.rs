//! A veth pair of the test's own, one end in a network namespace of the test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};
use xdp_loader::{Dispatch, LoadOptions, Object, ensure_bpffs, probe, unload};

/// All names begin with this, then the process, so that the leftovers of a killed run are known.
const PREFIX: &str = "xl";

/// A process maps one arena at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `<prefix>a` here, `<prefix>b` in namespace `<prefix>n`; removed when dropped. Both ends stay down,
/// so that the kernel sends nothing by itself.
pub(crate) struct Veth {
    prefix: String,
    _alone: MutexGuard<'static, ()>,
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

impl Veth {
    /// Makes the pair, or says why this machine cannot and gives `None`: the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        if let Err(error) = probe().require() {
            eprintln!("skipped: {error}");
            return None;
        }
        if !ip(&["link", "show", "lo"]) {
            eprintln!("skipped: no `ip` command (`scripts/setup` installs it)");
            return None;
        }
        ensure_bpffs().expect("a bpf file system");
        remove_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let veth = Self {
            prefix: format!("{PREFIX}{}x{number}", std::process::id()),
            _alone: alone,
        };
        veth.make();
        Some(veth)
    }

    /// Makes the pair (again).
    pub(crate) fn make(&self) {
        ip(&["netns", "add", &self.netns()]);
        let peer = self.peer();
        let pair = [
            "link",
            "add",
            &self.interface(),
            "type",
            "veth",
            "peer",
            "name",
            &peer,
        ];
        assert!(
            ip(&[pair.as_slice(), &["netns", &self.netns()]].concat()),
            "a veth pair"
        );
    }

    /// Removes the pair, as an operator might under a running program.
    pub(crate) fn remove_pair(&self) {
        ip(&["link", "del", &self.interface()]);
    }

    pub(crate) fn interface(&self) -> String {
        format!("{}a", self.prefix)
    }

    pub(crate) fn peer(&self) -> String {
        format!("{}b", self.prefix)
    }

    pub(crate) fn netns(&self) -> String {
        format!("{}n", self.prefix)
    }

    /// A small shard on this end.
    pub(crate) fn options(&self) -> LoadOptions {
        let mut options = LoadOptions::new(proof(), &self.interface(), None);
        options.arena_bytes = 64 * 4096;
        options.record_slots = 128;
        options.command_slots = 64;
        options.sessions_max = 8;
        options.layout_hash = 0x1234;
        options
    }

    /// Whether the kernel has an XDP program on this end, however it got there.
    pub(crate) fn has_xdp(&self) -> bool {
        let output = Command::new("ip")
            .args(["link", "show", &self.interface()])
            .output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("prog/xdp"))
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        remove_pins(&self.options().pin_root);
        let _ = unload(&xdp_loader::default_pin_root(
            &self.peer(),
            Some(&self.netns()),
        ));
        self.remove_pair();
        ip(&["netns", "del", &self.netns()]);
    }
}

/// Unloads what is pinned in an interface's folder: a shard, or a dispatcher's shards.
fn remove_pins(folder: &Path) {
    let shards = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for shard in shards.filter(|entry| entry.path().is_dir()) {
        let _ = unload(&shard.path());
    }
    let _ = unload(folder);
}

/// What stands before several shards of an interface, for one of them.
#[allow(dead_code, reason = "not every test shares an interface")]
pub(crate) fn dispatch(port: u16) -> Dispatch {
    Dispatch {
        object: Object::Path(
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../ebpf/prebuilt/dispatch.bpf.o"
            )
            .into(),
        ),
        port,
    }
}

/// Removes what killed test processes left behind.
fn remove_leftovers() {
    let dead = |name: &str| {
        let number = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('x').next()?.parse::<u32>().ok());
        number.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
    };
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    for name in names(xdp_loader::PIN_PARENT)
        .iter()
        .filter(|name| dead(name))
    {
        remove_pins(&Path::new(xdp_loader::PIN_PARENT).join(name));
    }
    for name in names("/sys/class/net").iter().filter(|name| dead(name)) {
        ip(&["link", "del", name]);
    }
    for name in names("/run/netns").iter().filter(|name| dead(name)) {
        ip(&["netns", "del", name]);
    }
}

/// The proof of life: `RING0_PROOF_OBJECT`, or the kept one.
pub(crate) fn proof() -> Object {
    let path = std::env::var_os("RING0_PROOF_OBJECT").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../ebpf/prebuilt/proof.bpf.o"
            ))
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no {}; make it with `cargo xtask ebpf --keep`",
        path.display()
    );
    Object::Path(path)
}

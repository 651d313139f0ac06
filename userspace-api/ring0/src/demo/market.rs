//! The market's stage: namespaces, folder, keys, and the two processes. Dropping it leaves nothing behind.

use super::check::Recording;
use crate::fail::Fail;
use ring0_engine::limits::SLOT_LEN;
use ring0_lab::{Options, Veth};
use ring0_market::{Existing, Market, keygen};
use ring0_mq::read_snapshot;
use ring0_rings::record_ring_named;
use ring0d::{Client, RingKind, Verb};
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The market: `markets/example.toml`.
pub(crate) const MARKET: &str = include_str!("../../../../markets/example.toml");

/// What the names of the demos' folders begin with; the process id follows.
const FOLDER: &str = "ring0-demo-";

/// How long a process may take to be ready: loading takes some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this run's own, with the market's file and keys in it. Dropping it removes it.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) market: Market,
}

impl Folder {
    /// Makes it, after removing those of dead runs.
    pub(crate) fn new(ring: RingKind, market: &str) -> Result<Folder, Fail> {
        remove_stale_folders();
        let path = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| {
                Fail::new(format!(
                    "cannot make {}: {error}; set TMPDIR to a folder with room",
                    path.display()
                ))
            })?;
        let made = (|| {
            let file = path.join("market.toml");
            fs::write(&file, market_of(ring, market)?)?;
            keygen(&file, Existing::Keep)?;
            Ok::<_, Fail>(Market::load(&file)?)
        })();
        let market = made.inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        Ok(Folder { path, market })
    }
}

/// The market's file. On loopback the shard's port is one that is free.
fn market_of(ring: RingKind, market: &str) -> Result<String, Fail> {
    if ring != RingKind::Udp {
        return Ok(market.to_owned());
    }
    let mut market: toml::Table = market.parse().map_err(Fail::new)?;
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let shard = market.get_mut("shard").and_then(toml::Value::as_table_mut);
    shard
        .ok_or_else(|| Fail::new("the demo's market has no shard"))?
        .insert("port".to_owned(), i64::from(free).into());
    toml::to_string(&market).map_err(Fail::new)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("ring0 demo: {} stays: {error}", self.path.display());
        }
    }
}

/// A ring's stage.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    ring: RingKind,
    /// The wire of a ring that has one.
    pub(crate) veth: Option<Veth>,
    /// Where the shard is found: its pins, or its record ring's file.
    place: PathBuf,
    /// How often the shard began anew from its records.
    lives: u32,
    daemon: Option<Child>,
    recorder: Option<Child>,
}

impl Stage {
    /// Namespaces where the ring wants them, folder, market file and keys.
    pub(crate) fn up(ring: RingKind, market: &str) -> Result<Stage, Fail> {
        if ring != RingKind::Udp {
            ring0_lab::remove_stale()?;
            unload_stale();
        }
        let folder = Folder::new(ring, market)?;
        let veth = match ring {
            RingKind::Udp => None,
            _ => Some(Veth::up(Options::default())?),
        };
        if let (RingKind::Dpdk, Some(veth)) = (ring, &veth) {
            veth.take_exchange_address()?;
        }
        let place = match (ring, &veth) {
            (RingKind::Kernel, Some(veth)) => {
                xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns))
            }
            _ => record_ring_named(&format!("demo-{}", std::process::id())),
        };
        Ok(Stage {
            folder,
            ring,
            veth,
            place,
            lives: 0,
            daemon: None,
            recorder: None,
        })
    }

    /// Where traders send to.
    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.folder.market.plan.shard.port;
        let address = match &self.veth {
            Some(veth) => veth.exchange_address,
            None => Ipv4Addr::LOCALHOST,
        };
        (address, port).into()
    }

    /// The recording of one of the shard's lives.
    fn recording(&self, life: u32) -> PathBuf {
        self.folder.path.join(format!("records-{life}.mq1"))
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path.join("snapshot")
    }

    /// What was recorded of all lives; of each but the last one, what the next began with.
    pub(crate) fn recorded(&self, published: u64) -> Result<Recording, Fail> {
        let mut all = Recording::default();
        for life in 0..=self.lives {
            let recording = Recording::read(&self.recording(life), published)?;
            if life == 0 {
                all.first = recording.first;
            }
            all.bytes.extend_from_slice(&recording.bytes);
            if life < self.lives {
                all.cut(read_snapshot(&self.snapshot())?.next_sequence());
                all.published = (all.bytes.len() / SLOT_LEN) as u64;
            } else {
                all.published += published;
            }
        }
        Ok(all)
    }

    /// Brings a shard back whose processes were killed: in the kernel it never ended; elsewhere it is made anew from its records.
    pub(crate) fn revive(&mut self) -> Result<Value, Fail> {
        if self.ring == RingKind::Kernel {
            return self.start(false);
        }
        let path = |path: PathBuf| path.display().to_string();
        let records = path(self.recording(self.lives));
        let market = path(self.folder.path.join("market.toml"));
        // What the ring still has, then the state that all records come to.
        self.finish(
            "recorder.log",
            &[
                "record",
                "--mq",
                &path(self.place.clone()),
                "--out",
                &records,
                "--seconds",
                "0",
            ],
        )?;
        let snapshot = path(self.snapshot());
        self.finish(
            "snapshot.log",
            &["snapshot", "make", "--market", &market, &records, &snapshot],
        )?;
        self.lives += 1;
        self.start(true)
    }

    /// Runs a process to its end.
    fn finish(&self, log: &str, arguments: &[&str]) -> Result<(), Fail> {
        let log = self.folder.path.join(log);
        let to = File::options().append(true).create(true).open(&log)?;
        let status = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(to)
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(Fail::new(format!(
            "ring0 {} failed: {}",
            arguments[0],
            fs::read_to_string(&log).unwrap_or_default().trim()
        )))
    }

    fn spawn(&self, log: &str, arguments: &[&str]) -> Result<Child, Fail> {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.path.join(log))?;
        Ok(Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--with-parent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?)
    }

    /// Starts daemon and recorder and waits for them; gives the daemon's status.
    pub(crate) fn start(&mut self, restored: bool) -> Result<Value, Fail> {
        let path = |path: PathBuf| path.display().to_string();
        let mut arguments = vec![
            "daemon".to_owned(),
            "--ring".to_owned(),
            self.ring.name().to_owned(),
            "--market".to_owned(),
            path(self.folder.path.join("market.toml")),
            "--socket".to_owned(),
            path(self.folder.path.join("socket")),
        ];
        if let Some(veth) = &self.veth {
            arguments.extend([
                "--interface".to_owned(),
                veth.exchange_if.clone(),
                "--netns".to_owned(),
                veth.exchange_ns.clone(),
            ]);
        }
        match (self.ring, &self.veth) {
            (RingKind::Kernel, Some(veth)) => arguments.extend([
                "--peer".to_owned(),
                format!("{}%{}", veth.trader_if, veth.trader_ns),
            ]),
            _ => arguments.extend(["--mq".to_owned(), path(self.place.clone())]),
        }
        if restored {
            arguments.extend(["--restore".to_owned(), path(self.snapshot())]);
        }
        if let (RingKind::Dpdk, Some(veth)) = (self.ring, &self.veth) {
            arguments.extend([
                "--device".to_owned(),
                format!("net_af_packet0,iface={}", veth.exchange_if),
                "--listen".to_owned(),
                veth.exchange_address.to_string(),
            ]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.daemon = Some(self.spawn("daemon.log", &arguments)?);
        let status = self.wait("daemon.log", |stage| stage.status(false).ok())?;
        let place = match self.ring {
            RingKind::Kernel => "--pin-root",
            _ => "--mq",
        };
        let recorder = self.spawn(
            "recorder.log",
            &[
                "record",
                place,
                &path(self.place.clone()),
                "--out",
                &path(self.recording(self.lives)),
            ],
        )?;
        self.recorder = Some(recorder);
        self.wait("recorder.log", |stage| {
            let status = stage.status(false).ok()?;
            let required = status["ring"]["required"]
                .as_array()?
                .iter()
                .any(|one| one["name"] == "recorder");
            required.then_some(())
        })?;
        Ok(status)
    }

    /// Asks until there is an answer; fails with the log when a process has ended.
    fn wait<T>(&mut self, log: &str, ask: impl Fn(&Stage) -> Option<T>) -> Result<T, Fail> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            let ended = [&mut self.daemon, &mut self.recorder]
                .into_iter()
                .flatten()
                .any(|child| matches!(child.try_wait(), Ok(Some(_))));
            if ended || Instant::now() > end {
                let text = fs::read_to_string(self.folder.path.join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.trim().lines().collect();
                let last = lines[lines.len().saturating_sub(8)..].join("\n");
                return Err(Fail::new(format!(
                    "a process {} before it was ready: {last}",
                    if ended { "ended" } else { "took too long" }
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self, hash: bool) -> Result<Value, Fail> {
        Ok(Client::connect(&self.folder.path.join("socket"))?.call(&Verb::Status { hash })?)
    }

    /// Slots that the shard has published.
    pub(crate) fn published(&self) -> Result<u64, Fail> {
        Ok(self.status(false)?["ring"]["published"]
            .as_u64()
            .unwrap_or(0))
    }

    /// Kills both processes with -9. A shard in a process ends with it.
    pub(crate) fn kill_all(&mut self) {
        for child in [self.daemon.take(), self.recorder.take()]
            .into_iter()
            .flatten()
        {
            kill(child);
        }
    }

    /// Waits until the recorder has everything; gives the status.
    pub(crate) fn quiet(&self, alive: &dyn Fn() -> Result<(), Fail>) -> Result<Value, Fail> {
        let end = Instant::now() + PATIENCE;
        loop {
            alive()?;
            let status = self.status(false)?;
            let behind = status["ring"]["required"][0]["behind"].as_u64();
            if behind == Some(0) && status["pending"] == 0 {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(Fail::new(
                    "the recorder does not catch up; is the disk of the temporary folder slow?",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the daemon, or tells it.
    pub(crate) fn tell(&self, verb: &Verb) -> Result<Value, Fail> {
        Ok(Client::connect(&self.folder.path.join("socket"))?.call(verb)?)
    }

    /// Waits until the recorder has everything, ends it, and gives the status with the state's hash.
    pub(crate) fn settle(&mut self, alive: &dyn Fn() -> Result<(), Fail>) -> Result<Value, Fail> {
        self.quiet(alive)?;
        if let Some(mut recorder) = self.recorder.take() {
            let pid = rustix::process::Pid::from_child(&recorder);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| Fail::new(format!("the recorder cannot be ended: {error}")))?;
            recorder.wait()?;
        }
        self.status(true)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill_all();
        if self.ring != RingKind::Kernel {
            let _ = fs::remove_file(&self.place); // there is none where nothing began
        } else if let Err(error) = xdp_loader::unload(&self.place) {
            eprintln!("ring0 demo: {error}");
        }
    }
}

fn kill(mut child: Child) {
    let _ = child.kill(); // it has ended already
    let _ = child.wait();
}

/// Unloads shards of demos that were killed: their namespaces are gone, so nothing can reach them any more.
fn unload_stale() {
    let folders = fs::read_dir(xdp_loader::PIN_PARENT)
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        let name = folder.file_name();
        let netns = name
            .to_str()
            .and_then(|name| name.split_once('%'))
            .map(|(_, netns)| netns);
        let gone = netns.is_some_and(|netns| {
            netns.starts_with("ring0-") && !Path::new("/run/netns").join(netns).exists()
        });
        if gone && let Err(error) = xdp_loader::unload(&folder.path()) {
            eprintln!("ring0 demo: {error}");
        }
    }
}

/// Removes folders of demos that were killed: they hold keys.
fn remove_stale_folders() {
    let folders = fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        let name = folder.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        let dead = owner.is_some_and(|owner| {
            owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists()
        });
        if dead && let Err(error) = fs::remove_dir_all(folder.path()) {
            eprintln!("ring0 demo: {} stays: {error}", folder.path().display());
        }
    }
}

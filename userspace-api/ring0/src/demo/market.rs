//! The market's stage: namespaces, folder, keys, and the two processes. Dropping it leaves nothing behind.

use crate::fail::Fail;
use ring0_lab::{Options, Veth};
use ring0_market::{Existing, Market, keygen};
use ring0d::{Client, Verb};
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The market: `markets/example.toml`.
const MARKET: &str = include_str!("../../../../markets/example.toml");

/// What the names of the demos' folders begin with; the process id follows.
const FOLDER: &str = "ring0-demo-";

/// How long a process may take to be ready: loading takes some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this run's own, with the market's file and keys in it. Dropping it removes it.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) market: Market,
}

impl Folder {
    /// Makes it, after removing those of dead runs.
    pub(super) fn new() -> Result<Folder, Fail> {
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
            fs::write(&file, MARKET)?;
            keygen(&file, Existing::Keep)?;
            Ok::<_, Fail>(Market::load(&file)?)
        })();
        let market = made.inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        Ok(Folder { path, market })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("ring0 demo: {} stays: {error}", self.path.display());
        }
    }
}

/// The kernel ring's stage.
pub(super) struct Stage {
    pub(super) folder: Folder,
    pub(super) veth: Veth,
    pin_root: PathBuf,
    daemon: Option<Child>,
    recorder: Option<Child>,
}

impl Stage {
    /// Namespaces, folder, market file and keys.
    pub(super) fn up() -> Result<Stage, Fail> {
        ring0_lab::remove_stale()?;
        unload_stale();
        let folder = Folder::new()?;
        let veth = Veth::up(Options::default())?;
        let pin_root = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
        Ok(Stage {
            folder,
            veth,
            pin_root,
            daemon: None,
            recorder: None,
        })
    }

    pub(super) fn recording(&self) -> PathBuf {
        self.folder.path.join("records.mq1")
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
    pub(super) fn start(&mut self) -> Result<Value, Fail> {
        let path = |path: PathBuf| path.display().to_string();
        let veth = &self.veth;
        let daemon = self.spawn(
            "daemon.log",
            &[
                "daemon",
                "--market",
                &path(self.folder.path.join("market.toml")),
                "--interface",
                &veth.exchange_if,
                "--netns",
                &veth.exchange_ns,
                "--peer",
                &format!("{}%{}", veth.trader_if, veth.trader_ns),
                "--socket",
                &path(self.folder.path.join("socket")),
            ],
        )?;
        self.daemon = Some(daemon);
        let status = self.wait("daemon.log", |stage| stage.status(false).ok())?;
        let recorder = self.spawn(
            "recorder.log",
            &[
                "record",
                "--pin-root",
                &path(self.pin_root.clone()),
                "--out",
                &path(self.recording()),
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

    pub(super) fn status(&self, hash: bool) -> Result<Value, Fail> {
        Ok(Client::connect(&self.folder.path.join("socket"))?.call(&Verb::Status { hash })?)
    }

    /// Slots that the shard has published.
    pub(super) fn published(&self) -> Result<u64, Fail> {
        Ok(self.status(false)?["ring"]["published"]
            .as_u64()
            .unwrap_or(0))
    }

    /// Kills both processes with -9.
    pub(super) fn kill_all(&mut self) {
        for child in [self.daemon.take(), self.recorder.take()]
            .into_iter()
            .flatten()
        {
            kill(child);
        }
    }

    /// Waits until the recorder has everything, ends it, and gives the status with the state's hash.
    pub(super) fn settle(&mut self, alive: &dyn Fn() -> Result<(), Fail>) -> Result<Value, Fail> {
        let end = Instant::now() + PATIENCE;
        loop {
            alive()?;
            let status = self.status(false)?;
            let behind = status["ring"]["required"][0]["behind"].as_u64();
            if behind == Some(0) && status["pending"] == 0 {
                break;
            }
            if Instant::now() > end {
                return Err(Fail::new(
                    "the recorder does not catch up; is the disk of the temporary folder slow?",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
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
        if let Err(error) = xdp_loader::unload(&self.pin_root) {
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

//! A market over a veth pair of its own, with daemon and recorder as processes; gone with the value.
#![allow(dead_code, reason = "each test takes what it needs")]

use ring0_engine::record::{Head, Kind, Message};
use ring0_lab::{Options, Veth};
use ring0_market::{Existing, Market, keygen};
use ring0_mq::Records;
use ring0_trader::{Session, Trader, UdpTransport};
use ring0d::{Client, Verb};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// How long a process may take to be ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the shard's engine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ring {
    Kernel,
    Udp,
    Afxdp,
    Dpdk,
}

impl Ring {
    fn name(self) -> &'static str {
        match self {
            Ring::Kernel => "kernel",
            Ring::Udp => "udp",
            Ring::Afxdp => "afxdp",
            Ring::Dpdk => "dpdk",
        }
    }
}

pub(crate) struct Stand {
    pub(crate) market: Market,
    pub(crate) veth: Veth,
    pub(crate) pin_root: PathBuf,
    ring: Ring,
    folder: tempfile::TempDir,
    journal: PathBuf,
    daemon: Option<Child>,
    recorder: Option<Child>,
}

impl Stand {
    /// Namespaces, market file and keys; no process yet.
    pub(crate) fn new() -> Stand {
        Stand::of(include_str!("../../../markets/example.toml"))
    }

    /// The same with a market of its own.
    pub(crate) fn of(market: &str) -> Stand {
        Stand::in_ring(Ring::Kernel, market)
    }

    /// The same in another ring.
    pub(crate) fn in_ring(ring: Ring, market: &str) -> Stand {
        let ran = ring0_tests::ring0(&["--version"]); // builds it
        assert_eq!(ran.status, 0, "{ran:?}");
        xdp_loader::ensure_bpffs().unwrap();
        let veth = Veth::up(Options::default()).unwrap_or_else(|error| panic!("{error}"));
        if ring == Ring::Dpdk {
            // The device takes every frame too, and answers ARP itself: a stack with the address would refuse the packets of a port that it
            // does not have.
            let (netns, interface) = (&veth.exchange_ns, &veth.exchange_if);
            ip(&["-n", netns, "address", "flush", "dev", interface]);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("market.toml");
        fs::write(&file, market).unwrap();
        keygen(&file, Existing::Keep).unwrap();
        let market = Market::load(&file).unwrap();
        let pin_root = xdp_loader::default_pin_root(&veth.exchange_if, Some(&veth.exchange_ns));
        Stand {
            market,
            veth,
            pin_root,
            ring,
            journal: folder.path().join("journal"),
            folder,
            daemon: None,
            recorder: None,
        }
    }

    /// With daemon and recorder running.
    pub(crate) fn up() -> Stand {
        let mut stand = Stand::new();
        stand.start_daemon();
        stand.start_recorder();
        stand
    }

    /// The market's file.
    pub(crate) fn market_file(&self) -> PathBuf {
        self.folder.path().join("market.toml")
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Says something to the daemon as an operator does, by the command.
    pub(crate) fn ctl(&self, words: &[&str]) -> ring0_tests::Ran {
        let socket = self.socket().display().to_string();
        let mut arguments = vec!["ctl", "--socket", &socket, "--json"];
        arguments.extend(words);
        ring0_tests::ring0(&arguments)
    }

    pub(crate) fn recording(&self) -> PathBuf {
        self.folder.path().join("records.mq1")
    }

    pub(crate) fn daemon_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    pub(crate) fn recorder_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("recorder.log")).unwrap_or_default()
    }

    pub(crate) fn command(&self, log: &str, arguments: &[&str]) -> Command {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join(log));
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test.ancestors().nth(2).unwrap().join("ring0"));
        command
            .args(arguments)
            .arg("--with-parent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        command
    }

    /// Makes all key files anew; this value's own market keeps the old keys.
    pub(crate) fn replace_keys(&self) {
        keygen(&self.folder.path().join("market.toml"), Existing::Replace).unwrap();
    }

    /// The record ring's file of a shard in a thread.
    pub(crate) fn record_ring(&self) -> PathBuf {
        self.folder.path().join("records.ring")
    }

    /// The daemon's command line.
    pub(crate) fn daemon_command(&self) -> Command {
        let folder = self.folder.path().display();
        let mut command = self.command(
            "daemon.log",
            &[
                "daemon",
                "--market",
                &format!("{folder}/market.toml"),
                "--ring",
                self.ring.name(),
                "--netns",
                &self.veth.exchange_ns,
                "--socket",
                &self.socket().display().to_string(),
            ],
        );
        let (interface, address) = (&self.veth.exchange_if, self.veth.exchange_address);
        if matches!(self.ring, Ring::Kernel | Ring::Afxdp) {
            command.args(["--interface", interface]);
        }
        if matches!(self.ring, Ring::Udp | Ring::Dpdk) {
            command.args(["--listen", &address.to_string()]);
        }
        if self.ring == Ring::Dpdk {
            command.args(["--device", &format!("net_af_packet0,iface={interface}")]);
        }
        if self.ring == Ring::Kernel {
            let peer = format!("{}%{}", self.veth.trader_if, self.veth.trader_ns);
            command.args(["--peer", &peer]);
        } else {
            command.arg("--mq").arg(self.record_ring());
        }
        command
    }

    /// Starts the daemon and waits for it; gives its status.
    pub(crate) fn start_daemon(&mut self) -> Value {
        self.start_daemon_with(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn start_daemon_with(&mut self, arguments: &[&str]) -> Value {
        self.daemon = Some(self.daemon_command().args(arguments).spawn().unwrap());
        self.wait("the daemon", |stand| {
            stand.try_call(&Verb::Status { hash: false })
        })
    }

    /// Takes a daemon that was started otherwise, and waits for it.
    pub(crate) fn adopt_daemon(&mut self, daemon: Child) {
        self.daemon = Some(daemon);
        self.wait("the daemon", |stand| {
            stand.try_call(&Verb::Status { hash: false })
        });
    }

    /// Waits until the daemon has been killed, as it should be.
    pub(crate) fn await_death(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        let status = daemon.wait().unwrap();
        assert!(!status.success(), "{status} {}", self.daemon_log());
    }

    pub(crate) fn start_recorder(&mut self) {
        let recording = self.recording().display().to_string();
        self.start_recorder_with(&["--out", &recording]);
    }

    /// Folder of the journal, where one is recorded.
    pub(crate) fn journal(&self) -> PathBuf {
        self.journal.clone()
    }

    /// Another folder for the journal from now on.
    pub(crate) fn set_journal(&mut self, folder: &Path) {
        folder.clone_into(&mut self.journal);
    }

    /// Records into a journal.
    pub(crate) fn start_journal(&mut self) {
        let folder = self.journal().display().to_string();
        self.start_recorder_with(&["--journal", &folder]);
    }

    pub(crate) fn start_recorder_with(&mut self, to: &[&str]) {
        let mut command = self.command("recorder.log", &["record"]);
        match self.ring {
            Ring::Kernel => command.arg("--pin-root").arg(&self.pin_root),
            _ => command.arg("--mq").arg(self.record_ring()),
        };
        command.args(to);
        self.recorder = Some(command.spawn().unwrap());
        self.wait("the recorder", |stand| {
            let status = stand.status();
            let required = status["ring"]["required"].as_array().unwrap();
            required
                .iter()
                .any(|one| one["name"] == "recorder")
                .then_some(())
        });
    }

    pub(crate) fn kill_daemon(&mut self) {
        kill(self.daemon.take());
    }

    /// Stops the daemon's process where it is, its ring's thread too, or lets it go on.
    pub(crate) fn freeze_daemon(&self, frozen: bool) {
        freeze(self.daemon.as_ref().expect("it runs"), frozen);
    }

    /// The same of the recorder.
    pub(crate) fn freeze_recorder(&self, frozen: bool) {
        freeze(self.recorder.as_ref().expect("it runs"), frozen);
    }

    /// Waits until the recorder has ended by itself, as it should.
    pub(crate) fn await_recorder(&mut self) {
        let mut recorder = self.recorder.take().expect("it runs");
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = recorder.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= end {
                kill(Some(recorder));
                panic!("the recorder does not end: {}", self.recorder_log());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{status} {}", self.recorder_log());
    }

    pub(crate) fn kill_recorder(&mut self) {
        kill(self.recorder.take());
    }

    fn wait<T>(&mut self, what: &str, ask: impl Fn(&Stand) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            for child in [&mut self.daemon, &mut self.recorder].into_iter().flatten() {
                let ended = child.try_wait().unwrap();
                let log =
                    |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                assert!(
                    ended.is_none() && Instant::now() < end,
                    "{what} is not ready ({ended:?}): {} {}",
                    log("daemon.log"),
                    log("recorder.log")
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.folder.path().join("socket")).unwrap()
    }

    pub(crate) fn try_call(&self, verb: &Verb) -> Option<Value> {
        Client::connect(&self.folder.path().join("socket"))
            .ok()?
            .call(verb)
            .ok()
    }

    pub(crate) fn status(&self) -> Value {
        self.client().call(&Verb::Status { hash: false }).unwrap()
    }

    /// An account's balance in an asset, as the daemon says it.
    pub(crate) fn balance(&self, account: &str, asset: &str, part: &str) -> String {
        let answer = self.client().call(&Verb::Accounts).unwrap();
        let accounts = answer["accounts"].as_array().unwrap();
        let found = accounts.iter().find(|one| one["name"] == account).unwrap();
        found["balances"][asset][part].as_str().unwrap().to_owned()
    }

    /// A trader in the trader's namespace.
    pub(crate) fn trader(&self, session: &str) -> Trader<UdpTransport> {
        self.trader_of(self.market.session(session).unwrap().clone())
    }

    /// A trader with a session of its own.
    pub(crate) fn trader_of(&self, session: Session) -> Trader<UdpTransport> {
        Trader::new(session, UdpTransport::new(self.trader_socket()))
    }

    /// A socket in the trader's namespace, connected to the shard.
    pub(crate) fn trader_socket(&self) -> UdpSocket {
        let shard = (self.veth.exchange_address, self.market.plan.shard.port);
        let connect = || {
            let socket = UdpSocket::bind((self.veth.trader_address, 0))?;
            socket.connect(shard)?;
            std::io::Result::Ok(socket)
        };
        self.veth.in_trader(connect).unwrap().unwrap()
    }

    /// Waits until everything published is recorded.
    pub(crate) fn settle(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if status["ring"]["required"][0]["behind"] == 0 && status["pending"] == 0 {
                return;
            }
            assert!(
                Instant::now() < end,
                "the recorder does not catch up: {status}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The recorded bytes, and the messages by session and client sequence. No message is recorded twice.
    pub(crate) fn recorded(&self) -> (Vec<u8>, HashMap<(u32, u64), Message>) {
        let mut records = Records::open(&self.recording()).unwrap();
        assert_eq!(records.first(), 0, "recorded from the first slot on");
        let (mut bytes, mut record) = (Vec::new(), Vec::new());
        let mut messages = HashMap::new();
        let mut next = 1;
        while records.next_into(&mut record).unwrap() {
            let (head, _) = Head::read_from_prefix(&record).unwrap();
            assert_eq!(head.sequence, next, "no gap");
            next += 1;
            bytes.extend_from_slice(&record);
            if head.kind == Kind::Message as u16 {
                let message = Message::read_from_bytes(&record).unwrap();
                let key = (message.session, message.client_sequence);
                assert!(
                    messages.insert(key, message).is_none(),
                    "executed twice: {key:?}"
                );
            }
        }
        (bytes, messages)
    }

    /// The journaled messages by session and client sequence. No message is in it twice.
    pub(crate) fn journaled(&self) -> HashMap<(u32, u64), Message> {
        let mut reader = ring0_journal::Reader::open(&self.journal()).unwrap();
        let mut messages = HashMap::new();
        while let Some(record) = reader.next_record().unwrap() {
            let (head, _) = Head::read_from_prefix(record).unwrap();
            if head.kind == Kind::Message as u16 {
                let message = Message::read_from_bytes(record).unwrap();
                let key = (message.session, message.client_sequence);
                assert!(
                    messages.insert(key, message).is_none(),
                    "executed twice: {key:?}"
                );
            }
        }
        messages
    }

    /// Detaches and removes everything, and checks that nothing stays.
    pub(crate) fn unload(&mut self) {
        self.kill_daemon();
        self.kill_recorder();
        if self.ring == Ring::Kernel {
            xdp_loader::unload(&self.pin_root).unwrap_or_else(|error| panic!("{error}"));
        }
        assert!(!Path::new(&self.pin_root).exists());
        for (netns, interface) in [
            (&self.veth.exchange_ns, &self.veth.exchange_if),
            (&self.veth.trader_ns, &self.veth.trader_if),
        ] {
            let output = Command::new("ip")
                .args(["-n", netns, "-d", "link", "show", interface])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !text.contains("xdp"), "{text}");
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.kill_daemon();
        self.kill_recorder();
        if self.ring == Ring::Kernel
            && let Err(error) = xdp_loader::unload(&self.pin_root)
        {
            eprintln!("{error}");
        }
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill(); // it has ended already
        child.wait().unwrap();
    }
}

fn freeze(process: &Child, frozen: bool) {
    let signal = if frozen { Signal::STOP } else { Signal::CONT };
    kill_process(Pid::from_child(process), signal).unwrap();
    // A thread on another processor runs on until the signal comes there.
    let tasks = format!("/proc/{}/task", process.id());
    let is_stopped = |task: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|it| it.starts_with('T'))
    };
    let end = Instant::now() + PATIENCE;
    while frozen && !fs::read_dir(&tasks).unwrap().all(is_stopped) {
        assert!(Instant::now() < end, "the process does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

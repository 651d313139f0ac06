//! A shard's state goes through a file into another process, and goes on there as if nothing had happened (RULES 25).
//!
//! The other process is this test binary run again. Two kernels have two clocks, and records have the time in them; so the
//! venue's time is first moved ahead of every clock, where it stands still, and everything after that is equal byte for byte.

mod stand;

use ring0_engine::control::{Clock, Control, ControlKind, Empty};
use ring0_engine::flow::{Flow, Input, Options};
use ring0_engine::layout::Layout;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::Head;
use ring0_engine::replay::Tail;
use ring0_engine::snapshot::{Replica, Snapshot};
use ring0_mq::{Identity, RecordFile, SnapshotWriter, read_snapshot, write_snapshot};
use ring0_rings::{KernelOptions, KernelShard, Live, Ring, RingError, kept_object, restore_shard};
use ring0_tests::{Kernel, PORT, Random, ring0, seed};
use ring0_trader::{Locate, Order, Outcome, Price, Shares};
use ring0d::Verb;
use stand::Stand;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use xdp_loader::LoadOptions;
use zerocopy::{FromBytes, IntoBytes};

const RECORD_SLOTS: u32 = 1 << 16;
/// XDP's verdict on a packet that gets no answer.
const XDP_DROP: u32 = 1;
/// Bytes of a tag, which the kernel makes and the native engine leaves blank.
const TAG: usize = 16;
/// Inputs after each restore.
const GOES_ON: usize = 4_000;
/// Added to the boot-time clock for a moment: some 39 hours, which no clock makes up for while the test runs.
const AHEAD_NS: u64 = 1 << 47;

/// One run of the program.
#[derive(Clone, Debug)]
enum Run {
    Packet(Vec<u8>),
    Control(Box<Control>),
    Steps,
}

impl Run {
    /// Each control command on its own, so that every ring takes the same steps before it; the clock stays where it is.
    fn of(input: Input, is_frozen: bool) -> Vec<Run> {
        match input {
            Input::Packet(payload) => vec![Run::Packet(payload)],
            Input::Steps => vec![Run::Steps],
            Input::Control(controls) => controls
                .into_iter()
                .map(|control| {
                    let is_clock = control.kind == ControlKind::Clock as u32;
                    Run::Control(Box::new(if is_clock && is_frozen {
                        clock(0)
                    } else {
                        control
                    }))
                })
                .collect(),
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        let (kind, bytes) = match self {
            Run::Packet(payload) => (0, payload.as_slice()),
            Run::Control(control) => (1, control.as_bytes()),
            Run::Steps => (2, &[][..]),
        };
        into.push(kind);
        into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        into.extend_from_slice(bytes);
    }

    fn read_all(mut bytes: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        while let [kind, a, b, c, d, rest @ ..] = bytes {
            let (content, after) = rest.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
            runs.push(match kind {
                0 => Run::Packet(content.to_vec()),
                1 => Run::Control(Box::new(
                    Control::read_from_bytes(content).expect("a command was written"),
                )),
                _ => Run::Steps,
            });
            bytes = after;
        }
        runs
    }
}

fn clock(day_base_ns: u64) -> Control {
    Control::new(ControlKind::Clock, &Clock { day_base_ns })
}

fn plain(kind: ControlKind) -> Control {
    Control::new(kind, &Empty {})
}

/// What runs gave: answers (of a control command its outcome and reason), and records.
#[derive(Default)]
struct Log {
    answers: Vec<Option<Vec<u8>>>,
    records: Vec<u8>,
}

impl Log {
    /// All answers as bytes.
    fn flat(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for answer in &self.answers {
            let len = answer.as_ref().map_or(u32::MAX, |it| it.len() as u32);
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(answer.as_deref().unwrap_or_default());
        }
        bytes
    }

    fn untagged(&self) -> Vec<Option<&[u8]>> {
        let answers = self.answers.iter().map(Option::as_deref);
        answers
            .map(|answer| answer.map(|bytes| &bytes[..bytes.len().saturating_sub(TAG)]))
            .collect()
    }
}

fn run_kernel(shard: &mut KernelShard, run: &Run, log: &mut Log) {
    let answer = match run {
        Run::Packet(payload) => match shard.packet(payload, 0) {
            Ok(answer) => Some(answer),
            Err(RingError::NoAnswer { verdict: XDP_DROP }) => None,
            Err(error) => panic!("{error}"),
        },
        Run::Control(control) => {
            let (outcome, reason) = shard.command(std::slice::from_ref(control)).unwrap()[0];
            Some(vec![outcome as u8, reason as u8])
        }
        Run::Steps => {
            shard.steps().unwrap();
            None
        }
    };
    log.answers.push(answer);
    log.records.extend(shard.take_records().unwrap());
}

/// As [`run_kernel`], by a clock that is always behind the venue's time.
fn run_native(native: &mut Native, run: &Run, log: &mut Log) {
    let answer = match run {
        Run::Packet(payload) => match native.packet(payload, 0, None) {
            Ok((_, answer)) => Some(answer),
            Err(Dropped::UnknownSession) => None,
            Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
        },
        Run::Control(control) => {
            let (outcome, reason) = native.control(std::slice::from_ref(control), 0)[0];
            Some(vec![outcome as u8, reason as u8])
        }
        Run::Steps => {
            native.steps();
            None
        }
    };
    log.answers.push(answer);
    log.records.extend(native.take_records());
}

fn set_keys(shard: &mut KernelShard, seed: u64) {
    for session in 0..Flow::capacity().sessions {
        let mut key = [session as u8 + 1; 16];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let key = (session != 1).then_some(&key);
        shard.set_key(session, key).unwrap();
    }
}

fn restored_native(snapshot: &Snapshot) -> Native {
    let native = Native::new(&Flow::capacity()).unwrap();
    snapshot.restore(native.shard(), native.layout()).unwrap();
    native
}

/// This test binary again, only the test [`a_process_of_its_own`], to do `work` in `folder`.
fn process(work: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "a_process_of_its_own", "--nocapture"])
        .env("RING0_SNAPSHOT_WORK", work)
        .env("RING0_SNAPSHOT_FOLDER", folder)
        .stdout(Stdio::null());
    command
}

/// What the other processes do. Without work in its environment this is the shortest of them, done in a process of its own.
#[test]
fn a_process_of_its_own() {
    let Ok(work) = std::env::var("RING0_SNAPSHOT_WORK") else {
        let folder = tempfile::tempdir().unwrap();
        write_samples(folder.path());
        let status = process("die", folder.path()).status().unwrap();
        assert_eq!(status.signal(), Some(9));
        return;
    };
    let folder = std::env::var("RING0_SNAPSHOT_FOLDER").expect("given with the work");
    let folder = Path::new(&folder);
    let file = folder.join("shard");
    match work.as_str() {
        "go-on" => {
            let seed = fs::read_to_string(folder.join("seed")).unwrap();
            let runs = Run::read_all(&fs::read(folder.join("runs")).unwrap());
            let snapshot = read_snapshot(&file).unwrap();
            let mut kernel = Kernel::restored(&snapshot, &Flow::capacity(), RECORD_SLOTS);
            assert_eq!(kernel.shard.state_hash(), snapshot.state_hash());
            set_keys(&mut kernel.shard, seed.parse().unwrap());
            let mut log = Log::default();
            for run in &runs {
                run_kernel(&mut kernel.shard, run, &mut log);
            }
            kernel.shard.shard().check();
            fs::write(folder.join("records"), &log.records).unwrap();
            fs::write(folder.join("answers"), log.flat()).unwrap();
            let hash = kernel.shard.state_hash().to_string();
            fs::write(folder.join("hash"), hash).unwrap();
        }
        "die" => {
            let new = read_snapshot(&folder.join("new")).unwrap();
            let written = SnapshotWriter::write(&file, &new).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .unwrap();
            written.put_in_place().unwrap();
        }
        "write" => {
            let samples = ["old", "new"].map(|name| read_snapshot(&folder.join(name)).unwrap());
            for sample in samples.iter().cycle() {
                write_snapshot(&file, sample).unwrap();
            }
        }
        other => panic!("no such work: {other}"),
    }
}

/// The shard of a flow's native run, before and after some more of it: `old` and `new` in the folder.
fn write_samples(folder: &Path) {
    let mut flow = Flow::new(7, Options::default());
    let mut native = Native::new(&Flow::capacity()).unwrap();
    let setup = flow.setup();
    native.control(&setup, flow.boot_ns());
    for name in ["old", "new"] {
        drive(&mut native, &mut flow, 2_000);
        let snapshot = Snapshot::take(native.shard(), native.layout()).unwrap();
        write_snapshot(&folder.join(name), &snapshot).unwrap();
    }
}

/// Some of a flow at its own time.
fn drive(native: &mut Native, flow: &mut Flow, inputs: usize) {
    for _ in 0..inputs {
        let input = flow.next_input();
        let boot_ns = flow.boot_ns();
        match input {
            Input::Packet(payload) => {
                let answer = native.packet(&payload, boot_ns, None).ok();
                flow.observe(answer.as_ref().map(|(_, answer)| answer.as_slice()));
            }
            Input::Control(controls) => {
                native.control(&controls, boot_ns);
            }
            Input::Steps => native.steps(),
        }
    }
}

/// The original: a kernel shard, its flow, and the replica that follows its records.
struct Original {
    kernel: Kernel,
    flow: Flow,
    replica: Replica,
    is_frozen: bool,
}

impl Original {
    fn new(seed: u64) -> Original {
        let capacity = Flow::capacity();
        let mut flow = Flow::new(seed, Options::default());
        let mut kernel = Kernel::up(&capacity, RECORD_SLOTS, ring0_lab::Options::default());
        set_keys(&mut kernel.shard, seed);
        let setup = flow.setup();
        let mut original = Original {
            kernel,
            flow,
            replica: Replica::new(&capacity, None).unwrap(),
            is_frozen: false,
        };
        original.input(Input::Control(setup), &mut Vec::new(), &mut Log::default());
        original
    }

    /// One input of the flow into the kernel; what it was is noted, and what it gave.
    fn input(&mut self, input: Input, runs: &mut Vec<Run>, log: &mut Log) {
        for run in Run::of(input, self.is_frozen) {
            let recorded = log.records.len();
            run_kernel(&mut self.kernel.shard, &run, log);
            if matches!(run, Run::Packet(_)) {
                self.flow
                    .observe(log.answers.last().and_then(Option::as_deref));
            }
            self.replica.feed(&log.records[recorded..]).unwrap();
            runs.push(run);
        }
    }

    fn go(&mut self, inputs: usize) -> (Vec<Run>, Log) {
        let (mut runs, mut log) = (Vec::new(), Log::default());
        for _ in 0..inputs {
            let input = self.flow.next_input();
            self.input(input, &mut runs, &mut log);
        }
        (runs, log)
    }

    fn control(&mut self, control: Control) {
        let mut log = Log::default();
        run_kernel(
            &mut self.kernel.shard,
            &Run::Control(Box::new(control)),
            &mut log,
        );
        assert_eq!(log.answers, [Some(vec![b'A', 0])], "the operator may");
        self.replica.feed(&log.records).unwrap();
    }

    /// Venue time ahead of every clock, where it stands still.
    fn freeze(&mut self) {
        self.control(clock(AHEAD_NS));
        self.control(clock(0));
        self.is_frozen = true;
    }

    fn pending(&self) -> u32 {
        self.kernel.shard.shard().header().pending_count.get()
    }
}

/// Flows that are tried until one is halted in the middle of its work.
const STARTS_MAX: u64 = 12;

/// Halts the original, takes it through a file into another process and into native shards, and goes on with all of them.
fn cut(original: &mut Original, seed: u64) {
    original.control(plain(ControlKind::HaltShard));
    let pending = original.pending();
    let live = original.kernel.shard.state_hash();
    let time_ns = original.kernel.shard.shard().header().time_ns.get();
    let of_replica = original.replica.snapshot().unwrap();
    assert_eq!(
        of_replica.state_hash(),
        live,
        "the replica is the live shard"
    );
    let layout = Layout::new(&Flow::capacity()).unwrap();
    let of_kernel = original.kernel.shard.snapshot_halted(&layout).unwrap();
    assert_eq!(of_kernel.state_hash(), live);
    println!(
        "cut at record {}: {} pages, {} bytes, {pending} pending; kernel's and replica's snapshots {}",
        of_replica.next_sequence(),
        of_replica.pages(),
        of_replica.bytes().len(),
        if of_kernel.bytes() == of_replica.bytes() {
            "are the same bytes"
        } else {
            "differ, with one state hash"
        }
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard");
    write_snapshot(&path, &of_replica).unwrap();
    let read = read_snapshot(&path).unwrap();
    read.verify().unwrap();

    // Begins with the halt: what comes then is not taken, by either.
    let (mut runs, mut log) = original.go(20);
    let resume = Input::Control(vec![plain(ControlKind::ResumeShard)]);
    original.input(resume, &mut runs, &mut log);
    let (more, gave) = original.go(GOES_ON);
    runs.extend(more);
    log.answers.extend(gave.answers);
    log.records.extend(gave.records);
    let shard = original.kernel.shard.shard();
    assert_eq!(
        shard.header().time_ns.get(),
        time_ns,
        "the time stood still"
    );
    let hash = original.kernel.shard.state_hash();
    assert_eq!(original.replica.shard().state_hash(), hash);

    let mut bytes = Vec::new();
    runs.iter().for_each(|run| run.write(&mut bytes));
    fs::write(folder.path().join("runs"), bytes).unwrap();
    fs::write(folder.path().join("seed"), seed.to_string()).unwrap();
    let status = process("go-on", folder.path()).status().unwrap();
    assert!(status.success(), "the other process: {status}");
    let other = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(
        other("records") == log.records,
        "RING0_SEED={seed}: records of the other process"
    );
    assert!(
        other("answers") == log.flat(),
        "RING0_SEED={seed}: answers of the other process"
    );
    assert_eq!(other("hash"), hash.to_string().as_bytes());

    for (name, snapshot) in [("replica's", &read), ("kernel's", &of_kernel)] {
        let mut native = restored_native(snapshot);
        let mut native_log = Log::default();
        for run in &runs {
            run_native(&mut native, run, &mut native_log);
        }
        assert!(
            native_log.records == log.records,
            "RING0_SEED={seed}: records of a native shard from the {name} snapshot"
        );
        assert!(native_log.untagged() == log.untagged(), "RING0_SEED={seed}");
        assert_eq!(native.shard().state_hash(), hash);
        native.shard().check();
    }
    println!(
        "{} runs and {} records later: {hash} in four shards",
        runs.len(),
        original.kernel.shard.shard().header().next_sequence.get() - of_replica.next_sequence()
    );
}

#[test]
fn a_shard_restored_in_another_process_goes_on_like_the_original() {
    let seed = seed();
    let mut original = Original::new(seed);
    original.go(3_000);
    original.freeze();
    original.go(2_000);
    cut(&mut original, seed);

    // And once where something is left to be done, more than the halting run itself does: not every flow comes to it.
    let mut seeds = (0..STARTS_MAX).map(|start| seed.wrapping_add(start));
    let stopped_at_work = seeds.find(|&other| {
        if other != seed {
            original = Original::new(other);
            original.go(3_000);
            original.freeze();
        }
        (0..8_000).any(|_| {
            original.go(1);
            if original.pending() == 0 {
                return false;
            }
            original.control(plain(ControlKind::HaltShard));
            let is_left = original.pending() != 0;
            if !is_left {
                original.control(plain(ControlKind::ResumeShard));
            }
            is_left
        })
    });
    let Some(seed) = stopped_at_work else {
        panic!("RING0_SEED={seed}: no halted shard with a continuation");
    };
    cut(&mut original, seed);
    assert_eq!(original.replica.finish(), Tail::Clean);
}

#[test]
fn a_living_shard_is_neither_copied_nor_written_over() {
    let seed = seed();
    let original = Original::new(seed);
    let layout = Layout::new(&Flow::capacity()).unwrap();
    let error = original.kernel.shard.snapshot_halted(&layout).unwrap_err();
    assert!(error.to_string().contains("halt it first"), "{error}");
    let before = original.kernel.shard.shard().state_hash();
    let snapshot = original.replica.snapshot().unwrap();
    let veth = &original.kernel.veth;
    let mut load = LoadOptions::new(kept_object(), &veth.exchange_if, Some(&veth.exchange_ns));
    load.record_slots = RECORD_SLOTS;
    let options = KernelOptions {
        load,
        layout,
        port: PORT,
        address: Some(veth.exchange_address),
        acks: ring0_rings::Acks::default(),
    };
    let error = restore_shard(&options, &snapshot).err().expect("refused");
    assert!(error.to_string().contains("pinned"), "{error}");
    assert_eq!(original.kernel.shard.shard().state_hash(), before);
}

#[test]
fn a_lost_shard_comes_back_from_its_recording_and_trades_on() {
    let mut stand = Stand::up();
    let folder = stand.recording().parent().unwrap().to_owned();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let market = format!("--market={}", file("market.toml"));
    let socket = format!("--socket={}", file("socket"));
    let make = |more: &[&str], records: &Path, out: &str| {
        let mut arguments = vec!["snapshot", "make", &market, "--live", &socket, "--json"];
        arguments.extend(more);
        let out = file(out);
        arguments.extend([records.to_str().unwrap(), &out]);
        ring0(&arguments)
    };
    let price = Price(60_000 * 10_000);
    let mut alice = stand.trader("alice-1");
    let mut bob = stand.trader("bob-1");
    let sell = Order::sell(Locate(1), Shares(10), price);
    let buy = Order::buy(Locate(1), Shares(4), price);
    assert_eq!(alice.submit(&[sell]).unwrap()[0].outcome, Outcome::Accepted);
    assert_eq!(bob.submit(&[buy]).unwrap()[0].quantity, 4);
    stand.settle();
    let made = make(&[], &stand.recording(), "snapshot");
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(made.json()["live"], true);
    let accounts = stand.client().call(&Verb::Accounts).unwrap();
    let status = stand.status();

    // A second start with the snapshot would be a second book: refused, and the first goes on.
    stand.kill_daemon();
    let mut restore = stand.daemon_command();
    restore.args(["--restore", &file("snapshot")]);
    assert_eq!(restore.status().unwrap().code(), Some(1));
    assert!(stand.daemon_log().contains("is pinned at"));

    // Everything is gone: memory, links, rings.
    stand.unload();
    let before = folder.join("before.mq1");
    fs::rename(stand.recording(), &before).unwrap();
    let status_after = stand.start_daemon_with(&["--restore", &file("snapshot")]);
    assert_eq!(status_after["adopted"], false);
    assert!(stand.daemon_log().contains("restored example"));
    let next = status["next_sequence"].as_u64().unwrap();
    assert_eq!(
        status_after["next_sequence"],
        next + 1,
        "one command, the clock; no deposit twice"
    );
    assert_eq!(stand.client().call(&Verb::Accounts).unwrap(), accounts);

    // The same traders go on, against the order that rested before.
    stand.start_recorder();
    let ack = &bob.submit(&[buy]).unwrap()[0];
    assert_eq!((ack.outcome, ack.quantity), (Outcome::Accepted, 4));
    assert_eq!(alice.submit(&[sell]).unwrap()[0].outcome, Outcome::Accepted);
    stand.kill_daemon();
    assert_eq!(stand.start_daemon()["adopted"], true);
    stand.settle();
    let from = format!("--from={}", file("snapshot"));
    let later = make(&[&from], &stand.recording(), "later");
    assert_eq!(later.status, 0, "{later:?}");
    let early = make(&[], &before, "none");
    assert_eq!(early.status, 1, "{early:?}");
    assert!(early.err.contains("let the recorder catch up"), "{early:?}");
    stand.unload();
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let mut random = Random(seed());
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let good = fs::read(folder.path().join("new")).unwrap();
    let pages_at = good.len() - 32 - good.len() / 4096 * 4096;
    let head = 0..pages_at.min(good.len());
    let tail = good.len() - 32..good.len();
    let sampled: Vec<usize> = (0..3_000).map(|_| random.below(good.len())).collect();
    let mut refused = 0;
    for at in head.clone().chain(tail).chain(sampled) {
        let mut changed = good.clone();
        let mask = 1 + random.below(255) as u8;
        changed[at] ^= mask;
        assert!(
            Snapshot::from_bytes(changed).is_err(),
            "byte {at} changed by {mask:#x}"
        );
        refused += 1;
    }
    let sampled: Vec<usize> = (0..1_000).map(|_| random.below(good.len())).collect();
    for len in head.chain(good.len() - 64..good.len()).chain(sampled) {
        assert!(
            Snapshot::from_bytes(good[..len].to_vec()).is_err(),
            "cut at {len}"
        );
        refused += 1;
    }
    println!(
        "{refused} damaged snapshots of {} bytes refused",
        good.len()
    );
    Snapshot::from_bytes(good).unwrap().verify().unwrap();
}

#[test]
fn a_writer_killed_before_its_file_has_its_name_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let path = folder.path().join("shard");
    let [old, new] = ["old", "new"].map(|name| read_snapshot(&folder.path().join(name)).unwrap());
    write_snapshot(&path, &old).unwrap();
    let status = process("die", folder.path()).status().unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(folder.path().join("shard.part").exists());
    assert!(read_snapshot(&path).unwrap().bytes() == old.bytes());
    write_snapshot(&path, &new).unwrap();
    assert!(read_snapshot(&path).unwrap().bytes() == new.bytes());
    assert!(!folder.path().join("shard.part").exists());
}

/// Ends with the value, also when a test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_one_of_the_two() {
    let mut random = Random(seed());
    let folder = tempfile::tempdir().unwrap();
    write_samples(folder.path());
    let path = folder.path().join("shard");
    let samples = ["old", "new"].map(|name| fs::read(folder.path().join(name)).unwrap());
    write_snapshot(&path, &read_snapshot(&folder.path().join("old")).unwrap()).unwrap();
    let mut left = 0;
    for _ in 0..25 {
        let writer = Killed(process("write", folder.path()).spawn().unwrap());
        std::thread::sleep(Duration::from_micros(10_000 + random.below(30_000) as u64));
        drop(writer);
        let found = read_snapshot(&path).unwrap();
        assert!(samples.iter().any(|sample| sample == found.bytes()));
        left += u32::from(folder.path().join("shard.part").exists());
    }
    println!("{left} of 25 died before the name was given");
}

#[test]
fn the_command_makes_shows_and_verifies() {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let capacity = Flow::capacity();
    let config = format!("{capacity:?}")
        .trim_start_matches("Capacity {")
        .trim_end_matches('}')
        .replace(", ", "\n")
        .replace(':', " =");
    fs::write(file("capacity.toml"), config).unwrap();
    let mut flow = Flow::new(seed, Options::default());
    let mut native = Native::new(&capacity).unwrap();
    let setup = flow.setup();
    native.control(&setup, flow.boot_ns());
    let identity = Identity {
        layout_hash: native.layout().hash(),
        boot_id: [1; 16],
        arena_id: 1,
    };
    let mut recording =
        RecordFile::open(folder.path().join("day.r0").as_path(), identity, 0).unwrap();
    drive(&mut native, &mut flow, 2_000);
    recording.append(&native.take_records()).unwrap();
    let config = format!("--config={}", file("capacity.toml"));
    let make = |more: &[&str], out: &str| {
        let mut arguments = vec!["snapshot", "make", &config, "--json"];
        arguments.extend(more);
        let (records, out) = (file("day.r0"), file(out));
        ring0(&[arguments.as_slice(), &[&records, &out]].concat())
    };

    let made = make(&[], "first");
    assert_eq!(made.status, 0, "{made:?}");
    let made = made.json();
    assert_eq!(made["state_hash"], native.shard().state_hash().to_string());
    let next = native.shard().header().next_sequence.get();
    assert_eq!(made["next_sequence"], next);
    let shown = ring0(&["snapshot", "show", &file("first"), "--json"]).json();
    for name in [
        "state_hash",
        "next_sequence",
        "layout_hash",
        "pages",
        "bytes",
        "time_ns",
    ] {
        assert_eq!(shown[name], made[name], "{name}");
    }
    assert_eq!(shown["parts"][0]["name"], "header");
    assert_eq!(ring0(&["snapshot", "verify", &file("first")]).status, 0);
    assert!(
        ring0(&["snapshot", "show", &file("first")])
            .out
            .contains("orders")
    );

    // The rest of the day from the first one, and from the beginning: the same.
    drive(&mut native, &mut flow, 1_000);
    recording.append(&native.take_records()).unwrap();
    let later = make(&[&format!("--from={}", file("first"))], "second").json();
    assert_eq!(later["state_hash"], native.shard().state_hash().to_string());
    assert_eq!(make(&[], "whole").status, 0);
    assert!(fs::read(file("second")).unwrap() == fs::read(file("whole")).unwrap());

    // What is wrong is one line that names the file.
    let mut damaged = fs::read(file("first")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(file("damaged"), damaged).unwrap();
    let ran = ring0(&["snapshot", "verify", &file("damaged")]);
    assert_eq!((ran.status, ran.err.lines().count()), (3, 1), "{ran:?}");
    assert!(
        ran.err.contains("damaged: its checksum is wrong"),
        "{ran:?}"
    );
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/../markets/example.toml");
    let (records, out) = (file("day.r0"), file("none"));
    let ran = ring0(&["snapshot", "make", "--market", small, &records, &out]);
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
    assert!(!folder.path().join("none").exists());
    let heads = fs::read(file("day.r0")).unwrap();
    let (head, _) = Head::read_from_prefix(&heads[SLOT_LEN..]).unwrap();
    assert_eq!(head.sequence, 1);
}

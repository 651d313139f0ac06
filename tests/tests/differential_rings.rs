//! One random flow through a living ring (the kernel program, or a thread behind a port), the native engine and the naive reference: equal in every
//! byte.
//!
//! A living ring has a clock of its own, so it goes first; the others get the venue time that it recorded. What it did not take it
//! did not record: a refusal for the rate at a time holds for every earlier one, so the others get the time just before the run.
//! A `Clock` of the flow is moved by the difference of the two boot-time clocks, so that the flow's day goes on.
//! Short sequences over a tiny venue, every one of them, are in `exhaustive_kernel.rs`.

#[path = "../../engine/tests/pair/mod.rs"]
mod pair;
#[path = "../../engine/tests/tape/mod.rs"]
mod tape;

use ring0_engine::Capacity;
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::Kind;
use ring0_engine::reference::Reference;
use ring0_rings::RingError;
use ring0_tests::seed;
use ring0_tests::stand::{self, Stand};
use std::collections::BTreeMap;
use tape::{Record, readable, records};

/// Inputs between two comparisons of the whole state.
const CHECK_EVERY: u64 = 2_000;
/// XDP's verdict on a packet that gets no answer.
const XDP_DROP: u32 = 1;
/// Bytes of a tag, which a living ring makes and the others leave blank.
const TAG: usize = 16;

/// Makes a living ring for this capacity, with so many slots for records.
type Up = fn(&Capacity, u32) -> Box<dyn Stand>;

struct Three {
    seed: u64,
    input: u64,
    commands: u64,
    stand: Box<dyn Stand>,
    native: Native,
    reference: Reference,
    day_base_ns: u64,
    kinds: BTreeMap<u16, u64>,
    reasons: BTreeMap<u8, u64>,
    /// Those of the last input.
    records: Vec<u8>,
}

fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Three {
    /// A fresh shard of each.
    fn new(seed: u64, up: Up, capacity: Capacity) -> Three {
        let mut stand = up(&capacity, 1 << 16);
        for session in 0..capacity.sessions {
            let mut key = [session as u8 + 1; 16];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            // One session's tag is switched off, as a shard on a trusted wire has it.
            stand
                .live()
                .set_key(session, (session != 1).then_some(&key))
                .unwrap();
        }
        Three {
            seed,
            input: 0,
            commands: 0,
            stand,
            native: Native::new(&capacity).expect("memory for a small shard"),
            reference: Reference::new(capacity),
            day_base_ns: 0,
            kinds: BTreeMap::new(),
            reasons: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    fn expect<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        kernel: &T,
        other: &T,
        name: &str,
    ) {
        assert!(
            kernel == other,
            "RING0_SEED={} input {}: {what}\nkernel {kernel:?}\n{name} {other:?}",
            self.seed,
            self.input
        );
    }

    fn feed(&mut self, input: &Input, flow_boot_ns: u64) -> Option<Vec<u8>> {
        self.input += 1;
        self.records.clear();
        let before = boot_ns();
        let answer = match input {
            Input::Packet(payload) => self.packet(payload, before),
            Input::Control(controls) => {
                self.controls(controls, flow_boot_ns, before);
                None
            }
            Input::Steps => {
                self.stand.ring().steps().unwrap();
                self.native.steps();
                self.reference.steps();
                let records = self.take_records();
                self.same_records(&records);
                None
            }
        };
        if self.input.is_multiple_of(CHECK_EVERY) {
            self.same_states();
        }
        answer
    }

    fn packet(&mut self, payload: &[u8], before: u64) -> Option<Vec<u8>> {
        let answer = match self.stand.ring().packet(payload, 0) {
            Ok(answer) => Some(answer),
            Err(RingError::NoAnswer { verdict: XDP_DROP } | RingError::Unanswered) => None,
            Err(error) => panic!("RING0_SEED={} input {}: {error}", self.seed, self.input),
        };
        let records = self.take_records();
        let boot = match times(&records, Kind::Message).first() {
            Some(time) => time.wrapping_sub(self.day_base_ns),
            None => before,
        };
        let native = match self.native.packet(payload, boot, None) {
            Ok((_, answer)) => Some(answer),
            Err(Dropped::UnknownSession) => None,
            Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
        };
        let untagged = |answer: &Option<Vec<u8>>| {
            let answer = answer.as_ref();
            answer.map(|bytes| bytes[..bytes.len() - TAG].to_vec())
        };
        self.expect("answers", &untagged(&answer), &untagged(&native), "native");
        if answer.is_some() {
            let reference = Some(self.reference.packet(payload, boot));
            self.expect(
                "answers",
                &untagged(&answer),
                &untagged(&reference),
                "reference",
            );
        }
        self.same_records(&records);
        for ack in answer
            .iter()
            .flat_map(|it| it[20..it.len() - 19].chunks_exact(21))
        {
            *self.reasons.entry(ack[4]).or_default() += 1;
        }
        answer
    }

    fn controls(&mut self, controls: &[Control], flow_boot_ns: u64, before: u64) {
        let moved: Vec<_> = controls
            .iter()
            .map(|control| {
                if control.kind != ControlKind::Clock as u32 {
                    return *control;
                }
                let mut clock: Clock = control.body();
                let ahead = flow_boot_ns.wrapping_sub(before);
                clock.day_base_ns = clock.day_base_ns.wrapping_add(ahead);
                Control::new(ControlKind::Clock, &clock)
            })
            .collect();
        // A doorbell of its own for each command: every one has its own time, and its own steps before it.
        for control in &moved {
            let ring = self.stand.ring();
            let living = ring.control(std::slice::from_ref(control), 0).unwrap();
            let records = self.take_records();
            let time = times(&records, Kind::Control)[0];
            if control.kind == ControlKind::Clock as u32 {
                self.day_base_ns = control.body::<Clock>().day_base_ns;
            }
            let boot = time.wrapping_sub(self.day_base_ns);
            let one = std::slice::from_ref(control);
            let native = self.native.control(one, boot);
            let reference = self.reference.control(one, boot);
            self.expect("control results", &living, &native, "native");
            self.expect("control results", &living, &reference, "reference");
            self.same_records(&records);
        }
    }

    fn take_records(&mut self) -> Vec<u8> {
        self.stand.ring().take_records().unwrap()
    }

    fn same_records(&mut self, kernel: &[u8]) {
        let native = self.native.take_records();
        let reference = self.reference.take_records();
        for (name, other) in [("native", &native), ("reference", &reference)] {
            if kernel != other.as_slice() {
                let texts = [readable(kernel), readable(other)];
                panic!(
                    "RING0_SEED={} input {}: records\n{}",
                    self.seed,
                    self.input,
                    pair::differing_lines(["kernel", name], [&texts[0], &texts[1]])
                );
            }
        }
        for record in records(kernel) {
            let kind = record.head().kind;
            *self.kinds.entry(kind).or_default() += 1;
            self.commands += u64::from(kind <= Kind::Control as u16);
        }
        self.records.extend_from_slice(kernel);
    }

    fn same_states(&mut self) {
        let kernel = self.stand.ring().state_hash();
        self.expect(
            "state hashes",
            &kernel,
            &self.native.shard().state_hash(),
            "native",
        );
        self.expect(
            "state hashes",
            &kernel,
            &self.reference.state_hash(),
            "reference",
        );
        self.stand.live().shard().check();
        self.native.shard().check();
        self.reference.check();
    }
}

/// Venue times of the records of a kind.
fn times(bytes: &[u8], kind: Kind) -> Vec<u64> {
    let time = |record| match record {
        Record::Message(message) if kind == Kind::Message => Some(message.time_ns),
        Record::Control(control) if kind == Kind::Control => Some(control.time_ns),
        _ => None,
    };
    records(bytes).filter_map(time).collect()
}

/// A flow through a fresh shard of each, until it has made so many commands.
fn flow_through(seed: u64, up: Up, profile: Profile, wanted: u64) -> Three {
    let mut flow = Flow::new(seed, Options { profile });
    let mut three = Three::new(seed, up, Flow::capacity());
    let setup = flow.setup();
    three.feed(&Input::Control(setup), flow.boot_ns());
    flow.learn(&three.records);
    while three.commands < wanted {
        let input = flow.next_input();
        let is_packet = matches!(input, Input::Packet(_));
        let answer = three.feed(&input, flow.boot_ns());
        if is_packet {
            flow.observe(answer.as_deref());
        }
        flow.learn(&three.records);
    }
    three.same_states();
    three
}

fn commands_wanted() -> u64 {
    match std::env::var("RING0_COMMANDS") {
        Ok(text) => text.parse().expect("RING0_COMMANDS is a number"),
        Err(_) => 1_000_000,
    }
}

/// A long mixed flow.
fn agree_mixed(up: Up, wanted: u64) {
    let mut three = flow_through(seed(), up, Profile::Mixed, wanted);
    println!(
        "{}: {} inputs, {} commands, state {}",
        three.stand.ring().name(),
        three.input,
        three.commands,
        three.stand.ring().state_hash()
    );
    println!("records by kind {:?}", three.kinds);
    println!("acks by reason {:?}", three.reasons);
    assert!(
        three.kinds.len() == 15,
        "every kind of record: {:?}",
        three.kinds
    );
    assert!(
        three.reasons.len() >= 60,
        "most reasons: {:?}",
        three.reasons
    );
}

fn agree_pure(up: Up, profile: Profile, wanted: u64) {
    let three = flow_through(seed(), up, profile, wanted);
    println!(
        "{profile:?}: {} inputs, {} commands",
        three.input, three.commands
    );
}

/// A long mixed flow, then one of each profile.
fn agree(up: Up, wanted: u64) {
    agree_mixed(up, wanted);
    for profile in Profile::PURE {
        agree_pure(up, profile, wanted / 20);
    }
}

#[test]
fn kernel_native_and_reference_agree() {
    agree(stand::kernel, commands_wanted());
}

#[test]
fn udp_native_and_reference_agree() {
    agree(stand::udp, commands_wanted() / 2);
}

#[test]
fn afxdp_native_and_reference_agree() {
    agree(stand::afxdp, commands_wanted() / 2);
}

/// DPDK begins once in a process, so each profile is a run of this same test by itself.
#[cfg(feature = "dpdk")]
#[test]
fn dpdk_native_and_reference_agree() {
    const PROFILE: &str = "RING0_DPDK_PROFILE";
    let wanted = commands_wanted() / 2;
    if let Ok(number) = std::env::var(PROFILE) {
        let number: usize = number.parse().expect("set by the run that started this");
        return agree_pure(stand::dpdk, Profile::PURE[number], wanted / 20);
    }
    agree_mixed(stand::dpdk, wanted);
    let this = std::env::current_exe().expect("a test has a file");
    for number in 0..Profile::PURE.len() {
        let ran = std::process::Command::new(&this)
            .args(["dpdk_native_and_reference_agree", "--exact", "--nocapture"])
            .env(PROFILE, number.to_string())
            .env("RING0_SEED", seed().to_string())
            .status()
            .expect("this test's own file");
        assert!(ran.success(), "profile {:?}", Profile::PURE[number]);
    }
}

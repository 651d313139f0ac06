//! An engine that records into the ring: its consumer gets the very bytes that a tape gets, and a full ring refuses, it does not lose.

use ring0_engine::flow::{Flow, Input, Options as FlowOptions};
use ring0_engine::native::Native;
use ring0_engine::{Recorder, Taken};
use ring0_record_ring::{Consumer, Kind, LocalRing, Memory, Name, Producer, Slot, WritableMemory};
use std::sync::atomic::{AtomicU64, Ordering};

fn drive<R: Recorder>(native: &mut Native<R>, input: &Input, boot_ns: u64) {
    match input {
        Input::Packet(payload) => drop(native.packet(payload, boot_ns, None)),
        Input::Control(controls) => drop(native.control(controls, boot_ns)),
        Input::Steps => native.steps(),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

#[test]
fn a_consumer_gets_what_a_tape_gets() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut flow = Flow::new(seed, FlowOptions::default());
    let ring = LocalRing::new(1 << 15, 520);
    let mut consumer = ring
        .consumer(name("journal"), Kind::Required)
        .expect("a place");
    let mut tape = Native::new(&Flow::capacity()).expect("memory for a small shard");
    let mut native = Native::with_recorder(&Flow::capacity(), ring.producer())
        .expect("memory for a small shard");
    let mut input = Input::Control(flow.setup());
    let mut bytes = Vec::new();
    for number in 0..10_000 {
        let boot_ns = flow.boot_ns();
        if let Input::Packet(payload) = &input {
            let answer = tape.packet(payload, boot_ns, None).ok();
            flow.observe(answer.as_ref().map(|(_, answer)| answer.as_slice()));
        } else {
            drive(&mut tape, &input, boot_ns);
        }
        drive(&mut native, &input, boot_ns);
        let expected = tape.take_records();
        flow.learn(&expected);
        bytes.clear();
        consumer
            .read(&mut bytes, u64::MAX)
            .expect("it is waited for");
        consumer.commit();
        assert!(bytes == expected, "other records at input {number}");
        input = flow.next_input();
    }
    assert_eq!(native.shard().state_hash(), tape.shard().state_hash());
}

#[test]
fn a_full_ring_refuses_packets_and_loses_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut flow = Flow::new(seed, FlowOptions::default());
    // Room for the longest packet, its reserve, and a little.
    let ring = LocalRing::new(1 << 12, 520);
    let mut consumer = ring
        .consumer(name("journal"), Kind::Required)
        .expect("a place");
    let mut native = Native::with_recorder(&Flow::capacity(), ring.producer())
        .expect("memory for a small shard");
    // The flow learns from a reader that gives no room back.
    let mut observer = ring.observer();
    let (mut refused, mut records, mut learnt) = (0, Vec::new(), Vec::new());
    let mut input = Input::Control(flow.setup());
    for _ in 0..4_000 {
        let mut full = false;
        if let Input::Packet(payload) = &input {
            let answered = native.packet(payload, flow.boot_ns(), None).ok();
            full = answered
                .as_ref()
                .is_some_and(|(taken, _)| *taken == Taken::RingFull);
            flow.observe(answered.as_ref().map(|(_, answer)| answer.as_slice()));
        } else {
            drive(&mut native, &input, flow.boot_ns());
        }
        learnt.clear();
        observer
            .read(&mut learnt, u64::MAX)
            .expect("read each time");
        flow.learn(&learnt);
        input = flow.next_input();
        let behind = consumer.tail() - consumer.position();
        if full {
            refused += 1;
            assert!(behind > 500, "refused with room");
        }
        // Control commands are not refused for room: whoever sends them looks first.
        if full || behind > 2000 {
            consumer
                .read(&mut records, u64::MAX)
                .expect("it is waited for");
            consumer.commit();
        }
    }
    consumer
        .read(&mut records, u64::MAX)
        .expect("it is waited for");
    assert_eq!(records.len() as u64 / 64, consumer.tail());
    assert!(refused > 0, "the ring was never full");
    println!("{refused} packets refused");
}

/// Counts the stores of the tail.
struct Counting {
    ring: LocalRing,
    tail: Tail,
}

struct Tail {
    word: AtomicU64,
    stores: AtomicU64,
}

impl ring0_record_ring::Word for Tail {
    fn load(&self, order: Ordering) -> u64 {
        self.word.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.stores.fetch_add(1, Ordering::Relaxed);
        self.word.store(value, order);
    }
}

impl Memory for Counting {
    type Word = Tail;

    fn slots(&self) -> u64 {
        self.ring.slots()
    }

    fn unpublished_max(&self) -> u64 {
        self.ring.unpublished_max()
    }

    fn cursor(&self, _: u32, _: usize) -> &Tail {
        // Nobody is waited for: a tail that is never 1 is no required consumer either.
        &self.tail
    }

    fn load_slot(&self, position: u64) -> Slot {
        self.ring.load_slot(position)
    }

    fn fence(&self, order: Ordering) {
        self.ring.fence(order);
    }
}

impl WritableMemory for Counting {
    fn store_slot(&self, position: u64, slot: &Slot) {
        self.ring.store_slot(position, slot);
    }

    fn joined(&self) -> &Tail {
        &self.tail
    }
}

#[test]
fn a_command_is_one_store_of_the_tail_and_so_is_a_batch() {
    let counting = || Counting {
        ring: LocalRing::new(1 << 15, 520),
        tail: Tail {
            word: AtomicU64::new(0),
            stores: AtomicU64::new(0),
        },
    };
    let stores = |producer: &Producer<Counting>| {
        let stores = &producer.memory().tail.stores;
        stores.swap(0, Ordering::Relaxed)
    };
    let mut flow = Flow::new(1, FlowOptions::default());
    let setup = flow.setup();
    let mut native = Native::with_recorder(&Flow::capacity(), Producer::new(counting()))
        .expect("memory for a small shard");
    native.control(&setup, flow.boot_ns());
    assert_eq!(stores(native.recorder()), setup.len() as u64);
    let producer = Producer::new(counting());
    let batch = producer.batch();
    let mut native =
        Native::with_recorder(&Flow::capacity(), batch).expect("memory for a small shard");
    native.control(&setup[..20], flow.boot_ns());
    assert_eq!(stores(&producer), 0);
    assert_eq!(Consumer::observer(producer.memory().ring.clone()).tail(), 0);
    native.recorder().publish();
    assert_eq!(stores(&producer), 1);
    assert!(producer.tail() >= 40);
    native.control(&setup[20..21], flow.boot_ns());
    drop(native);
    assert_eq!(stores(&producer), 1, "the end of a batch publishes it");
}

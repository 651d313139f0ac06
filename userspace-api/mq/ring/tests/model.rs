//! The ring under every order of loads and stores that the memory model allows, in small: `loom` runs each of them.
//!
//! The same `Producer` and `Consumer` as everywhere, over memory that loom watches; of a slot two words are shared, which is what it
//! takes to be torn. Two models with a part of the algorithm left out must fail: else these tests would show nothing.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;
use ring0_engine::record::Kind as RecordKind;
use ring0_record_ring::{
    Consumer, Kind, Memory, Name, Producer, PushError, Slot, Word, WritableMemory,
};
use std::sync::atomic::Ordering;

struct Watched(AtomicU64);

impl Word for Watched {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
}

/// What a model leaves out of the algorithm.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// A reader does not count what is being written.
    Margin,
    /// Slots and tail have no order.
    Fences,
}

struct Shared {
    slots: Vec<[Watched; 2]>,
    unpublished_max: u64,
    /// Tail and the first place; the other places share words that nobody writes.
    cursors: [[Watched; 4]; 3],
    joined: Watched,
    without: Without,
}

#[derive(Clone)]
struct Model(Arc<Shared>);

impl Model {
    fn new(slots: usize, unpublished_max: u64, without: Without) -> Model {
        let word = || Watched(AtomicU64::new(0));
        let entry = || [word(), word(), word(), word()];
        Model(Arc::new(Shared {
            slots: (0..slots).map(|_| [word(), word()]).collect(),
            unpublished_max,
            cursors: [entry(), entry(), entry()],
            joined: word(),
            without,
        }))
    }

    fn slot(&self, position: u64) -> &[Watched; 2] {
        &self.0.slots[position as usize % self.0.slots.len()]
    }
}

impl Memory for Model {
    type Word = Watched;

    fn slots(&self) -> u64 {
        self.0.slots.len() as u64
    }

    fn unpublished_max(&self) -> u64 {
        self.0.unpublished_max
    }

    fn cursor(&self, entry: u32, word: usize) -> &Watched {
        &self.0.cursors[entry.min(2) as usize][word]
    }

    fn load_slot(&self, position: u64) -> Slot {
        let [first, last] = self.slot(position);
        let head = RecordKind::Rested as u64 | 1 << 16;
        let (first, last) = (first.load(Ordering::Relaxed), last.load(Ordering::Relaxed));
        [head, first, 0, 0, 0, 0, 0, last]
    }

    fn fence(&self, order: Ordering) {
        if self.0.without != Without::Fences {
            fence(order);
        }
    }

    fn tail(&self) -> u64 {
        let order = match self.0.without {
            Without::Fences => Ordering::Relaxed,
            _ => Ordering::Acquire,
        };
        self.cursor(0, 0).load(order)
    }
}

impl WritableMemory for Model {
    fn store_slot(&self, position: u64, slot: &Slot) {
        let [first, last] = self.slot(position);
        first.store(slot[1], Ordering::Relaxed);
        last.store(slot[7], Ordering::Relaxed);
    }

    fn joined(&self) -> &Watched {
        &self.0.joined
    }
}

/// The record at a position: its sequence number twice.
fn record(position: u64) -> Vec<u8> {
    let head = RecordKind::Rested as u64 | 1 << 16;
    let slot: Slot = [head, position + 1, 0, 0, 0, 0, 0, position + 1];
    slot.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Pushes and publishes records one by one, and waits for room.
fn produce(producer: &Producer<Model>, records: u64) {
    for position in 0..records {
        while let Err(error) = producer.push(&record(position)) {
            assert!(matches!(error, PushError::Full { .. }), "{error}");
            thread::yield_now();
        }
        producer.publish();
    }
}

/// A thread that produces. The producer itself is made here: loom remembers only the last access to a word, and the producer's one load of
/// the tail would hide the readers' from it.
fn spawn(memory: Model, records: u64) -> thread::JoinHandle<()> {
    let producer = Producer::new(memory);
    thread::spawn(move || produce(&producer, records))
}

/// Reads what there is and compares it with what must stand at its positions; gives how many.
fn check_read(consumer: &mut Consumer<Model>) -> u64 {
    let from = consumer.position();
    let mut bytes = Vec::new();
    match consumer.read(&mut bytes, u64::MAX) {
        Ok(slots) => {
            let expected: Vec<u8> = (from..from + slots).flat_map(record).collect();
            assert_eq!(bytes, expected, "torn, or not what was published");
            slots
        }
        Err(overrun) => {
            assert!(bytes.is_empty());
            assert_eq!(overrun.from, from);
            assert_eq!(overrun.from + overrun.lost, overrun.resumes);
            assert_eq!(consumer.position(), overrun.resumes);
            0
        }
    }
}

fn required(memory: &Model) -> Consumer<Model> {
    Consumer::attach(
        memory.clone(),
        Name::new("journal").unwrap(),
        Kind::Required,
    )
    .unwrap()
}

/// Reads all of so many records with commits, none lost, in portions of whole batches.
fn consume(mut consumer: Consumer<Model>, records: u64, batch: u64) {
    let mut got = 0;
    while got < records {
        let slots = check_read(&mut consumer);
        assert_eq!(slots % batch, 0, "half a batch");
        got += slots;
        assert_eq!(consumer.position(), got, "a required consumer lost records");
        if slots == 0 {
            thread::yield_now();
        }
        consumer.commit();
    }
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let orders = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&orders);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    // One order is none: then loom has seen no two accesses that conflict.
    let orders = orders.load(Ordering::Relaxed);
    println!("{orders} orders");
    assert!(orders > 20);
}

fn fails(model: impl Fn() + Sync + Send + 'static) -> bool {
    let model = std::panic::AssertUnwindSafe(|| check(3, model));
    std::panic::catch_unwind(model).is_err()
}

#[test]
fn a_required_consumer_gets_every_record_once() {
    check(3, || {
        let memory = Model::new(2, 1, Without::Nothing);
        let consumer = required(&memory);
        let producer = spawn(memory, 3);
        // It begins where the tail was, at 0.
        consume(consumer, 3, 1);
        producer.join().unwrap();
    });
}

/// A reader that nobody waits for, beside a producer that goes round the ring.
fn overrun_model(slots: usize, records: u64, without: Without) {
    let memory = Model::new(slots, 1, without);
    let mut reader = Consumer::observer(memory.clone());
    let producer = spawn(memory, records);
    check_read(&mut reader);
    check_read(&mut reader);
    producer.join().unwrap();
    // What is still there now is read; the rest was told.
    check_read(&mut reader);
    check_read(&mut reader);
    assert_eq!(reader.position(), records);
}

#[test]
fn an_overrun_reader_never_gets_a_torn_slot() {
    check(3, || overrun_model(2, 4, Without::Nothing));
    check(2, || overrun_model(4, 6, Without::Nothing));
}

#[test]
fn without_the_margin_slots_are_torn() {
    assert!(fails(|| {
        // The memory says that nothing is unpublished, so the reader takes slots that are being written.
        let memory = Model::new(2, 1, Without::Margin);
        let mut reader = Consumer::observer(Marginless(memory.clone()));
        let producer = spawn(memory, 4);
        let from = reader.position();
        let mut bytes = Vec::new();
        if let Ok(slots) = reader.read(&mut bytes, u64::MAX) {
            let expected: Vec<u8> = (from..from + slots).flat_map(record).collect();
            assert_eq!(bytes, expected);
        }
        producer.join().unwrap();
    }));
}

struct Marginless(Model);

impl Memory for Marginless {
    type Word = Watched;

    fn slots(&self) -> u64 {
        self.0.slots()
    }

    fn unpublished_max(&self) -> u64 {
        0
    }

    fn cursor(&self, entry: u32, word: usize) -> &Watched {
        self.0.cursor(entry, word)
    }

    fn load_slot(&self, position: u64) -> Slot {
        self.0.load_slot(position)
    }

    fn fence(&self, order: Ordering) {
        self.0.fence(order);
    }
}

#[test]
fn without_fences_slots_are_torn() {
    assert!(fails(|| overrun_model(2, 4, Without::Fences)));
}

#[test]
fn required_and_optional_beside_each_other() {
    check(1, || {
        let memory = Model::new(2, 1, Without::Nothing);
        let consumer = required(&memory);
        let mut reader = Consumer::observer(memory.clone());
        let producer = spawn(memory, 3);
        let optional = thread::spawn(move || {
            check_read(&mut reader);
        });
        consume(consumer, 3, 1);
        producer.join().unwrap();
        optional.join().unwrap();
    });
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    check(3, || {
        let memory = Model::new(4, 2, Without::Nothing);
        let consumer = required(&memory);
        let producer = thread::spawn({
            let producer = Producer::new(memory);
            move || {
                for first in [0, 2] {
                    producer.push(&record(first)).unwrap();
                    producer.push(&record(first + 1)).unwrap();
                    producer.publish();
                }
            }
        });
        consume(consumer, 4, 2);
        producer.join().unwrap();
    });
}

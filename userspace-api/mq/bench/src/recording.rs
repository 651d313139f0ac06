//! The ring with its record file on: from process to process to the disk, and back.
//!
//! A message is what an engine writes for one: its command of two slots, and events of one. Three messages have ten slots, about what was
//! measured of an ordinary stream (3.3 a message). Each is published alone. The consumer syncs every batch before it gives the room back.

use crate::{RECORDING_SLOTS, Role};
use ring0_bench_mq::{
    BenchError, consumer_is_ready, measured, now_ns, on_processor, start_consumer,
};
use ring0_engine::record::{Head, Kind as RecordKind};
use ring0_mq::ring::{Kind, Options, PushError, SharedRing};
use ring0_mq::{Identity, RecordFile, Records};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// Events of three messages after each other.
const EVENTS: [u64; 3] = [1, 1, 2];

/// Slots synced at once, as the recorder takes them.
const BATCH_SLOTS: u64 = 65_536;

const IDENTITY: Identity = Identity {
    layout_hash: 0,
    boot_id: [0; 16],
    arena_id: 0,
};

/// What the recording process found.
#[derive(Deserialize, Serialize)]
struct Recorded {
    end_ns: u64,
    batches: u64,
}

/// One round: messages a second to the disk, records and messages a second back from it.
pub(crate) struct Round {
    pub(crate) recorded: f64,
    pub(crate) replayed: f64,
    pub(crate) report: Value,
}

fn put(into: &mut Vec<u8>, kind: RecordKind, slots: u8, sequence: u64) {
    let head = Head {
        kind: kind as u16,
        slots,
        side: 0,
        locate: 0,
        sequence,
    };
    let at = into.len();
    into.resize(at + usize::from(slots) * 64, 0);
    into[at..at + 16].copy_from_slice(head.as_bytes());
}

/// Records so many messages and reads them again.
pub(crate) fn run(folder: &Path, messages: u64) -> Result<Round, BenchError> {
    let file = folder.join("records");
    let _ = std::fs::remove_file(&file);
    let ring = SharedRing::anonymous(&Options::new(RECORDING_SLOTS))?;
    let producer = ring.producer()?;
    // Three messages after each other repeat: ten slots. Only sequences change.
    let records: u64 = (0..messages).map(|it| 1 + EVENTS[it as usize % 3]).sum();
    let role = Role::Recording {
        ring: ring.path().to_owned(),
        file: file.clone(),
        slots: records + messages,
    };
    let consumer = start_consumer(&role.text())?;
    let mut command = Vec::new();
    let mut sequence = 1;
    let begin = now_ns();
    for message in 0..messages {
        command.clear();
        put(&mut command, RecordKind::Message, 2, sequence);
        for event in 0..EVENTS[message as usize % 3] {
            put(&mut command, RecordKind::Rested, 1, sequence + 1 + event);
        }
        sequence += 1 + EVENTS[message as usize % 3];
        loop {
            match producer.push(&command) {
                Ok(()) => break,
                Err(PushError::Full { .. }) => std::thread::yield_now(),
                Err(error) => return Err(BenchError::queue(error)),
            }
        }
        producer.publish();
    }
    let recorded: Recorded = measured(consumer)?;
    let took = recorded.end_ns - begin;
    let begin = now_ns();
    let mut reader = Records::open(&file)?;
    let (mut record, mut last) = (Vec::new(), 0);
    while reader.next_into(&mut record)? {
        let (head, _) = Head::read_from_prefix(&record).expect("a record");
        last = head.sequence;
    }
    let replay_took = now_ns() - begin;
    if last != records {
        return Err(BenchError::Lost {
            producer: 0,
            expected: records,
            found: last,
        });
    }
    let a_second = |count: u64, ns: u64| count as f64 * 1e9 / ns as f64;
    Ok(Round {
        recorded: a_second(messages, took),
        replayed: a_second(messages, replay_took),
        report: json!({
            "messages": messages,
            "slots": records + messages,
            "slots_per_message": (records + messages) as f64 / messages as f64,
            "bytes_per_s": a_second((records + messages) * 64, took),
            "syncs": recorded.batches,
            "replayed_records_per_s": a_second(records, replay_took),
        }),
    })
}

/// The other process: takes so many slots.
pub(crate) fn consume(ring: &Path, file: &Path, slots: u64) -> Result<(), BenchError> {
    on_processor(1)?;
    let ring = SharedRing::open(ring)?;
    let mut consumer = ring.consumer("recorder", Kind::Required)?;
    let mut file = RecordFile::open(file, IDENTITY, 0)?;
    let mut bytes = Vec::with_capacity(BATCH_SLOTS as usize * 64);
    let mut batches = 0;
    consumer_is_ready();
    while consumer.position() < slots {
        bytes.clear();
        let read = consumer
            .read(&mut bytes, BATCH_SLOTS)
            .map_err(BenchError::queue)?;
        if read == 0 {
            std::thread::yield_now();
            continue;
        }
        file.append(&bytes)?;
        consumer.commit();
        batches += 1;
    }
    let recorded = Recorded {
        end_ns: now_ns(),
        batches,
    };
    println!("{}", serde_json::to_string(&recorded).expect("numbers"));
    Ok(())
}

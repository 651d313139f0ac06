//! The record ring's required consumer: from the ring to the file, and only then is the ring's room given back.

use crate::file::{Identity, RecordFile};
use crate::{MqError, Sole};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::Head;
use ring0_rings::Consumer;
use std::path::Path;
use std::time::{Duration, Instant};
use xdp_loader::Pinned;
use zerocopy::FromBytes;

/// The recorder's name among the ring's consumers.
pub const CONSUMER: &str = "recorder";

/// Slots taken from the ring before they are synced: 4 MiB, some 10 ms of a busy ring. Fewer sync more often than a
/// disk likes; more keep the ring's room for longer.
const BATCH_SLOTS: u64 = 65_536;

/// Writes the shard's records to a file and goes on where the file ends.
pub struct Recorder {
    consumer: Consumer,
    file: RecordFile,
    batch: Vec<u8>,
    _sole: Sole,
}

impl Recorder {
    /// Becomes the shard's required consumer, with a file that goes on where it ends or begins.
    ///
    /// # Errors
    /// Another recorder runs, the file is not this shard's, or the ring no longer has what follows it.
    pub fn open(pinned: &Pinned, path: &Path) -> Result<Recorder, MqError> {
        let sole = Sole::take(CONSUMER, pinned.arena_id())?;
        let mut consumer = Consumer::required(pinned, CONSUMER)?;
        let file = RecordFile::open(path, Identity::of(pinned), consumer.position())?;
        let position = file.position();
        let start = consumer
            .tail()
            .saturating_sub(u64::from(pinned.record_slots()));
        if position < start {
            return Err(MqError::Gap {
                path: path.to_owned(),
                position,
                start,
                missing: start - position,
            });
        }
        if position > consumer.tail() {
            return Err(MqError::NotOurs {
                path: path.to_owned(),
                problem: format!(
                    "it ends at slot {position}, beyond the ring's end at {}",
                    consumer.tail()
                ),
            });
        }
        consumer.seek(position);
        consumer.commit();
        Ok(Recorder {
            consumer,
            file,
            batch: Vec::new(),
            _sole: sole,
        })
    }

    /// Takes what was published, waits until it is on the disk and gives the ring's room back; gives how many slots.
    ///
    /// # Errors
    /// The ring went round, or the file system's. Nothing was given back then.
    pub fn take(&mut self) -> Result<u64, MqError> {
        self.batch.clear();
        let slots = self.consumer.read(&mut self.batch, BATCH_SLOTS)?;
        let whole = whole_records(&self.batch);
        self.batch.truncate(whole);
        let whole = (whole / SLOT_LEN) as u64;
        self.consumer
            .seek(self.consumer.position() - (slots - whole));
        if whole != 0 {
            self.file.append(&self.batch)?;
            self.consumer.commit();
        }
        Ok(whole)
    }

    /// Waits for records and takes them, until `stop` says so; then takes what is left once more. Gives the slots taken.
    ///
    /// # Errors
    /// As [`Recorder::take`].
    pub fn run(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<u64, MqError> {
        let mut taken = 0;
        let mut idle = Instant::now();
        loop {
            let stopping = stop();
            let slots = self.take()?;
            taken += slots;
            if slots != 0 {
                idle = Instant::now();
            } else if stopping {
                return Ok(taken);
            } else {
                // A busy ring is asked every half millisecond, a quiet one every five.
                let quiet = idle.elapsed() > Duration::from_millis(100);
                std::thread::sleep(Duration::from_micros(if quiet { 5000 } else { 500 }));
            }
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &RecordFile {
        &self.file
    }

    /// Ends being required: nobody waits for this recorder any more, and what it has not taken may be written over.
    pub fn release(self) {
        self.consumer.release();
    }
}

/// Bytes of the whole records that `slots` begins with: a batch may end inside one, and what is committed may not.
fn whole_records(slots: &[u8]) -> usize {
    let mut at = 0;
    while let Ok((head, _)) = Head::read_from_prefix(&slots[at..]) {
        let end = at + usize::from(head.slots.max(1)) * SLOT_LEN;
        if end > slots.len() {
            break;
        }
        at = end;
    }
    at
}

//! The record ring's required consumer: from the ring to a sink, and only when it is on the disk is the ring's room given back.

use crate::file::{Identity, RecordFile};
use crate::{MqError, Sole};
use ring0_rings::{Consumer, Place};
use std::path::Path;
use std::time::{Duration, Instant};

/// The recorder's name among the ring's consumers.
pub const CONSUMER: &str = "recorder";

/// Slots taken from the ring before they are synced: 4 MiB, some 10 ms of a busy ring. Fewer sync more often than a
/// disk likes; more keep the ring's room for longer.
const BATCH_SLOTS: u64 = 65_536;

/// Where a recorder writes.
pub trait Sink {
    /// Where it lies, for messages.
    fn location(&self) -> &Path;

    /// The ring's position behind the last slot that it took.
    fn position(&self) -> u64;

    /// The ring's position behind the last slot that is on the disk.
    fn durable(&self) -> u64;

    /// Sequence number of the last record that is on the disk; 0: none is.
    fn durable_sequence(&self) -> u64;

    /// Takes whole records, the ring's next ones; they may wait for their sync.
    ///
    /// # Errors
    /// The file system's. What is not durable by then is lost to it.
    fn append(&mut self, slots: &[u8]) -> Result<(), MqError>;

    /// Syncs what has waited long enough, or all of it.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&mut self, all: bool) -> Result<(), MqError>;

    /// Waits at most so long, less where something that it was given comes to the disk before.
    fn wait(&mut self, at_most: Duration) {
        std::thread::sleep(at_most);
    }
}

impl Sink for RecordFile {
    fn location(&self) -> &Path {
        self.path()
    }

    fn position(&self) -> u64 {
        RecordFile::position(self)
    }

    fn durable(&self) -> u64 {
        RecordFile::position(self)
    }

    fn durable_sequence(&self) -> u64 {
        self.last_sequence()
    }

    fn append(&mut self, slots: &[u8]) -> Result<(), MqError> {
        RecordFile::append(self, slots)
    }

    /// Every append has.
    fn sync(&mut self, _: bool) -> Result<(), MqError> {
        Ok(())
    }
}

/// Writes the shard's records to a sink and goes on where the sink ends.
pub struct Recorder<S = RecordFile> {
    consumer: Consumer,
    sink: S,
    batch: Vec<u8>,
    /// Where it began: a move of the shard behind that ends it.
    begun: u64,
    _sole: Sole,
}

impl Recorder {
    /// Becomes the shard's required consumer, with a file that goes on where it ends or begins.
    ///
    /// # Errors
    /// Another recorder runs, the file is not this shard's, or the ring no longer has what follows it.
    pub fn open<'a>(place: impl Into<Place<'a>>, path: &Path) -> Result<Recorder, MqError> {
        Recorder::with_sink(place, |identity, first| {
            RecordFile::open(path, identity, first)
        })
    }
}

impl<S: Sink> Recorder<S> {
    /// Becomes the shard's required consumer, with a sink that goes on where it ends or begins at the position given.
    ///
    /// # Errors
    /// Another recorder runs, the sink cannot be opened, or the ring no longer has what follows it.
    pub fn with_sink<'a>(
        place: impl Into<Place<'a>>,
        open: impl FnOnce(Identity, u64) -> Result<S, MqError>,
    ) -> Result<Recorder<S>, MqError> {
        let place = place.into();
        let sole = Sole::take(CONSUMER, place)?;
        let mut consumer = Consumer::required(place, CONSUMER)?;
        let sink = open(Identity::of(place), consumer.position())?;
        let position = sink.position();
        let path = sink.location();
        let start = consumer.tail().saturating_sub(place.slots());
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
        consumer.set_durable(sink.durable_sequence(), sink.durable());
        consumer.set_journal_failed(false);
        Ok(Recorder {
            consumer,
            sink,
            batch: Vec::new(),
            begun: position,
            _sole: sole,
        })
    }

    /// Takes what was published, has it synced as the sink does, and gives the ring's room back up to what is on the disk; gives
    /// how many slots it took.
    ///
    /// # Errors
    /// The ring went round, or the file system's. Nothing that is not on the disk was given back then.
    pub fn take(&mut self) -> Result<u64, MqError> {
        self.batch.clear();
        let here = self.consumer.position();
        let most = self
            .end()
            .map_or(BATCH_SLOTS, |end| BATCH_SLOTS.min(end - here));
        let slots = match most {
            0 => 0,
            most => self.consumer.read(&mut self.batch, most)?,
        };
        let before = self.sink.durable();
        let written = if slots == 0 {
            self.sink.sync(false)
        } else {
            self.sink.append(&self.batch)
        };
        self.told(written)?;
        if self.sink.durable() != before {
            self.commit();
        }
        Ok(slots)
    }

    /// The slot at which the shard moved to another layout, where this recording ends.
    fn end(&self) -> Option<u64> {
        let moved = self.consumer.moved();
        (moved > self.begun).then_some(moved)
    }

    /// The slot behind which the shard goes on in another layout, once everything before it was taken: another recording has that.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        self.end().filter(|end| self.consumer.position() == *end)
    }

    /// Gives the ring's room back up to what is on the disk, and says how far that is: held answers wait for it.
    fn commit(&mut self) {
        let position = self.consumer.position();
        self.consumer.seek(self.sink.durable());
        self.consumer.commit();
        self.consumer.seek(position);
        self.consumer
            .set_durable(self.sink.durable_sequence(), self.sink.durable());
    }

    /// Waits for records and takes them, until `stop` says so or the shard has moved ([`Recorder::ended`]); then takes what was published by then and has all of it synced. Gives
    /// the slots taken.
    ///
    /// # Errors
    /// As [`Recorder::take`].
    pub fn run(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<u64, MqError> {
        let mut taken = 0;
        let mut idle = Instant::now();
        while !stop() && self.ended().is_none() {
            let slots = self.take()?;
            taken += slots;
            if slots != 0 {
                idle = Instant::now();
                continue;
            }
            // A busy ring is asked five times a millisecond, a quiet one once: a held answer waits for it. One with records that wait for
            // their sync is busy.
            let waits = self.sink.durable() != self.sink.position();
            let quiet = !waits && idle.elapsed() > Duration::from_millis(100);
            let pause = Duration::from_micros(if quiet { 1000 } else { 200 });
            self.sink.wait(pause);
        }
        // Not until nothing more comes, which might be never.
        let end = self.consumer.tail();
        while self.consumer.position() < end {
            let slots = self.take()?;
            taken += slots;
            if slots == 0 {
                break;
            }
        }
        let synced = self.sink.sync(true);
        self.told(synced)?;
        self.commit();
        Ok(taken)
    }

    /// Stops the shard where the sink failed: what it would take now could not be written down.
    fn told(&self, written: Result<(), MqError>) -> Result<(), MqError> {
        if written.is_err() {
            self.consumer.set_journal_failed(true);
        }
        written
    }

    /// Where it writes.
    #[must_use]
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Where it writes, for what is done between two records.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Ends being required: nobody waits for this recorder any more, and what it has not taken may be written over. Gives where it
    /// wrote.
    pub fn release(self) -> S {
        self.consumer.set_journal_failed(false);
        self.consumer.release();
        self.sink
    }

    /// Ends recording; the ring goes on waiting for the next recorder. Gives where it wrote.
    pub fn into_sink(self) -> S {
        self.sink
    }
}

//! Where records come from, and how far they may be published.

use ring0_rings::{Acks, Consumer, RingError};

/// Gives a shard's records in their order.
pub trait Source {
    /// Appends whole records that may be published, at most so many slots, to `into`; gives how many slots.
    ///
    /// # Errors
    /// Records are lost, or cannot be read.
    fn read(&mut self, into: &mut Vec<u8>, slots_max: u64) -> Result<u64, RingError>;

    /// What was read so far is published: its room may be given back.
    fn published(&mut self);
}

/// The slot up to which records may be published, by the shard's ack policy: it is given the ring's tail. Under `matched`
/// that is the tail itself, under `durable` what the journal says is on the disk.
pub type Watermark = Box<dyn FnMut(u64) -> u64 + Send>;

/// The policy `matched`: what is recorded may be published.
#[must_use]
pub fn matched() -> Watermark {
    Box::new(|tail| tail)
}

/// How far the policy of the consumer's shard lets the feed go: under `durable` as far as the journal is on the disk.
#[must_use]
pub fn of_policy(watch: Consumer) -> Watermark {
    match watch.acks() {
        Acks::Matched => matched(),
        Acks::Durable => Box::new(move |_| watch.durable_slot()),
    }
}

/// The live record ring.
pub struct RingSource {
    consumer: Consumer,
    watermark: Watermark,
}

impl RingSource {
    /// A consumer from where it stands, and how far it may go.
    #[must_use]
    pub fn new(consumer: Consumer, watermark: Watermark) -> RingSource {
        RingSource {
            consumer,
            watermark,
        }
    }

    /// The consumer.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Gives the consumer back.
    #[must_use]
    pub fn into_consumer(self) -> Consumer {
        self.consumer
    }
}

impl Source for RingSource {
    fn read(&mut self, into: &mut Vec<u8>, slots_max: u64) -> Result<u64, RingError> {
        let tail = self.consumer.tail();
        let end = (self.watermark)(tail).min(tail);
        let slots = end.saturating_sub(self.consumer.position()).min(slots_max);
        self.consumer.read(into, slots)
    }

    fn published(&mut self) {
        self.consumer.commit();
    }
}

//! Sends and receives all records of a job.

use crate::processes::Measured;
use crate::shape::{Job, now_ns};
use crate::{BenchError, RECORD_BYTES_MAX};
use hdrhistogram::Histogram;

/// One side of a queue, all its producers.
pub trait Sender {
    /// Publishes `count` records of a producer together, the first with number `first`; waits for room.
    ///
    /// # Errors
    /// The queue's.
    fn send(
        &mut self,
        producer: u64,
        first: u64,
        count: u64,
        sent_ns: u64,
    ) -> Result<(), BenchError>;
}

/// A consumer.
pub trait Receiver {
    /// Shows the records that are there; gives how many. It does not wait.
    ///
    /// # Errors
    /// The queue's.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError>;
}

/// A consumer of a queue that shows records where they lie: it copies each one out, as whoever keeps it must.
pub struct Copied<R>(pub R);

impl<R: Receiver> Receiver for Copied<R> {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        let mut kept = [0; RECORD_BYTES_MAX];
        self.0.receive(&mut |bytes| {
            let kept = &mut kept[..bytes.len()];
            kept.copy_from_slice(bytes);
            take(std::hint::black_box(kept));
        })
    }
}

impl Receiver for Box<dyn Receiver + Send> {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        self.as_mut().receive(take)
    }
}

/// Looks in vain before the processor is offered to others: with one of its own nobody takes it.
const SPINS: u32 = 10_000;

/// Sends all, batch by batch, the producers in turn.
///
/// # Errors
/// The queue's.
pub fn send_all(sender: &mut dyn Sender, job: &Job) -> Result<(), BenchError> {
    let each = job.records / job.shape.producers;
    let mut first = 1;
    while first <= each {
        let count = job.batch.min(each + 1 - first);
        for producer in 0..job.shape.producers {
            sender.send(producer, first, count, 0)?;
        }
        first += count;
    }
    Ok(())
}

/// Sends one at a time, each at its time.
///
/// # Errors
/// The queue's.
pub fn send_paced(sender: &mut dyn Sender, job: &Job) -> Result<(), BenchError> {
    let mut due = now_ns();
    for index in 0..job.records {
        let producer = index % job.shape.producers;
        due += job.every_ns;
        let mut now = now_ns();
        while now < due {
            std::hint::spin_loop();
            now = now_ns();
        }
        // From the moment it is sent, not from when it was due: the producer keeps nobody waiting.
        sender.send(producer, index / job.shape.producers + 1, 1, now)?;
    }
    Ok(())
}

/// Receives all, the consumers in turn, and checks them.
///
/// # Errors
/// The queue's, or a record is missing.
pub fn drain(receivers: &mut [Box<dyn Receiver>], job: &Job) -> Result<Measured, BenchError> {
    let mut times = Histogram::<u64>::new_with_bounds(1, 1 << 40, 3).expect("bounds in order");
    let mut next = vec![[1_u64; 4]; receivers.len()];
    let each = job.records / job.shape.producers * job.shape.producers;
    let (mut left, mut idle) = (each * receivers.len() as u64, 0);
    let mut wrong = None;
    while left != 0 {
        let mut got = 0;
        for (receiver, next) in receivers.iter_mut().zip(&mut next) {
            got += receiver.receive(&mut |bytes| {
                let word = |at: usize| {
                    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
                };
                let (number, producer) = (word(8), word(16));
                let expected = &mut next[producer as usize & 3];
                if number != *expected && wrong.is_none() {
                    wrong = Some((producer, *expected, number));
                }
                *expected += 1;
                if job.every_ns != 0 {
                    times.saturating_record(now_ns().saturating_sub(word(24)));
                }
                std::hint::black_box(bytes);
            })?;
        }
        if let Some((producer, expected, found)) = wrong {
            return Err(BenchError::Lost {
                producer,
                expected,
                found,
            });
        }
        left -= got;
        idle = if got == 0 { idle + 1 } else { 0 };
        if idle < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
    let at = |quantile| times.value_at_quantile(quantile);
    Ok(Measured {
        end_ns: now_ns(),
        ns_p50: at(0.5),
        ns_p99: at(0.99),
        ns_p999: at(0.999),
    })
}

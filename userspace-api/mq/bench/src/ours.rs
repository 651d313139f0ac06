//! The record ring, from process to process.

use crate::{BENCH_SLOTS, Role};
use ring0_bench_mq::{
    BenchError, Job, RECORD_BYTES_MAX, Receiver, Sender, consumer_is_ready, drain, measured,
    now_ns, on_processor, record, send_all, send_paced, start_consumer,
};
use ring0_mq::ring::{Consumer, Kind, Options, Producer, PushError, SharedMemory, SharedRing};
use std::path::PathBuf;

/// Slots taken at once: 256 KiB, a part of the second cache.
const READ_SLOTS: u64 = 4096;

struct Rings {
    producers: Vec<Producer<SharedMemory>>,
    bytes: usize,
    buffer: [u8; RECORD_BYTES_MAX],
}

impl Sender for Rings {
    fn send(
        &mut self,
        producer: u64,
        first: u64,
        count: u64,
        sent_ns: u64,
    ) -> Result<(), BenchError> {
        let ring = &self.producers[producer as usize];
        for number in first..first + count {
            let bytes = &mut self.buffer[..self.bytes];
            record(bytes, producer, number, sent_ns);
            loop {
                match ring.push(bytes) {
                    Ok(()) => break,
                    Err(PushError::Full { .. }) => {
                        ring.publish();
                        std::hint::spin_loop();
                    }
                    Err(error) => return Err(BenchError::queue(error)),
                }
            }
        }
        ring.publish();
        Ok(())
    }
}

struct Reader {
    consumer: Consumer<SharedMemory>,
    record_bytes: usize,
    bytes: Vec<u8>,
}

impl Receiver for Reader {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        self.bytes.clear();
        self.consumer
            .read(&mut self.bytes, READ_SLOTS)
            .map_err(BenchError::queue)?;
        self.consumer.commit();
        let records = self.bytes.chunks_exact(self.record_bytes);
        let count = records.len() as u64;
        records.for_each(take);
        Ok(count)
    }
}

/// Makes the rings, one a producer, with their consumers' places.
fn rings(job: &Job) -> Result<Vec<SharedRing>, BenchError> {
    (0..job.shape.producers)
        .map(|_| {
            let ring = SharedRing::anonymous(&Options::new(BENCH_SLOTS))?;
            Ok(ring)
        })
        .collect()
}

/// Measures one job; nanoseconds of all its records, and times of single ones.
pub(crate) fn run(job: &Job) -> Result<(u64, ring0_bench_mq::Measured), BenchError> {
    let rings = rings(job)?;
    let role = Role::Ours {
        rings: rings.iter().map(|ring| ring.path().to_owned()).collect(),
        job: *job,
    };
    let producers: Result<_, _> = rings.iter().map(SharedRing::producer).collect();
    let mut sender = Rings {
        producers: producers?,
        bytes: job.bytes,
        buffer: [0; RECORD_BYTES_MAX],
    };
    let consumer = start_consumer(&role.text())?;
    let begin = now_ns();
    if job.every_ns == 0 {
        send_all(&mut sender, job)?;
    } else {
        send_paced(&mut sender, job)?;
    }
    let measured: ring0_bench_mq::Measured = measured(consumer)?;
    Ok((measured.end_ns - begin, measured))
}

/// The other process.
pub(crate) fn consume(rings: &[PathBuf], job: &Job) -> Result<(), BenchError> {
    on_processor(1)?;
    let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
    for path in rings {
        let ring = SharedRing::open(path)?;
        for number in 0..job.shape.consumers {
            receivers.push(Box::new(Reader {
                consumer: ring.consumer(&format!("bench {number}"), Kind::Required)?,
                record_bytes: job.bytes,
                bytes: Vec::with_capacity(READ_SLOTS as usize * 64),
            }));
        }
    }
    consumer_is_ready();
    let measured = if job.shape.producers == 1 {
        drain(&mut receivers, job)?
    } else {
        drain(&mut [Box::new(Turns(receivers)) as Box<dyn Receiver>], job)?
    };
    println!("{}", serde_json::to_string(&measured).expect("numbers"));
    Ok(())
}

/// Several rings of one consumer, read in turn.
pub(crate) struct Turns(pub(crate) Vec<Box<dyn Receiver>>);

impl Receiver for Turns {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        let mut got = 0;
        for receiver in &mut self.0 {
            got += receiver.receive(take)?;
        }
        Ok(got)
    }
}

//! The peers that work between threads of one process: `rtrb`, one producer and one consumer, and `disruptor`.

use crate::BENCH_SLOTS;
use crate::ours::Turns;
use disruptor::{BusySpin, Polling};
use ring0_bench_mq::{
    BenchError, Copied, Job, Measured, Receiver, Sender, drain, now_ns, on_processor, record,
    send_all, send_paced,
};

/// Runs a job with a sender here and receivers in another thread.
fn between_threads(
    sender: &mut dyn Sender,
    mut receivers: Vec<Box<dyn Receiver + Send>>,
    job: &Job,
) -> Result<(u64, Measured), BenchError> {
    let job = *job;
    let ready = std::sync::Arc::new(std::sync::Barrier::new(2));
    let there = std::sync::Arc::clone(&ready);
    let thread = std::thread::spawn(move || {
        on_processor(1)?;
        let copied = |it| Box::new(Copied(it)) as Box<dyn Receiver>;
        let mut receivers: Vec<_> = receivers.drain(..).map(copied).collect();
        there.wait();
        if job.shape.producers != 1 && receivers.len() != 1 {
            receivers = vec![Box::new(Turns(receivers))];
        }
        drain(&mut receivers, &job)
    });
    ready.wait();
    let begin = now_ns();
    if job.every_ns == 0 {
        send_all(sender, &job)?;
    } else {
        send_paced(sender, &job)?;
    }
    let measured = thread
        .join()
        .map_err(|_| BenchError::Other("the receiving thread panicked".to_owned()))??;
    Ok((measured.end_ns - begin, measured))
}

/// As many records as the record ring has room for.
fn capacity(bytes: usize) -> usize {
    BENCH_SLOTS as usize * 64 / bytes
}

/// One queue for each producer and consumer.
struct Rtrb<const N: usize> {
    queues: Vec<rtrb::Producer<[u8; N]>>,
    consumers: usize,
}

impl<const N: usize> Sender for Rtrb<N> {
    fn send(
        &mut self,
        producer: u64,
        first: u64,
        count: u64,
        sent_ns: u64,
    ) -> Result<(), BenchError> {
        let from = producer as usize * self.consumers;
        for queue in &mut self.queues[from..from + self.consumers] {
            let mut room = queue.write_chunk_uninit(count as usize);
            while room.is_err() {
                std::hint::spin_loop();
                room = queue.write_chunk_uninit(count as usize);
            }
            let room = room.expect("just looked");
            room.fill_from_iter((first..first + count).map(|number| {
                let mut bytes = [0; N];
                record(&mut bytes, producer, number, sent_ns);
                bytes
            }));
        }
        Ok(())
    }
}

struct RtrbReader<const N: usize>(rtrb::Consumer<[u8; N]>);

impl<const N: usize> Receiver for RtrbReader<N> {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        let slots = self.0.slots();
        let chunk = self.0.read_chunk(slots).map_err(BenchError::queue)?;
        let (front, back) = chunk.as_slices();
        front.iter().chain(back).for_each(|bytes| take(bytes));
        chunk.commit_all();
        Ok(slots as u64)
    }
}

/// Measures `rtrb`.
pub(crate) fn rtrb(job: &Job) -> Result<(u64, Measured), BenchError> {
    fn run<const N: usize>(job: &Job) -> Result<(u64, Measured), BenchError> {
        let (mut queues, mut receivers) = (Vec::new(), Vec::<Box<dyn Receiver + Send>>::new());
        for _ in 0..job.shape.producers * job.shape.consumers {
            let (producer, consumer) = rtrb::RingBuffer::<[u8; N]>::new(capacity(N));
            queues.push(producer);
            receivers.push(Box::new(RtrbReader(consumer)));
        }
        let consumers = job.shape.consumers as usize;
        between_threads(&mut Rtrb { queues, consumers }, receivers, job)
    }
    match job.bytes {
        64 => run::<64>(job),
        256 => run::<256>(job),
        _ => run::<1024>(job),
    }
}

struct Event<const N: usize>([u8; N]);

struct Disruptor<const N: usize, P>(Vec<P>);

impl<const N: usize, P: disruptor::Producer<Event<N>>> Sender for Disruptor<N, P> {
    fn send(
        &mut self,
        producer: u64,
        first: u64,
        count: u64,
        sent_ns: u64,
    ) -> Result<(), BenchError> {
        let handle = &mut self.0[producer as usize];
        if count == 1 {
            handle.publish(|event| record(&mut event.0, producer, first, sent_ns));
        } else {
            handle.batch_publish(count as usize, |events| {
                for (number, event) in (first..).zip(events) {
                    record(&mut event.0, producer, number, sent_ns);
                }
            });
        }
        Ok(())
    }
}

/// A receiver that is a function: the library does not name what its pollers wait for.
struct Polled<F>(F);

impl<F: FnMut(&mut dyn FnMut(&[u8])) -> Result<u64, BenchError>> Receiver for Polled<F> {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        (self.0)(take)
    }
}

/// The receiver of a poller.
macro_rules! polled {
    ($poller:ident) => {{
        let mut poller = $poller;
        Box::new(Polled(move |take: &mut dyn FnMut(&[u8])| {
            match poller.poll() {
                Ok(mut events) => {
                    let count = (&mut events).len() as u64;
                    for event in &mut events {
                        take(&event.0);
                    }
                    Ok(count)
                }
                Err(Polling::NoEvents) => Ok(0),
                Err(Polling::Shutdown) => Err(BenchError::queue("the disruptor was shut down")),
            }
        })) as Box<dyn Receiver + Send>
    }};
}

/// Measures `disruptor`: one ring for all producers and consumers.
pub(crate) fn disruptor(job: &Job) -> Result<(u64, Measured), BenchError> {
    fn run<const N: usize>(job: &Job) -> Result<(u64, Measured), BenchError> {
        let (size, event) = (capacity(N), || Event([0; N]));
        if job.shape.producers != 1 {
            let builder = disruptor::build_multi_producer(size, event, BusySpin);
            let (poller, builder) = builder.new_event_poller();
            let producer = builder.build();
            let handles = (0..job.shape.producers).map(|_| producer.clone()).collect();
            return between_threads(&mut Disruptor(handles), vec![polled!(poller)], job);
        }
        let builder = disruptor::build_single_producer(size, event, BusySpin);
        let (first, builder) = builder.new_event_poller();
        if job.shape.consumers == 1 {
            let mut sender = Disruptor(vec![builder.build()]);
            return between_threads(&mut sender, vec![polled!(first)], job);
        }
        let (second, builder) = builder.new_event_poller();
        let (third, builder) = builder.new_event_poller();
        let mut sender = Disruptor(vec![builder.build()]);
        let pollers = vec![polled!(first), polled!(second), polled!(third)];
        between_threads(&mut sender, pollers, job)
    }
    match job.bytes {
        64 => run::<64>(job),
        256 => run::<256>(job),
        _ => run::<1024>(job),
    }
}

//! A userspace ring: one thread that runs the engine over memory of its own, with packets from a [`Port`].
//!
//! Always true: only the thread touches the region's memory, but for its own process's readers, who look at it through a second mapping and know
//! that it changes (`set_running`). Between two batches it carries out what the process asks of it: as at the kernel ring, continuations of a quiet
//! market too are stepped by whoever rings.
//!
//! System calls of the thread: those of its port, and one for each time that its process wakes it. It allocates nothing for a packet.

use crate::bell::Bell;
use crate::desk::{Counts, Desk};
use crate::live::{Delivered, Live};
use crate::port::{BATCH, Port, PortError};
use crate::records::Consumer;
use crate::ring::RingError;
use crate::times::Times;
use ring0_abi::Acks;
use ring0_engine::canon::StateHash;
use ring0_engine::control::{Control, ControlKind, Gap};
use ring0_engine::layout::Layout;
use ring0_engine::native::{Native, Region, TagRule};
use ring0_engine::record::{Outcome, ReplyTo};
use ring0_engine::region::Memory;
use ring0_engine::snapshot::Snapshot;
use ring0_engine::{Capacity, Reason};
use ring0_record_ring::{Options, Producer, SharedError, SharedMemory, SharedRing};
use ring0_wire::Key;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use zerocopy::FromZeros;

/// How long the thread waits for packets in one call of its port. What its process asks ends the wait; this bounds what a port that cannot be woken
/// adds to it: a kill switch acts in under ten milliseconds (RULES 5).
const WAIT: Duration = Duration::from_millis(1);

/// Name of a ring's thread.
pub const THREAD: &str = "ring0-ring";

/// What a userspace ring is made for.
#[derive(Clone, Debug)]
pub struct UserOptions {
    /// Of the shard.
    pub capacity: Capacity,
    /// Slots of the record ring, a power of two.
    pub record_slots: u64,
    /// The record ring's file, which other processes attach to; `None`: one without a name, for this process.
    pub record_ring: Option<PathBuf>,
    /// When packets are answered.
    pub acks: Acks,
    /// Processor that the thread stays on.
    pub processor: Option<usize>,
    /// Asks for packets without ever waiting for one: a processor of its own, and the shortest way.
    pub spin: bool,
}

/// What the process asks of its ring's thread.
type Call = Box<dyn FnOnce(&mut Thread) + Send>;

/// Asks the thread.
#[derive(Clone)]
struct Calls {
    sender: Sender<Call>,
    bell: Arc<Bell>,
}

impl Calls {
    /// False: the thread has ended.
    fn send(&self, call: impl FnOnce(&mut Thread) + Send + 'static) -> bool {
        let sent = self.sender.send(Box::new(call)).is_ok();
        self.bell.ring();
        sent
    }
}

/// A shard in a thread of this process, which ends with this value.
pub struct UserShard {
    view: Region,
    ring: SharedRing,
    records: Consumer,
    counts: Arc<Counts>,
    times: Arc<Times>,
    calls: Calls,
    thread: Option<JoinHandle<()>>,
    failure: Arc<std::sync::OnceLock<String>>,
    port: &'static str,
    tags: Vec<Option<Key>>,
}

/// Sends answers that were held through a ring's port.
#[derive(Clone)]
pub struct Outlet {
    calls: Calls,
}

/// The thread's own.
struct Thread {
    desk: Desk,
    port: Box<dyn Port>,
    bell: Arc<Bell>,
    /// Arrival number of the last packet.
    arrived: u64,
    lost: u64,
    /// When the packets arrived that were answered in this batch.
    answered: Vec<u64>,
    times: Arc<Times>,
    is_over: bool,
}

impl UserShard {
    /// Begins an empty shard behind a port, or one restored from a snapshot.
    ///
    /// # Errors
    /// The capacity, memory, the record ring's file, or the thread.
    pub fn start(
        options: &UserOptions,
        mut port: Box<dyn Port>,
        snapshot: Option<&Snapshot>,
    ) -> Result<UserShard, RingError> {
        let layout =
            Layout::new(&options.capacity).map_err(ring0_engine::native::NativeError::Capacity)?;
        let memory = ring0_engine::native::NativeError::Memory;
        let region = Region::shared(layout.bytes).map_err(memory)?;
        let view = region.again(layout.bytes).map_err(memory)?;
        let ring_options = Options {
            layout_hash: layout.hash(),
            ..Options::new(options.record_slots)
        };
        let ring = match &options.record_ring {
            Some(path) => {
                clear(path)?;
                SharedRing::create(path, &ring_options)?
            }
            None => SharedRing::anonymous(&ring_options)?,
        };
        let recorder: Producer<SharedMemory> = ring.producer()?;
        let native = Native::in_region(region, layout, recorder);
        if let Some(snapshot) = snapshot {
            snapshot.restore(native.shard(), native.layout())?;
        }
        let counts = Arc::new(Counts::default());
        let times = Arc::new(Times::default());
        let name = port.name();
        let bell = Arc::new(Bell::new()?);
        port.heed(&bell);
        let mut thread = Thread {
            desk: Desk::new(native, options.acks, Arc::clone(&counts)),
            port,
            bell: Arc::clone(&bell),
            arrived: 0,
            lost: 0,
            answered: Vec::with_capacity(BATCH),
            times: Arc::clone(&times),
            is_over: false,
        };
        let (sender, asked) = channel();
        let failure = Arc::new(std::sync::OnceLock::new());
        let (processor, wait) = (
            options.processor,
            if options.spin { Duration::ZERO } else { WAIT },
        );
        let failed = Arc::clone(&failure);
        let running = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let ended = stay_on(processor).and_then(|()| thread.run(&asked, wait));
                if let Err(error) = ended {
                    let _ = failed.set(error.to_string()); // the first and only one
                }
            })
            .map_err(RingError::Thread)?;
        Ok(UserShard {
            view,
            records: Consumer::observer(&ring)?,
            ring,
            counts,
            times,
            calls: Calls { sender, bell },
            thread: Some(running),
            failure,
            port: name,
            tags: Vec::new(),
        })
    }

    /// The record ring.
    #[must_use]
    pub fn record_ring(&self) -> &SharedRing {
        &self.ring
    }

    /// The port's name.
    #[must_use]
    pub fn port(&self) -> &'static str {
        self.port
    }

    /// For those who send held answers.
    #[must_use]
    pub fn outlet(&self) -> Outlet {
        Outlet {
            calls: self.calls.clone(),
        }
    }

    /// Hash of the state between two batches.
    ///
    /// # Errors
    /// The ring has ended.
    pub fn state_hash(&self) -> Result<StateHash, RingError> {
        self.ask(|thread| thread.desk.shard().state_hash())
    }

    /// The state between two batches.
    ///
    /// # Errors
    /// The ring has ended, or the shard is broken.
    pub fn snapshot(&self) -> Result<Snapshot, RingError> {
        Ok(self.ask(|thread| thread.desk.snapshot())??)
    }

    /// Has something done between two batches, and waits for it.
    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Thread) -> T + Send + 'static,
    ) -> Result<T, RingError> {
        let (answer, answered) = sync_channel(1);
        let call = move |thread: &mut Thread| {
            let _ = SyncSender::send(&answer, what(thread)); // who asked waits
        };
        let ended = || RingError::Ended {
            port: self.port,
            cause: self
                .failure()
                .unwrap_or_else(|| "it was stopped".to_owned()),
        };
        if !self.calls.send(call) {
            return Err(ended());
        }
        answered.recv().map_err(|_| ended())
    }
}

impl Drop for UserShard {
    fn drop(&mut self) {
        let _ = self.calls.send(|thread| thread.is_over = true); // one that has ended is not to be stopped
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has said what it had to say
        }
    }
}

impl Outlet {
    /// Sends payloads, in order, between two batches of the ring; false: the ring has ended.
    #[must_use]
    pub fn send(&self, answers: Vec<(ReplyTo, Vec<u8>)>) -> bool {
        let call = move |thread: &mut Thread| {
            for (to, payload) in &answers {
                thread.port.send(to, payload);
            }
        };
        self.calls.send(call)
    }
}

impl Thread {
    /// Until it is stopped, or its port fails.
    fn run(&mut self, asked: &Receiver<Call>, wait: Duration) -> Result<(), PortError> {
        loop {
            self.bell.hush();
            loop {
                match asked.try_recv() {
                    Ok(call) => call(self),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            if self.is_over {
                return Ok(());
            }
            let packets = self.port.receive(wait)?;
            if packets != 0 {
                self.desk.set_running(true);
                for index in 0..packets {
                    self.packet(index);
                }
                self.desk.set_running(false);
                self.port.flush()?;
                self.time();
            }
        }
    }

    /// One look at the clock a batch: its answers are with the network now.
    fn time(&mut self) {
        if !self.answered.is_empty() {
            let now = boot_ns();
            let stamps = self.answered.drain(..);
            stamps.for_each(|it| self.times.add(now.saturating_sub(it)));
        }
    }

    #[inline]
    fn packet(&mut self, index: usize) {
        let arrival = self.port.packet(index);
        let stamp = arrival.boot_ns;
        if let Some(number) = arrival.number {
            let expected = self.arrived + 1;
            self.arrived = number;
            if number > expected {
                self.lost += number - expected;
                note_gap(&mut self.desk, expected, number - expected, arrival.boot_ns);
            }
        }
        let answer = self
            .desk
            .packet(arrival.payload, arrival.boot_ns, &arrival.from);
        if let Some(len) = answer {
            self.port.answer(index, self.desk.answer(), len);
            self.answered.push(stamp);
        }
    }

    /// A packet that did not come by the port. Nobody is sent its answer if that is held.
    fn delivered(&mut self, payload: &[u8]) -> Delivered {
        self.desk.set_running(true);
        let before = self.desk.held();
        let answer = self.desk.packet(payload, boot_ns(), &ReplyTo::new_zeroed());
        self.desk.set_running(false);
        match answer {
            Some(len) => {
                let mut bytes = vec![0; len];
                self.desk.answer().copy_out(&mut bytes);
                Delivered::Answer(bytes)
            }
            None if self.desk.held() != before => {
                let next = self.desk.shard().header().next_sequence.get();
                Delivered::Held { until: next - 1 }
            }
            None => Delivered::Dropped,
        }
    }

    fn steps(&mut self) {
        self.desk.set_running(true);
        self.desk.steps();
        self.desk.set_running(false);
    }

    fn control(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        self.desk.set_running(true);
        let results = self.desk.control(commands, boot_ns());
        self.desk.set_running(false);
        results
    }
}

/// Records that packets which arrived never came here. A ring without room for it says so by its counter alone.
#[cold]
fn note_gap(desk: &mut Desk, first: u64, count: u64, boot_ns: u64) {
    let gap = Control::new(ControlKind::Gap, &Gap { first, count });
    let _ = desk.control(&[gap], boot_ns);
}

/// Makes place for a ring's file: one that a shard which has ended left, and whose records were all recorded where somebody was to do so.
fn clear(path: &Path) -> Result<(), RingError> {
    if !path.exists() {
        return Ok(());
    }
    let old = SharedRing::open(path)?;
    drop(old.producer()?); // fails where the shard has not ended
    let behind = Consumer::observer(&old)?.all_required();
    if let Some(behind) = behind.into_iter().find(|one| one.slots != 0) {
        return Err(RingError::Unrecorded {
            path: path.to_owned(),
            name: behind.name,
            slots: behind.slots,
        });
    }
    let failed = |source| SharedError::File {
        path: path.to_owned(),
        act: "remove",
        source,
    };
    Ok(std::fs::remove_file(path).map_err(failed)?)
}

fn stay_on(processor: Option<usize>) -> Result<(), PortError> {
    processor
        .map_or(Ok(()), pin_to)
        .map_err(|source| PortError {
            port: "ring's",
            act: "stay on its processor; name one that this process may use",
            source,
        })
}

/// Binds the calling thread to a processor.
///
/// # Errors
/// There is no such processor for this process.
pub fn pin_to(processor: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    if processor >= CpuSet::MAX_CPU {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// The boot-time clock, nanoseconds.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Live for UserShard {
    fn answer_times(&self) -> Option<&Times> {
        Some(&self.times)
    }

    fn memory(&self) -> Memory<'_> {
        self.view.memory()
    }

    fn records(&self) -> &Consumer {
        &self.records
    }

    fn command(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        let commands = commands.to_vec();
        self.ask(move |thread| thread.control(&commands))?
    }

    fn ring_doorbell(&mut self) -> Result<(), RingError> {
        self.ask(Thread::steps)
    }

    fn set_key(&mut self, session: u32, bytes: Option<&[u8; 16]>) -> Result<(), RingError> {
        let key = bytes.map(Key::from_bytes);
        let at = session as usize;
        if self.tags.len() <= at {
            self.tags.resize(at + 1, None);
        }
        self.tags[at] = key;
        let tag = key.map_or(TagRule::Blank, TagRule::Checked);
        self.ask(move |thread| thread.desk.set_tag(session, tag))
    }

    fn clear_key(&mut self, session: u32) -> Result<(), RingError> {
        if let Some(tag) = self.tags.get_mut(session as usize) {
            *tag = None;
        }
        self.ask(move |thread| thread.desk.set_tag(session, TagRule::NoKey))
    }

    fn deliver(&mut self, payloads: &[Arc<[u8]>]) -> Result<Vec<Delivered>, RingError> {
        let payloads = payloads.to_vec();
        self.ask(move |thread| {
            let delivered = payloads.iter().map(|payload| thread.delivered(payload));
            delivered.collect()
        })
    }

    fn tags(&self) -> &[Option<Key>] {
        &self.tags
    }

    fn counters(&self) -> Result<Vec<u64>, RingError> {
        Ok(self.counts.all())
    }

    fn port_counters(&mut self) -> Vec<(&'static str, u64)> {
        let asked = self.ask(|thread| {
            let mut counters = thread.port.counters();
            counters.push(("arrivals_lost", thread.lost));
            counters
        });
        asked.unwrap_or_default()
    }

    fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

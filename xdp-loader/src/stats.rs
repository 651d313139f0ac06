//! The numbers of a running shard, as the program and the ring's consumers keep them. Reads memory and counters; asks no process, changes nothing.
//!
//! Names come from `ring0-abi`, and those of the region's numbers from the page before it; what an order is, is not known here.

use crate::{
    error::LoaderError,
    memory::CURSOR_BYTES,
    pinned::{Pinned, open_pinned},
    totals::{TotalStat, Totals},
};
use ring0_abi::{counter_name, cursor};
use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// One counter, summed over all processors.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CounterStat {
    /// Its name, as everywhere.
    pub name: String,
    /// Frames since the maps were made.
    pub total: u64,
    /// Frames a second between two looks; 0 at the first.
    pub per_second: f64,
}

/// One consumer of the record ring.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct ConsumerStat {
    /// Its name.
    pub name: String,
    /// Whether the program waits for it rather than write over what it has not read.
    pub required: bool,
    /// Slots that it has read.
    pub consumed: u64,
    /// Slots that it has not read yet.
    pub lag: u64,
}

/// The record ring (MQ1).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RingStat {
    /// Slots of 64 bytes.
    pub slots: u32,
    /// Slots published since the maps were made.
    pub published: u64,
    /// Slots a second between two looks; 0 at the first.
    pub per_second: f64,
    /// Slots free before the slowest required consumer; all of them where none is required.
    pub free: u64,
    /// Its consumers.
    pub consumers: Vec<ConsumerStat>,
    /// Sequence of the last record that is on a journal's disk.
    pub durable_sequence: u64,
    /// Slots up to it.
    pub durable_slots: u64,
    /// Whether a journal failed: nothing is taken then.
    pub journal_failed: bool,
}

/// Result of [`stats`].
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Stats {
    /// The pin folder.
    pub pin_root: PathBuf,
    /// Interface of the shard.
    pub interface: String,
    /// Its network namespace.
    pub netns: Option<String>,
    /// UDP port, of a shard that shares its interface.
    pub port: Option<u16>,
    /// Kernel id of the program that packets reach.
    pub program_id: Option<u32>,
    /// Time between the two looks, seconds; 0 at the first.
    pub interval_seconds: f64,
    /// What the shard's program counts.
    pub counters: Vec<CounterStat>,
    /// What the dispatcher counts, of frames that were no shard's, where shards share the interface.
    pub dispatcher_counters: Option<Vec<CounterStat>>,
    /// Numbers of the shard by the names that it has for them; empty where the process has its arena mapped already.
    pub totals: Vec<TotalStat>,
    /// The record ring.
    pub ring: RingStat,
    /// Control commands written so far.
    pub commands_written: u64,
    /// Slots of the command ring.
    pub command_slots: u32,
}

/// A shard whose numbers are read again and again. What is needed for that is open: no privilege is needed any more.
#[derive(Debug)]
pub struct Observer {
    pinned: Pinned,
    counters: crate::pinned::Counters,
    dispatcher: Option<crate::pinned::Counters>,
    cursors: crate::memory::Cursors,
    commands: crate::memory::Commands,
    totals: Option<Totals>,
    before: Option<(Instant, Stats)>,
}

/// Looks at the shard pinned there twice, with `interval` in between; without one, once.
///
/// # Errors
/// [`LoaderError::NotLoaded`] if there is none.
pub fn stats(pin_root: &Path, interval: Duration) -> Result<Stats, LoaderError> {
    let mut observer = Observer::open(pin_root)?;
    if !interval.is_zero() {
        observer.look()?;
        std::thread::sleep(interval);
    }
    observer.look()
}

impl Observer {
    /// Opens the shard pinned there.
    ///
    /// # Errors
    /// [`LoaderError::NotLoaded`] if there is none.
    pub fn open(pin_root: &Path) -> Result<Self, LoaderError> {
        let pinned = open_pinned(pin_root)?;
        let dispatcher = match pinned.dispatcher()? {
            Some(dispatcher) => Some(dispatcher.counters()?),
            None => None,
        };
        Ok(Self {
            counters: pinned.counters()?,
            dispatcher,
            cursors: pinned.map_cursors()?,
            commands: pinned.map_commands()?,
            totals: Totals::open(&pinned)?,
            pinned,
            before: None,
        })
    }

    /// The numbers now, and how they grew since the last look.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&mut self) -> Result<Stats, LoaderError> {
        let now = Instant::now();
        let mut stats = self.read()?;
        if let Some((then, before)) = &self.before {
            let seconds = now.duration_since(*then).as_secs_f64();
            stats.interval_seconds = seconds;
            let rate = |now: u64, then: u64| now.wrapping_sub(then) as f64 / seconds;
            let rates = |now: &mut [CounterStat], then: &[CounterStat]| {
                for (now, then) in now.iter_mut().zip(then) {
                    now.per_second = rate(now.total, then.total);
                }
            };
            rates(&mut stats.counters, &before.counters);
            if let (Some(now), Some(then)) =
                (&mut stats.dispatcher_counters, &before.dispatcher_counters)
            {
                rates(now, then);
            }
            stats.ring.per_second = rate(stats.ring.published, before.ring.published);
        }
        self.before = Some((now, stats.clone()));
        Ok(stats)
    }

    fn read(&self) -> Result<Stats, LoaderError> {
        let slots = self.pinned.record_slots();
        let word = |entry: u32, at: usize| {
            let at = entry as usize * CURSOR_BYTES + at;
            self.cursors.word(at).load(Ordering::Acquire)
        };
        // Consumers first: what they have read is then never more than what is published.
        let mut consumers = Vec::new();
        for entry in cursor::FIRST_CONSUMER..cursor::FIRST_CONSUMER + cursor::CONSUMERS {
            let mut name = [0; 16];
            for (number, to) in name.chunks_exact_mut(8).enumerate() {
                to.copy_from_slice(&word(entry, cursor::NAME + number * 8).to_ne_bytes());
            }
            let end = name
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(name.len());
            if end == 0 {
                continue;
            }
            consumers.push(ConsumerStat {
                name: String::from_utf8_lossy(&name[..end]).into_owned(),
                required: word(entry, cursor::REQUIRED) == 1,
                consumed: word(entry, 0),
                lag: 0,
            });
        }
        let published = word(cursor::TAIL, 0);
        for consumer in &mut consumers {
            consumer.lag = published.saturating_sub(consumer.consumed);
        }
        let behind = consumers.iter().filter(|consumer| consumer.required);
        let behind = behind.map(|consumer| consumer.lag).max().unwrap_or(0);
        let dispatcher_counters = match &self.dispatcher {
            Some(counters) => Some(named(counters)?),
            None => None,
        };
        Ok(Stats {
            pin_root: self.pinned.pin_root().to_owned(),
            interface: self.pinned.interface().to_owned(),
            netns: self.pinned.netns().map(str::to_owned),
            port: self.pinned.port(),
            program_id: self.pinned.link_program_id().unwrap_or(None),
            interval_seconds: 0.0,
            counters: named(&self.counters)?,
            dispatcher_counters,
            totals: self.totals.as_ref().map_or_else(Vec::new, Totals::read),
            ring: RingStat {
                slots,
                published,
                per_second: 0.0,
                free: u64::from(slots).saturating_sub(behind),
                consumers,
                durable_sequence: word(cursor::DURABLE, 0),
                durable_slots: word(cursor::DURABLE, cursor::DURABLE_SLOT),
                journal_failed: word(cursor::DURABLE, cursor::FAILED) == 1,
            },
            commands_written: self
                .commands
                .word(ring0_abi::command::HEAD)
                .load(Ordering::Acquire),
            command_slots: self.pinned.command_slots(),
        })
    }
}

/// The counters that have a name.
fn named(counters: &crate::pinned::Counters) -> Result<Vec<CounterStat>, LoaderError> {
    let mut stats = Vec::new();
    for number in 0..counters.len() {
        let Some((prefix, name)) = counter_name(number) else {
            break; // the map has room for more
        };
        stats.push(CounterStat {
            name: format!("{prefix}{name}"),
            total: counters.sum(number)?,
            per_second: 0.0,
        });
    }
    Ok(stats)
}

//! The recorder's numbers for Prometheus: how long its disk takes, how far it is behind the ring.

use crate::fail::Fail;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, TextEncoder};
use ring0_journal::{Disk, Storage, StorageFile};
use ring0_mq::CONSUMER;
use ring0_rings::{Consumer, RecordRing};
use ring0_scrape::Scrape;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

/// Buckets of a sync in seconds: a fast disk takes tens of microseconds, one that is full or failing seconds.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0,
];

/// What the disk is timed by.
#[derive(Clone)]
pub(super) struct Times {
    registry: Registry,
    syncs: Histogram,
    failures: IntCounter,
    bytes: IntCounter,
}

impl Times {
    pub(super) fn new() -> Result<Times, Fail> {
        let options = HistogramOpts::new(
            "ring0_recorder_sync_seconds",
            "Time of each sync of the journal's disk.",
        );
        let times = Times {
            registry: Registry::new(),
            syncs: Histogram::with_opts(options.buckets(SECONDS.to_vec())).map_err(Fail::new)?,
            failures: IntCounter::new(
                "ring0_recorder_disk_failures_total",
                "Writes and syncs of the journal's disk that failed; after the first nothing more is written.",
            )
            .map_err(Fail::new)?,
            bytes: IntCounter::new(
                "ring0_recorder_written_bytes_total",
                "Bytes written to the journal's disk, those in reserve too.",
            )
            .map_err(Fail::new)?,
        };
        for one in [
            Box::new(times.syncs.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(times.failures.clone()),
            Box::new(times.bytes.clone()),
        ] {
            times.registry.register(one).map_err(Fail::new)?;
        }
        Ok(times)
    }

    /// Serves them, with how far the recorder is behind the ring.
    pub(super) fn serve(&self, address: SocketAddr, ring: &RecordRing) -> Result<Scrape, Fail> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, Fail> {
            let gauge = IntGauge::new(name, help).map_err(Fail::new)?;
            self.registry
                .register(Box::new(gauge.clone()))
                .map_err(Fail::new)?;
            Ok(gauge)
        };
        let lag = gauge(
            "ring0_recorder_lag_slots",
            "Slots of the record ring that are published and not on the disk.",
        )?;
        let slots = gauge("ring0_recorder_ring_slots", "Slots of the record ring.")?;
        let published = gauge(
            "ring0_recorder_published_slots",
            "Slots that the shard has published.",
        )?;
        // One scrape at a time.
        let observer = Mutex::new(Consumer::observer(ring)?);
        let registry = self.registry.clone();
        let text = move || {
            let observer = observer
                .lock()
                .map_err(|_| "a scrape has failed".to_owned())?;
            slots.set(observer.ring_slots().cast_signed());
            published.set(observer.tail().cast_signed());
            let required = observer.all_required();
            if let Some(own) = required.iter().find(|it| it.name == CONSUMER) {
                lag.set(own.slots.cast_signed());
            }
            drop(observer);
            let text = TextEncoder::new().encode_to_string(&registry.gather());
            text.map_err(|error| error.to_string())
        };
        Scrape::serve(address, text).map_err(Fail::new)
    }

    fn of<T>(&self, done: io::Result<T>) -> io::Result<T> {
        let is_failure = |it: &io::Error| it.kind() != io::ErrorKind::Interrupted;
        if done.as_ref().err().is_some_and(is_failure) {
            self.failures.inc();
        }
        done
    }

    fn sync(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let begun = Instant::now();
        let done = act();
        self.syncs.observe(begun.elapsed().as_secs_f64());
        self.of(done)
    }
}

/// The file system, timed.
pub(super) struct TimedDisk(pub(super) Times);

/// A file of it.
pub(super) struct TimedFile {
    file: File,
    times: Times,
}

impl TimedDisk {
    fn timed(&self, file: io::Result<File>) -> io::Result<TimedFile> {
        let times = self.0.clone();
        Ok(TimedFile { file: file?, times })
    }
}

impl Storage for TimedDisk {
    type File = TimedFile;

    fn create(&self, path: &Path) -> io::Result<TimedFile> {
        self.timed(Disk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<TimedFile> {
        self.timed(Disk.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync(|| Disk.sync_folder(folder))
    }
}

impl StorageFile for TimedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self
            .times
            .of(StorageFile::write_at(&self.file, bytes, offset))?;
        self.times.bytes.inc_by(written as u64);
        Ok(written)
    }

    fn write_directly(&self) -> io::Result<()> {
        self.file.write_directly()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.times.of(StorageFile::allocate(&self.file, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        StorageFile::set_len(&self.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.times.sync(|| StorageFile::sync_data(&self.file))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.times.sync(|| StorageFile::sync_all(&self.file))
    }
}

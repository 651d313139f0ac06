//! What the tests of this crate share: records without meaning, small segments, and a storage that fails when it is told to.
#![allow(
    dead_code,
    reason = "each test binary is built with this module and uses some of it"
)]

use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Head, Kind};
use ring0_journal::{Disk, Journal, JournalError, Options, PAGE, Reader, Storage, StorageFile};
use ring0_mq::Identity;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use zerocopy::IntoBytes;

/// The shard that the tests' records are of.
pub(crate) const IDENTITY: Identity = Identity {
    layout_hash: 7,
    boot_id: [1; 16],
    arena_id: 3,
};

/// Syncs only when it is asked to.
pub(crate) fn options(pages: u64) -> Options {
    Options {
        segment_bytes: pages * PAGE as u64,
        sync_bytes: usize::MAX,
        sync_after: Duration::from_secs(3_600),
    }
}

/// SplitMix64: a random test's only source, so that its seed says everything.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A record of one slot or two whose content only its sequence decides, with no zero byte behind its head.
pub(crate) fn record(sequence: u64) -> Vec<u8> {
    let mut random = Random(sequence);
    let (kind, slots) = if sequence.is_multiple_of(3) {
        (Kind::Message, 2)
    } else {
        (Kind::Rested, 1)
    };
    let mut bytes: Vec<u8> = (0..slots * SLOT_LEN)
        .map(|_| 1 + random.below(255) as u8)
        .collect();
    let head = Head {
        kind: kind as u16,
        slots: slots as u8,
        side: b'B',
        locate: 1,
        sequence,
    };
    bytes[..16].copy_from_slice(head.as_bytes());
    bytes
}

pub(crate) fn records(sequences: std::ops::Range<u64>) -> Vec<u8> {
    sequences.flat_map(record).collect()
}

/// Opens the tests' journal.
pub(crate) fn open(folder: &Path, pages: u64) -> Result<Journal, JournalError> {
    Journal::open(folder, &IDENTITY, 0, options(pages))
}

/// Appends and syncs: one block.
pub(crate) fn block(journal: &mut Journal, sequences: std::ops::Range<u64>) {
    journal.append(&records(sequences)).unwrap();
    journal.sync().unwrap();
}

/// Sequence behind the last record that can be read, of a journal that begins with record 1 and has only the tests' records.
pub(crate) fn read_all(folder: &Path) -> Result<u64, JournalError> {
    let mut reader = Reader::open(folder)?;
    let mut next = 1;
    while let Some(found) = reader.next_record()? {
        assert!(found == record(next), "record {next} is another one");
        next += 1;
    }
    Ok(next)
}

/// The segments of a folder by name, the first first.
pub(crate) fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "segment"));
    paths.sort();
    paths
}

/// All files of a folder with their content, to be put back.
pub(crate) fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

pub(crate) fn put_back(folder: &Path, content: &BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (path, bytes) in content {
        fs::write(path, bytes).unwrap();
    }
}

/// How a storage fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The disk says that it cannot.
    Io,
    /// The disk is full; of a write the first part was done.
    NoSpace,
}

/// A write, a new name or a removal that no sync has made sure of.
enum Unsure {
    /// A page of a file, what it was before, and whether the kernel has given it up: after a failed sync it looks written, and no
    /// later sync writes it unless it was written to again.
    Page(PathBuf, u64, Vec<u8>, bool),
    Rename(PathBuf, PathBuf),
    /// A removed file's content.
    Remove(PathBuf, Vec<u8>),
}

struct Plan {
    fault: Fault,
    /// Operations until it fails.
    left: AtomicU64,
    failed: AtomicBool,
    /// Operations that were tried after it had failed.
    after: AtomicU64,
    unsure: Arc<Mutex<Vec<Unsure>>>,
}

/// The file system, until its operations are used up: then one fails, and all after it.
#[derive(Clone)]
pub(crate) struct Faulty(Arc<Plan>);

impl Faulty {
    pub(crate) fn new(fault: Fault, operations: u64) -> Faulty {
        Faulty::of(fault, operations, Arc::default())
    }

    /// The same machine for another process, so many operations until one fails.
    pub(crate) fn next_process(&self, operations: u64) -> Faulty {
        Faulty::of(self.0.fault, operations, Arc::clone(&self.0.unsure))
    }

    fn of(fault: Fault, operations: u64, unsure: Arc<Mutex<Vec<Unsure>>>) -> Faulty {
        Faulty(Arc::new(Plan {
            fault,
            left: AtomicU64::new(operations),
            failed: AtomicBool::new(false),
            after: AtomicU64::new(0),
            unsure,
        }))
    }

    /// Whether an operation failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.failed.load(SeqCst)
    }

    /// Operations tried after one had failed.
    pub(crate) fn tried_after(&self) -> u64 {
        self.0.after.load(SeqCst)
    }

    /// Is the machine that dies: of what no sync made sure of, some is lost.
    pub(crate) fn crash(&self, random: &mut Random) {
        for unsure in self.0.unsure.lock().unwrap().drain(..).rev() {
            let is_given_up = matches!(unsure, Unsure::Page(.., true));
            if !is_given_up && random.below(2) == 0 {
                continue;
            }
            match unsure {
                Unsure::Page(path, at, before, _) => {
                    // Where the file had another name then, or none any more, its pages are of no interest.
                    if let Ok(file) = fs::OpenOptions::new().write(true).open(&path)
                        && at < file.metadata().unwrap().len()
                    {
                        file.write_all_at(&before, at).unwrap();
                    }
                }
                Unsure::Rename(from, to) => fs::rename(to, from).unwrap(),
                Unsure::Remove(path, bytes) => fs::write(path, bytes).unwrap(),
            }
        }
    }

    /// Counts an operation; the error if this is the one that fails, or one has failed before.
    fn operation(&self) -> io::Result<()> {
        let plan = &self.0;
        if plan.failed.load(SeqCst) {
            plan.after.fetch_add(1, SeqCst);
        } else if plan.left.load(SeqCst) > 0 {
            plan.left.fetch_sub(1, SeqCst);
            return Ok(());
        }
        plan.failed.store(true, SeqCst);
        Err(self.error())
    }

    fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(match self.0.fault {
            Fault::Io => 5,
            Fault::NoSpace => 28,
        })
    }

    fn sure(&self, is_sure: impl Fn(&Unsure) -> bool) {
        self.0.unsure.lock().unwrap().retain(|it| !is_sure(it));
    }
}

pub(crate) struct FaultyFile {
    storage: Faulty,
    /// The name that it was opened with, or was given since.
    path: Arc<Mutex<PathBuf>>,
    file: File,
}

/// Names of open files, which a rename changes.
static NAMES: Mutex<Vec<Weak<Mutex<PathBuf>>>> = Mutex::new(Vec::new());

impl Faulty {
    fn file(&self, path: &Path, file: File) -> FaultyFile {
        let path = Arc::new(Mutex::new(path.to_owned()));
        let mut names = NAMES.lock().unwrap();
        names.retain(|name| name.strong_count() != 0);
        names.push(Arc::downgrade(&path));
        FaultyFile {
            storage: self.clone(),
            path,
            file,
        }
    }
}

impl Storage for Faulty {
    type File = FaultyFile;

    fn create(&self, path: &Path) -> io::Result<FaultyFile> {
        self.operation()?;
        Ok(self.file(path, Disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<FaultyFile> {
        self.operation()?;
        Ok(self.file(path, Disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        Disk.rename(from, to)?;
        for name in NAMES.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let mut name = name.lock().unwrap();
            if *name == from {
                *name = to.to_owned();
            }
        }
        let rename = Unsure::Rename(from.to_owned(), to.to_owned());
        self.0.unsure.lock().unwrap().push(rename);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        let remove = Unsure::Remove(path.to_owned(), fs::read(path)?);
        self.0.unsure.lock().unwrap().push(remove);
        Disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation()?;
        self.sure(|it| !matches!(it, Unsure::Page(..)));
        Disk.sync_folder(folder)
    }
}

impl StorageFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let may = self.storage.operation();
        let len = match (&may, self.storage.0.fault, self.storage.tried_after()) {
            (Ok(()), ..) => bytes.len(),
            // A full disk takes the first part.
            (Err(_), Fault::NoSpace, 0) => bytes.len() / 2,
            (Err(_), ..) => 0,
        };
        let (page, end) = (PAGE as u64, offset + len as u64);
        let reading = File::open(&*self.path.lock().unwrap())?;
        let mut at = offset / page * page;
        while at < end {
            let mut before = vec![0; PAGE];
            let mut filled = 0;
            while let Ok(read @ 1..) = reading.read_at(&mut before[filled..], at + filled as u64) {
                filled += read;
            }
            let path = self.path.lock().unwrap().clone();
            let mut all = self.storage.0.unsure.lock().unwrap();
            // Written to again, it is a later sync's matter; on the disk is what was there before the first time.
            let given_up = all.iter().position(
                |it| matches!(it, Unsure::Page(of, page, _, true) if (of, *page) == (&path, at)),
            );
            if let Some(Unsure::Page(_, _, on_disk, _)) = given_up.map(|index| all.remove(index)) {
                before = on_disk;
            }
            all.push(Unsure::Page(path, at, before, false));
            at += page;
        }
        self.file.write_all_at(&bytes[..len], offset)?;
        may.map(|()| len)
    }

    /// The test's own memory of what was not synced stands for the kernel's.
    fn write_directly(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.storage.operation()?;
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.operation()?;
        File::set_len(&self.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let path = self.path.lock().unwrap().clone();
        if let Err(error) = self.storage.operation() {
            for unsure in self.storage.0.unsure.lock().unwrap().iter_mut() {
                if let Unsure::Page(of, _, _, given_up) = unsure {
                    *given_up |= *of == path;
                }
            }
            return Err(error);
        }
        self.storage
            .sure(|it| matches!(it, Unsure::Page(of, _, _, false) if *of == path));
        File::sync_data(&self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

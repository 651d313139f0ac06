//! A ring in a file that processes share: made whole or not at all, checked when it is attached, one process a role.
//!
//! Layout, little-endian: a page of header, a page of cursors (entries of 64 bytes as `ring0_abi::cursor` has them), the slots.
//! The file is best one in memory: `/dev/shm`, or a memfd, which others open by `/proc/PID/fd/N`.
//!
//! Who may write it may break it, so it is its owner's alone (mode 0600). Roles are locks on single bytes of the file, which the kernel
//! gives back when the process that has one ends: byte 0 the producer, byte *n* the consumer of cursor *n*, and one that is held while a place
//! is taken.

use crate::consumer::Consumer;
use crate::mapping::{LINE_BYTES, Line, Mapping, try_lock};
use crate::memory::{Memory, Slot, WritableMemory};
use crate::place::{self, Kind, Name, NameError, PlacesTaken};
use crate::producer::Producer;
use ring0_engine::limits::{COMMAND_SLOTS_MAX, SLOT_LEN};
use rustix::fs::{AtFlags, CWD, FallocateFlags, MemfdFlags, Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"RING0RNG";
/// Changes with the meaning of anything in the file.
const VERSION: u32 = 1;
const PAGE: usize = 4096;
/// Bytes before the slots.
const BEFORE_SLOTS: usize = 2 * PAGE;
/// Line of the header's page with the count of places taken.
const JOINED_LINE: usize = 1;
const CURSOR_LINE: usize = PAGE / LINE_BYTES;
const SLOT_LINE: usize = BEFORE_SLOTS / LINE_BYTES;

/// Bytes of the file whose locks are roles.
const PRODUCER_BYTE: i64 = 0;
const MEMBERS_BYTE: i64 = 63;

/// How long to wait for another process that takes a place: it needs microseconds.
const MEMBERS_WAIT: Duration = Duration::from_secs(1);

/// Slots of a ring at the most: 64 GiB.
const SLOTS_MAX: u64 = 1 << 30;

/// First bytes of the file.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    slot_len: u32,
    slots: u64,
    unpublished_max: u64,
    id: [u8; 16],
    layout_hash: u64,
    reserved: u64,
}
const _: () = assert!(size_of::<Header>() == 64 && JOINED_LINE * LINE_BYTES >= size_of::<Header>());
const _: () = assert!(LINE_BYTES == SLOT_LEN);

/// What a ring is made as.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Slots of 64 bytes, a power of two: how far its consumers may fall behind.
    pub slots: u64,
    /// Most slots that are written before they are published: at least the longest command's. More make larger batches possible, and
    /// take as many from what an optional reader may be behind.
    pub unpublished_max: u64,
    /// The layout hash of the shard whose records these are; 0 where there is none.
    pub layout_hash: u64,
}

impl Options {
    /// For an engine's records: a command at once.
    #[must_use]
    pub fn new(slots: u64) -> Options {
        Options {
            slots,
            unpublished_max: COMMAND_SLOTS_MAX.into(),
            layout_hash: 0,
        }
    }
}

/// Why a ring could not be made or attached.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The system refused.
    #[error("cannot {act} the record ring {path}; check the path, its permissions and the memory left: {source}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There is one of this name.
    #[error("{path} is there already; open it, or remove it if no process needs it", path = .path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Numbers that no ring has.
    #[error(
        "a ring of {slots} slots with {unpublished_max} unpublished cannot be; slots are a power of two up to 2^30, and at least twice `unpublished_max`, which is at least 1"
    )]
    Size {
        /// Slots asked for.
        slots: u64,
        /// Unpublished slots asked for.
        unpublished_max: u64,
    },
    /// Not a ring, or another program's.
    #[error("{path} is no record ring of this version: {problem}; name a file that this version's producer made", path = .path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Somebody else could write it.
    #[error("{path} has mode {mode:o}, others than its owner could break it; chmod it to 600", path = .path.display())]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A process has this role.
    #[error("another process is {role} of {path}; end it first, or take another name", path = .path.display())]
    Held {
        /// Which file.
        path: PathBuf,
        /// `the producer`, or the consumer's name.
        role: String,
    },
    /// No place.
    #[error(transparent)]
    Places(#[from] PlacesTaken),
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The path of a ring by name, in the machine's shared memory.
#[must_use]
pub fn named(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(format!("ring0-{name}.ring"))
}

/// A ring in a file, attached.
#[derive(Debug)]
pub struct SharedRing {
    path: PathBuf,
    file: File,
    header: Header,
    mapping: Arc<Mapping>,
}

/// The memory of a [`SharedRing`], with the role that whoever has it holds.
#[derive(Debug)]
pub struct SharedMemory {
    mapping: Arc<Mapping>,
    mask: u64,
    unpublished_max: u64,
    /// The opening of the file that has the lock of the role.
    _role: Option<File>,
}

impl SharedRing {
    /// Makes a ring of zeros under a path that does not exist yet: it appears whole. All its memory is there from now on.
    ///
    /// # Errors
    /// The file system, or there is such a file.
    pub fn create(path: &Path, options: &Options) -> Result<SharedRing, SharedError> {
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mode = Mode::from_raw_mode(0o600);
        // A file without a name: who dies here leaves nothing.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(folder, flags, mode)
            .map_err(|source| file_error(path, "make")(source.into()))?;
        let file = File::from(fd);
        fill(&file, path, options)?;
        let unnamed = own_path(&file);
        rustix::fs::linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(
            |source| match source {
                rustix::io::Errno::EXIST => SharedError::Exists {
                    path: path.to_owned(),
                },
                other => file_error(path, "name")(other.into()),
            },
        )?;
        SharedRing::attach(path, file)
    }

    /// Makes a ring of zeros in memory without a name in any folder: others attach it by [`SharedRing::path`] while this process lives.
    ///
    /// # Errors
    /// The kernel's.
    pub fn anonymous(options: &Options) -> Result<SharedRing, SharedError> {
        let path = Path::new("memfd");
        let fail = |act| move |source: rustix::io::Errno| file_error(path, act)(source.into());
        let fd = rustix::fs::memfd_create("ring0", MemfdFlags::CLOEXEC).map_err(fail("make"))?;
        let file = File::from(fd);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).map_err(fail("protect"))?;
        fill(&file, path, options)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        SharedRing::attach(Path::new(&path), file)
    }

    /// Attaches the ring of a path.
    ///
    /// # Errors
    /// The file system, or the file is no ring of this version.
    pub fn open(path: &Path) -> Result<SharedRing, SharedError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(file_error(path, "open"))?;
        SharedRing::attach(path, file)
    }

    fn attach(path: &Path, file: File) -> Result<SharedRing, SharedError> {
        let metadata = file.metadata().map_err(file_error(path, "open"))?;
        let not_ours = |problem: String| SharedError::NotOurs {
            path: path.to_owned(),
            problem,
        };
        if !metadata.is_file() || metadata.len() < BEFORE_SLOTS as u64 {
            return Err(not_ours("it is no file, or shorter than a header".into()));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SharedError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = [0; size_of::<Header>()];
        // Another opening: the position of this one is shared with nobody.
        let mut reader = File::open(own_path(&file)).map_err(file_error(path, "open"))?;
        reader
            .read_exact(&mut bytes)
            .map_err(file_error(path, "read the header of"))?;
        let header = Header::read_from_bytes(&bytes).expect("as many bytes as a header has");
        if header.magic != MAGIC {
            return Err(not_ours("its first bytes are others".into()));
        }
        if header.version != VERSION || header.slot_len != SLOT_LEN as u32 {
            return Err(not_ours(format!(
                "it has version {} and slots of {} bytes, this program {VERSION} and {SLOT_LEN}",
                header.version, header.slot_len
            )));
        }
        let sizes = Options {
            slots: header.slots,
            unpublished_max: header.unpublished_max,
            layout_hash: header.layout_hash,
        };
        let bytes = sizes.file_bytes()?;
        if metadata.len() != bytes as u64 {
            return Err(not_ours(format!(
                "its length is {}, its header says {bytes}",
                metadata.len()
            )));
        }
        let mapping = Mapping::new(&file, bytes).map_err(file_error(path, "map"))?;
        Ok(SharedRing {
            path: path.to_owned(),
            file,
            header,
            mapping: Arc::new(mapping),
        })
    }

    /// The path by which it is attached.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number that no other ring has: made anew, a ring has another.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.header.id
    }

    /// The layout hash it was made with.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        self.header.layout_hash
    }

    /// Slots of the ring.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.header.slots
    }

    /// Becomes the ring's producer, behind its tail. One whose process died is succeeded: what it had not published is not there.
    ///
    /// # Errors
    /// Another process is the producer.
    pub fn producer(&self) -> Result<Producer<SharedMemory>, SharedError> {
        let role = self.role(PRODUCER_BYTE, "the producer")?;
        Ok(Producer::new(self.memory(Some(role))))
    }

    /// A reader that nobody waits for, from the present tail on.
    #[must_use]
    pub fn observer(&self) -> Consumer<SharedMemory> {
        Consumer::observer(self.memory(None))
    }

    /// Becomes the consumer of a name; see [`Consumer::attach`]. When its process ends the name stays, and a required one goes on to be
    /// waited for.
    ///
    /// # Errors
    /// A living process has the name, or all places are others'.
    pub fn consumer(&self, name: &str, kind: Kind) -> Result<Consumer<SharedMemory>, SharedError> {
        let role = name.to_owned();
        let name = Name::new(name)?;
        let alone = self.members()?;
        let memory = self.memory(None);
        let place = place::find(&memory, name)?;
        let memory = SharedMemory {
            _role: Some(self.role(place.entry.into(), &role)?),
            ..memory
        };
        let consumer = Consumer::at(memory, place, name, kind);
        let joined = &self.mapping.line(JOINED_LINE)[0];
        joined.store(joined.load(Ordering::Relaxed) + 1, Ordering::Release);
        drop(alone);
        Ok(consumer)
    }

    /// Waits until no other process takes a place.
    fn members(&self) -> Result<File, SharedError> {
        let begin = Instant::now();
        loop {
            match self.role(MEMBERS_BYTE, "taking a place") {
                Err(SharedError::Held { .. }) if begin.elapsed() < MEMBERS_WAIT => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                other => return other,
            }
        }
    }

    /// The lock of a role, in an opening of the file of its own.
    fn role(&self, byte: i64, role: &str) -> Result<File, SharedError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(own_path(&self.file))
            .map_err(file_error(&self.path, "open"))?;
        if try_lock(&file, byte).map_err(file_error(&self.path, "lock"))? {
            return Ok(file);
        }
        Err(SharedError::Held {
            path: self.path.clone(),
            role: role.to_owned(),
        })
    }

    fn memory(&self, role: Option<File>) -> SharedMemory {
        SharedMemory {
            mapping: Arc::clone(&self.mapping),
            mask: self.header.slots - 1,
            unpublished_max: self.header.unpublished_max,
            _role: role,
        }
    }
}

impl Options {
    /// Bytes of the file, if these sizes can be.
    fn file_bytes(&self) -> Result<usize, SharedError> {
        let (slots, unpublished_max) = (self.slots, self.unpublished_max);
        let good = slots.is_power_of_two()
            && slots <= SLOTS_MAX
            && (1..=slots / 2).contains(&unpublished_max);
        if !good {
            return Err(SharedError::Size {
                slots,
                unpublished_max,
            });
        }
        Ok((BEFORE_SLOTS + slots as usize * SLOT_LEN).next_multiple_of(PAGE))
    }
}

/// Gives a new file its memory and its header.
fn fill(mut file: &File, path: &Path, options: &Options) -> Result<(), SharedError> {
    let bytes = options.file_bytes()? as u64;
    // Memory that were missing later would be a signal in the middle of a record.
    rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes)
        .map_err(|source| file_error(path, "find memory for")(source.into()))?;
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(|source| file_error(path, "name")(source.into()))?;
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        slot_len: SLOT_LEN as u32,
        slots: options.slots,
        unpublished_max: options.unpublished_max,
        id,
        layout_hash: options.layout_hash,
        reserved: 0,
    };
    file.write_all(header.as_bytes())
        .map_err(file_error(path, "write"))
}

/// A path that opens this very file, whatever its name has become.
fn own_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn file_error(path: &Path, act: &'static str) -> impl FnOnce(io::Error) -> SharedError {
    let path = path.to_owned();
    move |source| SharedError::File { path, act, source }
}

impl SharedMemory {
    #[inline(always)]
    fn line(&self, position: u64) -> &Line {
        self.mapping
            .line(SLOT_LINE + (position & self.mask) as usize)
    }
}

impl Memory for SharedMemory {
    type Word = AtomicU64;

    #[inline]
    fn slots(&self) -> u64 {
        self.mask + 1
    }

    #[inline]
    fn unpublished_max(&self) -> u64 {
        self.unpublished_max
    }

    #[inline]
    fn cursor(&self, entry: u32, word: usize) -> &AtomicU64 {
        &self.mapping.line(CURSOR_LINE + entry as usize)[word]
    }

    #[inline]
    fn load_slot(&self, position: u64) -> Slot {
        self.line(position)
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

impl WritableMemory for SharedMemory {
    #[inline]
    fn store_slot(&self, position: u64, slot: &Slot) {
        for (word, value) in self.line(position).iter().zip(slot) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn joined(&self) -> &AtomicU64 {
        &self.mapping.line(JOINED_LINE)[0]
    }
}

//! Where a shard's record ring lies: in the kernel's pinned maps, or in a file that a userspace ring shares.

use crate::ring::RingError;
use ring0_record_ring::SharedRing;
use std::fmt;
use std::path::Path;
use xdp_loader::Pinned;

/// A shard's record ring, opened.
#[derive(Debug)]
pub enum RecordRing {
    /// Of a shard in the kernel.
    Pinned(Box<Pinned>),
    /// Of a shard in a process.
    Shared(SharedRing),
}

impl RecordRing {
    /// Opens the ring of the shard whose pins are in this folder, or the ring in this file.
    ///
    /// # Errors
    /// There is none, or it is another version's.
    pub fn open(path: &Path) -> Result<RecordRing, RingError> {
        if path.is_file() {
            return Ok(RecordRing::Shared(SharedRing::open(path)?));
        }
        Ok(RecordRing::Pinned(Box::new(xdp_loader::open_pinned(path)?)))
    }

    /// It, lent.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        match self {
            RecordRing::Pinned(pinned) => Place::Pinned(pinned),
            RecordRing::Shared(ring) => Place::Shared(ring),
        }
    }
}

/// A record ring to be attached to.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// See [`RecordRing::Pinned`].
    Pinned(&'a Pinned),
    /// See [`RecordRing::Shared`].
    Shared(&'a SharedRing),
}

impl<'a> From<&'a Pinned> for Place<'a> {
    fn from(pinned: &'a Pinned) -> Place<'a> {
        Place::Pinned(pinned)
    }
}

impl<'a> From<&'a SharedRing> for Place<'a> {
    fn from(ring: &'a SharedRing) -> Place<'a> {
        Place::Shared(ring)
    }
}

impl<'a> From<&'a RecordRing> for Place<'a> {
    fn from(ring: &'a RecordRing) -> Place<'a> {
        ring.place()
    }
}

impl Place<'_> {
    /// Hash of the layout of the shard's region.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        match self {
            Place::Pinned(pinned) => pinned.layout_hash(),
            Place::Shared(ring) => ring.layout_hash(),
        }
    }

    /// Slots of the ring.
    #[must_use]
    pub fn slots(&self) -> u64 {
        match self {
            Place::Pinned(pinned) => pinned.record_slots().into(),
            Place::Shared(ring) => ring.slots(),
        }
    }
}

/// A name that no other shard of this machine has, as long as it runs.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pinned(pinned) => write!(f, "{}", pinned.records_id()),
            Place::Shared(ring) => ring
                .id()
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

//! Where a shard's records come from: its record ring, its journal, or the journal first and the ring from there on.
//! Why so: `docs/decisions/0083-gateway-data.md`.

use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::Head;
use ring0_feed::{RingSource, Source, of_policy};
use ring0_journal::{JournalError, Reader, snapshots};
use ring0_mq::Identity;
use ring0_rings::{Consumer, RecordRing, RingError};
use std::path::{Path, PathBuf};
use zerocopy::FromBytes;

/// Slots read at a time: enough that a burst is one publication, few enough that it is a soon one.
const SLOTS: u64 = 16_384;

/// Bytes of records that are caught up at a time.
const PIECE: usize = 1 << 20;

/// Why records cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Neither is given.
    #[error("shard {shard} has neither `ring` nor `journal`; give one, or both")]
    Nowhere {
        /// Which shard.
        shard: String,
    },
    /// Records are missing.
    #[error(
        "the ring begins at slot {begins} and what was read before it ends at slot {ends}; give `journal` with the folder that `ring0 record --journal` writes, from slot 0 on, or a larger ring"
    )]
    Missing {
        /// First slot of the ring.
        begins: u64,
        /// Where the rest ends.
        ends: u64,
    },
    /// The journal is another shard's.
    #[error("the journal {path} is of another shard than the ring; give that of this shard", path = .path.display())]
    OtherShard {
        /// The journal.
        path: PathBuf,
    },
    /// The journal does not begin with the first record.
    #[error("the journal {path} begins at slot {begins}; the gateway needs all records of the shard", path = .path.display())]
    NotFromTheFirst {
        /// The journal.
        path: PathBuf,
        /// Where it begins.
        begins: u64,
    },
}

/// Records of one shard, in order, from the first on.
pub enum Records {
    /// The live ring.
    Ring(RingSource),
    /// The journal alone: durable records only, some milliseconds later.
    Journal(Box<Reader>),
}

/// Shows all records there are to `visit` and gives what follows. `visit` may be shown pieces that end inside a record.
///
/// # Errors
/// They cannot be read, or the first ones are gone.
pub fn open(
    shard: &str,
    ring: Option<&Path>,
    journals: &[PathBuf],
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Records, SourceError> {
    let ring = ring.map(RecordRing::open).transpose()?;
    let mut position = 0;
    let mut reader = None;
    for (place, folder) in journals.iter().enumerate() {
        let mut of = Reader::open(folder)?;
        if let Some(next) = journals.get(place + 1) {
            former_life(of, next, visit)?;
            continue;
        }
        if let Some(ring) = &ring
            && of.identity() != Identity::of(ring)
        {
            return Err(SourceError::OtherShard {
                path: folder.to_owned(),
            });
        }
        if of.position() != 0 {
            return Err(SourceError::NotFromTheFirst {
                path: folder.to_owned(),
                begins: of.position(),
            });
        }
        while let Some(block) = of.next_block()? {
            visit(block.slots());
        }
        position = of.position();
        reader = Some(of);
    }
    let Some(ring) = ring else {
        let reader = reader.ok_or_else(|| SourceError::Nowhere {
            shard: shard.to_owned(),
        })?;
        return Ok(Records::Journal(Box::new(reader)));
    };
    let mut consumer = Consumer::observer(&ring)?;
    let begins = consumer.tail().saturating_sub(ring.place().slots());
    if position < begins {
        return Err(SourceError::Missing {
            begins,
            ends: position,
        });
    }
    consumer.seek(position);
    let mut policy = of_policy(Consumer::observer(&ring)?);
    let end = policy(consumer.tail());
    let mut piece = Vec::with_capacity(PIECE);
    while consumer.position() < end {
        piece.clear();
        let slots = (end - consumer.position()).min((PIECE / SLOT_LEN) as u64);
        if consumer.read(&mut piece, slots)? == 0 {
            break;
        }
        visit(&piece);
    }
    Ok(Records::Ring(RingSource::new(consumer, policy)))
}

/// Shows the records of a life of the shard that is over: up to where the next one begins, with a snapshot. What comes behind it was never answered.
fn former_life(
    mut life: Reader,
    next: &Path,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<(), SourceError> {
    let end = snapshots(next)?.first().map_or(u64::MAX, |(next, _)| *next);
    while let Some(record) = life.next_record()? {
        let head = Head::read_from_prefix(record);
        if head.is_ok_and(|(head, _)| head.sequence >= end) {
            break;
        }
        visit(record);
    }
    Ok(())
}

impl Records {
    /// Appends the next whole records that may be shown; gives how many slots.
    ///
    /// # Errors
    /// Records are lost.
    pub fn read(&mut self, into: &mut Vec<u8>) -> Result<u64, SourceError> {
        match self {
            Records::Ring(source) => {
                let slots = source.read(into, SLOTS)?;
                source.published();
                Ok(slots)
            }
            Records::Journal(reader) => {
                let mut slots = 0;
                while slots < SLOTS {
                    let Some(block) = reader.next_block()? else {
                        break;
                    };
                    into.extend_from_slice(block.slots());
                    slots += (block.slots().len() / SLOT_LEN) as u64;
                }
                Ok(slots)
            }
        }
    }

    /// Slots that are recorded and not read yet; `None` where that is not known.
    #[must_use]
    pub fn behind(&self) -> Option<u64> {
        match self {
            Records::Ring(source) => {
                let consumer = source.consumer();
                Some(consumer.tail().saturating_sub(consumer.position()))
            }
            Records::Journal(_) => None,
        }
    }
}

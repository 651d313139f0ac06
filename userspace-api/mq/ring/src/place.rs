//! Places among a ring's consumers: four cursors, each under a name that outlives its process.
//!
//! Always true: a place whose second word is not 0 has its cursor and name, because that word is written last and cleared first.
//! Whoever takes a place is alone in that: the caller sees to it (a lock on the file, a name in the kernel).

use crate::memory::{Memory, Word};
use ring0_abi::cursor;
use std::sync::atomic::Ordering;

/// Second word of a cursor: what its consumer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub enum Kind {
    /// The producer stops before it overruns it.
    Required = 1,
    /// It may be overrun, and then says how far.
    Optional = 2,
}

/// A consumer's name: 1 to 16 bytes, none of them 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Name([u64; 2]);

/// Not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name:?} is no consumer's name; give 1 to 16 bytes without a zero among them")]
pub struct NameError {
    /// What was given.
    pub name: String,
}

/// All places are somebody's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "all {} consumer places of the record ring are taken ({}); release one with `ring0 record --release`, or read as an observer",
    cursor::CONSUMERS,
    .names.join(", ")
)]
pub struct PlacesTaken {
    /// By whom.
    pub names: Vec<String>,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// Its length, or a zero in it.
    pub fn new(name: &str) -> Result<Name, NameError> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.len() > 16 || bytes.contains(&0) {
            return Err(NameError {
                name: name.to_owned(),
            });
        }
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        let (halves, _) = padded.as_chunks();
        Ok(Name([
            u64::from_le_bytes(halves[0]),
            u64::from_le_bytes(halves[1]),
        ]))
    }

    fn text(self) -> String {
        let bytes = self.0.map(u64::to_le_bytes);
        let text = String::from_utf8_lossy(bytes.as_flattened()).into_owned();
        text.trim_end_matches('\0').to_owned()
    }
}

/// A place for a name: the one that has it, or a free one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) entry: u32,
    /// It has the name already, and its cursor counts: as what it was taken.
    pub(crate) was: Option<u64>,
}

const KIND: usize = cursor::REQUIRED / 8;
const NAME: usize = cursor::NAME / 8;

fn name_at(memory: &impl Memory, entry: u32) -> Name {
    Name([NAME, NAME + 1].map(|word| memory.cursor(entry, word).load(Ordering::Acquire)))
}

/// Finds the place of a name.
pub(crate) fn find(memory: &impl Memory, name: Name) -> Result<Place, PlacesTaken> {
    let entries = cursor::FIRST_CONSUMER..cursor::FIRST_CONSUMER + cursor::CONSUMERS;
    let taken = |entry: &u32| memory.cursor(*entry, KIND).load(Ordering::Acquire) != 0;
    let (taken, free): (Vec<u32>, Vec<u32>) = entries.partition(taken);
    if let Some(&entry) = taken.iter().find(|&&it| name_at(memory, it) == name) {
        let was = memory.cursor(entry, KIND).load(Ordering::Acquire);
        return Ok(Place {
            entry,
            was: Some(was),
        });
    }
    // A name without a second word was left by one that died while it took or gave back its place.
    match free.first() {
        Some(&entry) => Ok(Place { entry, was: None }),
        None => Err(PlacesTaken {
            names: taken.iter().map(|&it| name_at(memory, it).text()).collect(),
        }),
    }
}

/// Takes a place, with its cursor at `position` unless it goes on where it was; gives the cursor.
pub(crate) fn take(
    memory: &impl Memory,
    place: Place,
    name: Name,
    kind: Kind,
    position: u64,
) -> u64 {
    let word = |word| memory.cursor(place.entry, word);
    if place.was.is_none() {
        word(0).store(position, Ordering::Release);
        word(NAME).store(name.0[0], Ordering::Release);
        word(NAME + 1).store(name.0[1], Ordering::Release);
    }
    word(KIND).store(kind as u64, Ordering::Release);
    word(0).load(Ordering::Acquire)
}

/// Gives a place back.
pub(crate) fn give_back(memory: &impl Memory, entry: u32) {
    for index in [KIND, NAME, NAME + 1, 0] {
        memory.cursor(entry, index).store(0, Ordering::Release);
    }
}

/// The cursor of a required consumer; `None` at a place of none.
#[inline]
pub(crate) fn required(memory: &impl Memory, entry: u32) -> Option<u64> {
    // Acquire: what its consumer has read, it has read; the slots may be written.
    let kind = memory.cursor(entry, KIND).load(Ordering::Acquire);
    (kind == Kind::Required as u64).then(|| memory.cursor(entry, 0).load(Ordering::Acquire))
}

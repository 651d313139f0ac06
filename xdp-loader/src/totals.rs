//! Numbers of a shard's region by the names that its own maker wrote beside it (`ring0_abi::device::TOTALS`): what they count is not known here.

use crate::{error::LoaderError, memory::Arena, pinned::Pinned};
use ring0_abi::device;
use std::sync::atomic::Ordering;

/// One number of a shard.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct TotalStat {
    /// Its name.
    pub name: String,
    /// What it is now.
    pub value: u64,
}

/// The named numbers of a shard, to be read again and again.
#[derive(Debug)]
pub(crate) struct Totals {
    arena: Arena,
    named: Vec<(String, usize, usize)>,
}

impl Totals {
    /// Of a pinned shard; `None` in a process that has its arena mapped already, as the daemon does.
    pub(crate) fn open(pinned: &Pinned) -> Result<Option<Totals>, LoaderError> {
        let arena = match pinned.look_at_arena() {
            Ok(arena) => arena,
            Err(LoaderError::ArenaTaken { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = |at: usize, len: usize| -> Vec<u8> {
            (at..at + len)
                .step_by(8)
                .flat_map(|at| arena.word(at).load(Ordering::Relaxed).to_le_bytes())
                .collect()
        };
        let start = device::TOTALS as usize;
        let count = arena.word(start).load(Ordering::Relaxed) as usize;
        let mut named = Vec::new();
        for number in 0..count.min(device::TOTALS_MAX) {
            let entry = bytes(
                start + 8 + number * device::TOTAL_BYTES,
                device::TOTAL_BYTES,
            );
            let (name, place) = entry.split_at(device::TOTAL_NAME);
            let word = |from: usize| {
                let word = place[from..from + 4].try_into().expect("four bytes");
                u32::from_le_bytes(word) as usize
            };
            let (at, len) = (word(0), word(4));
            let is_inside = at + len <= arena.len_bytes();
            if is_inside && [4, 8].contains(&len) && at.is_multiple_of(len) {
                let name = String::from_utf8_lossy(name);
                named.push((name.trim_end_matches('\0').to_owned(), at, len));
            }
        }
        Ok(Some(Totals { arena, named }))
    }

    /// What they are now. Each is of one moment, all together of none while packets flow.
    pub(crate) fn read(&self) -> Vec<TotalStat> {
        self.named
            .iter()
            .map(|(name, at, len)| {
                let word = self.arena.word(at & !7).load(Ordering::Acquire);
                let value = match len {
                    4 => word >> (at % 8 * 8) & 0xffff_ffff,
                    _ => word,
                };
                TotalStat {
                    name: name.clone(),
                    value,
                }
            })
            .collect()
    }
}

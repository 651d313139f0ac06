//! Fee schedules: which rates an instrument had from which record on. Each has ledger accounts of its own (CUSTODY 19).

use crate::id::{AssetId, PeerId};
use serde::{Deserialize, Serialize};

/// Rates of an instrument from a record on; the shard's listing says them, another listing makes the next schedule.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Schedule {
    /// The shard that trades the instrument.
    pub shard: PeerId,
    /// Its number in that shard, from 0, in the order of their records.
    pub number: u32,
    /// Index of the instrument.
    pub instrument: u32,
    /// Sequence of the record that listed it.
    pub since: u64,
    /// The asset that fees are paid in.
    pub asset: AssetId,
    /// Maker's rate in millionths of what is paid; negative: a rebate.
    pub maker_ppm: i32,
    /// Taker's rate in millionths; both sides' in auctions.
    pub taker_ppm: u32,
}

//! The venue of the flow: its accounts, sessions and instruments, and how large the shard is.

use crate::Capacity;
use crate::control::{List, SetBands};
use crate::record::State;

pub(super) const ACCOUNTS: u32 = 6;
/// An account that stays closed.
pub(super) const CLOSED_ACCOUNT: u32 = 6;
pub(super) const ASSETS: u32 = 4;
pub(super) const SESSIONS: u32 = 14;
/// The account of each session. The first two have many.
pub(super) const ACCOUNT_OF: [u32; SESSIONS as usize] = [0, 1, 2, 3, 4, 1, 0, 1, 0, 0, 1, 5, 5, 0];
/// The session that is never granted.
pub(super) const STRANGER: u32 = 8;
/// Sessions whose reference window holds a deep book.
pub(super) const WIDE: [u32; 4] = [0, 1, 5, 6];
/// As [`WIDE`], of an account that is told apart by self-trade prevention.
pub(super) const SIXTH: u32 = 11;
const WIDE_LOG2: u8 = 11;
/// The session with a window so large that one step of a mass cancel cannot look through it.
pub(super) const VAST: u32 = 13;
const VAST_LOG2: u8 = 14;
/// The session with a message rate.
pub(super) const RATED: u32 = 2;
/// The session whose grant ends soon.
pub(super) const SHORT: u32 = 3;
/// The session that is granted late, and narrow.
pub(super) const LATE: u32 = 7;
/// The session whose orders go when it is found disconnected.
pub(super) const FRAGILE: u32 = 9;
/// The session with risk limits.
pub(super) const RISKY: u32 = 10;
/// What an account that matters has of each asset.
pub(super) const PLENTY: u64 = 1 << 50;

/// Instruments that can be asked for: those of [`MARKETS`], one that is listed late, one that never is.
pub(super) const INSTRUMENTS: u32 = 8;
/// Index of the instrument that is listed late, and mostly refused.
pub(super) const LATE_MARKET: u32 = 6;

const CLOSED: u32 = State::Closed as u32;

/// Instruments of the setup, by locate − 1.
pub(super) const MARKETS: [List; 6] = [
    List {
        instrument: 0,
        state: State::Continuous as u32,
        symbol: *b"PLAIN   ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 100,
        lot_size: 1,
        tick_value: 7,
        ladder_base: 90,
        lot_value: 10,
        ladder_len: 40,
        lots_max: 3000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -2000,
        taker_ppm: 3000,
    },
    List {
        instrument: 1,
        state: CLOSED,
        symbol: *b"BANDED  ",
        base_asset: 2,
        quote_asset: 0,
        tick_size: 25,
        lot_size: 10,
        tick_value: 3,
        ladder_base: 1000,
        lot_value: 3,
        ladder_len: 65,
        lots_max: 2000,
        band_low: 1024,
        band_high: 1040,
        notional_max: 3 * 1032 * 1500,
        maker_ppm: 1000,
        taker_ppm: 2500,
    },
    List {
        instrument: 2,
        state: State::Continuous as u32,
        symbol: *b"WIDE    ",
        base_asset: 1,
        quote_asset: 3,
        tick_size: 1,
        lot_size: 1,
        tick_value: 1,
        ladder_base: 1,
        lot_value: 1,
        ladder_len: 400,
        lots_max: 1_000_000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -100,
        taker_ppm: 100,
    },
    List {
        instrument: 3,
        state: State::Halted as u32,
        symbol: *b"ODD     ",
        base_asset: 2,
        quote_asset: 3,
        tick_size: 7,
        lot_size: 100,
        tick_value: 1_000_003,
        ladder_base: 5,
        lot_value: 999_983,
        ladder_len: 13,
        lots_max: 50,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 0,
        taker_ppm: 0,
    },
    List {
        instrument: 4,
        state: CLOSED,
        symbol: *b"CALLS   ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 10,
        lot_size: 1,
        tick_value: 2,
        ladder_base: 100,
        lot_value: 10,
        ladder_len: 64,
        lots_max: 3000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 1000,
        taker_ppm: 2000,
    },
    List {
        instrument: 5,
        state: State::PreOpen as u32,
        symbol: *b"DAYS    ",
        base_asset: 2,
        quote_asset: 0,
        tick_size: 50,
        lot_size: 5,
        tick_value: 11,
        ladder_base: 30,
        lot_value: 7,
        ladder_len: 60,
        lots_max: 600,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: -1,
        taker_ppm: 1,
    },
];

/// Prices around which the flow trades, by locate − 1.
pub(super) const MIDDLE: [u32; 6] = [110, 1032, 200, 11, 130, 60];

/// What is set beyond the listing.
pub(super) const BANDS: [SetBands; 3] = [
    SetBands {
        instrument: 1,
        band_low: 1024,
        band_high: 1040,
        dynamic_ticks: 6,
        fat_ticks: 4,
        pause_ticks: 0,
        reference: 1032,
        reserved: 0,
    },
    SetBands {
        instrument: 4,
        band_low: 0,
        band_high: 0,
        dynamic_ticks: 0,
        fat_ticks: 0,
        pause_ticks: 3,
        reference: 130,
        reserved: 0,
    },
    SetBands {
        instrument: 5,
        band_low: 35,
        band_high: 85,
        dynamic_ticks: 20,
        fat_ticks: 12,
        pause_ticks: 8,
        reference: 0,
        reserved: 0,
    },
];

/// The listing behind a locate as the flow writes it: tick and lot. A locate that is none of ours counts as the first.
pub(super) fn list_of(locate: u16) -> &'static List {
    MARKETS
        .get(usize::from(locate).wrapping_sub(1))
        .unwrap_or(&MARKETS[0])
}

/// See [`MIDDLE`].
pub(super) fn middle_of(locate: u16) -> u32 {
    MIDDLE
        .get(usize::from(locate).wrapping_sub(1))
        .copied()
        .unwrap_or(MIDDLE[0])
}

/// The reference window of a session.
pub(super) fn references_log2(session: u32) -> u8 {
    match session {
        VAST => VAST_LOG2,
        SIXTH => WIDE_LOG2,
        session if WIDE.contains(&session) => WIDE_LOG2,
        _ => 4,
    }
}

/// Small enough to run full: orders, levels, places, windows, buckets.
pub(super) const CAPACITY: Capacity = Capacity {
    accounts: ACCOUNTS + 1,
    assets: ASSETS,
    instruments: INSTRUMENTS,
    sessions: SESSIONS,
    orders: 2200,
    levels: 340,
    // The ladders of `MARKETS`, and 64 places for a late one.
    ladder: 64 + 128 + 512 + 64 + 64 + 64 + 10,
    // All sessions but one.
    answers: (SESSIONS - 1) * 128 + 100,
    references: 5 * (1 << WIDE_LOG2) + (1 << VAST_LOG2) + 7 * 64 + 7,
    buckets: 8,
};

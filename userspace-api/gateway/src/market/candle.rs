//! Candles: what was traded in each minute, hour, day.

use super::Trade;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long a candle lasts.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema,
)]
pub enum Interval {
    /// One minute.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// Fifteen minutes.
    #[serde(rename = "15m")]
    Quarter,
    /// One hour.
    #[serde(rename = "1h")]
    Hour,
    /// Four hours.
    #[serde(rename = "4h")]
    FourHours,
    /// One day, UTC.
    #[serde(rename = "1d")]
    Day,
}

/// Every interval, the shortest first.
pub const INTERVALS: [Interval; 6] = [
    Interval::Minute,
    Interval::FiveMinutes,
    Interval::Quarter,
    Interval::Hour,
    Interval::FourHours,
    Interval::Day,
];

impl Interval {
    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Interval::Minute => 60,
            Interval::FiveMinutes => 300,
            Interval::Quarter => 900,
            Interval::Hour => 3_600,
            Interval::FourHours => 14_400,
            Interval::Day => 86_400,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Interval::Minute => "1m",
            Interval::FiveMinutes => "5m",
            Interval::Quarter => "15m",
            Interval::Hour => "1h",
            Interval::FourHours => "4h",
            Interval::Day => "1d",
        }
    }

    /// The interval of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Interval> {
        INTERVALS.into_iter().find(|it| it.name() == name)
    }

    /// Its place in [`INTERVALS`].
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }

    /// When the candle begins in which a second lies.
    #[must_use]
    pub fn start(self, second: u64) -> u64 {
        second - second % self.seconds()
    }
}

/// One candle.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candle {
    /// Unix time of its beginning in seconds.
    pub start_s: u64,
    /// First price in ticks.
    pub open: u32,
    /// Highest price.
    pub high: u32,
    /// Lowest price.
    pub low: u32,
    /// Last price.
    pub close: u32,
    /// Lots.
    pub lots: u64,
    /// Ticks times lots.
    pub notional: u128,
    /// Trades.
    pub trades: u64,
}

impl Candle {
    pub(super) fn of(start_s: u64, trade: &Trade) -> Candle {
        let mut candle = Candle {
            start_s,
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            lots: 0,
            notional: 0,
            trades: 0,
        };
        candle.take(trade);
        candle
    }

    pub(super) fn take(&mut self, trade: &Trade) {
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.close = trade.price;
        self.lots += trade.lots;
        self.notional += u128::from(trade.price) * u128::from(trade.lots);
        self.trades += 1;
    }

    /// As bytes of the store.
    pub(super) fn bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..4].copy_from_slice(&self.open.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.high.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.low.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.close.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lots.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.notional.to_le_bytes());
        bytes[40..].copy_from_slice(&self.trades.to_le_bytes());
        bytes
    }

    /// From bytes of the store; `None`: they are none of its.
    pub(super) fn read(start_s: u64, bytes: &[u8]) -> Option<Candle> {
        let bytes: &[u8; 48] = bytes.try_into().ok()?;
        let four = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Some(Candle {
            start_s,
            open: four(0),
            high: four(4),
            low: four(8),
            close: four(12),
            lots: eight(16),
            notional: u128::from(eight(24)) | u128::from(eight(32)) << 64,
            trades: eight(40),
        })
    }
}

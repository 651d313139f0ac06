//! What a stream needs of a shard, and the commands that make it.

use crate::DriveError;
use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::{Outcome, State};
use ring0_engine::{Capacity, Reason};
use ring0_stream::lobstrm::Stream;
use ring0_wire::SessionId;

/// Wire price of a tick: a cent.
pub(crate) const TICK_WIRE: u32 = 100;
/// Ticks of the ladder, more only where a stream's prices need more.
const LADDER_TICKS: u32 = 4_096;
/// What the account has of each asset: below 2^63, above what a stream can trade.
const PLENTY: u64 = 1 << 62;
/// Nanoseconds since midnight at which the day begins.
const DAY_BASE_NS: u64 = 34_200_000_000_000;
/// Stored answers of the session, as a power of two: 105 full packets may be under way over the wire.
pub const ANSWERS_LOG2: u8 = 12;

/// What a stream needs of a shard.
#[derive(Clone, Debug)]
pub struct Market {
    /// Symbols.
    pub symbols: u32,
    /// Lowest tick.
    pub tick_base: u32,
    /// Ticks.
    pub ladder_len: u32,
    /// Most live orders.
    pub peak_live: u64,
    /// Highest reference.
    pub references: u64,
}

impl Market {
    /// From a stream's header.
    #[must_use]
    pub fn of(stream: &Stream) -> Market {
        let header = stream.header();
        let tick_base = header.tick_base.get();
        Market {
            symbols: header.symbols.get(),
            tick_base,
            ladder_len: LADDER_TICKS.max(header.tick_top.get().saturating_sub(tick_base) + 1),
            peak_live: header.peak_live.get(),
            references: header.max_order_id.get(),
        }
    }

    fn references_log2(&self) -> u8 {
        let wanted = (self.references + 1).next_power_of_two().ilog2() as u8;
        wanted.clamp(
            *ring0_engine::limits::REFERENCES_LOG2.start(),
            *ring0_engine::limits::REFERENCES_LOG2.end(),
        )
    }

    /// A shard with `sessions` sessions, each with instruments of its own.
    ///
    /// # Errors
    /// The stream needs more than a shard can have.
    pub fn capacity(&self, sessions: u32) -> Result<Capacity, DriveError> {
        let times = |what: &str, count: u64| {
            let all = count.checked_mul(sessions.into()).map(u32::try_from);
            all.and_then(Result::ok).ok_or_else(|| DriveError::TooMany {
                count,
                what: what.to_owned(),
            })
        };
        let live = self.peak_live + 64;
        let ladder =
            u64::from(self.symbols) * u64::from(self.ladder_len.next_power_of_two().max(64));
        Ok(Capacity {
            accounts: sessions,
            assets: 2,
            instruments: self.symbols * sessions,
            sessions,
            orders: times("orders", live)?,
            // A level in use holds an order, and there is one on each place of the two ladders at the most.
            levels: times("levels", live.min(2 * ladder))?,
            ladder: times("ladder places", ladder)?,
            answers: times("answers", 1 << ANSWERS_LOG2)?,
            references: times("references", (1 << self.references_log2()).max(64))?,
            // Live orders that a window with a place for each reference cannot hold twice need none of it.
            buckets: if self.references < 1 << self.references_log2() {
                64
            } else {
                times("buckets", (live / 4).next_power_of_two())?
            },
        })
    }

    /// The commands that make the market of session `number` (from 0) in an empty shard.
    #[must_use]
    pub fn controls(&self, number: u32) -> Vec<Control> {
        let account = number;
        let open = OpenAccount {
            account,
            reserved: 0,
        };
        let mut controls = vec![Control::new(ControlKind::OpenAccount, &open)];
        for asset in 0..2 {
            let amount = PLENTY / 4;
            let deposit = Deposit {
                account,
                asset,
                amount,
            };
            controls.push(Control::new(ControlKind::Deposit, &deposit));
        }
        for symbol in 0..self.symbols {
            let mut name = [b' '; 8];
            let text = format!("S{symbol}");
            name[..text.len()].copy_from_slice(text.as_bytes());
            let list = List {
                instrument: number * self.symbols + symbol,
                state: State::Continuous as u32,
                symbol: name,
                base_asset: 1,
                quote_asset: 0,
                tick_size: TICK_WIRE,
                lot_size: 1,
                tick_value: 100,
                ladder_base: self.tick_base,
                lot_value: 1,
                ladder_len: self.ladder_len,
                lots_max: 1_000_000,
                band_low: 0,
                band_high: 0,
                notional_max: 0,
                maker_ppm: -10,
                taker_ppm: 30,
            };
            controls.push(Control::new(ControlKind::List, &list));
        }
        let grant = Grant {
            session: number,
            account,
            id: session_id(number).0,
            answers_log2: ANSWERS_LOG2,
            references_log2: self.references_log2(),
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
        controls
    }
}

/// The command that begins the day.
#[must_use]
pub fn clock() -> Control {
    let clock = Clock {
        day_base_ns: DAY_BASE_NS,
    };
    Control::new(ControlKind::Clock, &clock)
}

/// The id of session `number`.
///
/// # Panics
/// `number` does not fit 20 bits.
#[must_use]
pub fn session_id(number: u32) -> SessionId {
    SessionId::new(number, 0x0057_12EA + number).expect("20 and 30 bits")
}

/// Whether every command that sets a market up was accepted.
///
/// # Errors
/// The first that was not.
pub fn set_up(results: Vec<(Outcome, Reason)>) -> Result<(), DriveError> {
    match results
        .iter()
        .position(|(outcome, _)| *outcome != Outcome::Accepted)
    {
        Some(at) => Err(DriveError::SetUp {
            at,
            reason: results[at].1.name(),
        }),
        None => Ok(()),
    }
}

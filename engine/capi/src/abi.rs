//! What crosses the boundary: plain C structs and numbers. `include/ring0.h` is written from this file.
//!
//! Always true: every struct is made of integers (and one pointer), so that any bytes a caller hands over are a value; a
//! number that is not one of ours is refused, never trusted.

use ring0_engine::record::Kind;
use ring0_wire::message::{BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL};
use ring0_wire::{Flags, SelfTrade, TimeInForce};
use std::ffi::c_char;

/// Version of this header. A library with another number from `ring0_abi_version` must not be used with it.
pub const RING0_ABI_VERSION: u32 = 2;

/// The call was carried out; of an order: it was accepted and is done.
pub const RING0_ACCEPTED: i32 = 0;
/// The engine refused it: the reason says why, nothing else changed.
pub const RING0_REJECTED: i32 = 1;
/// Begun but not finished, because the event queue is full: take events out, then `ring0_step`.
pub const RING0_CONTINUES: i32 = 2;
/// Not taken because the event queue is full: nothing changed; take events out and submit again.
pub const RING0_NOT_TAKEN: i32 = 3;
/// A pointer that must not be null is null.
pub const RING0_NULL: i32 = -1;
/// A field has a value that no order or option can have; `ring0_last_error` names it.
pub const RING0_ARGUMENT: i32 = -2;
/// The trader is not below the number of traders.
pub const RING0_TRADER: i32 = -3;
/// The instrument is not below the number of instruments.
pub const RING0_INSTRUMENT: i32 = -4;
/// The asset is not below the number of assets.
pub const RING0_ASSET: i32 = -5;
/// Memory for the engine is short, or it does not fit 4 GiB.
pub const RING0_MEMORY: i32 = -6;
/// An invariant did not hold. The engine takes no further call but `ring0_destroy`.
pub const RING0_BROKEN: i32 = -7;
/// A trader has used every client reference up to 2^32 - 1.
pub const RING0_EXHAUSTED: i32 = -8;

/// No deposits at creation: every trader begins with nothing.
pub const RING0_NO_DEPOSITS: u32 = 1;
/// Events are dropped instead of queued, for measuring the engine alone.
pub const RING0_NO_EVENTS: u32 = 2;
/// Commands are events too: every message with what became of it, every step, every control command.
pub const RING0_COMMAND_EVENTS: u32 = 4;

/// Asset in which every instrument is paid.
pub const RING0_CASH: u32 = 0;
/// Mass cancel: every instrument. Event: no instrument.
pub const RING0_ALL: u32 = u32::MAX;

/// Side of a buy, the letter B.
pub const RING0_BUY: u8 = b'B';
/// Side of a sell, the letter S.
pub const RING0_SELL: u8 = b'S';
/// Side of a mass cancel of both sides.
pub const RING0_BOTH: u8 = b' ';
const _: () = assert!(RING0_BUY == BUY && RING0_SELL == SELL);
const _: () = assert!(RING0_BOTH == ring0_wire::message::BOTH);

/// A new order.
pub const RING0_NEW: u8 = 0;
/// New price and quantity for a live order; it keeps its place only at the same price with no more lots.
pub const RING0_REPLACE: u8 = 1;
/// Lots off a live order.
pub const RING0_REDUCE: u8 = 2;
/// A live order leaves.
pub const RING0_CANCEL: u8 = 3;
/// All of a trader's orders leave, of one instrument or side if asked.
pub const RING0_MASS_CANCEL: u8 = 4;

/// Until the day is closed.
pub const RING0_DAY: u8 = 0;
/// Until cancelled, over days.
pub const RING0_GTC: u8 = 1;
/// What does not trade at once is cancelled.
pub const RING0_IOC: u8 = 2;
/// All of it at once or nothing.
pub const RING0_FOK: u8 = 3;
/// Until `expiry_s`.
pub const RING0_GTT: u8 = 4;
const _: () = assert!(
    RING0_DAY == TimeInForce::Day as u8
        && RING0_GTC == TimeInForce::GoodTillCancel as u8
        && RING0_IOC == TimeInForce::ImmediateOrCancel as u8
        && RING0_FOK == TimeInForce::FillOrKill as u8
        && RING0_GTT == TimeInForce::GoodTillTime as u8
);

/// Flag: rejected when it would take.
pub const RING0_POST_ONLY: u16 = 8;
/// Flag: moved away to rest when it would take.
pub const RING0_POST_SLIDE: u16 = 16;
/// Flag: rests without being shown.
pub const RING0_HIDDEN: u16 = 256;
/// Flag: takes any price up to its own; a price of 0 is no bound at all.
pub const RING0_MARKET: u16 = 512;
const _: () = assert!(
    RING0_POST_ONLY == Flags::POST_REJECT
        && RING0_POST_SLIDE == Flags::POST_SLIDE
        && RING0_HIDDEN == Flags::HIDDEN
        && RING0_MARKET == Flags::MARKET
);

/// Self-trade: as the account is set up.
pub const RING0_STP_DEFAULT: u8 = 0;
/// Self-trade: the incoming order is cancelled.
pub const RING0_STP_CANCEL_NEWEST: u8 = 1;
/// Self-trade: the resting order is cancelled.
pub const RING0_STP_CANCEL_OLDEST: u8 = 2;
/// Self-trade: both are cancelled.
pub const RING0_STP_CANCEL_BOTH: u8 = 3;
/// Self-trade: both lose the smaller of the two quantities.
pub const RING0_STP_DECREMENT: u8 = 4;
const _: () = assert!(
    RING0_STP_DEFAULT == SelfTrade::AccountDefault as u8
        && RING0_STP_CANCEL_NEWEST == SelfTrade::CancelNewest as u8
        && RING0_STP_CANCEL_OLDEST == SelfTrade::CancelOldest as u8
        && RING0_STP_CANCEL_BOTH == SelfTrade::CancelBoth as u8
        && RING0_STP_DECREMENT == SelfTrade::DecrementAndCancel as u8
);

/// Peg to the own side's best price, the letter P.
pub const RING0_PEG_PRIMARY: u8 = b'P';
/// Peg to the middle of the market, the letter M.
pub const RING0_PEG_MIDPOINT: u8 = b'M';
const _: () = assert!(RING0_PEG_PRIMARY == PEG_PRIMARY && RING0_PEG_MIDPOINT == PEG_MIDPOINT);

/// Mass cancel: the trader's own orders (0 means the same), the letter S.
pub const RING0_SCOPE_SESSION: u8 = b'S';
/// Mass cancel: the orders of the trader's account, the letter A.
pub const RING0_SCOPE_ACCOUNT: u8 = b'A';
const _: () = assert!(RING0_SCOPE_SESSION == SCOPE_SESSION && RING0_SCOPE_ACCOUNT == SCOPE_ACCOUNT);

/// Event: a message was carried out or rejected (only with `RING0_COMMAND_EVENTS`).
pub const RING0_EVENT_MESSAGE: u32 = 1;
/// Event: a step of a long sweep, of triggered stops or of a mass cancel (only with `RING0_COMMAND_EVENTS`).
pub const RING0_EVENT_STEP: u32 = 2;
/// Event: a control command such as a deposit (only with `RING0_COMMAND_EVENTS`).
pub const RING0_EVENT_CONTROL: u32 = 3;
/// Event: an order came to rest at the end of its price level or peg queue, displayed or not.
pub const RING0_EVENT_RESTED: u32 = 16;
/// Event: one fill of an incoming order.
pub const RING0_EVENT_FILLED: u32 = 17;
/// Event: an order left without having been filled whole.
pub const RING0_EVENT_REMOVED: u32 = 18;
/// Event: a resting order lost some lots and kept its place.
pub const RING0_EVENT_REDUCED: u32 = 19;
/// Event: an order was replaced.
pub const RING0_EVENT_REPLACED: u32 = 20;
/// Event: a stop order waits for its trigger.
pub const RING0_EVENT_ARMED: u32 = 21;
/// Event: a stop order was triggered and enters the book; what follows is about it.
pub const RING0_EVENT_TRIGGERED: u32 = 22;
/// Event: an iceberg's displayed lots were used up; the next ones stand at the end of its price level.
pub const RING0_EVENT_REFILLED: u32 = 23;
/// Event: self-trade prevention took the same lots off two orders.
pub const RING0_EVENT_DECREMENTED: u32 = 24;
/// Event: one fill of an auction.
pub const RING0_EVENT_CROSSED: u32 = 25;
/// Event: an auction is done.
pub const RING0_EVENT_UNCROSSED: u32 = 26;
/// Event: the state of an instrument's market changed.
pub const RING0_EVENT_STATE_CHANGED: u32 = 27;
const _: () = assert!(
    RING0_EVENT_MESSAGE == Kind::Message as u32
        && RING0_EVENT_STEP == Kind::Step as u32
        && RING0_EVENT_CONTROL == Kind::Control as u32
        && RING0_EVENT_RESTED == Kind::Rested as u32
        && RING0_EVENT_FILLED == Kind::Filled as u32
        && RING0_EVENT_REMOVED == Kind::Removed as u32
        && RING0_EVENT_REDUCED == Kind::Reduced as u32
        && RING0_EVENT_REPLACED == Kind::Replaced as u32
        && RING0_EVENT_ARMED == Kind::Armed as u32
        && RING0_EVENT_TRIGGERED == Kind::Triggered as u32
        && RING0_EVENT_REFILLED == Kind::Refilled as u32
        && RING0_EVENT_DECREMENTED == Kind::Decremented as u32
        && RING0_EVENT_CROSSED == Kind::Crossed as u32
        && RING0_EVENT_UNCROSSED == Kind::Uncrossed as u32
        && RING0_EVENT_STATE_CHANGED == Kind::StateChanged as u32
);

/// How an engine is made. Begin with `ring0_options_default` and change what differs.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Options {
    /// Most events that wait to be polled, in 64-byte records: at least 16,384, or 0 for no bound but memory. While fewer
    /// than a packet could need are free, new orders are `RING0_NOT_TAKEN`; an eighth is kept for cancels.
    pub events_max: u64,
    /// What every trader is given of every asset; 0: ample (2^62 in all, shared alike by the traders).
    pub deposit: u64,
    /// Null, or one string of 1 to 8 printable ASCII characters for each instrument. Read during the call only.
    pub symbols: *const *const c_char,
    /// Instruments, 1 to 65,535. The first is 0.
    pub instruments: u32,
    /// Traders, 1 to 2^20: each has an account and a session. The first is 0.
    pub traders: u32,
    /// Live orders of all instruments together.
    pub orders: u32,
    /// Price levels in use at one time, those of hidden orders and stops and peg queues too; 0: as many as orders and ticks can need.
    pub levels: u32,
    /// Prices of each instrument, at most 2^24: `price_base` to `price_base + ticks - 1`.
    pub ticks: u32,
    /// Lowest price in ticks; not 0.
    pub price_base: u32,
    /// Most lots in one order; not 0.
    pub lots_max: u32,
    /// Maker fee in millionths of price times lots; negative: a rebate, at most the taker fee.
    pub maker_ppm: i32,
    /// Taker fee in millionths of price times lots, at most 100,000.
    pub taker_ppm: u32,
    /// `RING0_NO_DEPOSITS`, `RING0_NO_EVENTS`, `RING0_COMMAND_EVENTS`, or-ed.
    pub flags: u32,
}

/// One instruction of a trader. Begin with zeros and set what is used: zero means "not asked" everywhere.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Order {
    /// Who.
    pub trader: u32,
    /// Of which instrument; `RING0_ALL` only in a mass cancel.
    pub instrument: u32,
    /// New: the trader's own name for the order, above all that it used before, or 0 to be given the next one. Replace,
    /// reduce, cancel: the live order. Mass cancel: echoed only.
    pub reference: u32,
    /// Replace: the new name, as `reference` of a new order. Else 0.
    pub new_reference: u32,
    /// Price in ticks.
    pub price: u32,
    /// Quantity in lots; reduce: how many to take off.
    pub lots: u32,
    /// Least lots to be filled at entry, else it is rejected; 0: none.
    pub minimum: u32,
    /// Displayed lots of an iceberg; 0: all.
    pub display: u32,
    /// Trigger price of a stop in ticks; 0: none.
    pub trigger: u32,
    /// With `RING0_GTT`: second of the day, 1 to 86,399.
    pub expiry_s: u32,
    /// `RING0_POST_ONLY`, `RING0_POST_SLIDE`, `RING0_HIDDEN`, `RING0_MARKET`, or-ed.
    pub flags: u16,
    /// 0: self-trade prevention goes by the account. Else the account's trade group, which a trader here has not.
    pub trade_group: u16,
    /// `RING0_NEW` and the following.
    pub action: u8,
    /// `RING0_BUY` or `RING0_SELL`; mass cancel: also `RING0_BOTH`, or 0 for the same. Else not looked at.
    pub side: u8,
    /// `RING0_DAY` and the following.
    pub time_in_force: u8,
    /// `RING0_STP_DEFAULT` and the following.
    pub self_trade: u8,
    /// 0, `RING0_PEG_PRIMARY` or `RING0_PEG_MIDPOINT`.
    pub peg: u8,
    /// Offset of the peg in ticks.
    pub peg_offset: i8,
    /// Mass cancel: 0, `RING0_SCOPE_SESSION` or `RING0_SCOPE_ACCOUNT`.
    pub scope: u8,
    /// Mass cancel: 1 also stops the trader's trading until `ring0_revive`.
    pub kill: u8,
    /// Zero.
    pub reserved: [u32; 2],
}
const _: () = assert!(size_of::<Order>() == 60);

/// What became of an order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Ack {
    /// Id of the order: of a new one its own, of a replaced one the id it has now. 0 where no order is meant or found.
    pub order_id: u64,
    /// Sequence number of the command's record; 0 when it was not taken.
    pub sequence: u64,
    /// The order's reference, given or asked; of a replace the new one.
    pub reference: u32,
    /// Lots filled at entry, reduced or cancelled; mass cancel: orders cancelled.
    pub lots: u32,
    /// `RING0_ACCEPTED`, `RING0_REJECTED`, `RING0_CONTINUES` or `RING0_NOT_TAKEN`.
    pub outcome: i32,
    /// Why: one of `RING0_REASON_...`, 0 for none.
    pub reason: u32,
}
const _: () = assert!(size_of::<Ack>() == 32);

/// Something that happened, in the order in which it happened. Fields that a kind does not have are zero.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Event {
    /// Sequence number of the record, rising; of a fill it is the match number.
    pub sequence: u64,
    /// The order; of a fill the taker; of an auction's fill the buy; of a replace the order as it is now; of a step the order that sweeps or was triggered.
    pub order_id: u64,
    /// Replaced: the id before, equal when the place was kept.
    pub previous_id: u64,
    /// Filled, decremented: the resting order. Crossed: the sell.
    pub maker_id: u64,
    /// Filled, decremented: the incoming order. Crossed: the buy.
    pub taker_id: u64,
    /// Filled: fee of the maker in cash, negative for a rebate. Crossed: of the seller.
    pub maker_fee: i64,
    /// Filled: fee of the taker in cash. Crossed: of the buyer.
    pub taker_fee: i64,
    /// Uncrossed: lots traded in the whole auction.
    pub volume: u64,
    /// One of `RING0_EVENT_...`; a number that is none of these is of a later version and may be skipped.
    pub kind: u32,
    /// Index of the instrument, or `RING0_ALL` where the event is not about one.
    pub instrument: u32,
    /// Whose order; of a fill the taker; of an auction's fill the buyer.
    pub trader: u32,
    /// Filled, decremented: whose resting order. Crossed: the seller.
    pub maker_trader: u32,
    /// Filled, decremented: whose incoming order. Crossed: the buyer.
    pub taker_trader: u32,
    /// Client reference; none where two orders meet.
    pub reference: u32,
    /// Price in ticks; of a fill the maker's, of an auction its own, of a peg at rest and of a stop the limit.
    pub price: u32,
    /// Lots filled, come to rest, armed, triggered, removed, taken off, or newly open after a replace; refilled: open; message and step: as in `ring0_ack`.
    pub lots: u32,
    /// Lots open after the event: rested, reduced, replaced, armed, triggered, refilled.
    pub open: u32,
    /// Lots displayed after the event: rested, reduced, replaced in its place, refilled.
    pub shown: u32,
    /// Armed, triggered: trigger price in ticks.
    pub trigger: u32,
    /// Replaced: lots that were open before.
    pub previous_lots: u32,
    /// Message, step, control: `RING0_ACCEPTED`, `RING0_REJECTED` or `RING0_CONTINUES`.
    pub outcome: i32,
    /// Message, control: why it was rejected.
    pub reason: u32,
    /// `RING0_BUY` or `RING0_SELL`, of the order; where two orders meet the taker's; of an auction and a state 0.
    pub side: u8,
    /// Removed: the letter of the cause, U user, I remainder of an immediate order, M mass cancel, K kill, H halted, T self-trade, E expired, Y
    /// end of day, L delisted, O off the ladder, V volatility pause, D disconnected, P operator.
    pub removal: u8,
    /// Removed: 1 if it rested in the book.
    pub rested: u8,
    /// Replaced: 1 if it kept its place.
    pub kept: u8,
    /// Message: its letter on the wire.
    pub letter: u8,
    /// State changed: 0 closed, 1 pre-open, 2 opening auction, 3 continuous, 4 volatility pause, 5 closing auction, 6 halted, 7 uncrossing.
    pub state: u8,
    /// State changed: the one before.
    pub state_before: u8,
    /// Uncrossed: 1 while the book is still crossed.
    pub crossed: u8,
}
const _: () = assert!(size_of::<Event>() == 128);

/// One price level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Level {
    /// Open lots of its orders together; 0: there is no such level.
    pub lots: u64,
    /// Price in ticks.
    pub price: u32,
    /// Orders.
    pub orders: u32,
}

/// What a trader has of an asset.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Balance {
    /// Free to be ordered with or withdrawn.
    pub available: u64,
    /// Held for live orders.
    pub held: u64,
}

impl Options {
    /// What `ring0_options_default` gives.
    pub const DEFAULT: Options = Options {
        events_max: 1 << 20,
        deposit: 0,
        symbols: std::ptr::null(),
        instruments: 1,
        traders: 16,
        orders: 1 << 20,
        levels: 0,
        ticks: 1 << 17,
        price_base: 1,
        lots_max: 1 << 24,
        maker_ppm: 0,
        taker_ppm: 0,
        flags: 0,
    };
}

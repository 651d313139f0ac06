//! A shard's region: its header, its tables, and how to reach each entry.
//!
//! Slots are stored plus one, so that 0 means none: a fresh region is all zeros but for its header.
//! Sizes per entry: order 48 bytes and 40 of rarer terms, level 32, balance 32, account 96, session 152, stored answer 24, instrument 448,
//! ladder place 24 (six books) and its bitmaps 3/4, reference window place 4 and 1/8, overflow bucket 64. `ring0 capacity` adds them up.

use crate::limits::{BUCKET_LEN, COMMAND_SLOTS_MAX, PEG_QUEUES_MAX, SHARDS_MAX};
use crate::region::{Cells, Memory, cells};
use core::cell::Cell;
use ring0_wire::{Buffer, MessageCells};

/// Written into a region's header last, when the region is complete.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RING0SH1");

/// Rank of "no price".
pub(crate) const NO_RANK: u32 = u32::MAX;

/// A side of an order.
pub(crate) const BUY: u32 = 0;
/// See [`BUY`].
pub(crate) const SELL: u32 = 1;

/// Books of an instrument, each a ladder of levels: displayed bids and asks by their [side](BUY), then hidden ones, then stops waiting
/// for their trigger. Their levels lie under price, stops' under their trigger.
pub(crate) const BOOKS: usize = 6;
/// First of the two hidden books.
pub(crate) const HIDDEN: u32 = 2;
/// First of the two books of stops.
pub(crate) const STOPS: u32 = 4;
/// `book` of an order that stands in a peg queue.
pub(crate) const PEGS: u32 = 6;
/// `book` of an order that stands nowhere: it sweeps.
pub(crate) const NOWHERE: u32 = 8;

/// An order does not take liquidity at entry: rejected if it would.
pub(crate) const FLAG_POST_ONLY: u32 = 1;
/// An order sweeps: it is in no level.
pub(crate) const FLAG_SWEEPS: u32 = 1 << 1;
/// What is left of an order after matching is cancelled.
pub(crate) const FLAG_IMMEDIATE: u32 = 1 << 2;
/// The order's reference stands in the overflow table.
pub(crate) const FLAG_OVERFLOWED: u32 = 1 << 3;
/// Rests undisplayed.
pub(crate) const FLAG_HIDDEN: u32 = 1 << 4;
/// Rests with a displayed slice.
pub(crate) const FLAG_ICEBERG: u32 = 1 << 5;
/// Does not take liquidity at entry: its price is moved instead.
pub(crate) const FLAG_SLIDE: u32 = 1 << 6;
/// A stop that waits for its trigger.
pub(crate) const FLAG_STOP: u32 = 1 << 7;
/// Lasts beyond the day.
pub(crate) const FLAG_GTC: u32 = 1 << 8;
/// Lasts until its expiry.
pub(crate) const FLAG_GTT: u32 = 1 << 9;
/// Priced from the book when it is matched.
pub(crate) const FLAG_PEG: u32 = 1 << 10;
/// Every flag.
pub(crate) const FLAGS: u32 = (1 << 11) - 1;
/// Flags that records and the state hash show.
pub(crate) const FLAGS_LISTED: u32 = FLAG_POST_ONLY
    | FLAG_IMMEDIATE
    | FLAG_HIDDEN
    | FLAG_ICEBERG
    | FLAG_SLIDE
    | FLAG_STOP
    | FLAG_GTC
    | FLAG_GTT
    | FLAG_PEG;

/// Self-trade prevention of an order: nothing, or one of the next three, or 3: both go; in the low bits.
pub(crate) const STP_NONE: u32 = 0;
/// The incoming order goes.
pub(crate) const STP_NEWEST: u32 = 1;
/// The resting order goes.
pub(crate) const STP_OLDEST: u32 = 2;
/// The smaller of the two is taken off both.
pub(crate) const STP_DECREMENT: u32 = 4;
/// Mask of the mode.
pub(crate) const STP_MODE: u32 = 7;
/// Judged by trade group, not by account.
pub(crate) const STP_GROUP: u32 = 8;

/// Session status: granted, trading.
pub(crate) const OPEN: u32 = 1;
/// Session status: granted, takes no orders.
pub(crate) const KILLED: u32 = 2;

/// Why the engine stopped (RULES 1): an invariant that did not hold. Numbers are stable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Fault {
    /// A loop was left through the verifier's guard.
    LoopBudget = 1,
    /// A level's sum of lots is below an order of it.
    LevelLots = 2,
    /// A price level is marked in the bitmap and has no order.
    EmptyLevel = 3,
    /// A balance holds less than its orders.
    Held = 4,
    /// A fill costs more than its hold.
    FillCost = 5,
    /// A side's best price has no level.
    BestLevel = 6,
    /// A pool handed out nothing after it had been checked.
    Pool = 7,
    /// The outbox is full.
    Outbox = 8,
    /// A reference had no place after it had been checked.
    Reference = 9,
}

impl Fault {
    /// The fault of a number in the header's broken word.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Fault> {
        [
            Fault::LoopBudget,
            Fault::LevelLots,
            Fault::EmptyLevel,
            Fault::Held,
            Fault::FillCost,
            Fault::BestLevel,
            Fault::Pool,
            Fault::Outbox,
            Fault::Reference,
        ]
        .into_iter()
        .find(|fault| *fault as u32 == number)
    }
}

cells! {
    /// The first bytes of the region.
    pub struct Header: 512 {
        /// [`MAGIC`] once the region is complete.
        pub magic: Cell<u64>,
        /// Layout version and capacity, hashed: what an adopter compares.
        pub layout: Cell<u64>,
        /// Bytes of the whole region.
        pub bytes: Cell<u64>,
        /// Fault that stopped the shard, or 0.
        pub broken: Cell<u32>,
        /// Shard lock: taken and given back by the kernel program alone.
        pub lock: Cell<u32>,
        /// Command during which the fault was found.
        pub broken_sequence: Cell<u64>,
        /// Venue time, nanoseconds.
        pub time_ns: Cell<u64>,
        /// Added to the boot-time clock.
        pub day_base_ns: Cell<u64>,
        /// Sequence number of the next record.
        pub next_sequence: Cell<u64>,
        /// Control commands taken from the command ring.
        pub controls_taken: Cell<u64>,
        /// 1 while the operator has halted the shard.
        pub halted: Cell<u32>,
        /// Number of the pending continuation that is stepped next (see `pending.rs`), or 0.
        pub pending_first: Cell<u32>,
        /// Pending continuations.
        pub pending_count: Cell<u32>,
        /// Fills and mass-cancelled orders of the packet so far.
        pub packet_work: Cell<u32>,
        /// Slots of the outbox in use.
        pub outbox_len: Cell<u32>,
        /// Session of the command being carried out.
        pub session: Cell<u32>,
        /// Sequence of the command being carried out.
        pub command: Cell<u64>,
        /// First free order slot, and the first never used.
        pub orders_free: Cell<u32>,
        /// See `orders_free`.
        pub orders_fresh: Cell<u32>,
        /// Orders in use.
        pub orders_live: Cell<u32>,
        /// First free level slot.
        pub levels_free: Cell<u32>,
        /// First level slot never used.
        pub levels_fresh: Cell<u32>,
        /// Levels in use.
        pub levels_live: Cell<u32>,
        /// Ladder places given to instruments.
        pub ladder_used: Cell<u32>,
        /// Bitmap words given to instruments.
        pub bitmap_used: Cell<u32>,
        /// Stored answers given to sessions.
        pub answers_used: Cell<u32>,
        /// Reference places given to sessions.
        pub references_used: Cell<u32>,
        /// Instruments with work pending.
        pub frozen: Cell<u32>,
        /// Bytes of the last answer written.
        pub answer_len: Cell<u32>,
        /// Capacity, as in [`Capacity`](crate::Capacity).
        pub accounts_max: Cell<u32>,
        /// See `accounts_max`.
        pub assets_max: Cell<u32>,
        /// See `accounts_max`.
        pub instruments_max: Cell<u32>,
        /// See `accounts_max`.
        pub sessions_max: Cell<u32>,
        /// See `accounts_max`.
        pub orders_max: Cell<u32>,
        /// See `accounts_max`.
        pub levels_max: Cell<u32>,
        /// See `accounts_max`.
        pub ladder_max: Cell<u32>,
        /// See `accounts_max`.
        pub answers_max: Cell<u32>,
        /// See `accounts_max`.
        pub references_max: Cell<u32>,
        /// See `accounts_max`.
        pub buckets: Cell<u32>,
        /// Offset of the table in the region.
        pub accounts_at: Cell<u32>,
        /// See `accounts_at`.
        pub balances_at: Cell<u32>,
        /// See `accounts_at`.
        pub assets_at: Cell<u32>,
        /// See `accounts_at`.
        pub instruments_at: Cell<u32>,
        /// See `accounts_at`.
        pub sessions_at: Cell<u32>,
        /// See `accounts_at`.
        pub orders_at: Cell<u32>,
        /// See `accounts_at`.
        pub levels_at: Cell<u32>,
        /// See `accounts_at`.
        pub ladder_at: Cell<u32>,
        /// See `accounts_at`.
        pub bitmap_at: Cell<u32>,
        /// See `accounts_at`.
        pub answers_at: Cell<u32>,
        /// See `accounts_at`.
        pub references_at: Cell<u32>,
        /// See `accounts_at`.
        pub buckets_at: Cell<u32>,
        /// See `accounts_at`.
        pub pending_at: Cell<u32>,
        /// Number of the pending continuation that came last, or 0.
        pub pending_last: Cell<u32>,
        /// Table of the lowest-bit search (see `ladder.rs`), where the target has no such instruction.
        pub lowest_bit: [Cell<u8>; 64],
        /// Client sequence of the packet's first message.
        pub packet_sequence: Cell<u64>,
        /// Messages of the packet, the tag block not counted; in the high half the bytes before its tag block.
        pub packet_messages: Cell<u32>,
        /// Mass cancels and expiry pending: while not 0, makers are asked whether they are leaving.
        pub leaving: Cell<u32>,
        /// Venue time of the day's midnight.
        pub midnight_ns: Cell<u64>,
        /// Number of the day.
        pub day: Cell<u32>,
        /// Listed instruments that are not closed.
        pub instruments_open: Cell<u32>,
        /// Second of the day that expiry has come to.
        pub expired_s: Cell<u32>,
        /// 1 while expiry is pending.
        pub expiring: Cell<u32>,
        /// Offset of the table in the region.
        pub terms_at: Cell<u32>,
        /// See `terms_at`.
        pub reference_bits_at: Cell<u32>,
        /// Oldest order of each second of the day: offset of the table.
        pub expiry_at: Cell<u32>,
        /// See `terms_at`.
        pub transfers_at: Cell<u32>,
        /// Seconds that have orders; its `ladder` is the table's offset.
        pub expiry: Side,
        /// Where the packet's answer goes if it is held, as [`ReplyTo::words`](crate::record::ReplyTo::words); 0 where it is given at once.
        pub reply_to: [Cell<u64>; 2],
        /// Zero.
        pub reserved3: [Cell<u64>; 12],
    }

    /// What one run needs besides the state: the packet, its answer, the records of one command.
    pub struct Scratch: 37_952 {
        /// The packet's payload, as it came.
        pub request: Buffer,
        /// The answer's payload.
        pub answer: Buffer,
        /// The message being carried out.
        pub message: MessageCells,
        /// Feasibility walk: lots found so far.
        pub walk_found: Cell<u64>,
        /// Feasibility walk: looks so far.
        pub walk_looks: Cell<u32>,
        /// Self-trade prevention of the message's order: `STP_…`.
        pub stp: Cell<u32>,
        /// Feasibility walk: next order of each peg queue, or 0.
        pub walk_pegs: [Cell<u32>; PEG_QUEUES_MAX as usize],
        /// Feasibility walk: lots that the order just looked at holds back.
        pub walk_pending: Cell<u32>,
        /// Lots filled, counted over all sweeps; its difference is what one has filled.
        pub swept: Cell<u32>,
        /// The order decided on: amount held for one lot.
        pub hold_per_lot: Cell<u64>,
        /// The order decided on: price or limit in ticks.
        pub price: Cell<u32>,
        /// The order decided on: lots.
        pub lots: Cell<u32>,
        /// The order decided on: lots that it must get at once, or 0.
        pub least: Cell<u32>,
        /// The order decided on: trigger in ticks, or 0.
        pub trigger: Cell<u32>,
        /// The order decided on: lots that it displays at a time.
        pub peak: Cell<u32>,
        /// The order decided on: peg kind, and offset in the next byte.
        pub peg: Cell<u32>,
        /// Feasibility walk: next rank of the displayed book, of the hidden book and of the pegs, and the last that crosses.
        pub walk_ranks: [Cell<u32>; 4],
        /// Feasibility walk: lots that the icebergs of a level hold back.
        pub walk_held: Cell<u64>,
        /// Feasibility walk: looks that those would take.
        pub walk_held_looks: Cell<u64>,
        /// What the messages of a packet will need (see `ingress.rs`): references, then slots of orders.
        pub touched: [Cell<u32>; TOUCHED_MAX],
        /// Records of one command and its events.
        pub outbox: [SlotWords; COMMAND_SLOTS_MAX as usize],
    }

    /// One 64-byte slot of records.
    pub struct SlotWords: 64 {
        /// Its words, little-endian.
        pub word: [Cell<u64>; 8],
    }

    /// One live order: what matching touches. `order.rs` reads the two packed words.
    pub struct Order: 48 {
        /// Id: the sequence of the command that entered it.
        pub id: Cell<u64>,
        /// Amount held for one lot, in the asset that its side holds.
        pub hold_per_lot: Cell<u64>,
        /// Lots open.
        pub open: Cell<u32>,
        /// Price in ticks under which it stands: of a waiting stop its trigger, of a peg its limit.
        pub price: Cell<u32>,
        /// Next in its queue, towards the newer; of a free slot: the next free one.
        pub next: Cell<u32>,
        /// Previous in its queue, towards the older.
        pub prev: Cell<u32>,
        /// Session index, and in the highest byte self-trade prevention.
        pub owner: Cell<u32>,
        /// Account index.
        pub account: Cell<u32>,
        /// Client reference.
        pub reference: Cell<u32>,
        /// Flags, side, book, instrument index.
        pub kind: Cell<u32>,
    }

    /// The rest of an order's terms, in the same slot of a table of its own; each field counts only with its flag.
    pub struct Terms: 40 {
        /// Limit of a waiting stop.
        pub limit: Cell<u32>,
        /// Lots that an iceberg displays at a time.
        pub peak: Cell<u32>,
        /// Lots that an iceberg displays now.
        pub shown: Cell<u32>,
        /// Peg kind (`P`, `M`), and in the next byte the offset, signed.
        pub peg: Cell<u32>,
        /// Second of the day of its expiry.
        pub expiry_s: Cell<u32>,
        /// Next of the same second, the last one's is the first.
        pub expiry_next: Cell<u32>,
        /// Previous of the same second, the first one's is the last.
        pub expiry_prev: Cell<u32>,
        /// Next overflowed order of the session, towards the newer.
        pub overflow_next: Cell<u32>,
        /// Previous overflowed order of the session.
        pub overflow_prev: Cell<u32>,
        /// Zero.
        pub reserved: Cell<u32>,
    }

    /// One price level of one book, or one peg queue, its orders oldest first.
    pub struct Level: 32 {
        /// Sum of the lots of its orders: displayed ones in a displayed book, else open ones.
        pub lots: Cell<u64>,
        /// Oldest order.
        pub head: Cell<u32>,
        /// Newest order; of a free slot: the next free one.
        pub tail: Cell<u32>,
        /// Orders.
        pub orders: Cell<u32>,
        /// Price in ticks; of a peg queue the limit.
        pub price: Cell<u32>,
        /// Of a peg queue: the one made after it.
        pub next_queue: Cell<u32>,
        /// Of a peg queue: its orders' `Terms::peg`.
        pub peg: Cell<u32>,
    }

    /// Where the levels of one book are, by rank (see `ladder.rs`).
    pub struct Side: 32 {
        /// Offset of the ladder: a level slot for each place.
        pub ladder: Cell<u32>,
        /// Places less one; their number is a power of two.
        pub mask: Cell<u32>,
        /// Offsets of the bitmaps: one bit a place, one bit a word of the one before, and so on.
        pub bits: [Cell<u32>; 4],
        /// Zero.
        pub reserved: Cell<u64>,
    }

    /// One instrument.
    pub struct Instrument: 448 {
        /// Rank of the best price of each book, or `NO_RANK`.
        pub best: [Cell<u32>; BOOKS],
        /// One of [`State`](crate::record::State).
        pub state: Cell<u32>,
        /// One of [`Work`](crate::record::Work) while it is pending, else 0.
        pub work: Cell<u32>,
        /// First peg queue of each side.
        pub pegs: [Cell<u32>; 2],
        /// Best displayed bid and ask when the command began that matches, in ticks, or 0: what pegs are priced from.
        pub peg_bid: Cell<u32>,
        /// See `peg_bid`.
        pub peg_ask: Cell<u32>,
        /// Price of the last trade, or 0.
        pub last: Cell<u32>,
        /// Lowest and highest price at which trading goes on, or both 0.
        pub pause_low: Cell<u32>,
        /// See `pause_low`.
        pub pause_high: Cell<u32>,
        /// 1 when listed.
        pub listed: Cell<u32>,
        /// Symbol, as the wire's stock field reads as a big-endian number.
        pub symbol: Cell<u64>,
        /// Base engine units of a lot.
        pub lot_value: Cell<u64>,
        /// Largest notional of an order, or 0.
        pub notional_max: Cell<u64>,
        /// See [`List`](crate::control::List).
        pub base_asset: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub quote_asset: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub tick_size: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub lot_size: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub tick_value: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub ladder_base: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub ladder_len: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub lots_max: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub band_low: Cell<u32>,
        /// See [`List`](crate::control::List).
        pub band_high: Cell<u32>,
        /// Maker fee, two's complement.
        pub maker_ppm: Cell<u32>,
        /// Taker fee.
        pub taker_ppm: Cell<u32>,
        /// See [`SetBands`](crate::control::SetBands).
        pub dynamic_ticks: Cell<u32>,
        /// See [`SetBands`](crate::control::SetBands).
        pub fat_ticks: Cell<u32>,
        /// See [`SetBands`](crate::control::SetBands).
        pub pause_ticks: Cell<u32>,
        /// See [`SetBands`](crate::control::SetBands).
        pub reference: Cell<u32>,
        /// Price of the last auction, or 0.
        pub auction: Cell<u32>,
        /// Order slot of the pending sweep, or 0.
        pub sweep: Cell<u32>,
        /// Of a pending auction: its price.
        pub cross_price: Cell<u32>,
        /// Of a pending auction: the state afterwards.
        pub cross_then: Cell<u32>,
        /// Of a pending auction: lots traded so far.
        pub cross_volume: Cell<u64>,
        /// Of a pending purge: which orders go, `PURGE_…` of `purge.rs`.
        pub purge: Cell<u32>,
        /// Of a pending purge: the book it is in, 6 and 7 being the peg queues of either side.
        pub purge_book: Cell<u32>,
        /// Of a pending purge: order slot visited next, or 0: the first of the book.
        pub purge_next: Cell<u32>,
        /// Of a pending purge that moves the ladder: its new base.
        pub move_base: Cell<u32>,
        /// Of a pending purge that moves the ladder: its new length.
        pub move_len: Cell<u32>,
        /// Places of each of its ladders, kept by the index when it is delisted; 0 before its first listing.
        pub places: Cell<u32>,
        /// Of a pending sweep: lots that its order has filled.
        pub sweep_filled: Cell<u32>,
        /// UDP port of the shard that trades the instrument of this index, where another one does; or 0.
        pub route: Cell<u32>,
        /// Its six ladders, by book.
        pub sides: [Side; BOOKS],
        /// What `reciprocal` says of the tick size.
        pub tick_reciprocal: Cell<u64>,
        /// What `reciprocal` says of the lot size.
        pub lot_reciprocal: Cell<u64>,
        /// Not 0 when it has a band, a dynamic or fat-finger limit, or a largest notional.
        pub limited: Cell<u64>,
        /// Zero.
        pub reserved2: [Cell<u64>; 3],
    }

    /// A pending mass cancel.
    pub struct Mass: 24 {
        /// Locate of the instrument whose orders go, 0 for all.
        pub locate: Cell<u32>,
        /// Side byte as in `M`.
        pub side: Cell<u32>,
        /// [`Removal`](crate::record::Removal) of the orders; 0: none is pending.
        pub removal: Cell<u32>,
        /// Session being visited.
        pub session: Cell<u32>,
        /// Place of its reference window that is looked at next.
        pub place: Cell<u32>,
        /// Behind the window: overflowed order that is visited next.
        pub overflowed: Cell<u32>,
    }

    /// One account. What every packet and order reads of one without limits comes first: 32 bytes, on one cache line.
    pub struct Account: 96 {
        /// 1 when open.
        pub open: Cell<u32>,
        /// 1 while killed.
        pub killed: Cell<u32>,
        /// Self-trade prevention of orders that do not say: `STP_…`.
        pub stp: Cell<u32>,
        /// Trade group, or 0.
        pub group: Cell<u32>,
        /// Live orders.
        pub orders_live: Cell<u32>,
        /// Not 0 when one of its limits of orders is not.
        pub limited: Cell<u32>,
        /// Cost of a message of its sessions in nanoseconds, or 0.
        pub interval_ns: Cell<u64>,
        /// GCRA's theoretical arrival time, venue nanoseconds.
        pub rate_state: Cell<u64>,
        /// Messages of its sessions that may come at once.
        pub burst: Cell<u32>,
        /// See [`SetRisk`](crate::control::SetRisk).
        pub orders_max: Cell<u32>,
        /// See [`SetRisk`](crate::control::SetRisk).
        pub notional_max: Cell<u64>,
        /// See [`SetRisk`](crate::control::SetRisk).
        pub shares_max: Cell<u32>,
        /// First granted session plus one, or 0.
        pub sessions_head: Cell<u32>,
        /// Last granted session plus one, or 0.
        pub sessions_tail: Cell<u32>,
        /// Zero.
        pub reserved: Cell<u32>,
        /// Its mass cancel.
        pub mass: Mass,
    }

    /// An account's balance in one asset, in engine units.
    pub struct Balance: 32 {
        /// May be spent or withdrawn.
        pub available: Cell<u64>,
        /// Held by live orders.
        pub held: Cell<u64>,
        /// Net outflow not yet covered by a co-signed batch, two's complement.
        pub outflow: Cell<u64>,
        /// Limit of outflow and what orders could add to it.
        pub limit: Cell<u64>,
    }

    /// What an account has moved to and from other shards. In a table of its own: no packet reads it.
    pub struct Transfers: 96 {
        /// Number of the last one out; the first is 1.
        pub number: Cell<u64>,
        /// Engine units in flight: taken out and not yet known to have come in; 0: none.
        pub amount: Cell<u64>,
        /// Asset in flight.
        pub asset: Cell<u32>,
        /// Number of the shard that it goes to.
        pub to: Cell<u32>,
        /// By shard that it came from: number of the last one in.
        pub credited: [Cell<u64>; SHARDS_MAX as usize],
        /// Zero.
        pub reserved: Cell<u64>,
    }

    /// One asset, in engine units.
    pub struct Asset: 16 {
        /// Deposited less withdrawn.
        pub total: Cell<u64>,
        /// Fees taken less rebates given.
        pub fees: Cell<u64>,
    }

    /// One session.
    pub struct Session: 152 {
        /// The id's first eight letters, big-endian.
        pub id_head: Cell<u64>,
        /// Client sequence expected next.
        pub expected: Cell<u64>,
        /// GCRA's theoretical arrival time, venue nanoseconds.
        pub rate_state: Cell<u64>,
        /// Cost of a message in nanoseconds, or 0.
        pub interval_ns: Cell<u64>,
        /// End of the grant in venue time.
        pub expires_ns: Cell<u64>,
        /// The id's last two letters, big-endian.
        pub id_tail: Cell<u32>,
        /// 0 not granted, 1 open, 2 killed.
        pub status: Cell<u32>,
        /// Account index.
        pub account: Cell<u32>,
        /// Messages that may come at once.
        pub burst: Cell<u32>,
        /// Last client reference.
        pub last_reference: Cell<u32>,
        /// log2 of the stored answers.
        pub answers_log2: Cell<u32>,
        /// log2 of the reference window.
        pub references_log2: Cell<u32>,
        /// log2 of the stored answers that the index owns, 0 before its first grant.
        pub answers_owned: Cell<u32>,
        /// log2 of the reference places that the index owns.
        pub references_owned: Cell<u32>,
        /// First of its stored answers.
        pub answers_first: Cell<u32>,
        /// First of its reference places.
        pub references_first: Cell<u32>,
        /// Live orders.
        pub orders_live: Cell<u32>,
        /// See [`Grant`](crate::control::Grant).
        pub orders_max: Cell<u32>,
        /// See [`Grant`](crate::control::Grant).
        pub shares_max: Cell<u32>,
        /// See [`Grant`](crate::control::Grant).
        pub notional_max: Cell<u64>,
        /// See [`Grant`](crate::control::Grant).
        pub cancel_on_disconnect: Cell<u32>,
        /// Session of the account granted after it, plus one, or 0.
        pub account_next: Cell<u32>,
        /// Session of the account granted before it, plus one, or 0.
        pub account_prev: Cell<u32>,
        /// Overflowed order that moved first, or 0.
        pub overflow_head: Cell<u32>,
        /// Overflowed order that moved last, or 0.
        pub overflow_tail: Cell<u32>,
        /// Not 0 when one of its limits is not.
        pub limited: Cell<u32>,
        /// Its mass cancel.
        pub mass: Mass,
    }

    /// The stored answer of one client sequence.
    pub struct StoredAnswer: 24 {
        /// Venue sequence.
        pub sequence: Cell<u64>,
        /// Reference, and quantity in the high half.
        pub reference_quantity: Cell<u64>,
        /// Result, and reason in the next byte.
        pub result_reason: Cell<u64>,
    }

    /// A continuation among the pending ones.
    pub struct Pending: 8 {
        /// Number of the one stepped after it, or 0.
        pub next: Cell<u32>,
        /// Number of the one stepped before it, or 0.
        pub prev: Cell<u32>,
    }

    /// A bucket of the overflow table: order slots.
    pub struct Bucket: 64 {
        /// Order slots, 0 where free.
        pub slots: [Cell<u32>; BUCKET_LEN as usize],
    }
}

/// What a number is multiplied with, and shifted by 32, instead of being divided: ⌈2^32 / divisor⌉. Of a multiple of the divisor below 2^32 the
/// result is exact, because the error stays below one; of others it says nothing. A divisor of zero, which nothing has, gives 0.
#[inline(always)]
pub(crate) const fn reciprocal(divisor: u32) -> u64 {
    if divisor == 0 {
        0
    } else {
        (1_u64 << 32).div_ceil(divisor as u64)
    }
}

/// Orders of one packet that are fetched before they are needed; a power of two below the messages of the longest packet.
pub(crate) const TOUCHED_MAX: usize = 64;

/// Offset of the scratch area in the region.
pub(crate) const SCRATCH_AT: u32 = size_of::<Header>() as u32;

/// A shard: the engine over one region. Everything the engine does is a method of it.
#[derive(Clone, Copy)]
pub struct Shard<'a> {
    pub(crate) memory: Memory<'a>,
}

impl<'a> Shard<'a> {
    /// The shard in this region, which [`layout`](crate::layout) has made.
    #[inline(always)]
    #[must_use]
    pub const fn new(memory: Memory<'a>) -> Self {
        Shard { memory }
    }

    /// The header.
    #[inline(always)]
    #[must_use]
    pub fn header(self) -> &'a Header {
        self.memory.at(0)
    }

    /// The working area of a run.
    #[inline(always)]
    #[must_use]
    pub fn scratch(self) -> &'a Scratch {
        self.memory.at(SCRATCH_AT)
    }

    #[inline(always)]
    fn entry<T: Cells>(self, table: u32, index: u32) -> &'a T {
        self.memory
            .at(table.wrapping_add(index.wrapping_mul(size_of::<T>() as u32)))
    }

    /// Order in a slot, which is not 0.
    #[inline(always)]
    pub(crate) fn order(self, slot: u32) -> &'a Order {
        self.entry(self.header().orders_at.get(), slot.wrapping_sub(1))
    }

    /// The rest of the terms of an order.
    #[inline(always)]
    pub(crate) fn terms(self, slot: u32) -> &'a Terms {
        self.entry(self.header().terms_at.get(), slot.wrapping_sub(1))
    }

    /// Level in a slot, which is not 0.
    #[inline(always)]
    pub(crate) fn level(self, slot: u32) -> &'a Level {
        self.entry(self.header().levels_at.get(), slot.wrapping_sub(1))
    }

    #[inline(always)]
    pub(crate) fn instrument(self, index: u32) -> &'a Instrument {
        self.entry(self.header().instruments_at.get(), index)
    }

    #[inline(always)]
    pub(crate) fn session(self, index: u32) -> &'a Session {
        self.entry(self.header().sessions_at.get(), index)
    }

    #[inline(always)]
    pub(crate) fn transfers(self, index: u32) -> &'a Transfers {
        self.entry(self.header().transfers_at.get(), index)
    }

    #[inline(always)]
    pub(crate) fn account(self, index: u32) -> &'a Account {
        self.entry(self.header().accounts_at.get(), index)
    }

    #[inline(always)]
    pub(crate) fn asset(self, index: u32) -> &'a Asset {
        self.entry(self.header().assets_at.get(), index)
    }

    #[inline(always)]
    pub(crate) fn balance(self, account: u32, asset: u32) -> &'a Balance {
        let header = self.header();
        let index = account
            .wrapping_mul(header.assets_max.get())
            .wrapping_add(asset);
        self.entry(header.balances_at.get(), index)
    }

    /// Stored answer of a client sequence of a session.
    #[inline(always)]
    pub(crate) fn stored_answer(self, session: &Session, sequence: u64) -> &'a StoredAnswer {
        let mask = (1_u32 << (session.answers_log2.get() & 31)).wrapping_sub(1);
        let index = session
            .answers_first
            .get()
            .wrapping_add(sequence as u32 & mask);
        self.entry(self.header().answers_at.get(), index)
    }

    /// Place of a client reference in its session's window.
    #[inline(always)]
    pub(crate) fn reference_place(self, session: &Session, reference: u32) -> &'a Cell<u32> {
        let mask = (1_u32 << (session.references_log2.get() & 31)).wrapping_sub(1);
        let index = session
            .references_first
            .get()
            .wrapping_add(reference & mask);
        self.entry(self.header().references_at.get(), index)
    }

    /// Word of the bitmap of a session's live references, by place.
    #[inline(always)]
    pub(crate) fn reference_word(self, session: &Session, place: u32) -> &'a Cell<u64> {
        let index = session.references_first.get().wrapping_add(place) >> 6;
        self.entry(self.header().reference_bits_at.get(), index)
    }

    /// Bucket where an older live order of this reference would stand.
    #[inline(always)]
    pub(crate) fn bucket(self, session: u32, reference: u32) -> &'a Bucket {
        let header = self.header();
        let hash = session
            .wrapping_mul(0x9E37_79B1)
            .wrapping_add(reference.wrapping_mul(0x85EB_CA77));
        self.entry(
            header.buckets_at.get(),
            (hash >> 7) & header.buckets.get().wrapping_sub(1),
        )
    }

    /// Links of a pending continuation by its number, which is not 0.
    #[inline(always)]
    pub(crate) fn pending(self, number: u32) -> &'a Pending {
        self.entry(self.header().pending_at.get(), number.wrapping_sub(1))
    }

    /// Checks an invariant. Natively a violation panics; in the kernel it stops the shard and is reported (RULES 1).
    #[inline(always)]
    pub(crate) fn ensure(self, holds: bool, fault: Fault) {
        if !holds {
            self.fault(fault);
        }
    }

    #[cfg(not(target_arch = "bpf"))]
    #[cold]
    #[inline(never)]
    pub(crate) fn fault(self, fault: Fault) {
        panic!(
            "engine fault {fault:?} at command {}: the state is wrong, a wrong book is worse than a stopped one",
            self.header().command.get()
        );
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)] // a call would be the ninth frame of a fill, one more than the kernel allows
    pub(crate) fn fault(self, fault: Fault) {
        let header = self.header();
        if header.broken.get() == 0 {
            header.broken_sequence.set(header.command.get());
            header.broken.set(fault as u32);
        }
    }
}

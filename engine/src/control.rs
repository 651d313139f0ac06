//! Control commands: what an operator, the daemon or settlement tells a shard, as 128-byte entries of the command ring.
//!
//! A control command is sequenced and recorded like an order. Little-endian: it never leaves the machine.
//! Rule: RULES 4, 5; `docs/matching.md#control-commands`.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of a control command's body.
pub const BODY_LEN: usize = 96;

/// One control command. Entry of the command ring: 32 bytes of head, 96 of body.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct Control {
    /// Position in the command ring, the first is 1. The program checks it against its own count.
    pub number: u64,
    /// One of [`ControlKind`].
    pub kind: u32,
    /// Zero.
    pub reserved: [u32; 5],
    /// The body of the kind, zero after its last field.
    pub body: [u64; BODY_LEN / 8],
}
const _: () = assert!(size_of::<Control>() == 128);

/// What a control command does; the name of its body follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum ControlKind {
    /// [`Clock`].
    Clock = 1,
    /// [`OpenAccount`].
    OpenAccount = 2,
    /// [`Deposit`].
    Deposit = 3,
    /// [`Deposit`], taken out of the available balance.
    Withdraw = 4,
    /// [`SetLimit`].
    SetLimit = 5,
    /// [`SettlementMark`].
    SettlementMark = 6,
    /// [`List`].
    List = 7,
    /// [`SetState`].
    SetState = 8,
    /// [`Grant`].
    GrantSession = 10,
    /// [`Target`]: a session without live orders ends; its index may be granted again.
    CloseSession = 11,
    /// [`Target`]: the session takes no more orders and all its orders are cancelled, in steps.
    KillSession = 12,
    /// [`Target`]: lifts a kill.
    ReviveSession = 13,
    /// [`Empty`]: packets are answered `Halted` and change nothing, until the shard is resumed.
    HaltShard = 14,
    /// [`Empty`].
    ResumeShard = 15,
    /// [`SetRisk`].
    SetRisk = 16,
    /// [`SetSelfTrade`].
    SetSelfTrade = 17,
    /// [`SetBands`].
    SetBands = 18,
    /// [`Target`]: no session of the account may enter orders and all its orders are cancelled, in steps.
    KillAccount = 19,
    /// [`Target`]: lifts a kill.
    ReviveAccount = 20,
    /// [`Disconnect`].
    Disconnect = 21,
    /// [`Expire`].
    Expire = 22,
    /// [`Uncross`].
    Uncross = 23,
    /// [`Indicate`].
    Indicate = 24,
    /// [`Clear`]: cancels all orders of an instrument, in steps.
    Clear = 25,
    /// [`Target`]: takes away the orders of a closed instrument that do not last beyond the day, in steps.
    CloseDay = 26,
    /// [`OpenDay`].
    OpenDay = 27,
    /// [`Target`]: takes away all orders of a closed instrument, in steps, and then its listing.
    Delist = 28,
    /// [`MoveLadder`].
    MoveLadder = 29,
    /// [`Bust`].
    Bust = 30,
    /// [`Gap`]: packets were lost behind the program that numbered them; the record says it, nothing else happens.
    Gap = 31,
    /// [`Route`].
    Route = 32,
    /// [`TransferOut`].
    TransferOut = 33,
    /// [`TransferIn`].
    TransferIn = 34,
    /// [`TransferDone`].
    TransferDone = 35,
}

impl ControlKind {
    /// Every kind.
    pub const ALL: [ControlKind; 34] = [
        ControlKind::Clock,
        ControlKind::OpenAccount,
        ControlKind::Deposit,
        ControlKind::Withdraw,
        ControlKind::SetLimit,
        ControlKind::SettlementMark,
        ControlKind::List,
        ControlKind::SetState,
        ControlKind::GrantSession,
        ControlKind::CloseSession,
        ControlKind::KillSession,
        ControlKind::ReviveSession,
        ControlKind::HaltShard,
        ControlKind::ResumeShard,
        ControlKind::SetRisk,
        ControlKind::SetSelfTrade,
        ControlKind::SetBands,
        ControlKind::KillAccount,
        ControlKind::ReviveAccount,
        ControlKind::Disconnect,
        ControlKind::Expire,
        ControlKind::Uncross,
        ControlKind::Indicate,
        ControlKind::Clear,
        ControlKind::CloseDay,
        ControlKind::OpenDay,
        ControlKind::Delist,
        ControlKind::MoveLadder,
        ControlKind::Bust,
        ControlKind::Gap,
        ControlKind::Route,
        ControlKind::TransferOut,
        ControlKind::TransferIn,
        ControlKind::TransferDone,
    ];
}

/// A body and its kind.
pub trait Body: FromBytes + Immutable + IntoBytes + KnownLayout + Copy {}

macro_rules! body {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$field_doc:meta])+ $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])+ pub $field: $type,)* }
        impl Body for $name {}
        const _: () = assert!(size_of::<$name>() <= BODY_LEN && size_of::<$name>() % 8 == 0);
    )+};
}

body! {
    /// Nothing more to say.
    Empty {}

    /// Sets the day base: venue time is day base + boot-time clock, and never goes back (RULES 8).
    Clock {
        /// Nanoseconds to add to the boot-time clock to get nanoseconds since midnight.
        day_base_ns: u64,
    }

    /// Opens an account with empty balances and no limit on its un-co-signed outflow.
    OpenAccount {
        /// Index, below the shard's accounts_max.
        account: u32,
        /// Zero.
        reserved: u32,
    }

    /// Adds to an available balance (as `Withdraw`: takes from it).
    Deposit {
        /// Account index.
        account: u32,
        /// Asset index.
        asset: u32,
        /// Engine units, not zero.
        amount: u64,
    }

    /// Sets the limit of un-co-signed outflow of an account in an asset (RULES 19).
    SetLimit {
        /// Account index.
        account: u32,
        /// Asset index.
        asset: u32,
        /// Engine units, at most 2^63 − 1, which means no limit.
        limit: u64,
    }

    /// A co-signed batch covered this much of an account's net outflow (RULES 19).
    SettlementMark {
        /// Account index.
        account: u32,
        /// Asset index.
        asset: u32,
        /// Engine units, signed (two's complement): subtracted from the outflow.
        covered: i64,
        /// The batch; kept by the record only.
        epoch: u64,
    }

    /// Lists an instrument: base asset against quote asset.
    List {
        /// Index, the locate is one more. Below instruments_max.
        instrument: u32,
        /// [`State`](crate::record::State) to begin in: closed, pre-open, continuous or halted.
        state: u32,
        /// Symbol, 8 ASCII bytes padded with spaces, as on the wire.
        symbol: [u8; 8],
        /// Asset that is bought and sold.
        base_asset: u32,
        /// Asset it is paid in; not the base asset.
        quote_asset: u32,
        /// Wire price of one tick (Price(4)); not zero.
        tick_size: u32,
        /// Shares in one lot; not zero.
        lot_size: u32,
        /// Quote engine units of one lot at a price of one tick; not zero.
        tick_value: u32,
        /// Lowest price of the ladder in ticks; not zero.
        ladder_base: u32,
        /// Base engine units of one lot; not zero.
        lot_value: u64,
        /// Number of prices in the ladder; not zero, at most 2^24.
        ladder_len: u32,
        /// Most lots in one order; not zero.
        lots_max: u32,
        /// Lowest and highest price in ticks that an order may ask; both 0: the whole ladder.
        band_low: u32,
        /// See `band_low`.
        band_high: u32,
        /// Largest price × quantity of one order in quote engine units; 0: no limit.
        notional_max: u64,
        /// Maker fee in millionths of the notional; negative: a rebate, at most the taker fee.
        maker_ppm: i32,
        /// Taker fee in millionths of the notional.
        taker_ppm: u32,
    }

    /// Grants a session to an account.
    Grant {
        /// Session index, below sessions_max; the first four characters of the id say the same.
        session: u32,
        /// Account index.
        account: u32,
        /// The MoldUDP64 session, 10 ASCII bytes.
        id: [u8; 10],
        /// log2 of the number of stored answers, 7 to 16.
        answers_log2: u8,
        /// log2 of the client reference window, 4 to 24.
        references_log2: u8,
        /// Burst of the message rate, in messages; not zero when there is an interval.
        burst: u32,
        /// Nanoseconds that one message costs (GCRA); 0: no rate limit.
        interval_ns: u64,
        /// Venue time at which the grant ends for new orders; u64::MAX: never.
        expires_ns: u64,
        /// Most live orders; 0: no limit.
        orders_max: u32,
        /// Most shares in one order; 0: no limit.
        shares_max: u32,
        /// Largest price × quantity of one order in quote engine units; 0: no limit.
        notional_max: u64,
        /// 1: `Disconnect` cancels its orders. 0: it does not.
        cancel_on_disconnect: u32,
        /// Zero.
        reserved: u32,
    }

    /// Names an instrument, a session or an account by its index.
    Target {
        /// The index.
        index: u32,
        /// Zero.
        reserved: u32,
    }

    /// Changes the state of an instrument's market.
    SetState {
        /// Instrument index.
        instrument: u32,
        /// One of [`State`](crate::record::State).
        state: u32,
    }

    /// Sets the risk limits of an account, each 0 for none.
    SetRisk {
        /// Account index.
        account: u32,
        /// Most live orders.
        orders_max: u32,
        /// Most shares in one order.
        shares_max: u32,
        /// Burst of the message rate of all its sessions together, in messages; not zero when there is an interval.
        burst: u32,
        /// Largest price × quantity of one order in quote engine units.
        notional_max: u64,
        /// Nanoseconds that one message costs (GCRA); burst · interval at most 2^62 − 1.
        interval_ns: u64,
    }

    /// Sets what self-trade prevention does for orders of an account that do not say so themselves, and its trade group.
    SetSelfTrade {
        /// Account index.
        account: u32,
        /// 0 nothing, 1 cancel newest, 2 cancel oldest, 3 cancel both, 4 decrement and cancel.
        mode: u32,
        /// Trade group of the account, below 65,536; 0 none.
        group: u32,
        /// Zero.
        reserved: u32,
    }

    /// Sets the price limits of a closed or halted instrument, all in ticks.
    SetBands {
        /// Instrument index.
        instrument: u32,
        /// Lowest and highest price that an order may ask; both 0: the whole ladder.
        band_low: u32,
        /// See `band_low`.
        band_high: u32,
        /// Farthest from the last trade (without one: from the reference price) that a limit order may ask; 0: no limit.
        dynamic_ticks: u32,
        /// Farthest beyond the best displayed price of the other side that a limit order may ask; 0: no limit.
        fat_ticks: u32,
        /// A trade farther than this from the last auction's price (without one: from the reference price) pauses trading; 0: never.
        pause_ticks: u32,
        /// Reference price, on the ladder; 0: none.
        reference: u32,
        /// Zero.
        reserved: u32,
    }

    /// A session's heartbeats are missing: cancels its orders where its grant says so, in steps.
    Disconnect {
        /// Session index.
        session: u32,
        /// Zero.
        reserved: u32,
        /// The client sequence it is expected to go on with: where it is another one, the session is alive.
        expected: u64,
    }

    /// The clock has come to a second: good-till-time orders of it and before go, in steps.
    Expire {
        /// Second of the day, 1 to 86,400.
        second: u32,
        /// Zero.
        reserved: u32,
    }

    /// Carries out the auction of an instrument whose call is over, in steps.
    Uncross {
        /// Instrument index.
        instrument: u32,
        /// Price in ticks.
        price: u32,
        /// [`State`](crate::record::State) afterwards: continuous, closed or halted.
        then: u32,
        /// Zero.
        reserved: u32,
    }

    /// Publishes what an auction would do now; the record itself says it.
    Indicate {
        /// Instrument index.
        instrument: u32,
        /// Price in ticks; 0: no price.
        price: u32,
        /// Lots that would trade.
        volume: u64,
        /// Lots bid for less lots offered at that price.
        imbalance: i64,
    }

    /// Names an instrument and a side.
    Clear {
        /// Instrument index.
        instrument: u32,
        /// `B`, `S` or space: both.
        side: u32,
    }

    /// Opens a day. Every instrument is closed.
    OpenDay {
        /// Number of the day, above the last one.
        day: u32,
        /// Zero.
        reserved: u32,
        /// Venue time of its midnight; not below the last one's.
        midnight_ns: u64,
        /// MoldUDP64 session of the public feed of that day, 10 ASCII bytes; kept by the record only.
        feed_session: [u8; 10],
        /// Zero.
        reserved2: [u8; 6],
    }

    /// Moves the ladder of a closed or halted instrument: orders off the new one go, in steps, then it holds.
    MoveLadder {
        /// Instrument index.
        instrument: u32,
        /// Lowest price in ticks.
        ladder_base: u32,
        /// Number of prices; what the instrument's places hold.
        ladder_len: u32,
        /// Zero.
        reserved: u32,
    }

    /// Says which shard trades an instrument that is not listed here: messages about it are rejected
    /// [`WrongShard`](crate::Reason::WrongShard) with the port.
    Route {
        /// Instrument index.
        instrument: u32,
        /// UDP port of the shard; 0: none is known any more.
        port: u32,
    }

    /// Takes an amount out of an account's allotment, to be brought into the one of another shard (RULES 7). Until [`TransferDone`] it is in
    /// flight, and no other one of the account begins.
    TransferOut {
        /// Account index.
        account: u32,
        /// Asset index.
        asset: u32,
        /// Engine units, not zero.
        amount: u64,
        /// Number of the transfer: one more than the account's last one out of this shard; the first is 1.
        number: u64,
        /// Number of the shard it goes to, its place in the venue's file from 0.
        to: u32,
        /// Zero.
        reserved: u32,
    }

    /// Brings an amount in that another shard has taken out. What came in already is refused.
    TransferIn {
        /// Account index.
        account: u32,
        /// Asset index.
        asset: u32,
        /// Engine units, not zero.
        amount: u64,
        /// Number of the transfer, as the other shard's [`TransferOut`] had it.
        number: u64,
        /// Number of the shard it comes from.
        from: u32,
        /// Zero.
        reserved: u32,
    }

    /// The transfer in flight has come in.
    TransferDone {
        /// Account index.
        account: u32,
        /// Zero.
        reserved: u32,
        /// Its number.
        number: u64,
    }

    /// Packets that arrived and never came to the engine (RULES 34).
    Gap {
        /// Arrival number of the first one.
        first: u64,
        /// How many.
        count: u64,
    }

    /// Takes a trade back: the money of both sides and the fees. The operator says what the record says of it.
    Bust {
        /// Record sequence of the [`Filled`](crate::record::Filled) or [`Crossed`](crate::record::Crossed).
        trade: u64,
        /// Instrument index.
        instrument: u32,
        /// Account of the buyer.
        buyer: u32,
        /// Account of the seller.
        seller: u32,
        /// Price in ticks.
        price: u32,
        /// Lots.
        lots: u32,
        /// Zero.
        reserved: u32,
        /// Fee of the buyer in quote engine units, negative for a rebate.
        buyer_fee: i64,
        /// Fee of the seller in quote engine units, negative for a rebate.
        seller_fee: i64,
    }
}

impl Control {
    /// A control command with its body; the command ring numbers it.
    #[must_use]
    pub fn new<B: Body>(kind: ControlKind, body: &B) -> Control {
        let mut control = Control::new_zeroed();
        control.kind = kind as u32;
        let written = body.write_to_prefix(control.body.as_mut_bytes());
        debug_assert!(written.is_ok(), "every body is asserted to fit");
        control
    }

    /// The body, read as `B`.
    #[must_use]
    pub fn body<B: Body>(&self) -> B {
        match B::read_from_prefix(self.body.as_bytes()) {
            Ok((body, _)) => body,
            Err(_) => B::new_zeroed(), // cannot be: every body is asserted to fit
        }
    }
}

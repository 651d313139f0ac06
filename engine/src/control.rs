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
    /// [`Target`]: an instrument takes no more orders until it is resumed; cancels work.
    HaltInstrument = 8,
    /// [`Target`].
    ResumeInstrument = 9,
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
}

impl ControlKind {
    /// Every kind.
    pub const ALL: [ControlKind; 15] = [
        ControlKind::Clock,
        ControlKind::OpenAccount,
        ControlKind::Deposit,
        ControlKind::Withdraw,
        ControlKind::SetLimit,
        ControlKind::SettlementMark,
        ControlKind::List,
        ControlKind::HaltInstrument,
        ControlKind::ResumeInstrument,
        ControlKind::GrantSession,
        ControlKind::CloseSession,
        ControlKind::KillSession,
        ControlKind::ReviveSession,
        ControlKind::HaltShard,
        ControlKind::ResumeShard,
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
    }

    /// Lists an instrument: base asset against quote asset.
    List {
        /// Index, the locate is one more. Below instruments_max.
        instrument: u32,
        /// 1 to begin halted, else 0.
        halted: u32,
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
    }

    /// Names an instrument or a session by its index.
    Target {
        /// The index.
        index: u32,
        /// Zero.
        reserved: u32,
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

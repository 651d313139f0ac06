//! Records: what a shard writes down, in 64-byte slots: commands as they were taken, then their events (RULES 17).
//!
//! Little-endian, as the machine: ring, file and replay share one format. A record starts with [`Head`]; its `slots`
//! say how long it is. Every record has a sequence number of its own; the ack of a message carries the sequence of its
//! command record, which is also the id of the order it entered.
//! Rule: `docs/matching.md#records`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Kind {
    /// [`Message`], a command of a client's packet; 2 slots.
    Message = 1,
    /// [`Step`], a continuation step; 1 slot.
    Step = 2,
    /// [`ControlRecord`]; 2 slots.
    Control = 3,
    /// [`Rested`].
    Rested = 16,
    /// [`Filled`].
    Filled = 17,
    /// [`Removed`].
    Removed = 18,
    /// [`Reduced`].
    Reduced = 19,
    /// [`Replaced`].
    Replaced = 20,
    /// [`Armed`].
    Armed = 21,
    /// [`Triggered`].
    Triggered = 22,
    /// [`Refilled`].
    Refilled = 23,
    /// [`Decremented`].
    Decremented = 24,
    /// [`Crossed`].
    Crossed = 25,
    /// [`Uncrossed`].
    Uncrossed = 26,
    /// [`StateChanged`].
    StateChanged = 27,
}

impl Kind {
    /// The kind of a number in a record's head.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Kind> {
        [
            Kind::Message,
            Kind::Step,
            Kind::Control,
            Kind::Rested,
            Kind::Filled,
            Kind::Removed,
            Kind::Reduced,
            Kind::Replaced,
            Kind::Armed,
            Kind::Triggered,
            Kind::Refilled,
            Kind::Decremented,
            Kind::Crossed,
            Kind::Uncrossed,
            Kind::StateChanged,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == number)
    }
}

/// Why an order left without having been filled whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Removal {
    /// Cancelled by a `D`, or by an `X` of all that was open.
    User = b'U',
    /// The remainder of an immediate-or-cancel or market order.
    Ioc = b'I',
    /// Cancelled by an `M`.
    Mass = b'M',
    /// Its session was killed.
    Kill = b'K',
    /// Its instrument was halted while it was sweeping.
    Halted = b'H',
    /// Self-trade prevention took it off.
    SelfTrade = b'T',
    /// Its time came.
    Expired = b'E',
    /// The day ended.
    DayEnd = b'Y',
    /// Its instrument was delisted.
    Delisted = b'L',
    /// The ladder was moved away from its price.
    OffLadder = b'O',
    /// An immediate order met a volatility pause.
    Paused = b'V',
    /// Its session was found disconnected.
    Disconnected = b'D',
    /// Cancelled by the operator.
    Operator = b'P',
}

/// What a continuation is doing: `work` of a [`Step`] and of an instrument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Work {
    /// An order goes on filling.
    Sweep = 1,
    /// Stop orders that the last trade triggered enter, one a step.
    Triggers = 2,
    /// An auction is carried out.
    Uncross = 3,
    /// Orders of an instrument are visited and taken away: operator's cancel, end of day, delisting, a moved ladder.
    Purge = 4,
    /// Mass cancel of a session.
    SessionCancel = 5,
    /// Mass cancel of an account.
    AccountCancel = 6,
    /// Good-till-time orders whose second has come go.
    Expiry = 7,
}

/// State of an instrument's market.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum State {
    /// No entry; cancels work.
    Closed = 0,
    /// Orders are collected.
    PreOpen = 1,
    /// Orders are collected for the opening auction.
    OpeningAuction = 2,
    /// Orders match as they come.
    Continuous = 3,
    /// A price went too far: orders are collected for an auction.
    VolatilityPause = 4,
    /// Orders are collected for the closing auction.
    ClosingAuction = 5,
    /// No entry; cancels work.
    Halted = 6,
    /// The call is over, the auction is carried out: nothing is taken.
    Uncrossing = 7,
}

impl State {
    /// Every state.
    pub const ALL: [State; 8] = [
        State::Closed,
        State::PreOpen,
        State::OpeningAuction,
        State::Continuous,
        State::VolatilityPause,
        State::ClosingAuction,
        State::Halted,
        State::Uncrossing,
    ];

    /// The state of a number in a record.
    #[must_use]
    pub fn from_number(number: u8) -> Option<State> {
        State::ALL.get(usize::from(number)).copied()
    }
}

/// What became of a command: the result byte of its ack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Outcome {
    /// Done.
    Accepted = b'A',
    /// Refused for a reason; nothing changed.
    Rejected = b'R',
    /// Begun; continuation steps finish it.
    Continues = b'C',
    /// The packet was not taken.
    NotTaken = b'N',
    /// Answered too long ago to be answered again.
    Answered = b'O',
}

macro_rules! records {
    ($($(#[$doc:meta])+ $name:ident [$slots:literal] { $($(#[$field_doc:meta])+ $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
        #[repr(C)]
        pub struct $name {
            /// Kind, length, instrument and sequence.
            pub head: Head,
            $($(#[$field_doc])+ pub $field: $type,)*
        }
        const _: () = assert!(size_of::<$name>() == $slots * crate::limits::SLOT_LEN);
    )+};
}

/// The first 16 bytes of every record.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct Head {
    /// One of [`Kind`].
    pub kind: u16,
    /// Length in 64-byte slots.
    pub slots: u8,
    /// In an event: `B` or `S`, the side of the order it is about (in [`Filled`]: of the taker). Else 0.
    pub side: u8,
    /// Locate of the instrument (index + 1), or 0 where the record is not about one. In a [`Message`]: the locate of
    /// the message as sent (0 for the tag block).
    pub locate: u32,
    /// Sequence number of the record; the shard's first is 1, without gaps.
    pub sequence: u64,
}

/// Where a held answer goes (RULES 12): who sent the packet, and to which of our addresses.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct ReplyTo {
    /// IPv4 address of the sender.
    pub address: [u8; 4],
    /// UDP port of the sender; 0: the packet was answered at once.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
    /// IPv4 address that the packet was sent to, which its answer comes from.
    pub local: [u8; 4],
    /// Zero.
    pub reserved2: [u8; 4],
}
const _: () = assert!(size_of::<ReplyTo>() == 16);

impl ReplyTo {
    /// As two words, as they lie in a record.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        let (address, local) = (
            u32::from_le_bytes(self.address),
            u32::from_le_bytes(self.local),
        );
        [address as u64 | (self.port as u64) << 32, local as u64]
    }
}

records! {
    /// A message of a taken packet, whole, with what became of it.
    Message [2] {
        /// Venue time, nanoseconds.
        time_ns: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client sequence.
        client_sequence: u64,
        /// Place in its packet, from 0.
        index: u16,
        /// Messages in its packet, the tag block counted.
        count: u16,
        /// Shares filled, taken off or replaced, or orders cancelled: the quantity of the ack.
        quantity: u32,
        /// One of [`Outcome`].
        outcome: u8,
        /// One of [`Reason`](crate::Reason).
        reason: u8,
        /// Length of the message in bytes.
        length: u8,
        /// Zero.
        reserved: [u8; 5],
        /// The message as it came, zero after its end. The tag of a `z` is written as zeros: it is a credential.
        message: [u8; 56],
        /// Where the answer goes when it is held until the record is durable; else all zero.
        reply_to: ReplyTo,
    }

    /// One step of a continuation.
    Step [1] {
        /// Venue time, nanoseconds.
        time_ns: u64,
        /// The order that sweeps on or was triggered, or 0.
        order: u64,
        /// Session of that order; session or account whose orders are cancelled; else 0.
        owner: u32,
        /// Shares filled (sweep, trigger), fills (auction), orders removed (all others) in this step.
        quantity: u32,
        /// `Accepted` when this was the last step, else `Continues`.
        outcome: u8,
        /// One of [`Work`].
        work: u8,
        /// Zero.
        reserved: [u8; 22],
    }

    /// A control command with what became of it.
    ControlRecord [2] {
        /// Venue time, nanoseconds.
        time_ns: u64,
        /// One of [`ControlKind`](crate::control::ControlKind), or a number that is none and was rejected.
        kind: u32,
        /// One of [`Outcome`].
        outcome: u8,
        /// One of [`Reason`](crate::Reason).
        reason: u8,
        /// Zero.
        reserved: [u8; 2],
        /// As given.
        body: [u64; crate::control::BODY_LEN / 8],
    }

    /// An order came to rest at the end of its queue: of its price level, displayed or hidden, or of its peg queue.
    Rested [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Price in ticks; of a peg its limit.
        price: u32,
        /// Lots open.
        lots: u32,
        /// Lots displayed: all, the slice of an iceberg, or 0.
        shown: u32,
        /// `FLAG_…` of the engine that the state hash sees.
        flags: u32,
        /// Peg kind (`P`, `M`) and in the next byte its offset, or 0.
        peg: u32,
        /// Zero.
        reserved: [u8; 8],
    }

    /// One fill. Its record sequence is the match number.
    Filled [1] {
        /// Resting order.
        maker: u64,
        /// Incoming order.
        taker: u64,
        /// Price in ticks: the maker's, of a peg its price at that moment.
        price: u32,
        /// Lots.
        lots: u32,
        /// Account of the maker.
        maker_account: u32,
        /// Account of the taker.
        taker_account: u32,
        /// Fee of the maker in quote engine units, negative for a rebate.
        maker_fee: i64,
        /// Fee of the taker in quote engine units.
        taker_fee: u64,
    }

    /// An order left the book, or its remainder never rested.
    Removed [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Price in ticks.
        price: u32,
        /// Lots that were open.
        lots: u32,
        /// One of [`Removal`].
        removal: u8,
        /// 1 if it rested in the book, 0 if it did not.
        rested: u8,
        /// Zero.
        reserved: [u8; 18],
    }

    /// A resting order lost some lots and kept its place.
    Reduced [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Price in ticks.
        price: u32,
        /// Lots taken off.
        lots: u32,
        /// Lots left open, not zero.
        open: u32,
        /// Lots displayed now.
        shown: u32,
        /// Zero.
        reserved: [u8; 12],
    }

    /// An order was replaced. Kept: same id, same place, fewer or equal lots, new client reference. Not kept: the old
    /// order left the book, the new one comes in as a taker would and rests, fills or goes as the next events say.
    Replaced [1] {
        /// Id before.
        order: u64,
        /// Id after; the same when it kept its place.
        new_order: u64,
        /// Account index.
        account: u32,
        /// Session index.
        session: u32,
        /// New client reference.
        reference: u32,
        /// New price in ticks.
        price: u32,
        /// New lots open.
        lots: u32,
        /// Lots that were open before.
        lots_before: u32,
        /// 1: kept its place. 0: lost it.
        kept: u8,
        /// Zero.
        reserved: [u8; 3],
        /// Lots displayed now, where it kept its place; else 0.
        shown: u32,
    }

    /// A stop order waits for its trigger.
    Armed [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Limit, or protection of a market stop, in ticks.
        price: u32,
        /// Lots.
        lots: u32,
        /// Trigger in ticks.
        trigger: u32,
        /// `FLAG_…` of the engine that the state hash sees.
        flags: u32,
        /// Zero.
        reserved: [u8; 12],
    }

    /// A stop order was triggered and enters the book; what follows is about it.
    Triggered [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Limit, or protection of a market stop, in ticks.
        price: u32,
        /// Lots.
        lots: u32,
        /// Trigger in ticks.
        trigger: u32,
        /// Zero.
        reserved: [u8; 16],
    }

    /// The displayed slice of an iceberg was used up; the next one stands at the end of its level.
    Refilled [1] {
        /// Id.
        order: u64,
        /// Session index.
        session: u32,
        /// Account index.
        account: u32,
        /// Client reference.
        reference: u32,
        /// Price in ticks.
        price: u32,
        /// Lots open.
        lots: u32,
        /// Lots displayed.
        shown: u32,
        /// Zero.
        reserved: [u8; 16],
    }

    /// Self-trade prevention took the same lots off both orders. One that has nothing left is gone.
    Decremented [1] {
        /// Resting order.
        maker: u64,
        /// Incoming order.
        taker: u64,
        /// Price in ticks at which they would have traded.
        price: u32,
        /// Lots.
        lots: u32,
        /// Account of the maker.
        maker_account: u32,
        /// Account of the taker.
        taker_account: u32,
        /// Zero.
        reserved: [u8; 16],
    }

    /// One fill of an auction. Its record sequence is the match number. One that has nothing left is gone.
    Crossed [1] {
        /// Buy order.
        buy: u64,
        /// Sell order.
        sell: u64,
        /// Price of the auction in ticks.
        price: u32,
        /// Lots.
        lots: u32,
        /// Account of the buyer.
        buy_account: u32,
        /// Account of the seller.
        sell_account: u32,
        /// Fee of the buyer in quote engine units.
        buy_fee: u64,
        /// Fee of the seller in quote engine units.
        sell_fee: u64,
    }

    /// An auction is done.
    Uncrossed [1] {
        /// Lots traded in all its steps.
        volume: u64,
        /// Price in ticks.
        price: u32,
        /// 1: the book is still crossed, another price must be found; else 0.
        crossed: u32,
        /// Zero.
        reserved: [u8; 32],
    }

    /// The state of an instrument's market changed.
    StateChanged [1] {
        /// One of [`State`].
        state: u8,
        /// The one before.
        before: u8,
        /// Zero.
        reserved: [u8; 46],
    }
}

//! Why a message was rejected or a packet was not taken: one number a cause, stable on the wire (`docs/wire.md#reasons`).

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)+) => {
        /// The reason byte of an ack. Numbers never change their meaning.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The name, as tools print it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)+
                }
            }

            /// What the sender can do about it, for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self {
                    $(Reason::$name => concat!($($doc),+),)+
                }
            }

            /// The reason of a number in an ack, if it is one.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Reason> {
                match number {
                    $($number => Some(Reason::$name),)+
                    _ => None,
                }
            }
        }
    };
}

impl Reason {
    /// The reason for a field that the wire crate refused.
    #[inline(always)]
    #[must_use]
    pub const fn number_of_field(error: ring0_wire::FieldError) -> u8 {
        95 + error as u8
    }

    /// As [`Reason::number_of_field`], by name.
    #[must_use]
    pub fn of_field(error: ring0_wire::FieldError) -> Reason {
        Reason::from_number(Reason::number_of_field(error)).unwrap_or(Reason::FieldLetter)
    }
}

reasons! {
    /// Nothing went wrong.
    None = 0,

    // Not taken: nothing changed, the same packet may be sent again.
    /// Not taken: a client sequence is missing before this packet; send from the expected one.
    Hole = 1,
    /// Not taken: the packet begins below and ends above the expected client sequence; send from the expected one.
    Straddle = 2,
    /// Not taken: another processor holds the shard; send the packet again.
    Busy = 3,
    /// Not taken: the record ring is full; only packets that reduce risk are taken from its last eighth.
    RingFull = 4,
    /// Not taken: over the message rate of the session or of its account; wait and send again.
    RateLimited = 5,
    /// Not taken: the shard is halted, by its operator or by a fault.
    Halted = 6,
    /// Answered before, more than the session's window ago; the content is no longer stored.
    Answered = 7,

    // Taken and rejected: the session and its state.
    /// The client reference is not above the last one of the session.
    ReferenceNotRising = 16,
    /// The session is killed: only cancels and reduces work until it is revived.
    SessionKilled = 17,
    /// The session's grant has expired: only cancels and reduces work.
    SessionExpired = 18,
    /// What the command names is frozen by a continuation that is not finished.
    Continuing = 19,
    /// The packet has caused its share of fills; send the rest in another packet.
    PacketFills = 20,
    // 21 was used before the first release.
    /// The account is killed: only cancels and reduces work until it is revived.
    AccountKilled = 22,
    /// These instructions exclude each other, see docs/matching.md.
    NotTogether = 23,
    /// The trade group is not the account's.
    WrongTradeGroup = 24,

    // The instrument.
    /// No instrument is listed under this locate.
    UnknownInstrument = 32,
    /// The stock field is neither spaces nor the instrument's symbol.
    StockMismatch = 33,
    /// The instrument is halted: only cancels and reduces work.
    InstrumentHalted = 34,
    /// The locate is not that of the order's instrument.
    WrongInstrument = 35,
    /// The instrument is closed: only cancels and reduces work.
    MarketClosed = 36,
    /// Orders are being collected for an auction, which takes limit orders that may rest, and stops.
    NotInAuction = 37,
    /// Another shard trades this instrument: the ack's quantity is its UDP port.
    WrongShard = 38,

    // The order's terms.
    /// The price is not a whole number of ticks.
    NotATick = 48,
    /// The shares are not a whole number of lots.
    NotALot = 49,
    /// More lots than the instrument takes in one order.
    OrderTooLarge = 50,
    /// The price is outside the instrument's ladder.
    OffLadder = 51,
    /// The price is outside the instrument's price band.
    PriceBand = 52,
    /// Price times quantity is above the instrument's limit for one order.
    NotionalTooLarge = 53,
    /// The available balance does not cover the order with its highest fee.
    Funds = 54,
    /// The account's un-co-signed exposure could pass its limit; co-sign a batch first.
    UnsettledLimit = 55,
    /// The post-only order would have traded at entry.
    WouldCross = 56,
    /// The fill-or-kill order cannot be filled whole, or not the minimum quantity of an order.
    NotFillable = 57,
    /// Fill-or-kill or a minimum quantity would have to look at more orders than a command may.
    FokTooDeep = 58,
    /// The price is too far from the last trade.
    DynamicBand = 59,
    /// The price is too far beyond the best price of the other side.
    FatFinger = 60,
    /// The trigger price is not a whole number of ticks, or not on the ladder.
    BadTrigger = 61,
    /// The stop's trigger is reached already; send the order without one.
    WouldTrigger = 62,
    /// The expiry has passed.
    AlreadyExpired = 63,

    // Capacity.
    /// The order pool is full.
    BookFull = 64,
    /// The price level pool is full.
    LevelsFull = 65,
    /// Too many older live orders of the session share this reference's place.
    TooManyLive = 66,
    /// All peg queues of this side of the instrument are in use by other kinds, offsets or limits.
    PegsFull = 67,
    /// More shares than the session or the account may ask in one order.
    RiskShares = 68,
    /// Price times quantity is more than the session or the account may ask in one order.
    RiskNotional = 69,
    /// The session or the account has as many live orders as it may have.
    RiskOrders = 70,

    // Orders named by a message.
    /// No live order of the session has this reference.
    UnknownOrder = 80,

    // Fields that cannot be read: 95 + the number of the wire crate's `FieldError`.
    /// The letter is none of ours.
    FieldLetter = 96,
    /// Tracking is not zero in a message that has no flags.
    TrackingNotZero = 97,
    /// The timestamp is not zero.
    TimestampNotZero = 98,
    /// The high half of a client reference is not zero.
    ReferenceTooLarge = 99,
    /// A client reference is zero.
    ReferenceZero = 100,
    /// The side is not one of the message's letters.
    SideUnknown = 101,
    /// The shares are zero.
    SharesZero = 102,
    /// Tracking has a bit that is not defined.
    FlagUnknown = 103,
    /// The time in force is not one of ours.
    TimeInForceUnknown = 104,
    /// The self-trade rule is not one of ours.
    SelfTradeUnknown = 105,
    /// Post-only both as reject and as slide.
    PostOnlyTwice = 106,
    /// Post-only and immediate-or-cancel or fill-or-kill exclude each other.
    PostOnlyImmediate = 107,
    /// Post-only and market exclude each other.
    PostOnlyMarket = 108,
    /// Good till time without an expiry; use `O`.
    ExpiryMissing = 109,
    /// An expiry without good till time.
    ExpiryUnasked = 110,
    /// The expiry is not a second of the day.
    ExpiryTooLate = 111,
    /// The minimum quantity is above the quantity.
    MinimumAboveShares = 112,
    /// The displayed quantity is above the quantity.
    DisplayAboveShares = 113,
    /// A hidden order has no displayed quantity.
    DisplayOfHidden = 114,
    /// The peg kind is not 0, `P` or `M`.
    PegUnknown = 115,
    /// A peg offset without a peg.
    PegOffsetUnasked = 116,
    /// The scope is neither `S` nor `A`.
    ScopeUnknown = 117,
    /// The kill byte is neither 0 nor 1.
    KillUnknown = 118,
    /// A reserved byte is not zero.
    ReservedNotZero = 119,

    // Control commands.
    /// The index is outside the capacity that the shard was made with.
    IndexOutOfRange = 128,
    /// The account is not open.
    UnknownAccount = 129,
    /// The account is open already.
    AccountOpen = 130,
    /// The amount is zero, or the venue's total would reach 2^63.
    BadAmount = 131,
    /// The instrument is listed already.
    AlreadyListed = 132,
    /// A listing parameter is zero or out of range, or the largest order could pass 2^63.
    BadListing = 133,
    /// The ladder pool has no room for this instrument.
    LadderFull = 134,
    /// The session is granted already; close it first.
    SessionOpen = 135,
    /// No such session is granted.
    UnknownSession = 136,
    /// A grant parameter is out of range.
    BadGrant = 137,
    /// The pools of answers or references have no room for this session.
    WindowsFull = 138,
    /// The session still has live orders; cancel them first.
    OrdersLive = 139,
    /// The control command is not known.
    UnknownControl = 140,
    /// The instrument's market state does not allow this.
    BadState = 141,
    /// The book is crossed: it must be uncrossed before continuous trading.
    BookCrossed = 142,
    /// The session has sent something since: its client sequence is not the one named.
    SessionAlive = 143,
    /// Venue time has not come to it yet.
    TooEarly = 144,
    /// A setting is out of range.
    BadSetting = 145,
    /// An instrument is not closed.
    NotClosed = 146,
    /// The number is not that of the account's next transfer, or of the one in flight.
    TransferNumber = 147,
    /// A transfer of the account is in flight; it is finished first.
    TransferPending = 148,
    /// The transfer has come in already.
    TransferKnown = 149,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason as u8), Some(reason));
            assert!(!reason.help().is_empty());
        }
        assert_eq!(Reason::from_number(255), None);
    }

    #[test]
    fn every_field_error_has_its_reason() {
        for error in ring0_wire::FieldError::ALL {
            let name = match error {
                ring0_wire::FieldError::LetterUnknown => "FieldLetter".into(),
                other => format!("{other:?}"),
            };
            assert_eq!(Reason::of_field(error).name(), name);
        }
    }
}

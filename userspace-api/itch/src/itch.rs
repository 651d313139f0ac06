//! ITCH 5.0: what a venue tells everyone.
//!
//! Every message begins with the same eleven bytes ([`Header`]); the first is its letter, and a letter has one length.
//! [`Message::read`] takes the bytes of one message, as a MoldUDP64 block or a BinaryFILE record carries them.
//!
//! Rules of the displayed book, on which all readers depend: `A` and `F` add an order at the tail of its price; `E` and `C`
//! take the executed shares off it, `X` the cancelled ones, and an order at zero is gone without a `D`; `D` takes the rest;
//! `U` takes the old order away and adds the new one at the tail, with the old one's side, stock and attribution. `P`, `Q` and
//! `B` never change the displayed book.

use crate::{Mpid, Stock, Text, Timestamp, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The eleven bytes at the front of every message.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// The message's letter.
    pub letter: u8,
    /// The instrument's number in this session; 0 in messages that are about none.
    pub locate: U16,
    /// The venue's own, without meaning to a reader.
    pub tracking: U16,
    /// When it happened.
    pub timestamp: Timestamp,
}
const _: () = assert!(size_of::<Header>() == 11);

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ItchError {
    /// No byte at all.
    #[error("an ITCH message of 0 bytes has no letter; the framing is broken")]
    Empty,
    /// The letter is known, and its length is another.
    #[error(
        "ITCH message {:?} has {found} bytes instead of {expected}; the file or feed is not ITCH 5.0, or is damaged",
        char::from(*.letter)
    )]
    Length {
        /// The message's letter.
        letter: u8,
        /// Bytes that a message of the letter has.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
}

/// Declares the message structs, their sizes, and the enum of all.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident = $letter:literal, $bytes:literal {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
            )]
            #[repr(C)]
            pub struct $name {
                /// Letter, locate, tracking number and time.
                pub header: Header,
                $( $(#[$field_doc])* pub $field: $type, )*
            }
            const _: () = assert!(size_of::<$name>() == $bytes);

            impl $name {
                /// The letter of this message.
                pub const LETTER: u8 = $letter;

                /// The header of such a message, its tracking number zero.
                #[inline]
                #[must_use]
                pub const fn header(locate: u16, timestamp: Timestamp) -> Header {
                    Header {
                        letter: $letter,
                        locate: U16::from_bytes(locate.to_be_bytes()),
                        tracking: U16::from_bytes([0; 2]),
                        timestamp,
                    }
                }
            }

            impl<'a> From<&'a $name> for Message<'a> {
                #[inline]
                fn from(message: &'a $name) -> Self {
                    Message::$name(message)
                }
            }
        )+

        /// A message, as a view over its bytes.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Message<'a> {
            $( $(#[$doc])* $name(&'a $name), )+
            /// A letter that is none of these: of a later edition, to be skipped. Never empty.
            Other(&'a [u8]),
        }

        impl<'a> Message<'a> {
            /// Letters of all messages known here, in the order of the documentation, with their lengths in bytes.
            pub const LENGTHS: &'static [(u8, usize)] = &[$( ($letter, $bytes), )+];

            /// The message that `bytes` are, all of them.
            ///
            /// # Errors
            /// When there is no byte, or a known letter has another length.
            #[inline]
            pub fn read(bytes: &'a [u8]) -> Result<Self, ItchError> {
                let Some(&letter) = bytes.first() else {
                    return Err(ItchError::Empty);
                };
                match letter {
                    $(
                        $letter => match $name::ref_from_bytes(bytes) {
                            Ok(message) => Ok(Self::$name(message)),
                            Err(_) => Err(ItchError::Length {
                                letter,
                                expected: $bytes,
                                found: bytes.len(),
                            }),
                        },
                    )+
                    _ => Ok(Self::Other(bytes)),
                }
            }

            /// The message's bytes, its letter first.
            #[inline]
            #[must_use]
            pub fn as_bytes(&self) -> &'a [u8] {
                match self {
                    $( Self::$name(message) => message.as_bytes(), )+
                    Self::Other(bytes) => bytes,
                }
            }

            /// The message's header; `None` of an unknown letter, which may have another.
            #[inline]
            #[must_use]
            pub fn header(&self) -> Option<&'a Header> {
                match self {
                    $( Self::$name(message) => Some(&message.header), )+
                    Self::Other(_) => None,
                }
            }
        }
    };
}

messages! {
    /// `S`, system event: the clock of the whole market.
    SystemEvent = b'S', 12 {
        /// One of [`event`].
        event_code: u8,
    }

    /// `R`, stock directory: binds a symbol to its locate, for this session only.
    StockDirectory = b'R', 39 {
        /// Symbol.
        stock: Stock,
        /// Where it is listed: `Q` `G` `S` Nasdaq's tiers, `N` `A` `P` `M` `Z` `V` others, space none.
        market_category: u8,
        /// `N` normal, `D` `E` `Q` `S` `G` `H` `J` `K` `C` in some trouble, space none.
        financial_status_indicator: u8,
        /// Shares of a round lot.
        round_lot_size: U32,
        /// `Y` when only round lots are taken, `N`.
        round_lots_only: u8,
        /// One letter for the kind of security.
        issue_classification: u8,
        /// Two letters, finer.
        issue_sub_type: Text<2>,
        /// `P` real, `T` test.
        authenticity: u8,
        /// `Y`, `N`, space not available.
        short_sale_threshold_indicator: u8,
        /// `Y`, `N`, space not available.
        ipo_flag: u8,
        /// Tier of the price bands: `1`, `2`, space none.
        luld_reference_price_tier: u8,
        /// Exchange-traded product: `Y`, `N`, space not available.
        etp_flag: u8,
        /// Leverage of such a product.
        etp_leverage_factor: U32,
        /// `Y` of an inverse product, `N`.
        inverse_indicator: u8,
    }

    /// `H`, stock trading action: the state of one instrument.
    TradingAction = b'H', 25 {
        /// Symbol.
        stock: Stock,
        /// One of [`state`].
        trading_state: u8,
        /// Ignored by readers.
        reserved: u8,
        /// Four letters, the venue's.
        reason: Text<4>,
    }

    /// `Y`, short sale price test restriction of an instrument.
    RegSho = b'Y', 20 {
        /// Symbol.
        stock: Stock,
        /// `0` none, `1` by a fall today, `2` still in effect.
        action: u8,
    }

    /// `L`, a market participant's position in an instrument.
    ParticipantPosition = b'L', 26 {
        /// Participant.
        mpid: Mpid,
        /// Symbol.
        stock: Stock,
        /// `Y`, `N`.
        primary_market_maker: u8,
        /// `N` `P` `S` `R` `L`.
        market_maker_mode: u8,
        /// `A` `E` `W` `S` `D`.
        market_participant_state: u8,
    }

    /// `V`, levels of decline at which the whole market stops. Prices with eight implied decimals.
    DeclineLevels = b'V', 35 {
        /// First level.
        level_1: U64,
        /// Second level.
        level_2: U64,
        /// Third level.
        level_3: U64,
    }

    /// `W`, a level of decline was breached.
    DeclineStatus = b'W', 12 {
        /// `1`, `2`, `3`.
        breached_level: u8,
    }

    /// `K`, when an initial offering's quotation is released.
    IpoQuoting = b'K', 28 {
        /// Symbol.
        stock: Stock,
        /// Seconds since midnight.
        release_time: U32,
        /// `A` anticipated, `C` cancelled.
        release_qualifier: u8,
        /// Price of the offering.
        ipo_price: U32,
    }

    /// `J`, auction collar: the prices between which an auction may end. Our price bands.
    AuctionCollar = b'J', 35 {
        /// Symbol.
        stock: Stock,
        /// The middle of the collar.
        reference_price: U32,
        /// Highest price.
        upper_price: U32,
        /// Lowest price.
        lower_price: U32,
        /// How often the collar was widened.
        extension: U32,
    }

    /// `h`, one market centre halts an instrument.
    OperationalHalt = b'h', 21 {
        /// Symbol.
        stock: Stock,
        /// `Q`, `B`, `X`.
        market_code: u8,
        /// `H` halted, `T` lifted.
        action: u8,
    }

    /// `A`, add order: a displayed order now rests.
    AddOrder = b'A', 36 {
        /// Unique for the day.
        order_reference: U64,
        /// [`BUY`](crate::BUY), [`SELL`](crate::SELL).
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Displayed price.
        price: U32,
    }

    /// `F`, add order with attribution.
    AddOrderAttributed = b'F', 40 {
        /// Unique for the day.
        order_reference: U64,
        /// [`BUY`](crate::BUY), [`SELL`](crate::SELL).
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Displayed price.
        price: U32,
        /// Who shows it.
        attribution: Mpid,
    }

    /// `E`, order executed at its own price.
    OrderExecuted = b'E', 31 {
        /// The resting order.
        order_reference: U64,
        /// Shares of this fill.
        executed_shares: U32,
        /// Number of the trade, unique for the day.
        match_number: U64,
    }

    /// `C`, order executed at another price than its own.
    OrderExecutedWithPrice = b'C', 36 {
        /// The resting order.
        order_reference: U64,
        /// Shares of this fill.
        executed_shares: U32,
        /// Number of the trade, unique for the day.
        match_number: U64,
        /// `Y` counts in volume, `N` is also in a cross trade and does not.
        printable: u8,
        /// Price of the trade.
        execution_price: U32,
    }

    /// `X`, order cancel: a part of the shares is taken off, priority is kept.
    OrderCancel = b'X', 23 {
        /// The resting order.
        order_reference: U64,
        /// Shares that are gone, not those that are left.
        cancelled_shares: U32,
    }

    /// `D`, order delete: the rest leaves the book.
    OrderDelete = b'D', 19 {
        /// The resting order.
        order_reference: U64,
    }

    /// `U`, order replace: the old order leaves, a new one rests at the tail of its price.
    OrderReplace = b'U', 35 {
        /// The order that leaves.
        original_order_reference: U64,
        /// The order that rests, with the old one's side, stock and attribution.
        new_order_reference: U64,
        /// Displayed shares of the new one.
        shares: U32,
        /// Displayed price of the new one.
        price: U32,
    }

    /// `P`, trade with an order that was not displayed.
    Trade = b'P', 44 {
        /// The hidden order, or 0.
        order_reference: U64,
        /// Its side; Nasdaq always says `B`.
        side: u8,
        /// Shares of the trade.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Price of the trade.
        price: U32,
        /// Number of the trade, unique for the day.
        match_number: U64,
    }

    /// `Q`, cross trade: all of an auction as one print.
    CrossTrade = b'Q', 40 {
        /// Shares of the auction, eight bytes.
        shares: U64,
        /// Symbol.
        stock: Stock,
        /// The auction's price.
        cross_price: U32,
        /// Number of the trade, unique for the day.
        match_number: U64,
        /// One of [`cross`].
        cross_type: u8,
    }

    /// `B`, broken trade: a match number is void; books are not restored.
    BrokenTrade = b'B', 19 {
        /// Number of the trade.
        match_number: U64,
    }

    /// `I`, net order imbalance: what an auction would do now.
    Imbalance = b'I', 50 {
        /// Shares that could be paired.
        paired_shares: U64,
        /// Shares that could not.
        imbalance_shares: U64,
        /// One of [`imbalance`].
        direction: u8,
        /// Symbol.
        stock: Stock,
        /// The price at which the auction's own orders would cross.
        far_price: U32,
        /// The price at which these and the book's would.
        near_price: U32,
        /// The price at which the figures are taken.
        reference_price: U32,
        /// One of [`cross`].
        cross_type: u8,
        /// How far near and reference price differ: `L`, `1` to `9`, `A`, `B`, `C`, space.
        price_variation: u8,
    }

    /// `N`, retail price improvement.
    RetailInterest = b'N', 20 {
        /// Symbol.
        stock: Stock,
        /// `B`, `S`, `A` both, `N` none.
        interest_flag: u8,
    }

    /// `O`, price discovery of a direct listing. One program gives it 52 bytes, all others 48.
    DirectListing = b'O', 48 {
        /// Symbol.
        stock: Stock,
        /// `Y`, `N`.
        open_eligibility: u8,
        /// Lowest price allowed.
        minimum_price: U32,
        /// Highest price allowed.
        maximum_price: U32,
        /// Where it would open now.
        near_price: U32,
        /// When, in nanoseconds.
        near_time: U64,
        /// Lower end of the range.
        lower_collar: U32,
        /// Upper end of the range.
        upper_collar: U32,
    }
}

/// Codes of [`SystemEvent`].
pub mod event {
    /// First message of the day.
    pub const START_OF_MESSAGES: u8 = b'O';
    /// Orders are taken.
    pub const START_OF_SYSTEM_HOURS: u8 = b'S';
    /// The market is open.
    pub const START_OF_MARKET_HOURS: u8 = b'Q';
    /// The market is closed.
    pub const END_OF_MARKET_HOURS: u8 = b'M';
    /// No more orders.
    pub const END_OF_SYSTEM_HOURS: u8 = b'E';
    /// Last message of the day.
    pub const END_OF_MESSAGES: u8 = b'C';
}

/// Codes of [`TradingAction`].
pub mod state {
    /// No trading.
    pub const HALTED: u8 = b'H';
    /// A pause between halt and quotation.
    pub const PAUSED: u8 = b'P';
    /// Orders rest and do not trade.
    pub const QUOTATION_ONLY: u8 = b'Q';
    /// Continuous trading.
    pub const TRADING: u8 = b'T';
}

/// Which auction: codes of [`CrossTrade`] and [`Imbalance`].
pub mod cross {
    /// The opening auction.
    pub const OPENING: u8 = b'O';
    /// The closing auction.
    pub const CLOSING: u8 = b'C';
    /// After a halt, or of an initial offering.
    pub const HALT: u8 = b'H';
    /// After hours, in late editions.
    pub const AFTER_HOURS: u8 = b'A';
}

/// Directions of [`Imbalance`].
pub mod imbalance {
    /// More to buy.
    pub const BUY: u8 = b'B';
    /// More to sell.
    pub const SELL: u8 = b'S';
    /// Neither.
    pub const NONE: u8 = b'N';
    /// Not enough orders to say.
    pub const INSUFFICIENT: u8 = b'O';
    /// The auction is paused, in late editions.
    pub const PAUSED: u8 = b'P';
}

/// Bytes of the longest message known here.
pub const LONGEST: usize = 50;

const _: () = {
    let mut n = 0;
    while n < Message::LENGTHS.len() {
        assert!(Message::LENGTHS[n].1 <= LONGEST, "the longest is `I`");
        n += 1;
    }
    assert!(n == 23, "ITCH 5.0 has 23 messages");
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `bytes` read as `expected`, and written as the same bytes.
    #[track_caller]
    fn check<'a>(bytes: &'a [u8], expected: impl Into<Message<'a>>) {
        let message = Message::read(bytes).unwrap();
        assert_eq!(message, expected.into());
        assert_eq!(message.as_bytes(), bytes);
    }

    fn stock() -> Stock {
        Stock::new("AAPL").unwrap()
    }

    /// The common bytes: locate 0x0102, time 0x0A0B0C0D0E0F.
    fn at() -> (u16, Timestamp) {
        (0x0102, Timestamp::from_nanos(0x0A0B_0C0D_0E0F).unwrap())
    }

    macro_rules! golden {
        ($letter:literal $rest:expr) => {
            &[
                &[
                    $letter, 0x01, 0x02, 0, 0, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,
                ][..],
                &$rest[..],
            ]
            .concat()
        };
    }

    #[test]
    fn golden_system_event() {
        let bytes = golden!(b'S'[b'Q']);
        let header = SystemEvent::header(at().0, at().1);
        let event_code = event::START_OF_MARKET_HOURS;
        check(bytes, &SystemEvent { header, event_code });
    }

    #[test]
    fn golden_directory() {
        let bytes = golden!(b'R' b"AAPL    QN\0\0\0\x64NCZ PN 1N\0\0\0\x02Y");
        let expected = StockDirectory {
            header: StockDirectory::header(at().0, at().1),
            stock: stock(),
            market_category: b'Q',
            financial_status_indicator: b'N',
            round_lot_size: 100.into(),
            round_lots_only: b'N',
            issue_classification: b'C',
            issue_sub_type: Text(*b"Z "),
            authenticity: b'P',
            short_sale_threshold_indicator: b'N',
            ipo_flag: b' ',
            luld_reference_price_tier: b'1',
            etp_flag: b'N',
            etp_leverage_factor: 2.into(),
            inverse_indicator: b'Y',
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_trading_action() {
        let bytes = golden!(b'H' b"AAPL    T MWC1");
        let expected = TradingAction {
            header: TradingAction::header(at().0, at().1),
            stock: stock(),
            trading_state: state::TRADING,
            reserved: b' ',
            reason: Text(*b"MWC1"),
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_imbalance_and_collar() {
        let bytes = golden!(b'I' b"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28SAAPL    \
            \x31\x32\x33\x34\x41\x42\x43\x44\x51\x52\x53\x54OL");
        let expected = Imbalance {
            header: Imbalance::header(at().0, at().1),
            paired_shares: 0x1112_1314_1516_1718.into(),
            imbalance_shares: 0x2122_2324_2526_2728.into(),
            direction: imbalance::SELL,
            stock: stock(),
            far_price: 0x3132_3334.into(),
            near_price: 0x4142_4344.into(),
            reference_price: 0x5152_5354.into(),
            cross_type: cross::OPENING,
            price_variation: b'L',
        };
        check(bytes, &expected);
        let bytes = golden!(b'J' b"AAPL    \x11\x12\x13\x14\x21\x22\x23\x24\x31\x32\x33\x34\x41\x42\x43\x44");
        let expected = AuctionCollar {
            header: AuctionCollar::header(at().0, at().1),
            stock: stock(),
            reference_price: 0x1112_1314.into(),
            upper_price: 0x2122_2324.into(),
            lower_price: 0x3132_3334.into(),
            extension: 0x4142_4344.into(),
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_adds() {
        let bytes = golden!(b'A' b"\x11\x12\x13\x14\x15\x16\x17\x18B\x21\x22\x23\x24AAPL    \x31\x32\x33\x34");
        let expected = AddOrder {
            header: AddOrder::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            side: crate::BUY,
            shares: 0x2122_2324.into(),
            stock: stock(),
            price: 0x3132_3334.into(),
        };
        check(bytes, &expected);
        let bytes = golden!(b'F' b"\x11\x12\x13\x14\x15\x16\x17\x18S\x21\x22\x23\x24AAPL    \x31\x32\x33\x34NSDQ");
        let expected = AddOrderAttributed {
            header: AddOrderAttributed::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            side: crate::SELL,
            shares: 0x2122_2324.into(),
            stock: stock(),
            price: 0x3132_3334.into(),
            attribution: Text(*b"NSDQ"),
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_executions() {
        let bytes = golden!(b'E' b"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x31\x32\x33\x34\x35\x36\x37\x38");
        let expected = OrderExecuted {
            header: OrderExecuted::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            executed_shares: 0x2122_2324.into(),
            match_number: 0x3132_3334_3536_3738.into(),
        };
        check(bytes, &expected);
        let bytes = golden!(b'C' b"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x31\x32\x33\x34\x35\x36\x37\x38Y\
            \x41\x42\x43\x44");
        let expected = OrderExecutedWithPrice {
            header: OrderExecutedWithPrice::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            executed_shares: 0x2122_2324.into(),
            match_number: 0x3132_3334_3536_3738.into(),
            printable: b'Y',
            execution_price: 0x4142_4344.into(),
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_changes() {
        let bytes = golden!(b'X' b"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24");
        let expected = OrderCancel {
            header: OrderCancel::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            cancelled_shares: 0x2122_2324.into(),
        };
        check(bytes, &expected);
        let bytes = golden!(b'D' b"\x11\x12\x13\x14\x15\x16\x17\x18");
        let expected = OrderDelete {
            header: OrderDelete::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
        };
        check(bytes, &expected);
        let bytes = golden!(b'U' b"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28\x31\x32\x33\x34\
            \x41\x42\x43\x44");
        let expected = OrderReplace {
            header: OrderReplace::header(at().0, at().1),
            original_order_reference: 0x1112_1314_1516_1718.into(),
            new_order_reference: 0x2122_2324_2526_2728.into(),
            shares: 0x3132_3334.into(),
            price: 0x4142_4344.into(),
        };
        check(bytes, &expected);
    }

    #[test]
    fn golden_prints() {
        let bytes = golden!(b'P' b"\x11\x12\x13\x14\x15\x16\x17\x18B\x21\x22\x23\x24AAPL    \x31\x32\x33\x34\
            \x41\x42\x43\x44\x45\x46\x47\x48");
        let expected = Trade {
            header: Trade::header(at().0, at().1),
            order_reference: 0x1112_1314_1516_1718.into(),
            side: crate::BUY,
            shares: 0x2122_2324.into(),
            stock: stock(),
            price: 0x3132_3334.into(),
            match_number: 0x4142_4344_4546_4748.into(),
        };
        check(bytes, &expected);
        let bytes = golden!(b'Q' b"\x11\x12\x13\x14\x15\x16\x17\x18AAPL    \x21\x22\x23\x24\
            \x31\x32\x33\x34\x35\x36\x37\x38C");
        let expected = CrossTrade {
            header: CrossTrade::header(at().0, at().1),
            shares: 0x1112_1314_1516_1718.into(),
            stock: stock(),
            cross_price: 0x2122_2324.into(),
            match_number: 0x3132_3334_3536_3738.into(),
            cross_type: cross::CLOSING,
        };
        check(bytes, &expected);
        let bytes = golden!(b'B' b"\x11\x12\x13\x14\x15\x16\x17\x18");
        let expected = BrokenTrade {
            header: BrokenTrade::header(at().0, at().1),
            match_number: 0x1112_1314_1516_1718.into(),
        };
        check(bytes, &expected);
    }

    /// Offsets of the last field of the messages that we only read, from the reference tables.
    #[test]
    fn last_fields_of_the_others() {
        let numbered: [u8; LONGEST] = std::array::from_fn(|offset| offset as u8);
        let read = |letter: u8| {
            let bytes = Message::LENGTHS
                .iter()
                .find(|(known, _)| *known == letter)
                .unwrap()
                .1;
            let mut message = numbered[..bytes].to_vec();
            message[0] = letter;
            message
        };
        macro_rules! last {
            ($letter:literal, $name:ident, $field:ident, $expected:expr) => {
                match Message::read(&read($letter)) {
                    Ok(Message::$name(message)) => assert_eq!(message.$field, $expected),
                    other => panic!("{other:?}"),
                }
            };
        }
        last!(b'Y', RegSho, action, 19);
        last!(b'L', ParticipantPosition, primary_market_maker, 23);
        last!(b'L', ParticipantPosition, market_participant_state, 25);
        last!(
            b'V',
            DeclineLevels,
            level_3,
            U64::from_bytes([27, 28, 29, 30, 31, 32, 33, 34])
        );
        last!(b'W', DeclineStatus, breached_level, 11);
        last!(b'K', IpoQuoting, release_qualifier, 23);
        last!(
            b'K',
            IpoQuoting,
            ipo_price,
            U32::from_bytes([24, 25, 26, 27])
        );
        last!(b'h', OperationalHalt, action, 20);
        last!(b'N', RetailInterest, interest_flag, 19);
        last!(
            b'O',
            DirectListing,
            near_time,
            U64::from_bytes([32, 33, 34, 35, 36, 37, 38, 39])
        );
        last!(
            b'O',
            DirectListing,
            upper_collar,
            U32::from_bytes([44, 45, 46, 47])
        );
    }

    #[test]
    fn lengths_and_letters_are_judged() {
        assert_eq!(Message::read(&[]), Err(ItchError::Empty));
        assert_eq!(Message::read(b"zz"), Ok(Message::Other(b"zz")));
        assert_eq!(Message::read(b"zz").unwrap().header(), None);
        for &(letter, expected) in Message::LENGTHS {
            for found in [1, expected - 1, expected + 1] {
                let mut bytes = vec![0; found];
                bytes[0] = letter;
                let error = ItchError::Length {
                    letter,
                    expected,
                    found,
                };
                assert_eq!(Message::read(&bytes), Err(error));
            }
        }
    }

    proptest! {
        /// Whatever the fields are, a message of the right length is read and is its own bytes.
        #[test]
        fn any_fields_are_kept(which in 0..Message::LENGTHS.len(), mut bytes: [u8; LONGEST]) {
            let (letter, length) = Message::LENGTHS[which];
            bytes[0] = letter;
            let message = Message::read(&bytes[..length]).unwrap();
            prop_assert_eq!(message.as_bytes(), &bytes[..length]);
            let header = message.header().unwrap();
            prop_assert_eq!(header.letter, letter);
            prop_assert_eq!(&header.as_bytes()[1..], &bytes[1..11]);
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(message) = Message::read(&bytes) {
                prop_assert_eq!(message.as_bytes(), &bytes[..]);
            }
        }
    }
}

//! What the feed knows of one instrument: its symbol and units, its state, the auction it is in.

use crate::orders::Displayed;
use ring0_engine::control::{List, SetBands};
use ring0_engine::record::State;
use ring0_itch::itch::{self, AddOrder, AuctionCollar, StockDirectory, TradingAction};
use ring0_itch::{Stock, Text, Timestamp};

/// What a purge of an instrument was begun for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purge {
    /// Nothing of the kind is pending, or the operator cancels orders.
    None = 0,
    /// The day ends.
    CloseDay = 1,
    /// The listing ends.
    Delist = 2,
    /// The ladder moves, to `ladder_base` and `ladder_len` of [`Instrument::next_ladder`].
    MoveLadder = 3,
}

/// A listed instrument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Instrument {
    pub(crate) locate: u16,
    pub(crate) stock: Stock,
    /// Wire price of a tick.
    pub(crate) tick_size: u32,
    /// Shares of a lot.
    pub(crate) lot_size: u32,
    /// Lowest price and number of prices, in ticks.
    pub(crate) ladder: (u32, u32),
    /// Lowest and highest price that an order may ask, in ticks; zeros: the whole ladder.
    pub(crate) band: (u32, u32),
    /// Reference price in ticks, or 0.
    pub(crate) reference: u32,
    pub(crate) state: State,
    /// Which auction comes or is carried out: one of [`itch::cross`].
    pub(crate) cross_type: u8,
    /// Lots and price of an auction that have not been printed by a `Q` yet.
    pub(crate) crossed: (u64, u32),
    pub(crate) purge: Purge,
    pub(crate) next_ladder: (u32, u32),
    /// Its day was closed, and it has not been opened again.
    pub(crate) day_closed: bool,
}

impl Instrument {
    pub(crate) fn new(locate: u16, list: &List, state: State) -> Instrument {
        Instrument {
            locate,
            stock: Text(list.symbol),
            tick_size: list.tick_size,
            lot_size: list.lot_size,
            ladder: (list.ladder_base, list.ladder_len),
            band: (list.band_low, list.band_high),
            reference: 0,
            state,
            cross_type: cross_of(state).unwrap_or(itch::cross::OPENING),
            crossed: (0, 0),
            purge: Purge::None,
            next_ladder: (0, 0),
            day_closed: false,
        }
    }

    pub(crate) fn set_bands(&mut self, bands: &SetBands) {
        self.band = (bands.band_low, bands.band_high);
        self.reference = bands.reference;
    }

    /// The ladder has moved; a reference price off it is none any more.
    pub(crate) fn move_ladder(&mut self) {
        let (base, len) = self.next_ladder;
        self.ladder = (base, len);
        if self.reference < base || self.reference - base >= len {
            self.reference = 0;
        }
    }

    /// Wire price of so many ticks. The listing has made sure that the ladder's fit 32 bits.
    pub(crate) fn price(&self, ticks: u32) -> u32 {
        ticks.saturating_mul(self.tick_size)
    }

    /// Shares of so many lots of an order. The listing has made sure that an order's fit 32 bits.
    pub(crate) fn shares(&self, lots: u32) -> u32 {
        lots.saturating_mul(self.lot_size)
    }

    /// Shares of so many lots of an auction.
    pub(crate) fn volume(&self, lots: u64) -> u64 {
        lots.saturating_mul(self.lot_size.into())
    }

    pub(crate) fn directory(&self, at: Timestamp) -> StockDirectory {
        StockDirectory {
            header: StockDirectory::header(self.locate, at),
            stock: self.stock,
            market_category: b' ',
            financial_status_indicator: b' ',
            round_lot_size: self.lot_size.into(),
            round_lots_only: b'Y',
            issue_classification: b'O',
            issue_sub_type: Text(*b"Z "),
            authenticity: b'P',
            short_sale_threshold_indicator: b' ',
            ipo_flag: b' ',
            luld_reference_price_tier: b' ',
            etp_flag: b' ',
            etp_leverage_factor: 0.into(),
            inverse_indicator: b'N',
        }
    }

    pub(crate) fn action(&self, at: Timestamp) -> TradingAction {
        let (trading_state, reason) = match self.state {
            State::Closed => (itch::state::HALTED, *b"CLSD"),
            State::PreOpen => (itch::state::QUOTATION_ONLY, *b"PREO"),
            State::OpeningAuction => (itch::state::QUOTATION_ONLY, *b"OPEN"),
            State::Continuous => (itch::state::TRADING, *b"    "),
            State::VolatilityPause => (itch::state::PAUSED, *b"LUDP"),
            State::ClosingAuction => (itch::state::QUOTATION_ONLY, *b"CLOS"),
            State::Halted => (itch::state::HALTED, *b"HALT"),
            State::Uncrossing => (itch::state::QUOTATION_ONLY, *b"XING"),
        };
        self.action_of(at, trading_state, reason)
    }

    /// What says that the listing has ended; ITCH has no message of its own for it.
    pub(crate) fn delisted(&self, at: Timestamp) -> TradingAction {
        self.action_of(at, itch::state::HALTED, *b"DLST")
    }

    fn action_of(&self, at: Timestamp, trading_state: u8, reason: [u8; 4]) -> TradingAction {
        TradingAction {
            header: TradingAction::header(self.locate, at),
            stock: self.stock,
            trading_state,
            reserved: b' ',
            reason: Text(reason),
        }
    }

    /// The prices that an order may ask: the band's, where it lies on the ladder.
    pub(crate) fn collar(&self, at: Timestamp) -> AuctionCollar {
        let (base, len) = self.ladder;
        let top = base.saturating_add(len.saturating_sub(1));
        let (low, high) = match self.band {
            (0, 0) => (base, top),
            (low, high) => (low.max(base), high.min(top)),
        };
        AuctionCollar {
            header: AuctionCollar::header(self.locate, at),
            stock: self.stock,
            reference_price: self.price(self.reference).into(),
            upper_price: self.price(high).into(),
            lower_price: self.price(low).into(),
            extension: 0.into(),
        }
    }

    pub(crate) fn add(&self, order: &Displayed, at: Timestamp) -> AddOrder {
        AddOrder {
            header: AddOrder::header(self.locate, at),
            order_reference: order.reference.into(),
            side: order.side,
            shares: self.shares(order.shown).into(),
            stock: self.stock,
            price: self.price(order.price).into(),
        }
    }
}

/// The auction that a state collects orders for.
pub(crate) fn cross_of(state: State) -> Option<u8> {
    match state {
        State::PreOpen | State::OpeningAuction => Some(itch::cross::OPENING),
        State::ClosingAuction => Some(itch::cross::CLOSING),
        State::VolatilityPause => Some(itch::cross::HALT),
        _ => None,
    }
}

//! Books built from a feed: what rests at which price, of every instrument.
//!
//! [`Books::apply`] takes the messages of one session in their order. It keeps the resting orders by reference and price levels
//! by instrument; it counts trades. A message that contradicts the book changes what it sensibly can, is counted by name in
//! [`Inconsistencies`], and never stops anything: a feed is somebody else's, and a gap in it must be seen, not crash a reader.
//!
//! What is always true, checked by [`Books::check`]: a level's shares and orders are the sums of its resting orders, never zero;
//! the levels of a side are in the order of their prices, each price once; no resting order has zero shares.
//! Cost: an order is found by one hash, its level by a link; only a new price and one that goes look at a side's prices.
//! Why so: `docs/decisions/0042-book-builder.md`.

mod level;
mod orders;

use crate::itch::Message;
use crate::{BUY, SELL, Stock};
use level::{Key, Levels};
use orders::{Entry, Orders};

/// What rests at one price.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quote {
    /// Price, four implied decimals.
    pub price: u32,
    /// Displayed shares of all orders.
    pub shares: u64,
    /// Orders.
    pub orders: u32,
}

/// The best prices of an instrument.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bbo {
    /// Highest price to buy.
    pub bid: Option<Quote>,
    /// Lowest price to sell.
    pub ask: Option<Quote>,
}

/// Which side of a book.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Orders to buy, the highest price is best.
    Bid = 0,
    /// Orders to sell, the lowest price is best.
    Ask = 1,
}

/// A resting order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// Its instrument.
    pub locate: u16,
    /// Its side.
    pub side: Side,
    /// Its price, four implied decimals.
    pub price: u32,
    /// Its displayed shares, as they are now.
    pub shares: u32,
}

/// What was traded, by what the feed says of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trades {
    /// `E`, and `C` that counts in volume.
    pub executions: u64,
    /// Their shares.
    pub executed_shares: u64,
    /// `C` that does not count in volume, being in a cross trade too.
    pub not_printable: u64,
    /// `P`, against orders that are not displayed.
    pub hidden: u64,
    /// Their shares.
    pub hidden_shares: u64,
    /// `Q`.
    pub crosses: u64,
    /// Their shares.
    pub cross_shares: u64,
    /// `B`.
    pub broken: u64,
}

/// Messages that contradict the book. None is expected of a feed that was received whole.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Inconsistencies {
    /// `E`, `C`, `X`, `D` or `U` of an order that does not rest: ignored.
    pub unknown_reference: u64,
    /// `A`, `F` or `U` under the reference of an order that rests: ignored, of `U` the old order leaves.
    pub duplicate_reference: u64,
    /// `E` or `C` of more shares than the order has: it leaves.
    pub over_executed: u64,
    /// `X` of more shares than the order has: it leaves.
    pub over_cancelled: u64,
    /// `A`, `F` or `U` of no shares: ignored, of `U` the old order leaves.
    pub zero_shares: u64,
    /// `A` or `F` whose side is neither `B` nor `S`: ignored.
    pub unknown_side: u64,
    /// The message's locate is not the order's: the order's is used.
    pub wrong_locate: u64,
}

impl Inconsistencies {
    /// All of them with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("unknown_reference", self.unknown_reference),
            ("duplicate_reference", self.duplicate_reference),
            ("over_executed", self.over_executed),
            ("over_cancelled", self.over_cancelled),
            ("zero_shares", self.zero_shares),
            ("unknown_side", self.unknown_side),
            ("wrong_locate", self.wrong_locate),
        ]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }
}

/// What is known of one instrument besides its book.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Instrument {
    /// Its symbol, of the last message that had it; blank if none did.
    pub stock: Stock,
    /// Its last trading state, one of [`state`](crate::itch::state); `None` before the first.
    pub state: Option<u8>,
}

/// The books of all instruments of a feed.
#[derive(Clone, Debug)]
pub struct Books {
    orders: Orders,
    levels: Levels,
    /// By locate.
    instruments: Vec<Instrument>,
    trades: Trades,
    inconsistencies: Inconsistencies,
    /// The last system event.
    event: Option<u8>,
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

impl Books {
    /// Empty books.
    #[must_use]
    pub fn new() -> Self {
        Self {
            orders: Orders::new(),
            levels: Levels::new(),
            instruments: Vec::new(),
            trades: Trades::default(),
            inconsistencies: Inconsistencies::default(),
            event: None,
        }
    }

    /// Takes the next message of the feed.
    #[inline]
    pub fn apply(&mut self, message: &Message<'_>) {
        match *message {
            Message::AddOrder(add) => {
                let (locate, reference) = (add.header.locate.get(), add.order_reference.get());
                self.add(
                    locate,
                    reference,
                    add.side,
                    add.shares.get(),
                    add.price.get(),
                );
                self.name(locate, add.stock);
            }
            Message::AddOrderAttributed(add) => {
                let (locate, reference) = (add.header.locate.get(), add.order_reference.get());
                self.add(
                    locate,
                    reference,
                    add.side,
                    add.shares.get(),
                    add.price.get(),
                );
                self.name(locate, add.stock);
            }
            Message::OrderExecuted(executed) => {
                let shares = executed.executed_shares.get();
                self.trades.executions += 1;
                self.trades.executed_shares += u64::from(shares);
                self.execute(
                    executed.header.locate.get(),
                    executed.order_reference.get(),
                    shares,
                );
            }
            Message::OrderExecutedWithPrice(executed) => {
                let shares = executed.executed_shares.get();
                if executed.printable == b'N' {
                    self.trades.not_printable += 1;
                } else {
                    self.trades.executions += 1;
                    self.trades.executed_shares += u64::from(shares);
                }
                self.execute(
                    executed.header.locate.get(),
                    executed.order_reference.get(),
                    shares,
                );
            }
            Message::OrderCancel(cancel) => {
                let (locate, shares) = (cancel.header.locate.get(), cancel.cancelled_shares.get());
                let over = self.take(locate, cancel.order_reference.get(), shares);
                self.inconsistencies.over_cancelled += u64::from(over);
            }
            Message::OrderDelete(delete) => {
                self.remove(delete.header.locate.get(), delete.order_reference.get());
            }
            Message::OrderReplace(replace) => {
                let locate = replace.header.locate.get();
                let original = replace.original_order_reference.get();
                if let Some(entry) = self.remove(locate, original) {
                    let (locate, side) = self.levels.owner(entry.level);
                    let reference = replace.new_order_reference.get();
                    self.rest(
                        locate,
                        reference,
                        side,
                        replace.shares.get(),
                        replace.price.get(),
                    );
                }
            }
            ref other => self.note(other),
        }
    }

    /// Everything that changes no book.
    #[cold]
    fn note(&mut self, message: &Message<'_>) {
        let instrument = message.header().map_or(0, |header| header.locate.get());
        match message {
            Message::SystemEvent(event) => self.event = Some(event.event_code),
            Message::StockDirectory(directory) => self.name(instrument, directory.stock),
            Message::TradingAction(action) => {
                self.name(instrument, action.stock);
                self.instruments[usize::from(instrument)].state = Some(action.trading_state);
            }
            Message::Trade(trade) => {
                self.trades.hidden += 1;
                self.trades.hidden_shares += u64::from(trade.shares.get());
            }
            Message::CrossTrade(trade) => {
                self.trades.crosses += 1;
                self.trades.cross_shares =
                    self.trades.cross_shares.saturating_add(trade.shares.get());
            }
            Message::BrokenTrade(_) => self.trades.broken += 1,
            _ => {}
        }
    }

    fn add(&mut self, locate: u16, reference: u64, side: u8, shares: u32, price: u32) {
        let side = match side {
            BUY => Side::Bid,
            SELL => Side::Ask,
            _ => {
                self.inconsistencies.unknown_side += 1;
                return;
            }
        };
        self.rest(locate, reference, side, shares, price);
    }

    /// A new order at the tail of its price.
    #[inline]
    fn rest(&mut self, locate: u16, reference: u64, side: Side, shares: u32, price: u32) {
        if shares == 0 {
            self.inconsistencies.zero_shares += 1;
            return;
        }
        let Some(entry) = self.orders.insert(reference) else {
            self.inconsistencies.duplicate_reference += 1;
            return;
        };
        let level = self.levels.push(locate, Key::new(side, price), shares);
        *entry = Entry {
            reference,
            level,
            shares,
        };
    }

    fn execute(&mut self, locate: u16, reference: u64, shares: u32) {
        let over = self.take(locate, reference, shares);
        self.inconsistencies.over_executed += u64::from(over);
    }

    /// Takes shares off an order, which leaves at zero; whether it had fewer.
    #[inline]
    fn take(&mut self, locate: u16, reference: u64, shares: u32) -> bool {
        let Some(at) = self.orders.find(reference) else {
            self.inconsistencies.unknown_reference += 1;
            return false;
        };
        let entry = self.orders.at(at);
        let (level, had) = (entry.level, entry.shares);
        let taken = shares.min(had);
        entry.shares = had - taken;
        let wrong = if taken == had {
            self.orders.remove(at);
            self.levels.remove(level, had)
        } else {
            self.levels.reduce(level, taken)
        } != locate;
        self.inconsistencies.wrong_locate += u64::from(wrong);
        shares > had
    }

    /// Takes an order out; `None` when it does not rest.
    #[inline]
    fn remove(&mut self, locate: u16, reference: u64) -> Option<Entry> {
        let Some(at) = self.orders.find(reference) else {
            self.inconsistencies.unknown_reference += 1;
            return None;
        };
        let entry = *self.orders.at(at);
        self.orders.remove(at);
        let wrong = self.levels.remove(entry.level, entry.shares) != locate;
        self.inconsistencies.wrong_locate += u64::from(wrong);
        Some(entry)
    }

    /// Remembers an instrument's symbol.
    #[inline]
    fn name(&mut self, locate: u16, stock: Stock) {
        match self.instruments.get_mut(usize::from(locate)) {
            Some(instrument) => instrument.stock = stock,
            None => self.grow(locate, stock),
        }
    }

    #[cold]
    fn grow(&mut self, locate: u16, stock: Stock) {
        self.instruments
            .resize(usize::from(locate) + 1, Instrument::default());
        self.instruments[usize::from(locate)].stock = stock;
    }

    /// Best bid and offer of an instrument.
    #[inline]
    #[must_use]
    pub fn bbo(&self, locate: u16) -> Bbo {
        Bbo {
            bid: self.levels(locate, Side::Bid).next(),
            ask: self.levels(locate, Side::Ask).next(),
        }
    }

    /// The levels of one side of an instrument, best first.
    pub fn levels(&self, locate: u16, side: Side) -> impl Iterator<Item = Quote> + '_ {
        self.levels.of(locate, side)
    }

    /// The resting order of a reference.
    #[must_use]
    pub fn order(&self, reference: u64) -> Option<Order> {
        let entry = self.orders.get(reference)?;
        let (locate, side) = self.levels.owner(entry.level);
        let price = self.levels.price(entry.level);
        let shares = entry.shares;
        Some(Order {
            locate,
            side,
            price,
            shares,
        })
    }

    /// Orders that rest, of all instruments.
    #[must_use]
    pub fn live(&self) -> usize {
        self.orders.len()
    }

    /// Instruments that a message has named, or that have orders, with their locates.
    pub fn instruments(&self) -> impl Iterator<Item = (u16, &Instrument)> {
        (0..=u16::MAX)
            .zip(&self.instruments)
            .filter(|(_, instrument)| !instrument.stock.is_blank() || instrument.state.is_some())
    }

    /// What was traded.
    #[must_use]
    pub fn trades(&self) -> &Trades {
        &self.trades
    }

    /// What contradicted the book.
    #[must_use]
    pub fn inconsistencies(&self) -> &Inconsistencies {
        &self.inconsistencies
    }

    /// The last system event, one of [`event`](crate::itch::event).
    #[must_use]
    pub fn event(&self) -> Option<u8> {
        self.event
    }

    /// Walks all orders and levels, for tests.
    ///
    /// # Panics
    /// When what the module says is not true.
    pub fn check(&self) {
        self.orders.check();
        self.levels.check(self.orders.iter());
    }
}

#[cfg(test)]
mod tests;

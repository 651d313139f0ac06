//! The ITCH 5.0 feed that a venue would publish of a stream: what other programs read and compare.
//!
//! `A` for every order or left-over that comes to rest, `E` for every fill of a resting order, `D` for every cancel; no other
//! message. Locate is the symbol plus one, the order reference the order's number, a price 100 times its ticks (four decimals),
//! the time the record's, the stock `SYM` and the symbol in five digits; match numbers count from 1.
//! The matching is the generator's own book's, so that the feed owes nothing to the engine under test.

use std::io;

use ring0_itch::itch::{AddOrder, OrderDelete, OrderExecuted};
use ring0_itch::{BUY, SELL, Stock, Timestamp, binary_file};
use zerocopy::IntoBytes;

use crate::Side;

use super::book::{Books, Fill};
use super::{Op, Record, Stream, Trades};

/// ITCH's price of one tick, a cent with four decimals.
const PRICE_OF_TICK: u32 = 100;

/// Prices of all symbols together for which ladders are made, at most: 256 MiB of them.
const LADDER_MAX: u64 = 1 << 24;

/// A feed cannot be derived.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The file cannot be written.
    #[error("the feed cannot be written: {0}; choose a place with room that you may write to")]
    Write(#[from] io::Error),
    /// A record says what cannot be.
    #[error("record {record}: {what}; the stream is damaged, generate it anew")]
    Record {
        /// From 0.
        record: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Too many prices for the books.
    #[error(
        "{symbols} symbols of {prices} prices are more than {LADDER_MAX}, for which books can be made"
    )]
    Ladder {
        /// Symbols of the stream.
        symbols: u32,
        /// Prices from `tick_base` to `tick_top`.
        prices: u64,
    },
    /// The stream's header says other trades, or another number of live orders.
    #[error(
        "{figure} is {found}, the stream's header says {expected}; the stream is damaged, generate it anew"
    )]
    Disagrees {
        /// Which figure.
        figure: &'static str,
        /// By the book.
        found: u64,
        /// By the header.
        expected: u64,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Derived {
    /// Messages.
    pub messages: u64,
    /// Trades, the number of `E`.
    pub trades: Trades,
    /// Orders that rest at the end.
    pub live: u64,
}

impl Stream {
    /// Writes the feed of the stream to `sink`, which should have a buffer, and compares it with the header.
    ///
    /// # Errors
    /// The sink's; a stream whose records contradict each other or the header.
    pub fn write_itch(&self, sink: impl io::Write) -> Result<Derived, DeriveError> {
        let header = self.header();
        let symbols = header.symbols.get();
        // A stream without orders has no highest price.
        let prices = header.tick_base.get()..header.tick_top.get().saturating_add(1);
        let count = u64::from(prices.end.saturating_sub(prices.start));
        if u64::from(symbols) * count > LADDER_MAX {
            let prices = count;
            return Err(DeriveError::Ladder { symbols, prices });
        }
        let mut feed = Feed {
            books: Books::new(symbols, prices),
            writer: binary_file::Writer::new(sink),
            messages: 0,
            matches: 0,
        };
        let wrong = |record, what| DeriveError::Record { record, what };
        let orders = u32::try_from(header.max_order_id.get())
            .map_err(|_| wrong(0, "more than 2^32 orders"))?;
        feed.books.reserve(orders);
        for (index, record) in self.records().iter().enumerate() {
            let timestamp = Timestamp::from_nanos(record.ts_ns.get())
                .ok_or_else(|| wrong(index, "the time is above 48 bits"))?;
            let price = record.price_ticks.get().checked_mul(PRICE_OF_TICK);
            let price = price.ok_or_else(|| wrong(index, "the price does not fit ITCH's"))?;
            let locate = record.symbol.get() + 1;
            match record.op {
                Op::Add | Op::Cross => feed.enter(record, locate, timestamp, price)?,
                Op::Cancel if feed.books.order(id(record)).qty == 0 => {
                    return Err(wrong(index, "the cancelled order does not rest"));
                }
                Op::Cancel => feed.cancel(record, locate, timestamp)?,
            }
        }
        let derived = Derived {
            messages: feed.messages,
            trades: feed.books.checksum().trades(),
            live: feed.books.live().len() as u64,
        };
        feed.writer.finish()?;
        derived.compare(self)
    }
}

impl Derived {
    fn compare(self, stream: &Stream) -> Result<Self, DeriveError> {
        let header = stream.header();
        let expected = header.expected();
        let figures = [
            ("the number of trades", self.trades.count, expected.count),
            ("the quantity traded", self.trades.qty, expected.qty),
            (
                "the checksum of the trades",
                self.trades.checksum,
                expected.checksum,
            ),
            (
                "the number of live orders",
                self.live,
                header.exp_live.get(),
            ),
        ];
        for (figure, found, expected) in figures {
            if found != expected {
                return Err(DeriveError::Disagrees {
                    figure,
                    found,
                    expected,
                });
            }
        }
        Ok(self)
    }
}

/// A feed that is being written.
struct Feed<W> {
    books: Books,
    writer: binary_file::Writer<W>,
    messages: u64,
    matches: u64,
}

impl<W: io::Write> Feed<W> {
    fn enter(
        &mut self,
        record: &Record,
        locate: u16,
        timestamp: Timestamp,
        price: u32,
    ) -> io::Result<()> {
        let mut fills = Vec::new();
        let (symbol, ticks) = (record.symbol.get(), record.price_ticks.get());
        let on_fill = |fill| fills.push(fill);
        let qty = record.qty.get();
        self.books
            .enter_as(id(record), symbol, record.side, ticks, qty, on_fill);
        for Fill { maker, qty } in fills {
            self.matches += 1;
            let executed = OrderExecuted {
                header: OrderExecuted::header(locate, timestamp),
                order_reference: u64::from(maker).into(),
                executed_shares: qty.into(),
                match_number: self.matches.into(),
            };
            self.write(executed.as_bytes())?;
        }
        let left = self.books.order(id(record)).qty;
        if left == 0 {
            return Ok(());
        }
        let add = AddOrder {
            header: AddOrder::header(locate, timestamp),
            order_reference: record.order_id.get().into(),
            side: match record.side {
                Side::Buy => BUY,
                Side::Sell => SELL,
            },
            shares: left.into(),
            stock: stock(symbol),
            price: price.into(),
        };
        self.write(add.as_bytes())
    }

    fn cancel(&mut self, record: &Record, locate: u16, timestamp: Timestamp) -> io::Result<()> {
        self.books.cancel(id(record));
        let delete = OrderDelete {
            header: OrderDelete::header(locate, timestamp),
            order_reference: record.order_id.get().into(),
        };
        self.write(delete.as_bytes())
    }

    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.messages += 1;
        self.writer.write(message)
    }
}

/// A reader has checked that the number is at most the header's `max_order_id`, which is below 2^32 here.
fn id(record: &Record) -> u32 {
    record.order_id.get() as u32
}

/// The name of a symbol.
fn stock(symbol: u16) -> Stock {
    Stock::new(&format!("SYM{symbol:05}")).expect("five digits hold 16 bits")
}

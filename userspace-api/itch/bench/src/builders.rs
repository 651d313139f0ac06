//! Readers that decode and build books.

use ring0_itch::BUY;
use ring0_itch::binary_file::Messages;
use ring0_itch::book::Books;
use ring0_itch::itch::Message;
use std::collections::{BTreeMap, HashMap};

/// What a builder comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Built {
    /// Orders that rest at the end.
    pub(crate) live: u64,
    /// Trades.
    pub(crate) trades: u64,
    /// Shares traded.
    pub(crate) quantity: u64,
}

/// A builder.
pub(crate) struct Builder {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Builds from a whole file in memory; an error in words.
    pub(crate) build: fn(&[u8]) -> Result<Built, String>,
}

/// All of them. The crates that decode build no books; the plain one is what their users write first.
pub(crate) const BUILDERS: [Builder; 2] = [
    Builder {
        name: "ring0",
        build: ring0,
    },
    Builder {
        name: "plain, HashMap and BTreeMap",
        build: plain,
    },
];

fn ring0(feed: &[u8]) -> Result<Built, String> {
    let mut books = Books::new();
    for bytes in Messages::new(feed) {
        let bytes = bytes.map_err(|error| error.to_string())?;
        books.apply(&Message::read(bytes).map_err(|error| error.to_string())?);
    }
    match books.inconsistencies().total() {
        0 => Ok(Built {
            live: books.live() as u64,
            trades: books.trades().executions,
            quantity: books.trades().executed_shares,
        }),
        _ => Err(format!("{:?}", books.inconsistencies())),
    }
}

/// A resting order of the plain book: locate, side, price, shares.
type PlainOrder = (u16, bool, u32, u32);

/// Orders in a `HashMap`, levels in a `BTreeMap` of each side, as std has them.
fn plain(feed: &[u8]) -> Result<Built, String> {
    let mut orders: HashMap<u64, PlainOrder> = HashMap::new();
    let mut sides: HashMap<(u16, bool), BTreeMap<u32, (u64, u32)>> = HashMap::new();
    let (mut trades, mut quantity) = (0, 0);
    let unknown = || "an order does not rest".to_owned();
    for bytes in Messages::new(feed) {
        let bytes = bytes.map_err(|error| error.to_string())?;
        let (reference, shares) = match Message::read(bytes).map_err(|error| error.to_string())? {
            Message::AddOrder(m) => {
                let (buy, price, shares) = (m.side == BUY, m.price.get(), m.shares.get());
                let locate = m.header.locate.get();
                orders.insert(m.order_reference.get(), (locate, buy, price, shares));
                let level = sides.entry((locate, buy)).or_default().entry(price);
                let (sum, count) = level.or_default();
                *sum += u64::from(shares);
                *count += 1;
                continue;
            }
            Message::OrderExecuted(m) => {
                trades += 1;
                quantity += u64::from(m.executed_shares.get());
                (m.order_reference.get(), Some(m.executed_shares.get()))
            }
            Message::OrderDelete(m) => (m.order_reference.get(), None),
            _ => continue,
        };
        let order = orders.get_mut(&reference).ok_or_else(unknown)?;
        let taken = shares.unwrap_or(order.3);
        order.3 -= taken;
        let (locate, buy, price, left) = *order;
        let levels = sides.get_mut(&(locate, buy)).ok_or_else(unknown)?;
        let level = levels.get_mut(&price).ok_or_else(unknown)?;
        level.0 -= u64::from(taken);
        if left == 0 {
            orders.remove(&reference);
            level.1 -= 1;
            if level.1 == 0 {
                levels.remove(&price);
            }
        }
    }
    Ok(Built {
        live: orders.len() as u64,
        trades,
        quantity,
    })
}

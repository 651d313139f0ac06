//! `lobster`: levels in a B-tree, an arena of orders, ids through a hash map.

use super::Peer;
use lobster::{OrderBook, OrderEvent, OrderType, Side as TheirSide};
use ring0_stream::Side;
use ring0_stream::lobstrm::{Op, Record, Stream};

/// Orders that a level has room for at first; its own default.
const QUEUE: usize = 10;

pub(crate) struct Lobster {
    books: Vec<OrderBook>,
}

impl Peer for Lobster {
    const NAME: &'static str = "lobster 0.7.0";

    fn new(stream: &Stream) -> Lobster {
        let header = stream.header();
        let (symbols, live) = (
            header.symbols.get() as usize,
            header.peak_live.get() as usize,
        );
        // The busiest of many symbols has about a twelfth of the orders.
        let arena = if symbols == 1 { live } else { live / 8 + 64 };
        Lobster {
            books: (0..symbols)
                .map(|_| OrderBook::new(arena, QUEUE, false))
                .collect(),
        }
    }

    #[inline]
    fn take(&mut self, record: &Record, mut trade: impl FnMut(u64, u64, u64)) {
        let id = u128::from(record.order_id.get());
        let order = if record.op == Op::Cancel {
            OrderType::Cancel { id }
        } else {
            OrderType::Limit {
                id,
                side: match record.side {
                    Side::Buy => TheirSide::Bid,
                    Side::Sell => TheirSide::Ask,
                },
                qty: record.qty.get().into(),
                price: record.price_ticks.get().into(),
            }
        };
        match self.books[usize::from(record.symbol.get())].execute(order) {
            OrderEvent::Filled { fills, .. } | OrderEvent::PartiallyFilled { fills, .. } => {
                for fill in &fills {
                    trade(fill.order_2 as u64, fill.price, fill.qty);
                }
            }
            _ => {}
        }
    }
}

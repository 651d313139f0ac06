//! `obcore`: evaluates an operation, then applies its instructions; orders in linked lists, ids through a hash map.

use super::Peer;
use obcore::{Evaluator, Instruction, Op as TheirOp, OrderBook, OrderInterface};
use ring0_stream::Side;
use ring0_stream::lobstrm::{Op, Record, Stream};

pub(crate) struct Obcore {
    books: Vec<OrderBook<Order>>,
    evaluator: Evaluator<Order>,
}

/// An order as its interface asks for one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Order {
    id: u64,
    price: u64,
    quantity: u64,
    remaining: u64,
    owner: u32,
    is_buy: bool,
}

impl OrderInterface for Order {
    type I = u64;
    type N = u64;
    type O = u32;

    fn id(&self) -> &u64 {
        &self.id
    }

    fn is_buy(&self) -> bool {
        self.is_buy
    }

    fn price(&self) -> u64 {
        self.price
    }

    fn quantity(&self) -> u64 {
        self.quantity
    }

    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn fill(&mut self, quantity: u64) {
        self.remaining -= quantity;
    }

    fn owner(&self) -> &u32 {
        &self.owner
    }
}

impl Peer for Obcore {
    const NAME: &'static str = "obcore 0.1.6";

    fn new(stream: &Stream) -> Obcore {
        Obcore {
            books: (0..stream.header().symbols.get())
                .map(|_| OrderBook::default())
                .collect(),
            evaluator: Evaluator::default(),
        }
    }

    #[inline]
    fn take(&mut self, record: &Record, mut trade: impl FnMut(u64, u64, u64)) {
        let id = record.order_id.get();
        let quantity = record.qty.get().into();
        let operation = if record.op == Op::Cancel {
            TheirOp::Delete(id)
        } else {
            TheirOp::Insert(Order {
                id,
                price: record.price_ticks.get().into(),
                quantity,
                remaining: quantity,
                owner: 0,
                is_buy: record.side == Side::Buy,
            })
        };
        let book = &mut self.books[usize::from(record.symbol.get())];
        // What it evaluated is applied at once, so it has nothing to remember.
        self.evaluator.reset();
        for instruction in self.evaluator.eval(book, operation) {
            if let Instruction::Fill(maker, _, price, qty, false) = instruction {
                trade(maker, price, qty);
            }
            book.apply(instruction);
        }
    }
}

use super::*;
use crate::itch::{
    AddOrder, AddOrderAttributed, BrokenTrade, CrossTrade, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, StockDirectory, SystemEvent, Trade, TradingAction, event,
    state,
};
use crate::{Text, Timestamp, itch};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use zerocopy::{FromZeros, IntoBytes};

/// A message without what a book does not look at.
macro_rules! message {
    ($name:ident, $locate:expr, { $($field:ident: $value:expr),* $(,)? }) => {{
        let mut message = $name::new_zeroed();
        message.header = $name::header($locate, Timestamp::default());
        $( message.$field = $value.into(); )*
        message.as_bytes().to_vec()
    }};
}

fn add(locate: u16, reference: u64, side: u8, shares: u32, price: u32) -> Vec<u8> {
    let stock = Stock::new(&format!("S{locate}")).unwrap();
    message!(AddOrder, locate, { order_reference: reference, side: side, shares: shares, stock: stock, price: price })
}

fn execute(locate: u16, reference: u64, shares: u32) -> Vec<u8> {
    message!(OrderExecuted, locate, { order_reference: reference, executed_shares: shares })
}

fn cancel(locate: u16, reference: u64, shares: u32) -> Vec<u8> {
    message!(OrderCancel, locate, { order_reference: reference, cancelled_shares: shares })
}

fn delete(locate: u16, reference: u64) -> Vec<u8> {
    message!(OrderDelete, locate, { order_reference: reference })
}

fn replace(locate: u16, old: u64, new: u64, shares: u32, price: u32) -> Vec<u8> {
    message!(OrderReplace, locate, {
        original_order_reference: old, new_order_reference: new, shares: shares, price: price,
    })
}

fn books(messages: &[Vec<u8>]) -> Books {
    let mut books = Books::new();
    for message in messages {
        books.apply(&Message::read(message).unwrap());
        books.check();
    }
    books
}

fn quote(price: u32, shares: u64, orders: u32) -> Option<Quote> {
    Some(Quote {
        price,
        shares,
        orders,
    })
}

/// The messages leave this best bid and offer of locate 1, and these inconsistencies.
#[track_caller]
fn check(messages: &[Vec<u8>], bid: Option<Quote>, ask: Option<Quote>, wrong: &[(&str, u64)]) {
    let books = books(messages);
    assert_eq!(books.bbo(1), Bbo { bid, ask });
    let found = books.inconsistencies().named();
    let found: Vec<_> = found.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, wrong);
    assert_eq!(
        books.inconsistencies().total(),
        wrong.iter().map(|(_, n)| n).sum()
    );
}

#[test]
fn best_prices_of_both_sides() {
    let day = [
        add(1, 1, b'B', 100, 9_900),
        add(1, 2, b'B', 50, 10_000),
        add(1, 3, b'S', 70, 10_200),
        add(1, 4, b'S', 30, 10_100),
        add(1, 5, b'S', 5, 10_100),
        add(2, 6, b'S', 1, 1),
    ];
    check(&day, quote(10_000, 50, 1), quote(10_100, 35, 2), &[]);
    let books = books(&day);
    let bids: Vec<_> = books
        .levels(1, Side::Bid)
        .map(|quote| quote.price)
        .collect();
    assert_eq!(bids, [10_000, 9_900]);
    assert_eq!(books.bbo(2).ask, quote(1, 1, 1));
    assert_eq!(books.bbo(3), Bbo::default());
    assert_eq!(books.live(), 6);
    let names: Vec<_> = books
        .instruments()
        .map(|(n, i)| (n, i.stock.to_string()))
        .collect();
    assert_eq!(names, [(1, "S1".to_owned()), (2, "S2".to_owned())]);
}

#[test]
fn each_change() {
    let rest = add(1, 1, b'B', 100, 9_900);
    check(
        &[rest.clone(), execute(1, 1, 40)],
        quote(9_900, 60, 1),
        None,
        &[],
    );
    check(&[rest.clone(), execute(1, 1, 100)], None, None, &[]);
    check(
        &[rest.clone(), cancel(1, 1, 40)],
        quote(9_900, 60, 1),
        None,
        &[],
    );
    check(&[rest.clone(), delete(1, 1)], None, None, &[]);
    check(
        &[rest.clone(), replace(1, 1, 2, 7, 9_800)],
        quote(9_800, 7, 1),
        None,
        &[],
    );
    check(
        &[rest.clone(), replace(1, 1, 1, 7, 9_900)],
        quote(9_900, 7, 1),
        None,
        &[],
    );
    let order = books(&[rest, replace(1, 1, 2, 7, 9_800)]).order(2);
    let expected = Order {
        locate: 1,
        side: Side::Bid,
        price: 9_800,
        shares: 7,
    };
    assert_eq!(order, Some(expected));
}

#[test]
fn inconsistencies_have_names() {
    let rest = add(1, 1, b'S', 100, 9_900);
    let ask = quote(9_900, 100, 1);
    for stranger in [
        execute(1, 9, 1),
        cancel(1, 9, 1),
        delete(1, 9),
        replace(1, 9, 10, 1, 1),
    ] {
        check(
            &[rest.clone(), stranger],
            None,
            ask,
            &[("unknown_reference", 1)],
        );
    }
    let twice = add(1, 1, b'B', 5, 5);
    check(
        &[rest.clone(), twice],
        None,
        ask,
        &[("duplicate_reference", 1)],
    );
    check(
        &[rest.clone(), execute(1, 1, 101)],
        None,
        None,
        &[("over_executed", 1)],
    );
    check(
        &[rest.clone(), cancel(1, 1, 101)],
        None,
        None,
        &[("over_cancelled", 1)],
    );
    check(
        &[rest.clone(), add(1, 2, b'S', 0, 1)],
        None,
        ask,
        &[("zero_shares", 1)],
    );
    check(
        &[rest.clone(), replace(1, 1, 2, 0, 1)],
        None,
        None,
        &[("zero_shares", 1)],
    );
    check(
        &[rest.clone(), add(1, 2, b'X', 1, 1)],
        None,
        ask,
        &[("unknown_side", 1)],
    );
    check(
        &[rest.clone(), delete(2, 1)],
        None,
        None,
        &[("wrong_locate", 1)],
    );
    let other = add(1, 2, b'S', 7, 9_900);
    let onto = [rest, other, replace(1, 1, 2, 5, 5)];
    check(
        &onto,
        None,
        quote(9_900, 7, 1),
        &[("duplicate_reference", 1)],
    );
}

#[test]
fn trades_and_states_are_noted() {
    let stock = Stock::new("AAPL").unwrap();
    let messages = [
        message!(SystemEvent, 0, { event_code: event::START_OF_MARKET_HOURS }),
        message!(StockDirectory, 1, { stock: stock }),
        message!(TradingAction, 1, { stock: stock, trading_state: state::HALTED }),
        message!(AddOrderAttributed, 1, {
            order_reference: 1, side: b'S', shares: 100, stock: stock, price: 5, attribution: Text(*b"MPID"),
        }),
        execute(1, 1, 10),
        message!(OrderExecutedWithPrice, 1, { order_reference: 1, executed_shares: 20, printable: b'Y' }),
        message!(OrderExecutedWithPrice, 1, { order_reference: 1, executed_shares: 30, printable: b'N' }),
        message!(Trade, 1, { shares: 7 }),
        message!(CrossTrade, 1, { shares: 8 }),
        message!(BrokenTrade, 1, {}),
        b"?".to_vec(),
    ];
    let books = books(&messages);
    let expected = Trades {
        executions: 2,
        executed_shares: 30,
        not_printable: 1,
        hidden: 1,
        hidden_shares: 7,
        crosses: 1,
        cross_shares: 8,
        broken: 1,
    };
    assert_eq!(*books.trades(), expected);
    assert_eq!(books.bbo(1).ask, quote(5, 40, 1));
    assert_eq!(books.event(), Some(event::START_OF_MARKET_HOURS));
    let known: Vec<_> = books.instruments().collect();
    let state = Some(state::HALTED);
    assert_eq!(known, [(1, &Instrument { stock, state })]);
    assert_eq!(books.inconsistencies().total(), 0);
}

/// The specification: orders by reference, and everything else added up when it is asked for.
#[derive(Default)]
struct Naive(BTreeMap<u64, Order>);

impl Naive {
    fn apply(&mut self, message: &Message<'_>) {
        match message {
            Message::AddOrder(add) => {
                let side = if add.side == BUY {
                    Side::Bid
                } else {
                    Side::Ask
                };
                let (price, shares) = (add.price.get(), add.shares.get());
                let order = Order {
                    locate: add.header.locate.get(),
                    side,
                    price,
                    shares,
                };
                self.add(add.order_reference.get(), order);
            }
            Message::OrderExecuted(m) => {
                self.take(m.order_reference.get(), m.executed_shares.get())
            }
            Message::OrderCancel(m) => self.take(m.order_reference.get(), m.cancelled_shares.get()),
            Message::OrderDelete(m) => self.take(m.order_reference.get(), u32::MAX),
            Message::OrderReplace(m) => {
                if let Some(old) = self.0.remove(&m.original_order_reference.get()) {
                    let (price, shares) = (m.price.get(), m.shares.get());
                    self.add(
                        m.new_order_reference.get(),
                        Order {
                            price,
                            shares,
                            ..old
                        },
                    );
                }
            }
            _ => unreachable!("the test sends no other"),
        }
    }

    fn add(&mut self, reference: u64, order: Order) {
        if order.shares > 0 {
            self.0.entry(reference).or_insert(order);
        }
    }

    fn take(&mut self, reference: u64, shares: u32) {
        if let Some(order) = self.0.get_mut(&reference) {
            order.shares = order.shares.saturating_sub(shares);
            if order.shares == 0 {
                self.0.remove(&reference);
            }
        }
    }

    fn levels(&self, locate: u16, side: Side) -> Vec<Quote> {
        let mut levels = BTreeMap::new();
        for order in self
            .0
            .values()
            .filter(|order| (order.locate, order.side) == (locate, side))
        {
            let level = levels.entry(order.price).or_insert(Quote {
                price: order.price,
                shares: 0,
                orders: 0,
            });
            level.shares += u64::from(order.shares);
            level.orders += 1;
        }
        match side {
            Side::Bid => levels.into_values().rev().collect(),
            Side::Ask => levels.into_values().collect(),
        }
    }
}

/// Eight references and five prices of two instruments: collisions and unknown references are common.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    // Spread far apart too, so that they meet in the table by hash and not only by neighbourhood.
    let reference = (0..8_u64, prop::bool::ANY).prop_map(|(n, far)| if far { n << 60 } else { n });
    let (locate, shares, price) = (1..3_u16, 0..4_u32, 1..6_u32);
    (
        0..6,
        locate,
        reference.clone(),
        reference,
        shares,
        price,
        prop::bool::ANY,
    )
        .prop_map(|(kind, locate, one, two, shares, price, buy)| match kind {
            0 | 1 => add(locate, one, if buy { BUY } else { SELL }, shares, price),
            2 => execute(locate, one, shares),
            3 => cancel(locate, one, shares),
            4 => delete(locate, one),
            _ => replace(locate, one, two, shares, price),
        })
}

proptest! {
    #[test]
    fn agrees_with_the_naive_book(messages in vec(messages(), 0..200)) {
        let (mut books, mut naive) = (Books::new(), Naive::default());
        for bytes in &messages {
            let message = Message::read(bytes).unwrap();
            books.apply(&message);
            naive.apply(&message);
            books.check();
            for (locate, side) in [(1, Side::Bid), (1, Side::Ask), (2, Side::Bid), (2, Side::Ask)] {
                prop_assert_eq!(books.levels(locate, side).collect::<Vec<_>>(), naive.levels(locate, side));
            }
        }
        prop_assert_eq!(books.live(), naive.0.len());
        for (&reference, order) in &naive.0 {
            prop_assert_eq!(books.order(reference), Some(*order));
        }
    }

    #[test]
    fn any_message_is_taken(messages in vec((0..Message::LENGTHS.len(), vec(0..4_u8, itch::LONGEST)), 0..60)) {
        let mut books = Books::new();
        for (which, mut bytes) in messages {
            let (letter, length) = Message::LENGTHS[which];
            bytes[0] = letter;
            books.apply(&Message::read(&bytes[..length]).unwrap());
            books.check();
        }
    }
}

/// The table grows, and holes close, with as many orders as fill it three times over.
#[test]
fn many_orders() {
    let mut books = Books::new();
    let reference = |n: u64| n.wrapping_mul(0x2545_F491_4F6C_DD1D) >> (n % 40);
    let mut live = BTreeMap::new();
    for n in 1..200_000_u64 {
        let price = (n * 7 % 1_000) as u32 + 1;
        let one = reference(n);
        books.apply(&Message::read(&add(1, one, BUY, 1, price)).unwrap());
        live.entry(one).or_insert(price);
        if n % 3 == 0 {
            let old = reference(n / 2);
            books.apply(&Message::read(&delete(1, old)).unwrap());
            live.remove(&old);
        }
    }
    books.check();
    assert_eq!(books.live(), live.len());
    for (reference, price) in live {
        assert_eq!(books.order(reference).map(|order| order.price), Some(price));
    }
}
